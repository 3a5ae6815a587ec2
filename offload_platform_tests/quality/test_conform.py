"""Delivered text becomes typed values by the contract, or a failure that names column and reason."""

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offload_platform.vendors import vendor_named

from .conftest import Conform

CONTRACTS = vendor_named("sentiance").contracts
STATIONARIES, TRANSPORTS, MOMENTS = CONTRACTS["stationaries"], CONTRACTS["transports"], CONTRACTS["moments"]
SEGMENTS, WIDE, LONG = CONTRACTS["segments"], CONTRACTS["attributes.wide"], CONTRACTS["attributes.long"]
USER = "5a689ab0e97b960500002109"
STAY = {
    "user_id": USER,
    "start": "2018-10-07T00:56:57+01:00",
    "end": "2018-10-07T01:56:57+02:00",
    "location.significance": "home",
    "latitude": "50.8762",
    "longitude": "-4",
}


def failures_of(conformed: Any) -> list[tuple[int, str, str]]:
    return conformed.failures.rows()  # type: ignore[no-any-return]


def column(conform: Conform, contract: Any, name: str, wire: str, *texts: str | None, **others: str) -> list[Any]:
    """Values of one column for these texts of a delivered one."""
    conformed = conform(contract, *({"user_id": USER, wire: text, **others} for text in texts))
    assert conformed.rows.columns == list(contract.columns)
    return conformed.rows[name].to_list()


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.offload_type)
def test_rows_have_the_columns_and_types_of_the_contract(conform: Conform, contract: Any) -> None:
    empty = conform(contract, columns=("user_id", "unknown")).rows
    one = conform(contract, {"user_id": USER, "unknown": "x"}).rows
    for rows in (empty, one):
        assert rows.schema == {c.name: c.dtype for c in contract.columns.values()}


def test_an_instant_is_three_facts(conform: Conform) -> None:
    row = conform(STATIONARIES, STAY).rows.row(0, named=True)
    assert row["start_at"] == datetime(2018, 10, 6, 23, 56, 57, tzinfo=UTC)
    assert row["start_local"] == datetime(2018, 10, 7, 0, 56, 57)
    assert (row["utc_offset_min"], row["end_utc_offset_min"]) == (60, 120)
    assert (row["end_at"], row["is_open"]) == (datetime(2018, 10, 6, 23, 56, 57, tzinfo=UTC), False)


@pytest.mark.parametrize("mark", ["-", "-1", None, ""])
def test_open_marks(conform: Conform, mark: str | None) -> None:
    conformed = conform(STATIONARIES, STAY | {"end": mark, "duration": "-1"})
    row = conformed.rows.row(0, named=True)
    assert [row[c] for c in ("end_at", "end_local", "end_utc_offset_min", "duration_s")] == [None] * 4
    assert row["is_open"] is True
    assert failures_of(conformed) == []


def test_an_open_mark_does_not_stand_for_a_start(conform: Conform) -> None:
    conformed = conform(STATIONARIES, STAY | {"start": "-"})
    assert failures_of(conformed) == [(0, "start_at", "start_at: not a time with an offset")]


def test_an_end_that_cannot_be_read_is_not_open(conform: Conform) -> None:
    conformed = conform(STATIONARIES, STAY | {"end": "soon"})
    assert conformed.rows["is_open"].to_list() == [False]
    assert failures_of(conformed) == [(0, "end_at", "end_at: not a time with an offset")]


def test_duration_is_derived_where_it_is_not_delivered(conform: Conform) -> None:
    closed = STAY | {"end": "2018-10-07T02:56:58+02:00"}
    texts = (None, "3600", "3600.0", "3.6E+03", "-1", "-1.0")
    rows = conform(STATIONARIES, *(closed | {"duration": text} for text in texts)).rows
    assert rows["duration_s"].to_list() == [3601, 3600, 3600, 3600, 3601, 3601]
    assert conform(STATIONARIES, closed).rows["duration_s"].to_list() == [3601]


@pytest.mark.parametrize("text", ["1.5", "12s", "2147483648", "1e10", "nan", "inf", " 1", "--1", "1_000", "0x10"])
def test_what_is_no_whole_number_fails(conform: Conform, text: str) -> None:
    conformed = conform(STATIONARIES, STAY | {"duration": text})
    assert failures_of(conformed) == [(0, "duration_s", "duration_s: not a whole number")]


@pytest.mark.parametrize("text", ["n/a", "nan", "inf", "-Infinity", "1,5", "1e999", "1_000", "0x10", " 1", "1 ", "-"])
def test_what_is_no_number_fails(conform: Conform, text: str) -> None:
    conformed = conform(STATIONARIES, STAY | {"latitude": text})
    assert failures_of(conformed) == [(0, "latitude", "latitude: not a number")]


def test_numbers_in_every_spelling(conform: Conform) -> None:
    texts = ("50.8762", "-0.53379", "4.03E-03", "3.63E+09", "1", "1.", ".5", "52.58328427737227", None)
    values = column(conform, TRANSPORTS, "distance_m", "distance", *texts)
    assert values == [50.8762, -0.53379, 0.00403, 3.63e9, 1.0, 1.0, 0.5, 52.58328427737227, None]


def test_minus_one_means_none_only_where_the_contract_says_so(conform: Conform) -> None:
    wire = next(wire for wire in WIDE.wire_columns if wire.startswith("tr.car.bhvr."))
    name = next(c.name for c in WIDE.columns.values() if getattr(c.facts.reader, "wire", None) == wire)
    texts = ("-1", "-1.0", "-1.000000", "-1e0", "-0.045288", "0", None)
    assert column(conform, WIDE, name, wire, *texts) == [None, None, None, None, -0.045288, 0.0, None]
    assert column(conform, WIDE, "activity_first_time", "activity.first.time.value", "-1") == [-1.0]


