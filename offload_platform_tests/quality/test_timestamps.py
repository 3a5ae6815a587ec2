"""Times in every delivered shape, right to the microsecond; everything else is no time."""

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offload_platform.contracts.readers import wire_name
from offload_platform.quality import timestamps
from offload_platform.quality.conform import Conformer
from offload_platform.quality.json_cells import JsonCells
from offload_platform.vendors import vendor_named

MOMENTS = vendor_named("sentiance").contracts["moments"]
Read = tuple[datetime | None, datetime | None, int | None]


def read(texts: list[str]) -> list[Read]:
    """Instant, wall clock and offset of each text, as a contract's columns have them."""
    empty = [None] * len(texts)
    delivered = pl.DataFrame(
        {wire_name(w): texts if w == "start" else empty for w in MOMENTS.wire_columns}, schema_overrides=None
    ).cast(pl.String)
    with JsonCells() as json_cells:
        found = Conformer(MOMENTS, MOMENTS.wire_columns, json_cells).conform(delivered)
    failed = set(found.failures.filter(pl.col("column") == "start_at")["row"])
    rows = found.rows.select("start_at", "start_local", "utc_offset_min").rows()
    assert failed == {i for i, row in enumerate(rows) if row == (None, None, None)}
    return rows


def expected(text: str) -> Read:
    time = datetime.fromisoformat(text)
    offset = time.utcoffset()
    assert offset is not None
    return time.astimezone(UTC), time.replace(tzinfo=None), round(offset / timedelta(minutes=1))


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2018-10-1717:49:01.645+01:00", "2018-10-17T17:49:01.645+01:00"),
        ("2017-05-08T18:04:28.221000+01:00", None),
        ("2017-10-11T15:17:53.812+01:00", None),
        ("2017-10-11T15:17:53+01:00", None),
        ("2018-10-1719:45:19.140Z", "2018-10-17T19:45:19.140Z"),
        ("2018-10-1717:48:49+01:00", "2018-10-17T17:48:49+01:00"),
        ("2018-10-02T11:45:00Z", None),
        ("2018-10-02 11:45:00-0730", None),
        ("2018-10-02T11:45:00+05:30", None),
        ("2018-10-02T11:45:00+05:53", None),
        ("2018-10-02T11:45:00.000001+14:00", None),
        ("2018-10-02T11:45:00.1-14:00", "2018-10-02T11:45:00.100-14:00"),
        ("2018-10-02T11:45:00.123456789Z", "2018-10-02T11:45:00.123456Z"),
        ("2020-02-29T23:59:59-00:00", None),
        ("1000-01-01T00:00:00+14:00", None),
        ("9999-12-31T09:59:59.999999-14:00", None),
    ],
)
def test_every_shape_is_right_to_the_microsecond(text: str, iso: str | None) -> None:
    assert read([text]) == [expected(iso or text)]


REFUSED = [
    "2018-10-02",
    "2018-10-02T11:45:00",
    "2018-10-02T11:45:00.123",
    "2018-10-02T11:45Z",
    "2018-10-02T11:45:60Z",
    "2018-10-02T11:45:60.5Z",
    "2018-10-02T24:00:00Z",
    "2018-10-02T11:60:00Z",
    "2017-05-25T08:85:23.956000+01:00",
    "2018-02-30T11:45:00Z",
    "2019-02-29T11:45:00Z",
    "2018-13-02T11:45:00Z",
    "2018-00-02T11:45:00Z",
    "2018-10-02T11:45:00+15:00",
    "2018-10-02T11:45:00+14:01",
    "2018-10-02T11:45:00-14:30",
    "2018-10-02T11:45:00+01:60",
    "2018-10-02T11:45:00+01",
    "2018-10-02T11:45:00 Z",
    "2018-10-02T11:45:00z",
    "2018-10-02t11:45:00Z",
    " 2018-10-02T11:45:00Z",
    "2018-10-02T11:45:00Z ",
    "2018-10-02T11:45:00.Z",
    "2018-10-02T11:45:00,5Z",
    "2018-10-02T11:45:00.1234567890Z",
    "2018- 1-02T11:45:00Z",
    "2018-10-02T11:45: 9Z",
    "+2018-1-02T11:45:00Z",
    "-018-10-02T11:45:00Z",
    "0000-10-02T11:45:00Z",
    "2018-10-02T11:45:00.\N{ARABIC-INDIC DIGIT THREE}Z",
    "2018-10-02T11:45:0\N{ARABIC-INDIC DIGIT THREE}Z",
    "18-10-02T11:45:00Z",
    "10/02/2018 11:45:00Z",
    "1544265954",
    "1.54423E+12",
    "now",
    "-",
    "x",
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_time_with_an_offset_is_refused(text: str) -> None:
    assert read([text]) == [(None, None, None)]


def test_one_bad_time_costs_only_itself() -> None:
    good = "2018-10-02T11:45:00Z"
    mixed = [text for bad in REFUSED for text in (good, bad)]
    assert read(mixed) == [expected(good), (None, None, None)] * len(REFUSED)


offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1001, 1, 1), datetime(9998, 12, 31), timezones=offsets)
specs = st.sampled_from(["seconds", "milliseconds", "microseconds"])
shapes = st.tuples(times, specs, st.sampled_from(["T", " ", ""])).map(
    lambda said: (said[0].isoformat(timespec=said[1]), said[2])
)


@settings(max_examples=60, deadline=None)
@given(st.lists(shapes, min_size=1, max_size=60))
def test_times_agree_with_the_standard_library(written: list[tuple[str, str]]) -> None:
    assert read([text.replace("T", sign) for text, sign in written]) == [expected(text) for text, _ in written]


@settings(max_examples=100, deadline=None)
@given(times.map(lambda time: time.isoformat(timespec="seconds")), st.data())
def test_a_quick_reading_is_the_general_one(text: str, data: st.DataObject) -> None:
    """With one sign changed, the quick way never takes what the general way would not."""
    position = data.draw(st.integers(0, len(text) - 1))
    sign = data.draw(st.sampled_from([*"0123456789 +-:TZ.", "\N{ARABIC-INDIC DIGIT THREE}", ""]))
    frame = pl.DataFrame({"text": [text[:position] + sign + text[position + 1 :]]})
    quick = frame.select(
        local=timestamps.wall_clock(pl.col("text")), offset=timestamps.offset_minutes(pl.col("text"))
    ).row(0)
    if None not in quick:
        assert timestamps.general(frame["text"]).row(0) == quick
