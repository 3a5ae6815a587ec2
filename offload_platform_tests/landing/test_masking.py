"""What is shown of a row tells nobody whose row it is."""

import json
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from offload_platform.landing.masking import MASK, NOT_SHOWN, mask_of, protection_of

from ..conftest import contract_of

ANN = "a1" * 12
SEGMENTS = ("user_id", "metadata_user_id", "segment_id")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (f"{ANN},ann@example.com,early_bird", "•••,•••,early_bird"),
        (f'{ANN},"Ann, the first","a ""word"", and more"', '•••,•••,"a ""word"", and more"'),
        (f"{ANN},,early_bird", "•••,,early_bird"),
        (f"x,,early {ANN}", "•••,,early •••"),
        (f"{ANN},early_bird", NOT_SHOWN),
        (f"{ANN},,early_bird,", NOT_SHOWN),
        (f'"{ANN},,early_bird', NOT_SHOWN),
        ("", NOT_SHOWN),
    ],
)
def test_rows_in_csv(raw: str, shown: str) -> None:
    assert mask_of(contract_of("segments"), SEGMENTS, ",")(raw) == shown


def test_another_delimiter_and_a_column_that_nobody_knows() -> None:
    mask = mask_of(contract_of("segments"), (*SEGMENTS, "e_mail"), ";")
    assert mask(f"{ANN};;early_bird;ann@example.com") == "•••;;early_bird;•••"


@pytest.mark.parametrize("raw", ["{", "[1]", '"text"', f"{ANN},,x"])
def test_json_that_is_no_object_is_not_shown(raw: str) -> None:
    assert mask_of(contract_of("transports_realtime"), (), "")(raw) == NOT_SHOWN


def test_json_members() -> None:
    row = {"user_id": ANN, "metadata_user_id": "ann", "session_id": "s", "mode": f"CAR {ANN}", "nick": "Ann"}
    shown = json.loads(mask_of(contract_of("driving_events_realtime"), tuple(row), "")(json.dumps(row)))
    assert shown == {
        "user_id": "•••",
        "metadata_user_id": "•••",
        "session_id": "•••",
        "mode": "CAR •••" if "mode" in contract_of("driving_events_realtime").wire_columns else "•••",
        "nick": "•••",
    }


CLICKS = tuple(contract_of("clicks").wire_columns)


@given(st.text(st.sampled_from("a@., ;|1")))
@example("@@a")
@example("@a")
@example("a@ @b a@b")
@example("1.2.3.4x@y 1.2.3.4")
def test_mail_addresses_and_networks_are_taken_out_wherever_they_stand(text: str) -> None:
    """As the obvious pattern has it, which takes for ever on long words."""
    protect = protection_of(contract_of("clicks"), CLICKS, "")
    assert protect is not None
    [shown] = [c for c in CLICKS if c not in contract_of("clicks").protected_wire_columns][:1]
    obvious = re.compile(r"[^\s,;|]+@[^\s,;|]+|(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
    said = json.dumps({shown: text}, ensure_ascii=False)
    assert protect(said) == obvious.sub(MASK, said)


@pytest.mark.parametrize("word", ["x", "1.", "@", "x@", "1234", '""'])
def test_a_long_cell_is_looked_through_in_no_time(word: str) -> None:
    cell = word * (1_000_000 // len(word))
    row = ",".join([f'"{cell}"', *[""] * (len(CLICKS) - 1)])
    protect = protection_of(contract_of("clicks"), CLICKS, ",")
    assert protect is not None
    began = time.process_time()
    protect(row)
    mask_of(contract_of("clicks"), CLICKS, ",")(row)
    assert time.process_time() - began < 5
