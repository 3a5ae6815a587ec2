"""Publishes what the build file knows: a file of its own, built aside, verified and swapped in one step.

It holds the histories, the truth now as views of them, the marts, and the accounts; not what was delivered, nor how it
is kept. Of a vendor that has delivered anything it has everything, empty where nothing was loaded: a query that is
right does not fail for want of rows.
A reader that holds the old file keeps reading it; nobody who reads is waited for, and no reader sees half a load.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from offload_platform.contracts.contract import Contract
from offload_platform.settings import Feed
from offload_platform.vendors import Vendor, vendor_named
from offload_platform.warehouse.blank import contracts_of, write_blank
from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles, prepare
from offload_platform.warehouse.holds import Held, held_deliveries
from offload_platform.warehouse.merge import Merged, merge, too_old_to_merge
from offload_platform.warehouse.ops import OPS_TABLES, ensure_ops
from offload_platform.warehouse.presence import PRESENCE, presence_sql
from offload_platform.warehouse.sql import fetched, literal, quoted
from offload_platform.warehouse.storage import rows_table, versions_table
from offload_platform.warehouse.versions import OWN_BUCKETS, Buckets
from offload_platform.warehouse.views import history_sql

_READ_ONLY = 0o444
_ROWS_AT_A_TIME = 1_000_000


class PublishFailed(Exception):
    """What was written does not hold what the build file does; the old published file stands."""


@dataclass(frozen=True)
class Published:
    """What was published: rows by qualified table name, size of the file in bytes, what was merged and is held.

    `too_old_to_merge` counts deliveries that are loaded and are older than rows which have expired. `seconds` is what
    all of it took, merging and verifying included.
    """

    rows: dict[str, int]
    size_bytes: int
    at: datetime
    merged: tuple[Merged, ...]
    held: tuple[Held, ...]
    too_old_to_merge: int
    seconds: float


def publish(
    connection: duckdb.DuckDBPyConnection,
    files: WarehouseFiles,
    feeds: Iterable[Feed] = (),
    buckets: Buckets = OWN_BUCKETS,
) -> Published:
    """Merge what is not merged yet, write the published file beside the old one, verify it, and put it in its place.

    `feeds` say from when on a delivery is held, and `buckets` work out the versions. The connection is the writer's,
    with the writer lock held; it is closed here. The published file is read-only, so that no client opens it for
    writing by accident.

    Raises:
        PublishFailed: the new file cannot be read, or holds other rows than the build file.
    """
    started = time.monotonic()
    ensure_ops(connection)
    merged, held = tuple(merge(connection, feeds, buckets)), tuple(held_deliveries(connection))
    too_old = too_old_to_merge(connection)
    vendors = loaded_vendors(connection)
    connection.execute("CHECKPOINT")
    files.published.parent.mkdir(parents=True, exist_ok=True)

    def write(aside: Path) -> dict[str, int]:
        write_blank(files, vendors, aside)
        expected = _fill_all(connection, aside, vendors)
        connection.close()
        return expected

    expected = put_in_place(files.published, files.build, "the build file", write)
    return Published(
        expected, files.published.stat().st_size, datetime.now(UTC), merged, held, too_old, time.monotonic() - started
    )


def put_in_place(
    target: Path, source: Path, what: str, write: Callable[[Path], dict[str, int]], mode: int = _READ_ONLY
) -> dict[str, int]:
    """Write a DuckDB file beside the one that readers open, verify it, and put it in its place; returns its rows.

    `write` fills the file of a path and returns the rows by qualified table that it must hold. Messages name the file
    that it was written of, the `source`, and `what` that is. Readers of the old file keep it; nobody sees half a file.

    Raises:
        PublishFailed: what was written cannot be read, or holds other rows; the old file stands.
    """
    aside = target.with_suffix(".duckdb.new")
    _remove(aside)
    try:
        expected = write(aside)
        _verify(aside, expected, source, what)
        aside.chmod(mode)
        flush(aside)
        aside.replace(target)
    except BaseException:
        _remove(aside)
        raise
    return expected


def loaded_vendors(connection: duckdb.DuckDBPyConnection) -> list[Vendor]:
    """The vendors that have delivered anything."""
    return [
        vendor_named(vendor)
        for (vendor,) in fetched(connection, "SELECT DISTINCT vendor FROM ops.contracts ORDER BY 1")
    ]


def _fill_all(connection: duckdb.DuckDBPyConnection, aside: Path, vendors: Sequence[Vendor]) -> dict[str, int]:
    """Fill the file; returns the rows that the build file has for each of its tables."""
    [(build,)] = fetched(connection, "SELECT current_database()")
    loaded = set(fetched(connection, "SELECT vendor, offload_type FROM ops.contracts"))
    connection.execute(f"ATTACH {literal(str(aside))} AS published")
    try:
        connection.execute("USE published")
        expected = {f"ops.{table}": _fill(connection, f"ops.{table}", build) for table in OPS_TABLES}
        present = presence_sql(vendors, f"{quoted(build)}.store.subjects")
        connection.execute(f"INSERT INTO {PRESENCE} BY NAME {present} ORDER BY feed, delivery_stamp, user_id")
        [(expected[PRESENCE],)] = fetched(connection, f"SELECT count(*) FROM ({present})")
        for contract in contracts_of(vendors):
            is_loaded = (contract.vendor, contract.offload_type) in loaded
            expected[f"history.{contract.table}"] = _fill_history(connection, contract, build) if is_loaded else 0
        connection.execute("CHECKPOINT published")
    finally:
        connection.execute(f"USE {quoted(build)}")
        connection.execute("DETACH published")
    return expected


def _fill(connection: duckdb.DuckDBPyConnection, name: str, build: str) -> int:
    """Copy a table of the build file; returns its rows."""
    schema, _, table = name.partition(".")
    name = f"{quoted(schema)}.{quoted(table)}"
    connection.execute(f"INSERT INTO {name} BY NAME FROM {quoted(build)}.{name}")
    return int(fetched(connection, f"SELECT count(*) FROM {quoted(build)}.{name}")[0][0])


def _fill_history(connection: duckdb.DuckDBPyConnection, contract: Contract, build: str) -> int:
    """Write the versions of a contract, so many rows at a time that they are joined in memory; returns the versions."""
    of = quoted(build)
    [(last,)] = fetched(connection, f"SELECT coalesce(max(row_no), 0) FROM {of}.{rows_table(contract)}")
    for first in range(0, last + 1, _ROWS_AT_A_TIME):
        some = history_sql(contract, build, (first, first + _ROWS_AT_A_TIME - 1))
        connection.execute(f"INSERT INTO history.{quoted(contract.table)} BY NAME {some}")
    return int(fetched(connection, f"SELECT count(*) FROM {of}.{versions_table(contract)}")[0][0])


def _verify(aside: Path, expected: dict[str, int], source: Path, what: str) -> None:
    next_step = "the published file is unchanged. Publish again; if it stays so, check the disk."
    try:
        # With the memory of a writer: what is read once is not to stay in memory.
        with duckdb.connect(aside, read_only=True, config=dict(CONNECTION_CONFIG)) as copy:
            prepare(copy)
            counted = count_rows(copy)
            _read_all(copy, counted)
    except duckdb.Error as error:
        raise PublishFailed(f"what was written of {source} cannot be read ({error}); {next_step}") from error
    if counted != expected:
        different = {t for t in expected.keys() | counted.keys() if expected.get(t) != counted.get(t)}
        raise PublishFailed(
            f"what was written of {source} holds other rows than {what} in {', '.join(sorted(different))}; {next_step}"
        )


def _read_all(connection: duckdb.DuckDBPyConnection, tables: Iterable[str]) -> None:
    """Read every value once: DuckDB compares the checksum of each block that it reads, and of no other."""
    for name in tables:
        schema, _, table = name.partition(".")
        connection.execute(f"SELECT bit_xor(hash(t)) FROM {quoted(schema)}.{quoted(table)} AS t").fetchall()


def _remove(aside: Path) -> None:
    # With the log of one that was interrupted, the next would not be what was written.
    for file in (aside, aside.with_name(aside.name + ".wal")):
        file.unlink(missing_ok=True)


def count_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Rows of every table, by qualified name."""
    tables = fetched(
        connection,
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = current_database() ORDER BY ALL",
    )
    counted = {}
    for schema, table in tables:
        [(rows,)] = connection.execute(f"SELECT count(*) FROM {quoted(schema)}.{quoted(table)}").fetchall()
        counted[f"{schema}.{table}"] = rows
    return counted


def flush(path: os.PathLike[str]) -> None:
    """Make sure that a file is on the disk and not only in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
