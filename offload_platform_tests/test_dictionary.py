"""The data dictionary says of every column what the warehouse says of it, and the document is the one of today."""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.dictionary import DescribedTable, describe, rendered
from offload_platform.vendors import vendor_named, vendor_names
from offload_platform.warehouse.blank import ensure_published
from offload_platform.warehouse.sql import column_comment

DOCUMENT = Path(__file__).parents[1] / "docs" / "dictionary.md"
Make = Callable[..., Any]


@pytest.fixture(scope="module")
def tables() -> list[DescribedTable]:
    return describe()


def test_the_document_is_that_of_the_contracts(tables: list[DescribedTable]) -> None:
    """Write it anew with: offload dictionary --out docs/dictionary.md"""
    assert DOCUMENT.read_text(encoding="utf-8") == rendered(tables, "dictionary.md")


def test_it_has_every_column_of_the_warehouse_in_order(tables: list[DescribedTable]) -> None:
    with duckdb.connect(":memory:") as connection:
        ensure_published(connection, [vendor_named(vendor) for vendor in vendor_names()])
        made = connection.execute(
            "SELECT schema_name || '.' || table_name, list(column_name ORDER BY column_index) FROM duckdb_columns() "
            "WHERE list_contains(?, schema_name) GROUP BY ALL",
            [[*vendor_names(), "mart", "ops"]],
        ).fetchall()
    seen = dict(made)
    contracts = [c for vendor in vendor_names() for c in vendor_named(vendor).contracts.values()]
    views = {f"{c.vendor}.{view.name}" for c in contracts for view in c.views}
    assert {t.name: [c.name for c in t.columns] for t in tables} == {t: seen[t] for t in seen.keys() - views}


def test_words_are_those_of_the_comments(tables: list[DescribedTable]) -> None:
    described = {table.name: {c.name: c for c in table.columns} for table in tables}
    for contract in vendor_named("sentiance").contracts.values():
        for column in contract.columns.values():
            said = described[f"sentiance.{contract.table}"][column.name]
            comment = column_comment(column)
            for words in (said.meaning, said.unit, said.privacy, said.source):
                assert words in comment, (contract.table, column.name)
            assert said.meaning
            assert said.source


def test_most_columns_have_an_example(tables: list[DescribedTable]) -> None:
    for table in tables:
        if table.name.startswith("sentiance."):
            columns = [c for c in table.columns if c.source]
            assert sum(bool(c.example) for c in columns) > len(columns) / 2, table.name


def test_the_page_says_the_same(tables: list[DescribedTable]) -> None:
    page = rendered(tables, "dictionary.html")
    for table in tables:
        assert f'<h2 id="{table.name}">' in page
        for column in table.columns:
            assert f"<td>{html.escape(column.meaning, quote=False)}</td>" in page.replace("&#39;", "'").replace(
                "&#34;", '"'
            )


def test_the_command_writes_either_format_and_no_other(tmp_path: Path, offload: Make) -> None:
    for name in ("new/dictionary.html", "dictionary.md"):
        said = offload("dictionary", "--out", tmp_path / name)
        assert (said.code, said.out.strip()) == (0, f"Written: {tmp_path / name}")
        assert "latitude" in (tmp_path / name).read_text(encoding="utf-8")
    refused = offload("dictionary", "--out", tmp_path / "dictionary.pdf")
    assert refused.code == 2
    assert "must end in .md or .html" in refused.err
