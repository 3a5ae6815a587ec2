"""Sessions are cut where nothing was said for too long, and nowhere else."""

import hashlib
import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from offload_platform.listening.sessions import session_id, with_sessions
from offload_platform.vendors import vendor_named

LISTENING = vendor_named("aura").listening
GAP = timedelta(minutes=30)
NIGHT = datetime(2026, 11, 20, 23, 50, tzinfo=UTC)
COMPUTED = ["sesId", "sesSize", "sesDuration"]


def frame(*messages: tuple[str | None, timedelta]) -> pl.DataFrame:
    return pl.DataFrame(
        {"AURA_ID": [who for who, _ in messages], "MSG_DT": [NIGHT + after for _, after in messages]},
        schema={"AURA_ID": pl.String, "MSG_DT": pl.Datetime("us", "UTC")},
    )


def sessions(*messages: tuple[str | None, timedelta], gap: timedelta = GAP) -> list[tuple[object, ...]]:
    assert LISTENING is not None
    return with_sessions(frame(*messages), LISTENING, gap).sort("MSG_DT", "AURA_ID").select(COMPUTED).rows()


@pytest.mark.parametrize(("seconds", "sizes"), [(29 * 60 + 59, [2, 2]), (30 * 60, [2, 2]), (30 * 60 + 1, [1, 1])])
def test_a_session_goes_on_for_half_an_hour_of_silence_and_no_longer(seconds: int, sizes: list[int]) -> None:
    found = sessions(("a", timedelta()), ("a", timedelta(seconds=seconds)))
    assert [size for _, size, _ in found] == sizes
    assert [length for _, _, length in found] == ([seconds] * 2 if sizes == [2, 2] else [0, 0])
    assert len({name for name, _, _ in found}) == 3 - sizes[0]


def test_an_id_follows_from_the_login_and_the_first_message_alone() -> None:
    [(name, _, _)] = sessions(("a", timedelta()))
    begin = int(NIGHT.timestamp() * 1e6)
    assert name == session_id("a", begin) == hashlib.sha256(f"session|v1|a|{begin}".encode()).hexdigest()[:16]
    grown = sessions(("a", timedelta()), ("a", timedelta(minutes=20)), ("a", timedelta(minutes=49)))
    assert {one for one, _, _ in grown} == {name}


def test_logins_have_sessions_of_their_own_and_nobody_has_none() -> None:
    found = sessions(
        ("a", timedelta()), ("b", timedelta(minutes=1)), (None, timedelta(minutes=2)), (None, timedelta(hours=3))
    )
    assert [size for _, size, _ in found] == [1, 1, None, None]
    assert list(found[2:]) == [(None, None, None)] * 2
    assert found[0][0] != found[1][0]


def test_the_gap_is_a_setting() -> None:
    twice = (("a", timedelta()), ("a", timedelta(minutes=10)))
    assert sessions(*twice, gap=timedelta(minutes=5))[0][1] == 1
    assert sessions(*twice, gap=timedelta(minutes=10))[0][1] == 2


def test_no_row_and_rows_in_any_order() -> None:
    assert sessions() == []
    chance = random.Random(7)
    messages = [(chance.choice("abc"), timedelta(minutes=chance.randrange(600))) for _ in range(200)]
    first = sessions(*messages)
    chance.shuffle(messages)
    assert sessions(*messages) == first
    by_hand: dict[str, list[list[timedelta]]] = {}
    for who, at in sorted(messages, key=lambda m: m[1]):
        of_login = by_hand.setdefault(who, [])
        if of_login and at - of_login[-1][-1] <= GAP:
            of_login[-1].append(at)
        else:
            of_login.append([at])
    expected = sorted((len(one), (one[-1] - one[0]).seconds) for found in by_hand.values() for one in found)
    assert sorted({name: (size, length) for name, size, length in first}.values()) == expected
