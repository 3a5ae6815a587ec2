"""Lists of JSON objects: every declared member, whatever category; other shapes are failures."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from offload_platform.contracts.nested import Kind, Member, ObjectsCell
from offload_platform.quality.json_cells import JsonCells

PEAK = (Member("max_mps2", "max", Kind.NUMBER), Member("is_positive", "is_positive", Kind.FLAG))
EVENTS = ObjectsCell(
    "events",
    (
        Member("event_type", "type", Kind.TEXT),
        Member("start", "start", Kind.TIME),
        Member("magnitude_norm", "features.magnitude", Kind.NUMBER),
        Member("peaks", "peaks", Kind.OBJECTS, PEAK),
    ),
    keyed_as="category",
)
FIXES = ObjectsCell("fixes", (Member("latitude", "latitude", Kind.NUMBER), Member("fix", "at", Kind.TIME)))


def decode(reader: ObjectsCell, *cells: str | None) -> pl.Series:
    with JsonCells() as json_cells:
        return json_cells.decode(pl.Series(list(cells), dtype=pl.String), reader)


def test_the_declared_type_is_the_decoded_type() -> None:
    assert decode(EVENTS, "{}").dtype == EVENTS.dtype
    assert decode(FIXES, "[]").dtype == FIXES.dtype


def test_lists_by_category_become_one_list_with_the_category() -> None:
    cell = json.dumps(
        {
            "acceleration": [
                {
                    "type": "brake",
                    "start": "2018-10-1717:48:49.250+01:00",
                    "features": {"magnitude": 0.5},
                    "peaks": [{"max": 2.5, "is_positive": False}, {"max": 3}],
                }
            ],
            "crash": [],
            "never seen": [{"type": "x", "start": "2018-12-08T00:22:00Z", "features": {}}],
        }
    )
    [events] = decode(EVENTS, cell).to_list()
    assert [e["category"] for e in events] == ["acceleration", "never seen"]
    brake, unknown = events
    assert brake["start_at"] == datetime(2018, 10, 17, 16, 48, 49, 250_000, tzinfo=UTC)
    assert brake["start_local"] == datetime(2018, 10, 17, 17, 48, 49, 250_000)
    assert (brake["start_utc_offset_min"], brake["magnitude_norm"]) == (60, 0.5)
    assert brake["peaks"] == [{"max_mps2": 2.5, "is_positive": False}, {"max_mps2": 3.0, "is_positive": None}]
    assert (unknown["event_type"], unknown["magnitude_norm"], unknown["peaks"]) == ("x", None, None)


@pytest.mark.parametrize("cell", ["[1", '"text"', "5", "null", "[]"])
def test_another_shape_does_not_decode(cell: str) -> None:
    assert decode(EVENTS, cell).to_list() == [None]


def test_a_plain_list_keeps_its_order_and_repeats() -> None:
    cell = '[{"latitude": 2, "at": "2022-06-26T17:41:18.000001+01:00"}, {"latitude": 1}, {"latitude": 2}]'
    [fixes] = decode(FIXES, cell).to_list()
    assert [f["latitude"] for f in fixes] == [2, 1, 2]
    assert fixes[0]["fix_at"] == datetime(2022, 6, 26, 16, 41, 18, 1, tzinfo=UTC)
    assert decode(FIXES, "{}", None).to_list() == [None, None]


@pytest.mark.parametrize(
    "text",
    ["2018-10-17", "2018-10-17T17:48:49", "infinity", "2018-10-17T17:85:49+01:00", "2018-10-17T17:48:49+19:00", ""],
)
def test_text_that_is_no_time_with_an_offset_is_null(text: str) -> None:
    [fixes] = decode(FIXES, json.dumps([{"latitude": 1, "at": text}])).to_list()
    assert fixes[0]["fix_at"] is None
    assert fixes[0]["fix_local"] is None
