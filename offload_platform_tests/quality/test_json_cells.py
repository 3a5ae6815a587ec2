"""JSON in cells: both shapes of fixes, and cells that are hostile; one bad cell costs only itself."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offload_platform.contracts.readers import JsonMemberCell, JsonObjectCell, JsonReader, PointsCell, TextListCell
from offload_platform.quality.json_cells import JsonCells

POINTS, OBJECT, NAME = PointsCell("w"), JsonObjectCell("w"), JsonMemberCell("w", "name")
WORDS, LIST = TextListCell("w"), TextListCell("w", bare_word=False)
READERS: tuple[JsonReader, ...] = (POINTS, OBJECT, NAME, WORDS, LIST)


@pytest.fixture(scope="module")
def json_cells() -> Iterator[JsonCells]:
    with JsonCells() as cells:
        yield cells


def decoded(json_cells: JsonCells, reader: JsonReader, *cells: str | None) -> list[Any]:
    return json_cells.decode(pl.Series(cells, dtype=pl.String), reader).to_list()


def fix(latitude: float, longitude: float, time: str | None) -> dict[str, Any]:
    moment = datetime.fromisoformat(time) if time else None
    offset = moment.utcoffset() if moment else None
    return {
        "latitude": latitude,
        "longitude": longitude,
        "fix_at": moment and moment.astimezone(UTC),
        "fix_local": moment and moment.replace(tzinfo=None),
        "utc_offset_min": None if offset is None else round(offset.total_seconds() / 60),
    }


TIMES = ["2017-05-08T13:05:01.855000+01:00", "2018-10-02T11:45:00Z", "2017-10-11T15:17:53.812-07:30"]
FIXES = [fix(52.58358, -0.53379, TIMES[0]), fix(-90.0, 180.0, TIMES[1]), fix(0.0, 4e-05, TIMES[2])]


def test_fixes_as_objects_and_as_arrays(json_cells: JsonCells) -> None:
    objects = json.dumps(
        {
            "waypoints": [
                {"latitude": f["latitude"], "longitude": f["longitude"], "timestamp": t, "accuracy": 3}
                for f, t in zip(FIXES, TIMES, strict=True)
            ]
        }
    )
    arrays = json.dumps([[f["latitude"], f["longitude"], t] for f, t in zip(FIXES, TIMES, strict=True)])
    assert decoded(json_cells, POINTS, objects, None, arrays) == [FIXES, None, FIXES]
    assert decoded(json_cells, POINTS, '{ "waypoints" : [] }', "[]") == [[], []]


@pytest.mark.parametrize(
    "time",
    [
        "2017-05-25T08:85:23.956000+01:00",
        "2017-05-25T08:05:60+01:00",
        "2017-02-30T08:05:00+01:00",
        "2017-05-25T08:05:00",
        "2017-05-25T08:05:00.123",
        "2017-05-25",
        "2017-05-25T08:05:00+15:00",
        "2017-05-25T08:05:00-14:30",
        "2017-05-25T08:05:00 Z",
        "2017-05-25 08:05 +01:00",
        "infinity",
        "epoch",
        "",
    ],
)
def test_a_fix_with_an_unreadable_time_has_none(json_cells: JsonCells, time: str) -> None:
    assert decoded(json_cells, POINTS, json.dumps([[1, 2, time]])) == [[fix(1.0, 2.0, None)]]
    objects = {"waypoints": [{"latitude": 1, "longitude": 2, "timestamp": time}, {"latitude": 3, "longitude": 4}]}
    assert decoded(json_cells, POINTS, json.dumps(objects)) == [[fix(1.0, 2.0, None), fix(3.0, 4.0, None)]]


@pytest.mark.parametrize(
    "cell",
    [
        "[[1]]",
        "[[1, null]]",
        '[["north", 2]]',
        '[["nan", 2]]',
        '[[1, "inf"]]',
        "[[1e999, 2]]",
        "[null]",
        "[1, 2]",
        '[{"latitude": 1, "longitude": 2}]',
        '{"waypoints": [{"latitude": 1}]}',
        '{"waypoints": [{"latitude": 1, "longitude": 2}, {"longitude": 2}]}',
        '{"waypoints": [{"latitude": "nan", "longitude": 2}]}',
        '{"waypoints": [{"latitude": 1, "longitude": -1e999}]}',
        '{"waypoints": [{"latitude": {}, "longitude": [2]}]}',
        '{"waypoints": [[1, 2, "2018-10-02T11:45:00Z"]]}',
        '{"waypoints": [null]}',
        '{"waypoints": null}',
        '{"waypoints": {}}',
        "{}",
    ],
)
def test_a_fix_without_a_position_is_no_fix(json_cells: JsonCells, cell: str) -> None:
    assert decoded(json_cells, POINTS, "[[1, 2]]", cell, "[[1, 2]]") == [[fix(1, 2, None)], None, [fix(1, 2, None)]]


HOSTILE = [
    "[" * 100_000,
    "{" * 100_000,
    '{"a":' * 50_000 + "1" + "}" * 50_000,
    '{"name": "cut off',
    '["\\ud800"]',
    '{"name": "\\ud800"}',
    '[[1, 2], "',
    '{"name": "x"} and more',
    '{"waypoints": [{"latitude": 1, "longitude": 1, "timestamp": "\\udead"}]}',
    "\\",
    '"',
    "'",
    "');--",
    "[1",
    "]",
]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: type(reader).__name__)
def test_a_hostile_cell_costs_only_itself(json_cells: JsonCells, reader: JsonReader) -> None:
    good = {POINTS: "[[1, 2]]", OBJECT: '{"x": 1}', NAME: '{"name": "y"}'}.get(reader, '["z"]')
    (alone,) = decoded(json_cells, reader, good)
    among = decoded(json_cells, reader, *(cell for bad in HOSTILE for cell in (good, bad)), None)
    assert alone is not None
    assert among[0:-1:2] == [alone] * len(HOSTILE)
    assert among[-1] is None
    for cell, value in zip(HOSTILE, among[1::2], strict=True):
        if reader is POINTS or (reader is LIST and value is not None):
            assert value is None, cell[:30]


def test_objects_are_kept_as_their_text_and_members_are_read(json_cells: JsonCells) -> None:
    cells = (
        '{"name": "Gent"}',
        '{ "other": 1 }',
        '{"name": null}',
        '["name"]',
        "name",
        '{"name": "a\\"é"}',
        "null",
    )
    assert decoded(json_cells, OBJECT, *cells) == [cells[0], cells[1], cells[2], None, None, cells[5], None]
    assert decoded(json_cells, NAME, *cells) == ["Gent", None, None, None, None, 'a"é', None]


def test_lists_and_bare_words(json_cells: JsonCells) -> None:
    cells = ('["travel", "gasstation"]', "[]", "restaurant", '["cut off"', '{"a": 1}', None, "[0, 1.5, true]")
    assert decoded(json_cells, WORDS, *cells) == [
        ["travel", "gasstation"],
        [],
        ["restaurant"],
        None,
        None,
        None,
        ["0", "1.5", "true"],
    ]
    assert decoded(json_cells, LIST, *cells)[2] is None


def test_no_cells_at_all(json_cells: JsonCells) -> None:
    for reader in READERS:
        assert decoded(json_cells, reader) == []
        assert decoded(json_cells, reader, None, None) == [None, None]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.none(), st.lists(texts, max_size=4)), min_size=1, max_size=20), st.booleans())
def test_any_list_of_texts_comes_back(json_cells: JsonCells, lists: list[list[str] | None], ascii_only: bool) -> None:
    cells = [None if texts is None else json.dumps(texts, ensure_ascii=ascii_only) for texts in lists]
    assert decoded(json_cells, LIST, *cells) == lists
    names = [
        None if texts is None else json.dumps({"name": "".join(texts)}, ensure_ascii=ascii_only) for texts in lists
    ]
    assert decoded(json_cells, NAME, *names) == [None if texts is None else "".join(texts) for texts in lists]


numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(numbers, numbers, st.sampled_from(TIMES)), max_size=5), min_size=1, max_size=10))
def test_any_fixes_come_back_exactly(json_cells: JsonCells, trips: list[list[tuple[float, float, str]]]) -> None:
    arrays = [json.dumps(trip) for trip in trips]
    objects = [
        json.dumps({"waypoints": [dict(zip(("latitude", "longitude", "timestamp"), f, strict=True)) for f in trip]})
        for trip in trips
    ]
    wanted = [[fix(*f) for f in trip] for trip in trips]
    assert decoded(json_cells, POINTS, *arrays) == wanted
    assert decoded(json_cells, POINTS, *objects) == wanted
