"""Compares what there is four times over: in the store, in the accounts, in the tables, and in the published file.

Nothing is changed. By default, what is listed and counted is compared; the full comparison reads every loaded part
again, value by value, and every block of both files.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import duckdb
import polars as pl

from offload_platform.contracts.contract import Content, Contract
from offload_platform.contracts.deliveries import Delivery, StoredObject
from offload_platform.landing.deliveries import discover
from offload_platform.landing.errors import LandingError
from offload_platform.landing.pseudonyms import reading_of
from offload_platform.landing.staging import StagedPart, stage
from offload_platform.landing.store import DeliveryStore
from offload_platform.quality.arrow import ArrowStream
from offload_platform.quality.hashes import CONTENT_HASH, content_hash
from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.files import WarehouseFiles, Writing
from offload_platform.warehouse.ledger import has_ledger
from offload_platform.warehouse.ops import OF_TYPE, OPS_TABLES
from offload_platform.warehouse.presence import PRESENCE, presence_sql
from offload_platform.warehouse.publish import loaded_vendors
from offload_platform.warehouse.sql import fetched, literal, quoted
from offload_platform.warehouse.storage import rows_table, sightings_table, versions_table
from offload_platform.warehouse.strike import strike
from offload_platform.warehouse.views import has_views

_LOAD_AGAIN = "Materialise the partition again (in the UI), or restore a backup: offload restore."
_PUBLISH = "Publish again: offload run, or materialise published_file."
_DISK = "Check the disk; then restore a backup: offload restore."


class Weight(StrEnum):
    """How much a difference matters."""

    NOTE = "note"
    """As it may well be."""
    PROBLEM = "problem"


@dataclass(frozen=True)
class Difference:
    """Something that is not the same in two places, and what to do about it."""

    feed: str
    offload_type: str
    partition: str
    weight: Weight
    found: str
    next_step: str


@dataclass
class Verified:
    """What was looked at, in numbers, and all that differs."""

    parts: int = 0
    rows: int = 0
    parts_in_store: int = 0
    parts_read_again: int = 0
    tables_published: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether there is no problem."""
        return all(difference.weight is not Weight.PROBLEM for difference in self.differences)


@dataclass(frozen=True)
class _LoadedPart:
    """A part as the ledger has it. The marker of an empty delivery counts as one, without a checksum."""

    partition: str
    delivery_stamp: datetime
    object_key: str
    etag: str
    size_bytes: int
    rows_in: int
    rows_loaded: int
    rows_quarantined: int
    rows_erased: int
    contract_version: str
    is_part: bool


def verify(
    writing: Writing,
    files: WarehouseFiles,
    feeds: Sequence[Feed],
    store_of: Callable[[Feed], DeliveryStore],
    offload_types: Sequence[str] = (),
    *,
    full: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
) -> Verified:
    """Compare stores, accounts, tables and the published file of some feeds, and of some types or all.

    Loads wait to commit while tables are compared, and not while parts are listed and read.
    """
    verified = Verified()
    try:
        for feed in feeds:
            on_step(f"Comparing the tables of {feed.name} …")
            loaded = _with_tables(verified, writing, feed, offload_types)
            on_step(f"Comparing with {feed.url} …")
            _with_store(verified, writing, files, feed, store_of, loaded, full=full, on_step=on_step)
        on_step("Comparing the published file …")
        with writing() as connection:
            if full:
                verified.differences += _unreadable(connection)
            verified.tables_published, differences = _published(connection, files, full=full)
            verified.differences += differences
    except duckdb.Error as error:
        found = f"{files.build} cannot be read ({_said(error)}); nothing after that was compared"
        verified.differences.append(Difference("", "", "", Weight.PROBLEM, found, _DISK))
    return verified


