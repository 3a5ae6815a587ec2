"""Signed receipts of erasures: what was removed, and that nobody has changed a word of it since."""

import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from offload_platform.warehouse.files import WarehouseFiles
from offload_platform.warehouse.sql import fetched
from offload_platform.warehouse.tombstones import ErasureKey

_SIGNATURE = "signature"


@dataclass(frozen=True)
class Receipt:
    """What an erasure has removed by table, and of whom, as tombstones."""

    erased_at: datetime
    tombstones: tuple[str, ...]
    removed: Mapping[str, Mapping[str, int]]

    def signed(self, key: ErasureKey) -> str:
        """The receipt as JSON, with its signature: HMAC-SHA256 over the canonical JSON of all else."""
        said = {
            "erased_at": self.erased_at.isoformat(),
            "tombstones": list(self.tombstones),
            "removed": {table: dict(counts) for table, counts in self.removed.items()},
            "written anew": ["build/offloads.duckdb", "published/offloads.duckdb"],
            "emptied": ["staging of loads that failed"],
        }
        return json.dumps(said | {_SIGNATURE: key.sign(_canonical(said))}, indent=2)


def is_genuine(text: str, key: ErasureKey) -> bool:
    """Whether a receipt is one that was signed with the key, and says what it said then."""
    try:
        said = json.loads(text)
    except ValueError:
        return False
    if not isinstance(said, dict):
        return False
    signature = said.pop(_SIGNATURE, "")
    return hmac.compare_digest(key.sign(_canonical(said)).encode(), str(signature).encode())


def write_receipts(connection: duckdb.DuckDBPyConnection, files: WarehouseFiles) -> list[Path]:
    """Write the receipts that are not in the folder of erasures yet, for the owner's eyes alone; returns them.

    They say that the files were written anew and staging emptied: to be called when that is done.
    """
    written = []
    signed = fetched(connection, "SELECT erased_at, receipt FROM ops.erasures ORDER BY erased_at")
    for erased_at, receipt in signed:
        file = files.erasures / f"{erased_at:%Y%m%dT%H%M%S}.{erased_at.microsecond:06d}Z.json"
        if not file.exists():
            aside = file.with_suffix(".new")
            aside.unlink(missing_ok=True)
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                out.write(receipt + "\n")
                out.flush()
                os.fsync(descriptor)
            aside.replace(file)
            written.append(file)
    return written


def _canonical(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
