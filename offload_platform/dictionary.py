"""The data dictionary: every table and column that analysts see, made from the contracts, as Markdown or one HTML page.

Examples come from simulated deliveries that are read as real ones are: they are of nobody.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined

from offload_platform.contracts.columns import Column, Privacy
from offload_platform.contracts.contract import Cadence, Contract
from offload_platform.landing.deliveries import discover
from offload_platform.landing.staging import stage
from offload_platform.landing.store import DeliveryStore
from offload_platform.settings import Feed
from offload_platform.simulator.examples import example_of
from offload_platform.simulator.writing import write
from offload_platform.vendors import vendor_named, vendor_names
from offload_platform.warehouse.blank import ensure_published
from offload_platform.warehouse.marts import SCHEMA as MARTS
from offload_platform.warehouse.ops import OPS_TABLES
from offload_platform.warehouse.sql import column_type, fetched
from offload_platform.warehouse.views import current_columns

FORMATS = (".md", ".html")
_LONGEST_EXAMPLE = 48


@dataclass(frozen=True)
class DescribedColumn:
    """One column: its type in DuckDB, what it means, and all that its contract says beside; texts may be empty."""

    name: str
    type: str
    meaning: str
    unit: str = ""
    privacy: str = ""
    example: str = ""
    source: str = ""


@dataclass(frozen=True)
class DescribedTable:
    """One table or view, with its schema in its name; `facts` are what is known of it beside its columns."""

    name: str
    description: str
    facts: tuple[tuple[str, str], ...]
    columns: tuple[DescribedColumn, ...]


def describe() -> list[DescribedTable]:
    """Every table of every vendor, then the marts, then the accounts."""
    tables = [
        _of_contract(contract, examples)
        for vendor in vendor_names()
        for contract, examples in _with_examples(vendor).values()
    ]
    return [*tables, *_of_marts(), *_of_ops()]


def write_dictionary(file: Path) -> None:
    """Write the dictionary in the format that the file's name ends in (`FORMATS`); folders are made if need be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(rendered(describe(), f"dictionary{file.suffix}"), encoding="utf-8")


def rendered(tables: Sequence[DescribedTable], template: str) -> str:
    """The dictionary as text."""
    pages = Environment(
        loader=PackageLoader("offload_platform", "."),
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters["cell"] = _cell
    return pages.get_template(template).render(tables=tables)


def _of_contract(contract: Contract, examples: Mapping[str, Any]) -> DescribedTable:
    origin = [
        DescribedColumn(name, kind, meaning)
        for name, (kind, meaning) in current_columns(contract).items()
        if name not in contract.columns
    ]
    return DescribedTable(
        name=f"{contract.vendor}.{contract.table}",
        description=contract.description,
        facts=(
            ("one row is told by", ", ".join(contract.identity)),
            ("delivered as", f"{contract.offload_type}, {contract.content.value} ({contract.family})"),
            ("views on it", ", ".join(view.name for view in contract.views) or "none"),
            ("source", contract.source),
        ),
        columns=(*origin, *(_of_column(c, examples.get(c.name)) for c in contract.columns.values())),
    )


def _of_column(column: Column, example: Any) -> DescribedColumn:
    facts = column.facts
    privacy = facts.privacy.value if facts.privacy is not Privacy.NONE else ""
    return DescribedColumn(
        name=column.name,
        type=column_type(column),
        meaning=column.description,
        unit=facts.unit or "",
        privacy=", ".join(filter(None, (privacy, "sensitive" if facts.sensitive else ""))),
        example=_said(example),
        source=facts.source,
    )


def _of_marts() -> Iterator[DescribedTable]:
    with duckdb.connect(":memory:") as connection:
        ensure_published(connection, [vendor_named(vendor) for vendor in vendor_names()])
        columns = fetched(
            connection,
            "SELECT table_name, list((column_name, data_type, comment) ORDER BY column_index) FROM duckdb_columns() "
            "WHERE schema_name = ? GROUP BY table_name",
            [MARTS],
        )
        described = dict(columns)
        views = "SELECT view_name, comment FROM duckdb_views() WHERE schema_name = ? ORDER BY view_name"
        for name, description in fetched(connection, views, [MARTS]):
            yield DescribedTable(
                f"{MARTS}.{name}", description, (), tuple(DescribedColumn(*said) for said in described[name])
            )


def _of_ops() -> Iterator[DescribedTable]:
    for name, (description, columns) in OPS_TABLES.items():
        described = tuple(DescribedColumn(column, kind, meaning) for column, (kind, meaning) in columns.items())
        yield DescribedTable(f"ops.{name}", description, (), described)


def _with_examples(vendor: str) -> dict[str, tuple[Contract, Mapping[str, Any]]]:
    """Contracts by offload type, with a value of each column from simulated deliveries."""
    contracts = vendor_named(vendor).contracts
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "delivered"
        example = example_of(vendor)
        write(example.sources, root)
        feed = Feed(
            name="example",
            vendor=vendor,
            url=root.as_uri(),
            cadence=dict.fromkeys(vendor_named(vendor).layout.families, Cadence.DAILY),
            settle_hours=0,
            start=date(2000, 1, 1),
            **example.feed,
        )
        store = DeliveryStore(feed)
        deliveries = {d.offload_type: d for d in discover(feed, store.list_objects()).deliveries}
        found: dict[str, tuple[Contract, Mapping[str, Any]]] = {}
        for offload_type, contract in contracts.items():
            staging = Path(folder) / offload_type
            staging.mkdir()
            staged = stage(store, deliveries[offload_type], contract, staging)
            frames = [pl.read_ipc(file) for part in staged.parts for file in part.row_files]
            found[offload_type] = (contract, _examples(pl.concat(frames)))
        return found


def _examples(rows: pl.DataFrame) -> dict[str, Any]:
    """The first value of each column; columns without any are left out."""
    first = {name: rows[name].drop_nulls().head(1).to_list() for name in rows.columns}
    return {name: values[0] for name, values in first.items() if values}


def _said(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST_EXAMPLE else text[: _LONGEST_EXAMPLE - 1] + "…"


def _cell(text: str) -> str:
    """A text in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