def _with_tables(
    verified: Verified, writing: Writing, feed: Feed, offload_types: Sequence[str]
) -> dict[str, list[_LoadedPart]]:
    """Compare ledger, receipts and tables; returns the loaded parts by offload type."""
    loaded: dict[str, list[_LoadedPart]] = {}
    with writing() as connection:
        for name, contract in vendor_named(feed.vendor).contracts.items():
            is_wanted = not offload_types or name in offload_types
            if is_wanted and has_ledger(connection) and has_views(connection, contract):
                loaded[name] = _loaded_parts(connection, feed.name, contract)
                verified.differences += _in_tables(connection, feed.name, contract, loaded[name])
                verified.differences += _in_receipts(connection, feed.name, contract)
    verified.parts += sum(part.is_part for parts in loaded.values() for part in parts)
    verified.rows += sum(part.rows_in for parts in loaded.values() for part in parts)
    return loaded


def _loaded_parts(connection: duckdb.DuckDBPyConnection, feed: str, contract: Contract) -> list[_LoadedPart]:
    found = fetched(
        connection,
        "SELECT partition, delivery_stamp, object_key, etag, size_bytes, coalesce(rows_in, 0), "
        "coalesce(rows_loaded, 0), coalesce(rows_quarantined, 0), coalesce(rows_erased, 0), contract_version, "
        f"checksum IS NOT NULL FROM ops.ledger WHERE {OF_TYPE} AND status = 'loaded' "
        "ORDER BY delivery_stamp, object_key",
        [feed, contract.vendor, contract.offload_type],
    )
    return [_LoadedPart(*row) for row in found]


def _in_tables(
    connection: duckdb.DuckDBPyConnection, feed: str, contract: Contract, loaded: Sequence[_LoadedPart]
) -> Iterator[Difference]:
    """Where the tables hold other rows than the ledger says."""
    account = [feed, contract.vendor, contract.offload_type]
    in_table = {
        (stamp, key): rows
        for stamp, key, rows in fetched(
            connection,
            f"SELECT delivery_stamp, object_key, count(s.row_no) FROM store.parts LEFT JOIN "
            f"(FROM {sightings_table(contract)} SEMI JOIN {rows_table(contract)} USING (row_no)) AS s USING (part_no) "
            f"WHERE {OF_TYPE} GROUP BY ALL",
            account,
        )
    }
    in_quarantine = {
        (stamp, key): rows
        for stamp, key, rows in fetched(
            connection,
            f"SELECT delivery_stamp, object_key, count(*) FROM ops.quarantine WHERE {OF_TYPE} GROUP BY ALL",
            account,
        )
    }
    for part in loaded:
        place = (part.delivery_stamp, part.object_key)
        table, quarantine = in_table.pop(place, 0), in_quarantine.pop(place, 0)
        said = (part.rows_loaded, part.rows_quarantined)
        if said != (table, quarantine) or part.rows_in != table + quarantine + part.rows_erased:
            yield Difference(
                feed,
                contract.offload_type,
                part.partition,
                Weight.PROBLEM,
                f"{part.object_key}: {part.rows_in:,} rows came in, and the ledger says that {part.rows_loaded:,} are "
                f"loaded, {part.rows_quarantined:,} in quarantine and {part.rows_erased:,} erased; the tables hold "
                f"{table:,} and {quarantine:,}",
                _LOAD_AGAIN,
            )
    unknown = {place: rows for place, rows in (in_table | in_quarantine).items() if rows}
    for (stamp, key), rows in unknown.items():
        yield Difference(
            feed,
            contract.offload_type,
            f"{stamp:%Y-%m-%d}",
            Weight.PROBLEM,
            f"{key}: the tables hold {rows:,} rows of it, and the ledger does not have it as loaded",
            _LOAD_AGAIN,
        )
    [(lost,)] = fetched(
        connection,
        f"SELECT count(*) FROM {versions_table(contract)} ANTI JOIN {rows_table(contract)} USING (row_no)",
    )
    if lost:
        yield Difference(
            feed, contract.offload_type, "", Weight.PROBLEM, f"{lost:,} versions of the history have no row", _DISK
        )


