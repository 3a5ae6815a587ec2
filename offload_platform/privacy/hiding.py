"""Hides persons behind each other: rows are told less and less exactly until enough persons share what they tell.

A group is all rows that tell the same. What is counted are persons, not rows: five trips of one person hide nobody.
"""

from collections.abc import Sequence

import polars as pl

from offload_platform.privacy.cells import at_most
from offload_platform.privacy.tables import PERSON, PERSONS, ROWS, Aggregate, CleanTable, parsed

ROW, LEVEL = "row", "level"
"""Columns that stay inside of this room: the row of the frame that is told, and the level at which, both from 0."""


def hidden(rows: pl.DataFrame, table: CleanTable, k: int, sensitive_values: int) -> pl.DataFrame:
    """The rows that may be told, each at the first level at which `k` persons share what it tells.

    Returns the columns of the table, null where a row does not tell them, and `person`, `row` and `level` beside. Rows
    that are too rare at the last level are left out. A sensitive column is null in groups with fewer than
    `sensitive_values` different values of it.
    """
    groups = [name for name in table.columns if name not in table.sensitive]
    left = rows.with_row_index(ROW)
    told: list[pl.DataFrame] = []
    for number, level in enumerate(table.levels):
        columns = at_level(left, table, level)
        # Rows that no person is known of count as one person together, which errs on the safe side.
        is_hidden = columns.select(pl.col(PERSON).n_unique().over(groups) >= k).to_series()
        told.append(columns.filter(is_hidden).with_columns(pl.lit(number, pl.Int32).alias(LEVEL)))
        left = left.filter(~is_hidden)
    chosen = pl.concat(told).sort(ROW)
    return chosen.with_columns(
        pl.when(pl.col(name).n_unique().over(groups) >= sensitive_values).then(pl.col(name)).alias(name)
        for name in table.sensitive
    )


def at_level(rows: pl.DataFrame, table: CleanTable, level: Sequence[str]) -> pl.DataFrame:
    """The columns of a table as a level tells them, and those of the frame that are none of the table's."""
    finest = dict(parsed(tuple(level)))
    told: list[pl.Series] = []
    for name in table.columns:
        values = rows[name]
        if name not in finest and name not in table.sensitive:
            values = values.clear(rows.height)
        elif (resolution := finest.get(name)) is not None:
            values = at_most(values, resolution)
        told.append(values)
    return rows.select(pl.exclude(list(table.columns))).hstack(told)


def counted(rows: pl.DataFrame, table: Aggregate, k: int, rows_per_person: int) -> pl.DataFrame:
    """Rows and persons in each cell that holds at least `k` persons, and the totals over one of its columns.

    Of one person at most `rows_per_person` count in a cell of a day. Where the cells that are too small to tell could
    be worked out of a total, the smallest one that could be told goes with them.
    """
    dimensions = list(table.columns)
    rows = rows.with_columns(at_most(rows[name], resolution) for name, resolution in table.resolution.items())
    if table.day is not None:
        rows = rows.filter(pl.int_range(pl.len()).over([PERSON, table.day, *dimensions]) < rows_per_person)
    measures = [
        pl.len().cast(pl.Int64).alias(ROWS),
        pl.col(PERSON).n_unique().cast(pl.Int64).alias(PERSONS),
        *(pl.col(name).sum() for name in table.sums),
    ]
    cells = rows.group_by(dimensions).agg(measures)
    if table.total is None:
        return cells.filter(pl.col(PERSONS) >= k).sort(dimensions)
    of_total = [name for name in dimensions if name != table.total]
    told = [_secured(some, table.total, k) for some in _below_totals(cells, of_total)]
    totals = rows.group_by(of_total).agg(measures) if of_total else rows.select(measures)
    totals = totals.with_columns(pl.lit(None, cells.schema[table.total]).alias(table.total)).select(cells.columns)
    return pl.concat([*told, totals.filter(pl.col(PERSONS) >= k)]).sort(dimensions, nulls_last=True)


def _below_totals(cells: pl.DataFrame, of_total: Sequence[str]) -> list[pl.DataFrame]:
    """The cells of each total."""
    return [some for _, some in cells.group_by(list(of_total))] if of_total else [cells]


def _secured(cells: pl.DataFrame, total: str, k: int) -> pl.DataFrame:
    """The cells below one total that may be told beside it; one without a name is never told.

    The total less what is told tells the rest together. So where a cell is too small to tell, the smallest one that
    could be told goes as well: the rest is two cells at least, and `k` distinct persons, whoever is in both.
    """
    told = cells.filter(pl.col(PERSONS) >= k, pl.col(total).is_not_null()).sort(PERSONS, ROWS)
    return told.slice(1) if (cells[PERSONS] < k).any() else told
