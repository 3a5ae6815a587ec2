"""Erases persons from all that the platform keeps: tables, files, what is published, and what is staged.

The erasure itself is one transaction. What follows gives the bytes back; whatever an interrupted call has left over is
done by the next, also when that is about the same persons and finds no row of them any more.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import duckdb

from offload_platform.exports.payload import unzipped
from offload_platform.exports.registry import Registry
from offload_platform.orchestration.instance import dagster_home
from offload_platform.orchestration.publishing import PUBLISHED_KEY, publishing_metadata
from offload_platform.orchestration.resources import warehouse_in
from offload_platform.settings import Settings
from offload_platform.warehouse.compact import compact
from offload_platform.warehouse.erasure import Erasure, Request, erase, what_would_go
from offload_platform.warehouse.files import WarehouseFiles, prepare
from offload_platform.warehouse.publish import publish
from offload_platform.warehouse.receipts import write_receipts
from offload_platform.warehouse.search import files_below, holds, tables_that_hold
from offload_platform.warehouse.tombstones import ErasureKey


@dataclass(frozen=True)
class Erased:
    """What was erased, its receipt and those that an interrupted call has owed, and where an id still stands."""

    erasure: Erasure
    receipts: tuple[Path, ...]
    found_in: tuple[str, ...]


def preview(settings: Settings, request: Request) -> Erasure:
    """What would be erased; nothing is changed."""
    with warehouse_in(settings.warehouse).writing() as connection:
        return what_would_go(connection, request)


def erase_persons(settings: Settings, instance: dg.DagsterInstance, request: Request, key: ErasureKey) -> Erased:
    """Erase persons, write build and published file anew, empty what failed loads have staged, and search all files.

    Raises:
        ErasureKeyError: earlier erasures were made with another key; nothing was erased.
        CompactFailed, PublishFailed: the rows are erased, but not all bytes are gone; the next call goes on.
    """
    warehouse = warehouse_in(settings.warehouse)
    files = warehouse.files
    # From here on, no load that fails keeps what it has staged.
    files.erasures.mkdir(mode=0o700, exist_ok=True)
    with warehouse.writing() as connection:
        erasure = erase(connection, request, key)
        compact(connection, files, always=True)
    with warehouse.writing() as connection:
        published = publish(connection, files, settings.feeds)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(PUBLISHED_KEY, metadata=publishing_metadata(published, files))
    )
    with files.writer_lock():
        files.clear_leftovers()
    # At the end of time, everything has been kept long enough.
    files.clear_staging(float("inf"))
    with warehouse.writing() as connection:
        receipts = write_receipts(connection, files)
    return Erased(erasure, tuple(receipts), tuple(_search(settings, files, erasure.ids)))


def _search(settings: Settings, files: WarehouseFiles, ids: Collection[str]) -> list[str]:
    """Tables and files in which one of the ids still stands."""
    found = []
    with warehouse_in(settings.warehouse).writing() as connection:
        found += [f"{files.build}: {table}" for table in tables_that_hold(connection, ids)]
    with duckdb.connect(files.published, read_only=True) as published:
        prepare(published)
        found += [f"{files.published}: {table}" for table in tables_that_hold(published, ids)]
    holding = [file for file in files_below([files.root, dagster_home(files)]) if holds(file, ids)]
    # Files of exports that are not sent yet are compressed: their bytes show no id.
    holding += [file for file in Registry(files.exports).all_unsent() if holds(file, ids, unzipped)]
    # A load that is under way strikes erased persons before it commits, and removes what it has staged.
    in_use = files.staging_in_use()
    found += [str(f) for f in holding if f.exists() and not any(f.is_relative_to(folder) for folder in in_use)]
    return found
