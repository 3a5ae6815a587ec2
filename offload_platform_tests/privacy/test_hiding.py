"""Persons hide behind each other: a row tells only what enough persons share."""

from typing import Any

import h3
import polars as pl
import pytest

from offload_platform.privacy.cells import at_most, cells_of
from offload_platform.privacy.hiding import counted, hidden
from offload_platform.privacy.tables import Aggregate, CleanTable
from offload_platform.privacy.tiers import released

TABLE = CleanTable.model_validate(
    {
        "description": "Trips.",
        "kind": "event",
        "query": "SELECT …",
        "columns": {"week": "Week.", "mode": "Mode."},
        "levels": [["week", "mode"], ["week"]],
    }
)
SENSITIVE = CleanTable.model_validate(
    {
        "description": "Persons.",
        "kind": "person",
        "query": "SELECT …",
        "columns": {"home": "Home.", "health": "Health."},
        "levels": [["home"]],
        "sensitive": ["health"],
    }
)


def trips(*said: tuple[str | None, str, str]) -> pl.DataFrame:
    return pl.DataFrame(said, schema=["person", "week", "mode"], orient="row")


def told(rows: pl.DataFrame, table: CleanTable = TABLE, k: int = 3) -> list[tuple[Any, ...]]:
    return hidden(rows, table, k, 2).select("person", *table.columns).rows()


def test_a_row_that_too_few_persons_share_is_told_less_exactly() -> None:
    rows = trips(
        *((p, "1", "car") for p in "abc"), *((p, "1", "boat") for p in "ab"), ("d", "1", "bus"), ("e", "2", "car")
    )
    assert told(rows) == [
        *((p, "1", "car") for p in "abc"),
        *((p, "1", None) for p in "abd"),
    ], "the last week has one person and is not told at all"


def test_persons_are_counted_and_not_rows() -> None:
    assert told(trips(*[("a", "1", "car")] * 9, ("b", "1", "car"))) == []
    nobody_knows_who = trips(*[(None, "1", "car")] * 9, ("a", "1", "car"))
    assert told(nobody_knows_who) == [], "rows without a person may all be of one"


def test_a_sensitive_value_is_told_only_where_a_group_has_several() -> None:
    rows = pl.DataFrame(
        [("a", "city", "ill"), ("b", "city", "well"), ("c", "town", "ill"), ("d", "town", "ill")],
        schema=["person", "home", "health"],
        orient="row",
    )
    assert told(rows, SENSITIVE, k=2) == [
        ("a", "city", "ill"),
        ("b", "city", "well"),
        ("c", "town", None),
        ("d", "town", None),
    ]


def test_what_leaves_has_no_person_no_order_and_another_number_each_time() -> None:
    rows = trips(*((p, "1", mode) for p in "cba" for mode in ("car", "bus")))
    one, other = (released(hidden(rows, TABLE, 3, 2), TABLE) for _ in range(2))
    assert one.columns == ["row_id", "week", "mode"]
    assert one["mode"].to_list() == ["bus"] * 3 + ["car"] * 3
    assert one["row_id"].n_unique() == 6
    assert not set(one["row_id"]) & set(other["row_id"])


def test_an_empty_frame_stays_empty() -> None:
    assert told(trips(("a", "1", "car")).clear()) == []


COUNTS = {"description": "Counts.", "query": "SELECT …", "columns": {"week": "Week.", "mode": "Mode."}}


def counts(rows: pl.DataFrame, k: int = 2, **said: Any) -> list[tuple[Any, ...]]:
    return counted(rows, Aggregate.model_validate(COUNTS | said), k, 2).rows()


def test_a_cell_with_too_few_persons_is_not_told_and_nobody_counts_too_much() -> None:
    rows = trips(*((p, "1", "car") for p in "ab"), *[("a", "1", "car")] * 9, *[("a", "1", "bus")] * 9)
    rows = rows.with_columns(day=pl.lit(1))
    assert counts(rows) == [("1", "car", 11, 2)]
    assert counts(rows, day="day") == [("1", "car", 3, 2)]


def test_a_total_does_not_give_a_cell_away() -> None:
    rows = trips(
        *((p, "1", "car") for p in "abcde"),
        *((p, "1", "bus") for p in "abc"),
        ("a", "1", "boat"),
        *((p, "2", mode) for mode in ("car", "bus") for p in "ab"),
    )
    assert counts(rows) == [
        ("1", "bus", 3, 3),
        ("1", "car", 5, 5),
        ("2", "bus", 2, 2),
        ("2", "car", 2, 2),
    ]
    assert counts(rows, total="mode") == [
        ("1", "car", 5, 5),
        ("1", None, 9, 5),
        ("2", "bus", 2, 2),
        ("2", "car", 2, 2),
        ("2", None, 4, 2),
    ], "9 less 5 are two cells: had the bus been told, the boat would be known"


def test_two_small_cells_of_the_same_persons_do_not_hide_them() -> None:
    rows = trips(
        *((p, "1", mode) for mode in ("boat", "bus") for p in "ab"),
        *((p, "1", "car") for p in "abcd"),
        ("e", "1", "tram"),
    )
    assert counts(rows, k=3, total="mode") == [("1", None, 9, 5)]
    nameless = rows.with_columns(pl.col("mode").replace({"boat": None, "bus": "car", "tram": "car"}))
    assert counts(nameless, k=3, total="mode") == [("1", None, 9, 5)], "what has no name is a cell as well"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"levels": [["week", "mode", "place"]]}, "place is no column"),
        ({"levels": [["week"]]}, "must name mode"),
        ({"levels": []}, "at least 1"),
        ({"sensitive": ["mode"]}, "mode is no column"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(fault: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CleanTable.model_validate(TABLE.model_dump() | fault)


def test_places_become_cells_that_nest() -> None:
    latitude, longitude, resolution = pl.DataFrame(
        [(51.2, 4.4, 7), (51.2, 4.4, 15), (51.2, 4.4, None), (None, 4.4, 7), (95.0, 4.4, 7)],
        schema=["latitude", "longitude", "resolution"],
        orient="row",
    ).get_columns()
    cells = cells_of(latitude, longitude, resolution)
    assert cells.to_list() == [h3.latlng_to_cell(51.2, 4.4, 7), h3.latlng_to_cell(51.2, 4.4, 9), None, None, None]
    coarse = at_most(cells, 7)
    assert coarse[0] == coarse[1] == cells[0]
    assert at_most(coarse, 9).to_list() == coarse.to_list()