def test_masks(conform: Conform) -> None:
    texts = ("Hidden", "hidden", "Hhidden", "HIDDEN", "Hidden Street", "Unhidden", None)
    masked = column(conform, STATIONARIES, "is_street_masked", "address.streetname", *texts)
    street = column(conform, STATIONARIES, "street_name", "address.streetname", *texts)
    assert masked == [True] * 4 + [False] * 3
    assert street == [None] * 4 + ["Hidden Street", "Unhidden", None]


def test_texts_are_folded_only_where_the_contract_says_so(conform: Conform) -> None:
    assert column(conform, STATIONARIES, "city_type", "address.city_type", "CITY", "Town") == ["city", "town"]
    assert column(conform, STATIONARIES, "city", "address.city", " קריית אונו ", "GBG") == [" קריית אונו ", "GBG"]


def test_place_types_and_their_category(conform: Conform) -> None:
    texts = ('["travel", "gasstation", "fuel"]', "restaurant", "[]", None)
    conformed = conform(STATIONARIES, *(STAY | {"location.place.type": text} for text in (*texts, '["travel"')))
    assert conformed.rows["place_category"].to_list() == ["travel", "restaurant", None, None, None]
    assert failures_of(conformed) == [(4, "place_types", "place_types: not a JSON list")]


def test_waypoints_and_their_count(conform: Conform) -> None:
    conformed = conform(
        TRANSPORTS,
        *({"user_id": USER, "waypoints": text} for text in ("[[1, 2]]", '{"waypoints": []}', None, "[[1]]")),
    )
    assert conformed.rows["waypoint_count"].to_list() == [1, 0, None, None]
    assert failures_of(conformed) == [(3, "waypoints", "waypoints: not a list of fixes")]


def test_meta_that_is_no_object_is_one_fault_of_one_column(conform: Conform) -> None:
    conformed = conform(MOMENTS, {"user_id": USER, "meta": "[1]"}, {"user_id": USER, "meta": '{"name": "Gent"}'})
    assert failures_of(conformed) == [(0, "meta", "meta: not a JSON object")]
    assert conformed.rows["meta_name"].to_list() == [None, "Gent"]


@pytest.mark.parametrize(
    ("attribute", "text", "value"),
    [
        ("activity.first.time.value", "7.5", ("value_num", 7.5)),
        ("activity.first.time.value", "half past", ("value_text", "half past")),
        ("tr.car.bhvr.accel_h.all.value", "-1.0", None),
        ("stationary.work.city.mostcommon.value", "0", None),
        ("stationary.work.city.mostcommon.value", "Gent", ("value_text", "Gent")),
        ("semantic.time.working_days.value", "[0, 1]", ("value_list", ["0", "1"])),
        ("never.seen.value", "4.03E-03", ("value_num", 0.00403)),
        ("never.seen.value", "TRUE", ("value_bool", True)),
        ("never.seen.value", '["a"]', ("value_list", ["a"])),
        ("never.seen.value", "x", ("value_text", "x")),
        ("never.seen.value", None, None),
    ],
)
def test_a_long_attribute_has_one_value_of_one_type(
    conform: Conform, attribute: str, text: str | None, value: tuple[str, Any] | None
) -> None:
    conformed = conform(LONG, {"user_id": USER, "attribute_name": attribute, "attribute_value": text})
    row = conformed.rows.row(0, named=True)
    values = {c: row[c] for c in ("value_num", "value_text", "value_bool", "value_list") if row[c] is not None}
    assert values == (dict([value]) if value else {})
    assert (row["attribute"], row["value_raw"], row["is_masked"]) == (attribute.removesuffix(".value"), text, False)
    assert failures_of(conformed) == []


def test_misfits_go_to_extra_and_are_counted(conform: Conform) -> None:
    conformed = conform(
        WIDE,
        {"user_id": USER, "activity.first.time.value": "x", "new.value": "1"},
        {"user_id": USER, "activity.first.time.value": "1"},
        {"user_id": USER, "activity.first.time.value": "nan"},
    )
    assert failures_of(conformed) == []
    assert conformed.misfits == {"activity_first_time": 2}
    assert [text and json.loads(text) for text in conformed.rows["extra"]] == [
        {"activity.first.time.value": "x", "new.value": "1"},
        None,
        {"activity.first.time.value": "nan"},
    ]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=15)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=10).filter(lambda n: n not in SEGMENTS.wire_columns)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), unknown=st.lists(names, min_size=1, max_size=4, unique=True))
def test_extra_is_exact(conform: Conform, data: st.DataObject, unknown: list[str]) -> None:
    rows = data.draw(
        st.lists(st.fixed_dictionaries({name: st.one_of(st.none(), texts) for name in unknown}), min_size=1)
    )
    conformed = conform(SEGMENTS, *({"user_id": USER, **row} for row in rows), columns=("user_id", *unknown))
    extra = [text and json.loads(text) for text in conformed.rows["extra"]]
    assert extra == [{name: text for name, text in row.items() if text} or None for row in rows]


def test_every_row_comes_out_in_its_place(conform: Conform) -> None:
    bad = {"start": "x", "latitude": "x", "duration": "x", "location.place.type": "["}
    rows = [STAY | ({} if i % 3 else bad) | {"metadata_user_id": str(i)} for i in range(100)]
    conformed = conform(STATIONARIES, *rows)
    assert conformed.rows["metadata_user_id"].to_list() == [str(i) for i in range(100)]
    counted = conformed.failures.group_by("column").agg(pl.col("row").sort()).rows()
    assert dict(counted) == {c: list(range(0, 100, 3)) for c in ("start_at", "latitude", "duration_s", "place_types")}
