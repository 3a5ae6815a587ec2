"""Replaces one partition of one offload type with a staged delivery, in one transaction with its accounts.

Ledger, quarantine, drift and receipt are written with the rows or not at all; what the tables hold afterwards is
counted and compared with what was staged before anything is committed. A row that is kept already is only sighted
again. What the delivery means for the history is worked out later (`merge.py`): here it is noted as not merged.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from offload_platform.contracts.contract import Content, Contract
from offload_platform.contracts.deliveries import Delivery
from offload_platform.landing.deliveries import Choice
from offload_platform.landing.staging import StagedDelivery, StagedPart
from offload_platform.quality.arrow import ArrowStream
from offload_platform.quality.hashes import CONTENT_HASH, KEY_HIGH, KEY_LOW
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.ops import OF_TYPE, ensure_ops, insert_ops
from offload_platform.warehouse.recognition import Recognised, recognise, span_of
from offload_platform.warehouse.sql import fetched, quoted
from offload_platform.warehouse.storage import keep_hashes, note_changed, rows_table, sightings_table
from offload_platform.warehouse.transactions import transaction
from offload_platform.warehouse.views import ensure_tables

_ROWS_PER_INSERT = 40_960
_BYTES_PER_INSERT = 64 << 20
_INSTANT = timedelta(microseconds=1)


class Unbalanced(Exception):
    """The tables do not hold what was staged; the transaction was rolled back and the old rows stand."""


@dataclass(frozen=True)
class Partition:
    """A slice of one feed's table: the deliveries whose stamps lie in a window, end excluded."""

    feed: str
    contract: Contract
    key: str
    start: datetime
    end: datetime

    @property
    def adds_up(self) -> bool:
        """Whether each delivery in it counts, and not the newest alone."""
        return vendor_named(self.contract.vendor).layout.families[self.contract.family].add_up

    def replaced_by(self, delivery: Delivery) -> "Partition":
        """The slice that a delivery takes the place of: the whole, or the same delivery alone where others stay."""
        if self.contract.content is not Content.REGISTER and not self.adds_up:
            return self
        return replace(self, start=delivery.stamp, end=delivery.stamp + _INSTANT)

    @property
    def account(self) -> list[Any]:
        """The values that the `ops` tables know the partition by."""
        return [self.feed, self.contract.vendor, self.contract.offload_type, self.key]


def replace_partition(
    connection: duckdb.DuckDBPyConnection, partition: Partition, choice: Choice, staged: StagedDelivery, run_id: str
) -> None:
    """Put a staged delivery in the place of whatever the partition held; all of it or nothing.

    Raises:
        Unbalanced: rows in the tables differ from rows staged.
    """
    with transaction(connection):
        _prepare(connection, partition.contract)
        _replace(connection, partition, choice, staged, run_id)


def add_deliveries(
    connection: duckdb.DuckDBPyConnection,
    partition: Partition,
    choice: Choice,
    staged: Sequence[StagedDelivery],
    run_id: str,
) -> None:
    """Put staged deliveries beside the others of a partition, each in the place of its own old version; all or nothing.

    Raises:
        Unbalanced: rows in the tables differ from rows staged.
    """
    with transaction(connection):
        _prepare(connection, partition.contract)
        for one in staged:
            own = partition.replaced_by(one.delivery)
            _clear_elsewhere(connection, own, one)
            _replace(connection, own, choice, one, run_id)


