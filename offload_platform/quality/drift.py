"""Drift: what a delivery brings that its contract did not lead one to expect. Reported, never swallowed or fatal."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from offload_platform.contracts.contract import Contract

_MOST_NEW_VALUES = 1_000
_LONGEST_VALUE = 200


class DriftKind(StrEnum):
    """Kinds of drift."""

    UNKNOWN_COLUMN = "unknown column"
    MISSING_COLUMN = "missing column"
    COLUMN_ORDER = "column order"
    DELIMITER = "delimiter"
    LINE_END = "line end"
    BYTE_ORDER_MARK = "byte-order mark"
    COMPRESSION = "compression"
    NEW_VALUE = "new value"
    MISFIT = "misfit"
    REMARK = "remark"


@dataclass(frozen=True)
class Drift:
    """One observation on one part: its kind, the column it is about, what was found, and in how many rows."""

    kind: DriftKind
    column: str | None
    detail: str
    rows: int | None = None


class DriftCounter:
    """Adds up what the blocks of one part show beside the contract.

    Of each column, the first thousand values are told that it does not know, and how many rows have others.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._counts: Counter[tuple[DriftKind, str | None, str]] = Counter()
        self._told: Counter[str] = Counter()

    def count(self, good: pl.DataFrame, misfits: dict[str, int]) -> None:
        """Look at the rows that keep the contract, and at the cells that went to `extra`."""
        for name, column in self._contract.columns.items():
            if column.facts.enumeration is not None:
                for value, rows in _new_values(good[name], column.facts.enumeration):
                    self._count_value(name, value, rows)
        if self._contract.remarks:
            kept = good.select(
                (~rule).sum().alias(str(i)) for i, rule in enumerate(self._contract.remarks.values())
            ).row(0)
            for remark, rows in zip(self._contract.remarks, kept, strict=True):
                if rows:
                    about, _, detail = remark.partition(": ")
                    self._counts[DriftKind.REMARK, about, detail] += rows
        for name, cells in misfits.items():
            self._counts[DriftKind.MISFIT, name, "text that does not fit the column's type, kept in extra"] += cells

    def _count_value(self, column: str, value: str, rows: int) -> None:
        value = value if len(value) <= _LONGEST_VALUE else value[:_LONGEST_VALUE] + "…"
        observation = (DriftKind.NEW_VALUE, column, value)
        if observation not in self._counts:
            if self._told[column] == _MOST_NEW_VALUES:
                observation = (DriftKind.NEW_VALUE, column, f"others, after {_MOST_NEW_VALUES:,} that are told")
            else:
                self._told[column] += 1
        self._counts[observation] += rows

    def found(self) -> list[Drift]:
        """All observations so far, in a stable order."""
        return [
            Drift(kind, column, detail, rows) for (kind, column, detail), rows in sorted(self._counts.items(), key=str)
        ]


def _new_values(values: pl.Series, known: frozenset[str]) -> Iterable[tuple[str, int]]:
    distinct = values.drop_nulls().unique()
    new = distinct.filter(~distinct.is_in(list(known)))
    if new.len():
        counted = values.filter(values.is_in(new.implode())).value_counts()
        yield from counted.rows()
