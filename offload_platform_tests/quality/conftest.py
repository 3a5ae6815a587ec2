"""Delivered text, conformed."""

from collections.abc import Callable, Iterator

import polars as pl
import pytest

from offload_platform.contracts.contract import Contract
from offload_platform.contracts.readers import wire_name
from offload_platform.quality.conform import Conformed, Conformer
from offload_platform.quality.json_cells import JsonCells

Conform = Callable[..., Conformed]


@pytest.fixture(scope="session")
def json_cells() -> Iterator[JsonCells]:
    with JsonCells() as cells:
        yield cells


@pytest.fixture(scope="session")
def conform(json_cells: JsonCells) -> Conform:
    """Conforms rows that are given as texts by delivered column; a column that no row has is not delivered."""

    def run(contract: Contract, *rows: dict[str, str | None], columns: tuple[str, ...] | None = None) -> Conformed:
        columns = columns or tuple(dict.fromkeys(column for row in rows for column in row))
        frame = pl.DataFrame(
            {wire_name(c): pl.Series([row.get(c) or None for row in rows], dtype=pl.String) for c in columns}
        )
        return Conformer(contract, columns, json_cells).conform(frame)

    return run