def _prepare(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    ensure_ops(connection)
    ensure_tables(connection, contract)
    keep_hashes(connection)


def _replace(
    connection: duckdb.DuckDBPyConnection, partition: Partition, choice: Choice, staged: StagedDelivery, run_id: str
) -> None:
    first_loaded = _first_loaded(connection, partition)
    part_numbers = _part_numbers(connection, partition, staged)
    _clear(connection, partition)
    _insert_rows(connection, partition, staged, part_numbers)
    for part in staged.parts:
        _insert_quarantine(connection, partition, staged.delivery, part)
        _insert_drift(connection, partition, staged.delivery, part)
    _insert_ledger(connection, partition, choice, staged, first_loaded)
    _insert_receipt(connection, partition, staged.delivery, run_id)
    note_changed(connection, partition.feed, partition.contract, staged.delivery.stamp)
    _prove(connection, partition, staged)


def _clear_elsewhere(connection: duckdb.DuckDBPyConnection, partition: Partition, staged: StagedDelivery) -> None:
    """Forget what objects held under other stamps: the feed's time zone was another one when they were loaded."""
    contract = partition.contract
    found = fetched(
        connection,
        f"SELECT DISTINCT delivery_stamp FROM store.parts WHERE {OF_TYPE} AND delivery_stamp <> ? "
        "AND list_contains(?, object_key)",
        [
            *(partition.feed, contract.vendor, contract.offload_type, staged.delivery.stamp),
            [part.part.key for part in staged.parts],
        ],
    )
    for (stamp,) in found:
        _clear(connection, replace(partition, start=stamp, end=stamp + _INSTANT))


def _part_numbers(
    connection: duckdb.DuckDBPyConnection, partition: Partition, staged: StagedDelivery
) -> dict[str, int]:
    """Number of each part by key; a part that was there before keeps its number."""
    known = dict(
        fetched(
            connection,
            "SELECT object_key, part_no FROM store.parts "
            "WHERE feed = ? AND vendor = ? AND offload_type = ? AND delivery_stamp = ?",
            [partition.feed, partition.contract.vendor, partition.contract.offload_type, staged.delivery.stamp],
        )
    )
    [(highest,)] = fetched(connection, "SELECT coalesce(max(part_no), 0) FROM store.parts")
    keys = [part.part.key for part in staged.parts]
    unknown = [key for key in keys if key not in known]
    numbers = known | {key: highest + number for number, key in enumerate(unknown, 1)}
    return {key: numbers[key] for key in keys}


def _clear(connection: duckdb.DuckDBPyConnection, partition: Partition) -> None:
    """Forget what the partition's slice held. Deliveries that held rows are to be merged again, without them."""
    contract = partition.contract
    of_slice = "WHERE feed = ? AND delivery_stamp >= ? AND delivery_stamp < ? AND vendor = ? AND offload_type = ?"
    account = [partition.feed, partition.start, partition.end, contract.vendor, contract.offload_type]
    # Whatever was loaded or considered has a line there; most deliveries that add up are new.
    if not fetched(connection, f"SELECT 1 FROM ops.ledger {of_slice} LIMIT 1", account):
        return
    for (stamp,) in fetched(connection, f"SELECT DISTINCT delivery_stamp FROM store.parts {of_slice}", account):
        note_changed(connection, partition.feed, contract, stamp, has_lost_rows=True)
    connection.execute(
        f"DELETE FROM {sightings_table(contract)} WHERE part_no IN (SELECT part_no FROM store.parts {of_slice})",
        account,
    )
    for table in ("store.parts", "store.subjects", "ops.ledger", "ops.quarantine", "ops.drift"):
        connection.execute(f"DELETE FROM {table} {of_slice}", account)


def _insert_rows(
    connection: duckdb.DuckDBPyConnection,
    partition: Partition,
    staged: StagedDelivery,
    part_numbers: Mapping[str, int],
) -> None:
    """Sight every staged row, and keep those that are not kept yet."""
    contract, delivery = partition.contract, staged.delivery
    stamp = delivery.stamp if contract.is_told_apart_by_delivery else None
    key_stamp, stamped = (", ?::TIMESTAMPTZ AS key_stamp", [stamp]) if stamp else ("", [])
    names = ", ".join(quoted(name) for name in contract.columns)
    events = {part.part.key: _events_of(part, contract) for part in staged.parts}
    times = [time for of_part in events.values() for time in of_part]
    files = [file for part in staged.parts for file in part.row_files]
    between = (min(times), max(times)) if times else None
    recognised = recognise(connection, partition.feed, contract, files, between)
    account = [partition.feed, contract.vendor, contract.offload_type, delivery.app_id]
    subjects = pl.Series(dtype=pl.String)
    place = 0
    for part in staged.parts:
        part_no, event_times = part_numbers[part.part.key], events[part.part.key]
        first, last = (min(event_times), max(event_times)) if event_times else (None, None)
        connection.execute(
            "INSERT INTO store.parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [part_no, *account, delivery.stamp, part.part.key, first, last],
        )
        for batch in _one_ahead(_batches(part.row_files, recognised, place)):
            place += batch.height
            sighted = ArrowStream(batch.select("line", "row_no"))  # noqa: F841 (read by DuckDB by its name)
            connection.execute(
                f"INSERT INTO {sightings_table(contract)} BY NAME SELECT ? AS part_no, line, row_no FROM sighted",
                [part_no],
            )
            # Nearly always all of a batch or none of it is new, and a filter would copy it.
            new = batch if batch["is_new"].all() else batch.filter("is_new")
            rows = ArrowStream(new)  # noqa: F841 (read by DuckDB by its name)
            connection.execute(
                f"INSERT INTO {rows_table(contract)} BY NAME "
                f"SELECT row_no, {KEY_HIGH}::UHUGEINT << 64 | {KEY_LOW} AS key_id, {CONTENT_HASH} AS content_hash, "
                f"? AS feed, ? AS app_id{key_stamp}, {names} FROM rows",
                [partition.feed, delivery.app_id, *stamped],
            )
            if contract.subject:
                subjects = pl.concat([subjects, batch[contract.subject].unique()]).unique()
    present = ArrowStream(subjects.sort().to_frame("subject"))  # noqa: F841 (read by DuckDB by its name)
    connection.execute(
        "INSERT INTO store.subjects SELECT ?, ?, ?, ?::TIMESTAMPTZ, subject FROM present",
        [partition.feed, contract.vendor, contract.offload_type, delivery.stamp],
    )


def _events_of(part: StagedPart, contract: Contract) -> list[datetime]:
    """The earliest and the latest time of an event of each staged file."""
    name = contract.fixed_event_time
    if name is None:
        return []
    return [time for file in part.row_files for time in span_of(pl.read_ipc(file, columns=[name])[name])]


def _batches(files: Sequence[Path], recognised: Recognised, place: int) -> Iterator[pl.DataFrame]:
    """Staged rows, the first of which has some place, with the columns `row_no` and `is_new`.

    In batches of a third of a row group, as far as their size allows.
    """
    held: list[pl.DataFrame] = []
    rows, size = 0, 0.0
    for file in files:
        frame = pl.read_ipc(file)
        places = slice(place, place + frame.height)
        # Before they are put together, as all that is put together would be copied to have a column added.
        held.append(
            frame.with_columns(row_no=pl.Series(recognised.row_no[places]), is_new=pl.Series(recognised.is_new[places]))
        )
        place += frame.height
        rows += frame.height
        size += frame.estimated_size()
        if rows >= _ROWS_PER_INSERT or size >= _BYTES_PER_INSERT:
            yield pl.concat(held)
            held = []
            rows, size = 0, 0.0
    if held:
        yield pl.concat(held)


def _one_ahead(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The batches, each of which is read while DuckDB writes the one before; two are in memory."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


def _insert_quarantine(
    connection: duckdb.DuckDBPyConnection, partition: Partition, delivery: Delivery, part: StagedPart
) -> None:
    for file in part.quarantine_files:
        rows = ArrowStream(pl.read_ipc(file))  # noqa: F841 (read by DuckDB by its name)
        connection.execute(
            "INSERT INTO ops.quarantine BY NAME SELECT ? AS feed, ? AS vendor, ? AS offload_type, ? AS partition, "
            "? AS app_id, ?::TIMESTAMPTZ AS delivery_stamp, ? AS object_key, line, reasons, raw FROM rows",
            [*partition.account, delivery.app_id, delivery.stamp, part.part.key],
        )


def _insert_drift(
    connection: duckdb.DuckDBPyConnection, partition: Partition, delivery: Delivery, part: StagedPart
) -> None:
    for drift in part.drift:
        insert_ops(
            connection,
            "drift",
            [
                *partition.account,
                delivery.app_id,
                delivery.stamp,
                part.part.key,
                drift.kind.value,
                drift.column,
                drift.detail,
                drift.rows,
            ],
        )


def _insert_ledger(
    connection: duckdb.DuckDBPyConnection,
    partition: Partition,
    choice: Choice,
    staged: StagedDelivery,
    first_loaded: dict[tuple[str, str, str], datetime],
) -> None:
    now = datetime.now(UTC)
    version = staged.reading.version(partition.contract)
    for part in staged.parts:
        stored = part.part.stored
        insert_ops(
            connection,
            "ledger",
            [
                *partition.account,
                *_delivery_account(staged.delivery),
                stored.key,
                stored.etag,
                stored.size,
                "loaded",
                None,
                part.checksum,
                part.fingerprint.compression,
                part.fingerprint.delimiter,
                part.fingerprint.line_end,
                part.lines,
                part.rows_in,
                part.loaded,
                part.quarantined,
                part.reasons,
                version,
                first_loaded.get((stored.key, stored.etag, version), now),
                stored.last_modified,
                part.erased,
            ],
        )
    if not staged.parts and staged.delivery.marker is not None:
        # An empty delivery has no part; its marker stands for it, so that it is known to be loaded.
        marker = staged.delivery.marker
        empty = [marker.key, marker.etag, marker.size, "loaded", None, None, None, None, None, 0, 0, 0, 0, {}]
        loaded_at = first_loaded.get((marker.key, marker.etag, version), now)
        insert_ops(
            connection,
            "ledger",
            [
                *partition.account,
                *_delivery_account(staged.delivery),
                *empty,
                version,
                loaded_at,
                marker.last_modified,
                0,
            ],
        )
    if partition.contract.content is Content.REGISTER:
        return
    for delivery in choice.superseded:
        newer = f"a newer complete delivery counts: {staged.delivery.folder}"
        _insert_not_loaded(connection, partition, delivery, "superseded", newer)
    for delivery in choice.incomplete:
        _insert_not_loaded(connection, partition, delivery, "incomplete", delivery.incomplete_because)


def _insert_not_loaded(
    connection: duckdb.DuckDBPyConnection, partition: Partition, delivery: Delivery, status: str, reason: str | None
) -> None:
    for part in delivery.parts:
        insert_ops(
            connection,
            "ledger",
            [
                *partition.account,
                *_delivery_account(delivery),
                part.stored.key,
                part.stored.etag,
                part.stored.size,
                status,
                reason,
            ],
        )


def _delivery_account(delivery: Delivery) -> list[Any]:
    return [delivery.app_id, delivery.stamp, delivery.folder, delivery.fingerprint]


def _insert_receipt(
    connection: duckdb.DuckDBPyConnection, partition: Partition, delivery: Delivery, run_id: str
) -> None:
    connection.execute(
        """
        INSERT INTO ops.receipts BY NAME
        SELECT feed, vendor, offload_type, "partition", ? AS run_id, ?::TIMESTAMPTZ AS committed_at,
            delivery_folder, delivery_fingerprint, sum(rows_in)::BIGINT AS rows_in,
            sum(rows_loaded)::BIGINT AS rows_loaded, sum(rows_quarantined)::BIGINT AS rows_quarantined,
            list(
                {
                    object_key: object_key, etag: etag, size_bytes: size_bytes, checksum: checksum, rows_in: rows_in,
                    rows_loaded: rows_loaded, rows_quarantined: rows_quarantined,
                    quarantined_by_reason: quarantined_by_reason
                } ORDER BY object_key
            ) AS parts,
            delivery_stamp, ?::TIMESTAMPTZ AS arrived_at, sum(rows_erased)::BIGINT AS rows_erased
        FROM ops.ledger
        WHERE feed = ? AND delivery_stamp >= ? AND delivery_stamp < ? AND offload_type = ? AND status = 'loaded'
        GROUP BY ALL
        """,
        [
            run_id,
            datetime.now(UTC),
            delivery.arrived_at,
            partition.feed,
            partition.start,
            partition.end,
            partition.contract.offload_type,
        ],
    )


def _first_loaded(connection: duckdb.DuckDBPyConnection, partition: Partition) -> dict[tuple[str, str, str], datetime]:
    """When each version of a part was first loaded, so that loading it again changes nothing."""
    found = connection.execute(
        "SELECT object_key, etag, contract_version, loaded_at FROM ops.ledger "
        "WHERE feed = ? AND offload_type = ? AND status IN ('loaded', 'expired')",
        [partition.feed, partition.contract.offload_type],
    ).fetchall()
    return {(key, etag, version): loaded_at for key, etag, version, loaded_at in found}


def _prove(connection: duckdb.DuckDBPyConnection, partition: Partition, staged: StagedDelivery) -> None:
    """Count what the tables now hold for the partition, part by part."""
    window = [partition.feed, partition.start, partition.end]
    in_window = "WHERE feed = ? AND delivery_stamp >= ? AND delivery_stamp < ?"
    loaded = connection.execute(
        f"SELECT object_key, count(*) FROM store.parts JOIN {sightings_table(partition.contract)} USING (part_no) "
        f"{in_window} AND vendor = ? AND offload_type = ? GROUP BY ALL",
        [*window, partition.contract.vendor, partition.contract.offload_type],
    ).fetchall()
    quarantined = connection.execute(
        f"SELECT object_key, count(*) FROM ops.quarantine {in_window} AND offload_type = ? GROUP BY ALL",
        [*window, partition.contract.offload_type],
    ).fetchall()
    expected_loaded = {p.part.key: p.loaded for p in staged.parts if p.loaded}
    expected_quarantined = {p.part.key: p.quarantined for p in staged.parts if p.quarantined}
    if dict(loaded) != expected_loaded or dict(quarantined) != expected_quarantined:
        raise Unbalanced(
            f"{partition.feed} {partition.contract.offload_type} {partition.key}: staged {expected_loaded} rows and "
            f"{expected_quarantined} for quarantine, the tables hold {dict(loaded)} and {dict(quarantined)}. "
            "Nothing was committed. Run the partition again; if it stays so, report it."
        )