def _in_receipts(connection: duckdb.DuckDBPyConnection, feed: str, contract: Contract) -> Iterator[Difference]:
    """Where the newest receipt of a delivery says other things of its parts than the ledger."""
    found = fetched(
        connection,
        f"""
        WITH newest AS (
            SELECT delivery_stamp, arg_max(parts, committed_at) AS parts FROM ops.receipts
            WHERE {OF_TYPE} AND delivery_stamp IS NOT NULL GROUP BY ALL
        ),
        receipted AS (
            SELECT delivery_stamp, part.object_key, part.etag, part.size_bytes, part.rows_in
            FROM (SELECT delivery_stamp, unnest(parts) AS part FROM newest)
        ),
        ledger AS (
            SELECT partition, delivery_stamp, object_key, etag, size_bytes, rows_in FROM ops.ledger
            WHERE {OF_TYPE} AND status = 'loaded'
        )
        SELECT partition, object_key, r.object_key IS NULL, l.rows_in, r.rows_in
        FROM ledger AS l LEFT JOIN receipted AS r USING (delivery_stamp, object_key)
        WHERE (l.etag, l.size_bytes, l.rows_in) IS DISTINCT FROM (r.etag, r.size_bytes, r.rows_in)
        ORDER BY ALL
        """,
        [*[feed, contract.vendor, contract.offload_type] * 2],
    )
    for partition, key, is_missing, in_ledger, in_receipt in found:
        said = "no receipt tells of it" if is_missing else f"its receipt has another version or {in_receipt:,} rows"
        yield Difference(
            feed,
            contract.offload_type,
            partition,
            Weight.PROBLEM,
            f"{key}: the ledger has it as loaded with {in_ledger:,} rows; {said}",
            _LOAD_AGAIN,
        )


def _with_store(
    verified: Verified,
    writing: Writing,
    files: WarehouseFiles,
    feed: Feed,
    store_of: Callable[[Feed], DeliveryStore],
    loaded: dict[str, list[_LoadedPart]],
    *,
    full: bool,
    on_step: Callable[[str], None],
) -> None:
    """Compare with what is listed below the feed's root, and with what is read there."""
    try:
        store = store_of(feed)
        listing = store.list_objects(feed.layout.roots)
    except LandingError as error:
        verified.differences.append(Difference(feed.name, "", "", Weight.PROBLEM, str(error), "Then verify again."))
        return
    stored = {one.key: one for one in listing}
    deliveries = {(d.offload_type, d.stamp, d.folder): d for d in discover(feed, listing).deliveries}
    for offload_type, parts in loaded.items():
        contract = vendor_named(feed.vendor).contracts[offload_type]
        if contract.content is Content.REGISTER:
            # It is replaced in place: only its newest version can still be there.
            newest = max((part.delivery_stamp for part in parts), default=None)
            parts = [part for part in parts if part.delivery_stamp == newest]
        same = {part.object_key for part in parts if _is_same(part, stored.get(part.object_key))}
        verified.parts_in_store += len(same)
        verified.differences += _in_store(feed, offload_type, parts, stored, same)
        if full:
            for delivery in deliveries.values():
                known = [part for part in parts if part.delivery_stamp == delivery.stamp and part.is_part]
                is_ours = delivery.offload_type == offload_type and {p.key for p in delivery.parts} <= same
                if not is_ours or not known or {p.object_key for p in known} != {p.key for p in delivery.parts}:
                    continue
                version = reading_of(feed, contract).version(contract)
                if any(part.contract_version != version for part in known):
                    found = f"{delivery.folder} was read with another version of the contract: rows are not compared"
                    step = "To compare them, materialise the partition again."
                    verified.differences.append(
                        Difference(feed.name, offload_type, known[0].partition, Weight.NOTE, found, step)
                    )
                    continue
                on_step(f"Reading {delivery.folder} {offload_type} again …")
                verified.differences += _read_again(writing, files, store, contract, delivery, known)
                verified.parts_read_again += len(known)


def _is_same(part: _LoadedPart, stored: StoredObject | None) -> bool:
    return stored is not None and (stored.etag, stored.size) == (part.etag, part.size_bytes)


