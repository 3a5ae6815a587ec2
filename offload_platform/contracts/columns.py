"""What a contract says of one column, beside its type and its pandera rules."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

import pandera.polars as pa

from offload_platform.contracts.readers import Reader


class Privacy(StrEnum):
    """How a column touches a person."""

    IDENTIFIER = "identifier"
    LOCATION = "location"
    BEHAVIOUR = "behaviour"
    NONE = "none"


@dataclass(frozen=True)
class ColumnFacts:
    """Facts of a column that pandera has no place for.

    `enumeration` holds the values that are known so far; others are kept and reported as drift.
    `sensitive` marks columns that can hint at health, religion and the like. A column that is not `expected` was
    delivered once and is no longer; its absence is no drift.
    """

    reader: Reader
    source: str
    privacy: Privacy
    unit: str | None = None
    sensitive: bool = False
    enumeration: frozenset[str] | None = None
    expected: bool = True


class Column(NamedTuple):
    """A column of a contract as the other rooms see it."""

    name: str
    dtype: Any
    nullable: bool
    description: str
    facts: ColumnFacts


def column(
    reader: Reader,
    description: str,
    *,
    source: str,
    privacy: Privacy,
    unit: str | None = None,
    sensitive: bool = False,
    enumeration: frozenset[str] | None = None,
    expected: bool = True,
    nullable: bool = False,
    **rules: Any,
) -> Any:
    """A pandera field that carries its facts; `rules` are pandera's own (`ge`, `isin`, `str_matches` …)."""
    facts = ColumnFacts(reader, source, privacy, unit, sensitive, enumeration, expected)
    return pa.Field(description=description, nullable=nullable, metadata={"facts": facts}, **rules)


def columns_of(schema: pa.DataFrameSchema, readers: Mapping[str, Reader]) -> Mapping[str, Column]:
    """The columns of a contract's schema, in order, by warehouse name; some with other readers than their own."""
    facts = {name: field.metadata["facts"] for name, field in schema.columns.items()}
    facts |= {name: replace(facts[name], reader=reader) for name, reader in readers.items()}
    return {
        name: Column(name, field.dtype.type, field.nullable, field.description, facts[name])
        for name, field in schema.columns.items()
    }
