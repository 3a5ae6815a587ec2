"""A contract: everything the platform knows of one offload type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import Any

import pandera.polars as pa
import polars as pl

from offload_platform.contracts.columns import Column, columns_of
from offload_platform.contracts.readers import Computed, Protecting, PseudonymCell, Reader, UnknownColumns

_PERSON_COLUMNS = ("user_id", "metadata_user_id", "external_id")


class Cadence(StrEnum):
    """How often a feed delivers."""

    WEEKLY = "weekly"
    DAILY = "daily"
    INTRADAY = "intraday"
    """Every so many minutes; the feed says how many."""


class Content(StrEnum):
    """What a delivery holds, seen from the one before it."""

    SNAPSHOT = "snapshot"
    """All of a window that reaches back; deliveries overlap."""
    INCREMENT = "increment"
    """What was processed in the period of the delivery; deliveries do not overlap."""
    REGISTER = "register"
    """The full state, in an object that is replaced in place; each version is kept."""


@dataclass(frozen=True)
class Reference:
    """Columns by which rows refer to another offload type of the same feed.

    The rows of the other type are looked for in deliveries of the same stamp, and of `days` before it.
    """

    to: str
    columns: tuple[str, ...]
    days: int = 0


@dataclass(frozen=True)
class Decisions:
    """Values of a column that are decisions, and those that leave them open: none is expected to be undone."""

    column: str
    made: tuple[str, ...]
    undecided: tuple[str, ...]


@dataclass(frozen=True)
class Window:
    """How far each snapshot of events reaches back, and when the absence of an event from it says something.

    What an earlier snapshot held is withdrawn when it is absent although its subject is present, and it is not older
    than `reach` less `guard`: the edge of the window need not be sharp. Without `reach`, a snapshot is about all times.
    A subject is present where one of the offload types `witnesses` has a row of it in
    the same snapshot.
    """

    witnesses: tuple[str, ...]
    reach: timedelta | None = None
    guard: timedelta = timedelta(0)


@dataclass(frozen=True)
class CsvFormat:
    """Wire format of a part: CSV as in RFC 4180, with a header in each part.

    `delimiter` and `compression` (None: any) are the expected ones; others are accepted and reported as drift, and so
    is another order of the columns where they are `ordered`. A part that `may_be_empty` need not even have a header.
    `aliases` are other names of delivered columns, with the name that the contract reads them by; where a part has
    both, the alias is left aside.
    """

    delimiter: str = ","
    compression: str | None = "gzip"
    ordered: bool = True
    may_be_empty: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """A view that ships with a table: `sql` selects from `{table}`, the truth now; `columns` documents what it adds."""

    name: str
    description: str
    sql: str
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StampColumn:
    """A column that follows from the stamp of the delivery: an SQL expression over `delivery_stamp` (UTC)."""

    name: str
    sql_type: str
    sql: str
    description: str


@dataclass(frozen=True)
class Contract:
    """One offload type: its rows, wire format, natural key and delivery family.

    `key` is the natural key inside one delivery. `family` names the vendor's delivery rhythm, to which a feed
    gives a cadence. `remarks` are rules whose failure is reported while the row is kept.
    `identified_by` are the columns that tell over all deliveries what a row is about, where `key` does not.
    `stamp_columns` follow from the name of the delivery. `views` ship with the table. `event_time` is the column that
    says when what a row tells happened; where the event of a thing `may_move`, rows about the same may differ in it.
    `references` name what rows refer to. `window` is that of snapshots of events. `changed_at` is the column that says
    when what a row tells was last changed: a row never takes the place of one that was changed later, whenever it is
    delivered. `dropped` are delivered columns that are known, and kept nowhere. `readers`, by column, stand in place of
    those of the rows. `decisions` are told of when a later change undoes one. `persons` are columns, beside the usual
    ones, that hold the id of a person.
    """

    vendor: str
    offload_type: str
    family: str
    rows: type[pa.DataFrameModel]
    key: tuple[str, ...]
    source: str
    wire: CsvFormat = CsvFormat()
    remarks: Mapping[str, pl.Expr] = field(default_factory=dict)
    stamp_columns: tuple[StampColumn, ...] = ()
    views: tuple[View, ...] = ()
    content: Content = Content.SNAPSHOT
    event_time: str | None = None
    references: tuple[Reference, ...] = ()
    window: Window | None = None
    identified_by: tuple[str, ...] = ()
    may_move: bool = False
    changed_at: str | None = None
    dropped: tuple[str, ...] = ()
    readers: Mapping[str, Reader] = field(default_factory=dict)
    decisions: Decisions | None = None
    persons: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """Name of the table inside the vendor's schema; a dot in the type's name becomes an underscore."""
        return self.offload_type.replace(".", "_")

    @property
    def identity(self) -> tuple[str, ...]:
        """Columns that tell, within a feed and over all its deliveries, what a row is about."""
        return tuple(name for name in self.identified_by or self.key if name != "app_id")

    @property
    def subject(self) -> str | None:
        """Column of the person that a row is about; None where rows are about nobody."""
        return "user_id" if "user_id" in self.columns else None

    @property
    def person_columns(self) -> tuple[str, ...]:
        """Columns that hold the id of a person, the vendor's or the client's, or the pseudonym of one."""
        usual = (name for name in _PERSON_COLUMNS if name in self.columns)
        return (*usual, *self.persons, *self.pseudonyms_of_persons)

    @property
    def pseudonyms_of_persons(self) -> Mapping[str, str]:
        """Columns that hold pseudonyms of persons' ids, with the kind of id."""
        readers = ((c.name, c.facts.reader) for c in self.columns.values())
        return {name: r.kind for name, r in readers if isinstance(r, PseudonymCell) and r.of_person}

    @property
    def unknown_column(self) -> str | None:
        """Column that keeps what is delivered beside the contract; None where nothing is kept."""
        return next((n for n, c in self.columns.items() if isinstance(c.facts.reader, UnknownColumns)), None)

    @property
    def is_told_apart_by_delivery(self) -> bool:
        """Whether rows of different deliveries are never about the same."""
        return "delivery_stamp" in self.identity

    @property
    def fixed_event_time(self) -> str | None:
        """The event time, where all rows about the same have one and the same."""
        return None if self.may_move else self.event_time

    @property
    def needs_pseudonyms(self) -> bool:
        """Whether reading its rows takes a secret."""
        return any(isinstance(c.facts.reader, PseudonymCell) for c in self.columns.values())

    @property
    def description(self) -> str:
        """What one row is, in the words of the contract's docstring."""
        return " ".join((self.rows.__doc__ or "").split())

    @cached_property
    def schema(self) -> pa.DataFrameSchema:
        """The pandera schema: the one statement of types and rules."""
        # A schema has copies of checks, which know the engines that pandera knew by then.
        pa.DataFrameSchema.register_default_backends(pl.LazyFrame)
        return self.rows.to_schema()

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """Columns by warehouse name, in table order."""
        return columns_of(self.schema, self.readers)

    @cached_property
    def ruled_schema(self) -> pa.DataFrameSchema:
        """The part of the schema that can fail on a value: columns with checks, and those that must not be null.

        pandera looks at every column that it is given, and takes half a second for 600 without a rule.
        """
        ruled = [name for name, c in self.schema.columns.items() if c.checks or c.unique or not c.nullable]
        schema: pa.DataFrameSchema = self.schema.select_columns(ruled)
        schema.strict = False
        return schema

    @cached_property
    def wire_columns(self) -> tuple[str, ...]:
        """Names of the delivered columns that the contract knows, in the order of the contract."""
        wires = (c.facts.reader.wire for c in self.columns.values() if not isinstance(c.facts.reader, UnknownColumns))
        return tuple(dict.fromkeys(wire for wire in wires if wire is not None))

    @cached_property
    def known_wire_columns(self) -> frozenset[str]:
        """Delivered columns that are no surprise: those that are read, their other names, those that are dropped."""
        return frozenset((*self.wire_columns, *self.wire.aliases, *self.dropped))

    @cached_property
    def protected_wire_columns(self) -> frozenset[str]:
        """Delivered columns whose text is kept nowhere as it was delivered, under all their names."""
        readers = (c.facts.reader for c in self.columns.values())
        protected = {*self.dropped, *(reader.wire for reader in readers if isinstance(reader, Protecting))}
        return frozenset(protected | {alias for alias, wire in self.wire.aliases.items() if wire in protected})

    @cached_property
    def required_wire_columns(self) -> frozenset[str]:
        """Delivered columns without which no row can keep the contract."""
        return frozenset(
            reader.wire
            for c in self.columns.values()
            if not c.nullable
            and not isinstance(reader := c.facts.reader, UnknownColumns | Computed)
            and reader.wire is not None
        )

    def read_as(self, delivered: Sequence[str]) -> tuple[str, ...]:
        """The names by which delivered columns are read: an alias stands for the column that the part lacks."""
        names = list(delivered)
        for alias, wire in self.wire.aliases.items():
            if alias in names and wire not in names:
                names[names.index(alias)] = wire
        return tuple(names)

    def missing_wire_columns(self, delivered: Sequence[str]) -> list[str]:
        """Columns that a part with these delivered columns lacks, and without which no row can keep the contract."""
        return sorted(self.required_wire_columns - set(self.read_as(delivered)))

    @cached_property
    def expected_wire_columns(self) -> frozenset[str]:
        """Delivered columns whose absence is drift."""
        return frozenset(
            reader.wire
            for c in self.columns.values()
            if c.facts.expected and not isinstance(reader := c.facts.reader, UnknownColumns) and reader.wire is not None
        )

    @cached_property
    def version(self) -> str:
        """Changes when anything changes that the contract says: the same bytes may load or read differently then."""
        columns = [(*c[:4], c.facts, self.schema.columns[c.name].checks) for c in self.columns.values()]
        rows = (self.description, self.key, self.identity, self.source, self.wire, columns, self.remarks, self.views)
        said = (*rows, self.dropped, self.changed_at)
        return sha256(_said(said).encode()).hexdigest()[:12]


def _said(value: Any) -> str:
    """A value as text that is the same in every process; expressions are taken from the functions that make them."""
    if isinstance(value, pl.Expr):
        return value.meta.serialize().hex()
    if callable(value) and not isinstance(value, type | pa.Check):
        return _said(value())
    if is_dataclass(value) and not isinstance(value, type):
        return type(value).__name__ + _said([getattr(value, f.name) for f in fields(value)])
    if isinstance(value, Mapping):
        return _said(list(value.items()))
    if isinstance(value, frozenset):
        return _said(sorted(value))
    if isinstance(value, list | tuple):
        return f"({', '.join(_said(item) for item in value)})"
    return repr(value)
