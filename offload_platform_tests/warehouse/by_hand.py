"""Deliveries of a few rows that are committed as a load commits them, without files of a vendor."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from offload_platform.contracts.deliveries import Delivery, Part, Placement, Role, StoredObject
from offload_platform.landing.deliveries import Choice
from offload_platform.landing.fingerprint import Fingerprint
from offload_platform.landing.staging import StagedDelivery, StagedPart
from offload_platform.quality.hashes import RowHashes
from offload_platform.warehouse.commit import Partition, replace_partition

from ..conftest import APP_ID, contract_of

_SAID_BY_NOBODY = Fingerprint((), ",", "LF", False, "gzip")
_QUARANTINED = {"line": pl.Int64, "reasons": pl.List(pl.String), "raw": pl.String}


class ByHand:
    """Commits deliveries to a connection; what is staged is written to a folder."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path, feed: str = "acme") -> None:
        self.connection = connection
        self.feed = feed
        self._folder = folder
        self._files = 0

    def deliver(
        self,
        offload_type: str,
        stamp: datetime,
        rows: Sequence[dict[str, Any]],
        *,
        quarantined: Sequence[str] = (),
        feed: str | None = None,
        parts: int = 1,
    ) -> None:
        """Put rows, by column, in the place of whatever the partition of that very stamp holds.

        Lines count from 2 in each part, in the order of the rows; quarantined rows come after them in the first part.
        """
        contract = contract_of(offload_type)
        folder = f"{stamp:%Y%m%dT%H%M%S}"
        staged = []
        for number in range(parts):
            mine = rows[number::parts]
            bad = list(quarantined) if number == 0 else []
            key = f"{folder}/{offload_type}/part-{number}"
            # Its ETag is that of its content.
            etag = hashlib.md5(repr((mine, bad)).encode(), usedforsecurity=False).hexdigest()
            stored = StoredObject(key, 1, etag, stamp)
            placement = Placement(folder, stamp, contract.family, APP_ID, offload_type, Role.PART, (number, 0))
            staged.append(
                StagedPart(
                    part=Part(stored, placement),
                    checksum="md5",
                    fingerprint=_SAID_BY_NOBODY,
                    lines=len(mine) + len(bad),
                    rows_in=len(mine) + len(bad),
                    loaded=len(mine),
                    quarantined=len(bad),
                    reasons={"a rule": len(bad)} if bad else {},
                    sample=[],
                    drift=[],
                    row_files=self._row_files(offload_type, mine, stamp),
                    quarantine_files=self._quarantine_files(bad, 2 + len(mine)),
                )
            )
        delivery = Delivery(folder, stamp, contract.family, APP_ID, offload_type, tuple(part.part for part in staged))
        partition = Partition(
            feed or self.feed, contract, f"{stamp:%Y-%m-%d}", stamp, stamp + timedelta(microseconds=1)
        )
        staged_delivery = StagedDelivery(delivery, contract, tuple(staged))
        replace_partition(self.connection, partition, Choice(delivery, (), ()), staged_delivery, "a run")

    def _row_files(self, offload_type: str, rows: Sequence[dict[str, Any]], stamp: datetime) -> tuple[Path, ...]:
        if not rows:
            return ()
        schema = {"line": pl.Int64} | {c.name: c.dtype for c in contract_of(offload_type).columns.values()}
        numbered = [{"line": line, **row} for line, row in enumerate(rows, start=2)]
        if "drive_key" in schema:
            numbered = [{"drive_key": f"{row['user_id']}@{row.get('start_at')}"} | row for row in numbered]
        with RowHashes(contract_of(offload_type), stamp) as hashes:
            return (self._write(hashes.added_to(pl.DataFrame(numbered, schema=schema))),)

    def _quarantine_files(self, raw: Sequence[str], first_line: int) -> tuple[Path, ...]:
        if not raw:
            return ()
        said = [{"line": line, "reasons": ["a rule"], "raw": text} for line, text in enumerate(raw, first_line)]
        return (self._write(pl.DataFrame(said, schema=_QUARANTINED)),)

    def _write(self, frame: pl.DataFrame) -> Path:
        self._files += 1
        path = self._folder / f"{self._files}.arrow"
        frame.write_ipc(path)
        return path


def at(text: str) -> datetime:
    """A UTC instant of 2026, as month-day hour:minute."""
    return datetime.fromisoformat(f"2026-{text}:00").replace(tzinfo=UTC)