def _in_store(
    feed: Feed,
    offload_type: str,
    parts: Sequence[_LoadedPart],
    stored: dict[str, StoredObject],
    same: set[str],
) -> Iterator[Difference]:
    gone: dict[str, int] = {}
    for part in parts:
        if part.object_key not in stored:
            gone[part.partition] = gone.get(part.partition, 0) + 1
        elif part.object_key not in same:
            there = stored[part.object_key]
            yield Difference(
                feed.name,
                offload_type,
                part.partition,
                Weight.PROBLEM,
                f"{part.object_key}: loaded with {part.size_bytes:,} bytes and ETag {part.etag}; the store has "
                f"{there.size:,} bytes and ETag {there.etag}",
                "The vendor has replaced it: offload run loads what is there now.",
            )
    for partition, count in gone.items():
        yield Difference(
            feed.name,
            offload_type,
            partition,
            Weight.NOTE,
            f"{count:,} of its parts are not in the store any more: this warehouse has the only copy",
            "Keep backups: offload backup.",
        )


def _read_again(
    writing: Writing,
    files: WarehouseFiles,
    store: DeliveryStore,
    contract: Contract,
    delivery: Delivery,
    known: Sequence[_LoadedPart],
) -> Iterator[Difference]:
    """Stage a delivery again, and compare each row with the one that is kept."""
    feed, partition = store.feed.name, known[0].partition
    with files.staging_folder() as folder:
        try:
            staged = stage(store, delivery, contract, folder)
        except LandingError as error:
            yield Difference(feed, contract.offload_type, partition, Weight.PROBLEM, str(error), "Then verify again.")
            return
        with writing() as connection:
            staged = strike(connection, staged)
            by_key = {part.object_key: part for part in known}
            for part in staged.parts:
                said = by_key[part.part.key]
                counts = (part.rows_in, part.loaded, part.quarantined)
                if counts != (said.rows_in, said.rows_loaded, said.rows_quarantined):
                    yield Difference(
                        feed,
                        contract.offload_type,
                        partition,
                        Weight.PROBLEM,
                        f"{part.part.key}: {part.rows_in:,} rows come in when it is read again, {part.loaded:,} good "
                        f"and {part.quarantined:,} broken; the ledger says {said.rows_in:,}, {said.rows_loaded:,} and "
                        f"{said.rows_quarantined:,}",
                        _LOAD_AGAIN,
                    )
                if differing := _differing_rows(connection, feed, contract, delivery, part):
                    yield Difference(
                        feed,
                        contract.offload_type,
                        partition,
                        Weight.PROBLEM,
                        f"{part.part.key}: {differing:,} rows are not in the table as they were delivered",
                        _LOAD_AGAIN,
                    )


def _differing_rows(
    connection: duckdb.DuckDBPyConnection, feed: str, contract: Contract, delivery: Delivery, part: StagedPart
) -> int:
    """Lines of a part whose row is not kept, or not so: by a hash of all that it says, taken on both sides now."""
    connection.execute("CREATE OR REPLACE TEMP TABLE again (line BIGINT, said UBIGINT)")
    for file in part.row_files:
        rows = ArrowStream(pl.read_ipc(file, columns=["line", CONTENT_HASH]))  # noqa: F841 (read by DuckDB by its name)
        connection.execute(f"INSERT INTO again SELECT line, {CONTENT_HASH} FROM rows")
    [(differing,)] = fetched(
        connection,
        f"""
        WITH kept AS (
            SELECT s.line, {content_hash(contract)} AS said FROM store.parts
            JOIN {sightings_table(contract)} AS s USING (part_no) JOIN {rows_table(contract)} AS r USING (row_no)
            WHERE store.parts.feed = ? AND vendor = ? AND offload_type = ? AND delivery_stamp = ? AND object_key = ?
        )
        SELECT count(*) FROM again FULL JOIN kept USING (line) WHERE again.said IS DISTINCT FROM kept.said
        """,
        [feed, contract.vendor, contract.offload_type, delivery.stamp, part.part.key],
    )
    connection.execute("DROP TABLE again")
    return int(differing)


