"""The published file before it is filled: tables without rows, views, marts, and comments on all of it.

To make the thousands of comments takes DuckDB two seconds, more than the rows of most days; so the file is made once
for each version of contracts and code, and kept beside the build file.
"""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from offload_platform.contracts.contract import Contract
from offload_platform.vendors import Vendor, vendor_named
from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles, prepare
from offload_platform.warehouse.marts import ensure_marts
from offload_platform.warehouse.ops import ensure_ops
from offload_platform.warehouse.presence import PRESENCE, PRESENCE_COLUMNS, PRESENCE_COMMENT
from offload_platform.warehouse.sql import comment_on, quoted, sync_table
from offload_platform.warehouse.transactions import transaction
from offload_platform.warehouse.views import ensure_current, history_columns, history_comment

_ROOMS = ("contracts", "vendors", "warehouse")
_SAYS = (".py", ".sql", ".csv")


def write_blank(files: WarehouseFiles, vendors: Sequence[Vendor], target: Path) -> None:
    """Write a published file of some vendors without rows. To be called with the writer lock held."""
    folder = files.build.parent
    names = tuple(vendor.name for vendor in vendors)
    version = _version(vendors)
    kept = folder / f"blank-{version}.duckdb"
    if kept.exists():
        target.write_bytes(kept.read_bytes())
        return
    for old in folder.glob("blank-*"):
        old.unlink()
    target.write_bytes(_made(names, version))
    aside = kept.with_suffix(".duckdb.new")
    with aside.open("wb") as file:
        file.write(target.read_bytes())
        file.flush()
        # A power loss must not leave a name without its bytes: every publish after it would begin with them.
        os.fsync(file.fileno())
    aside.replace(kept)


def ensure_published(connection: duckdb.DuckDBPyConnection, vendors: Sequence[Vendor]) -> None:
    """Create in an empty file everything that a published one has: tables without rows, views, marts and comments."""
    ensure_ops(connection)
    # Thousands of comments, one commit.
    with transaction(connection):
        connection.execute("CREATE SCHEMA history")
        _create(connection, PRESENCE, PRESENCE_COMMENT, PRESENCE_COLUMNS)
        for contract in contracts_of(vendors):
            _create(connection, f"history.{contract.table}", history_comment(contract), history_columns(contract))
            ensure_current(connection, contract)
        for vendor in vendors:
            ensure_marts(connection, vendor.name)


def contracts_of(vendors: Sequence[Vendor]) -> list[Contract]:
    """The contracts of all of some vendors."""
    return [contract for vendor in vendors for contract in vendor.contracts.values()]


def _create(
    connection: duckdb.DuckDBPyConnection, name: str, description: str, columns: Mapping[str, tuple[str, str]]
) -> None:
    schema, _, table = name.partition(".")
    sync_table(connection, schema, table, {column: kind for column, (kind, _) in columns.items()})
    comments = {column: comment for column, (_, comment) in columns.items()}
    comment_on(connection, "TABLE", f"{quoted(schema)}.{quoted(table)}", description, comments)


@cache
def _made(vendors: tuple[str, ...], version: str) -> bytes:  # noqa: ARG001 (what is remembered is of one version)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "blank.duckdb"
        with duckdb.connect(file, config=CONNECTION_CONFIG) as connection:
            prepare(connection)
            ensure_published(connection, [vendor_named(vendor) for vendor in vendors])
        return file.read_bytes()


def _version(vendors: Sequence[Vendor]) -> str:
    """Another text whenever the file would be another one."""
    contracts = [(contract.vendor, contract.offload_type, contract.version) for contract in contracts_of(vendors)]
    return sha256(repr((duckdb.__version__, CONNECTION_CONFIG, contracts, _code())).encode()).hexdigest()[:16]


@cache
def _code() -> str:
    """A hash of all files that say what the file looks like."""
    package = Path(__file__).parents[1]
    files = sorted(file for room in _ROOMS for file in (package / room).rglob("*.*") if file.suffix in _SAYS)
    digest = sha256()
    for file in files:
        digest.update(f"{file.relative_to(package)} {file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()