def _unreadable(connection: duckdb.DuckDBPyConnection) -> Iterator[Difference]:
    """Tables of the build file that cannot be read: DuckDB compares the checksum of each block that it reads."""
    tables = fetched(
        connection,
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = current_database() ORDER BY ALL",
    )
    for schema, table in tables:
        try:
            _digest_of(connection, f"{quoted(schema)}.{quoted(table)}", ())
        except duckdb.Error as error:
            found = f"{schema}.{table} of the build file cannot be read ({_said(error)})"
            yield Difference("", "", "", Weight.PROBLEM, found, _DISK)


def _published(
    connection: duckdb.DuckDBPyConnection, files: WarehouseFiles, *, full: bool
) -> tuple[int, list[Difference]]:
    """How many tables of the published file were compared with the build file, and where they differ."""

    def of_file(weight: Weight, found: str, next_step: str = _PUBLISH) -> Difference:
        return Difference("", "", "", weight, found, next_step)

    if not files.published.exists():
        return 0, [of_file(Weight.NOTE, "nothing is published yet")]
    if not files.is_published:
        return 0, [of_file(Weight.NOTE, f"{files.published} is older than the last load, and not compared")]
    [(build,)] = fetched(connection, "SELECT current_database()")
    try:
        connection.execute(f"ATTACH {literal(str(files.published))} AS published (READ_ONLY)")
    except duckdb.Error as error:
        return 0, [of_file(Weight.PROBLEM, f"{files.published} cannot be opened ({_said(error)})")]
    differences = []
    try:
        names = fetched(
            connection,
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'published' "
            "AND schema_name IN ('ops', 'history') ORDER BY ALL",
        )
        missing = {("ops", name) for name in OPS_TABLES} - set(names)
        differences += [of_file(Weight.PROBLEM, f"{files.published} lacks {'.'.join(name)}") for name in missing]
        kept = {
            (schema, table): f"{quoted(build)}.{quoted(schema)}.{quoted(table)}"
            for schema, table in fetched(
                connection,
                "SELECT table_schema, table_name FROM information_schema.tables WHERE table_catalog = ?",
                [build],
            )
        }
        schema, _, table = PRESENCE.partition(".")
        kept[schema, table] = f"({presence_sql(loaded_vendors(connection), f'{quoted(build)}.store.subjects')})"
        for schema, table in names:
            columns = _columns_of(connection, schema, table) if full else None
            try:
                shown = _digest_of(connection, f"published.{quoted(schema)}.{quoted(table)}", columns)
            except duckdb.Error as error:
                differences.append(of_file(Weight.PROBLEM, f"{schema}.{table} cannot be read ({_said(error)})"))
                continue
            # What was never loaded is published empty.
            expected = _digest_of(connection, kept[schema, table], columns) if (schema, table) in kept else (0, 0)
            if shown[0] != expected[0]:
                found = f"{schema}.{table}: {shown[0]:,} rows are published, the build file has {expected[0]:,}"
                differences.append(of_file(Weight.PROBLEM, found))
            elif shown != expected:
                found = f"{schema}.{table}: other values are published than the build file has"
                differences.append(of_file(Weight.PROBLEM, found))
    finally:
        connection.execute("DETACH published")
    return len(names), differences


def _columns_of(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> list[str]:
    return [
        name
        for (name,) in fetched(
            connection,
            "SELECT column_name FROM duckdb_columns() WHERE database_name = 'published' AND schema_name = ? "
            "AND table_name = ? ORDER BY column_index",
            [schema, table],
        )
    ]


def _digest_of(connection: duckdb.DuckDBPyConnection, name: str, columns: Sequence[str] | None) -> tuple[int, int]:
    """Rows of a table and a hash of some of their columns, or of all where none is named; without `columns`, rows."""
    names = ", ".join(quoted(column) for column in columns or ()) or "*"
    digest = "0" if columns is None else "coalesce(sum(hash(t)), 0)"
    [(rows, said)] = fetched(connection, f"SELECT count(*), {digest} FROM (SELECT {names} FROM {name}) AS t")
    return int(rows), int(said)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
