"""Erases persons from all that the platform keeps: tables, files, what is published, and what is staged.

The erasure itself is one transaction. What follows gives the bytes back; whatever an interrupted call has left over is
done by the next, also when that is about the same persons and finds no row of them any more.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import duckdb

from offload_platform.exports.payload import unzipped
from offload_platform.exports.registry import Registry
from offload_platform.orchestration.instance import dagster_home
from offload_platform.orchestration.listening import forget_persons, key_of_days
from offload_platform.orchestration.publishing import PUBLISHED_KEY, publishing_metadata
from offload_platform.orchestration.resources import warehouse_in
from offload_platform.orchestration.tiers import tier_key, tier_metadata
from offload_platform.privacy.erasing import (
    clear_leftovers,
    has_tiers,
    key_of_tiers,
    remove_tiers,
    rows_in_tiers,
    tiers_that_hold,
)
from offload_platform.privacy.tiers import build_all
from offload_platform.quality.protect import PseudonymKey
from offload_platform.scale.upkeep import purge_shared
from offload_platform.settings import Settings
from offload_platform.warehouse.compact import compact
from offload_platform.warehouse.erasure import Erasure, Removed, Request, erase, what_would_go
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
        PseudonymKeyError: there are pseudonyms, and the key that they were made with is missing; nothing was erased.
        CompactFailed, PublishFailed, ScaleUnusable: the rows are erased, but not all bytes are gone; the next call
            goes on.
    """
    warehouse = warehouse_in(settings.warehouse)
    files = warehouse.files
    of_days = key_of_days(settings)
    of_tiers = key_of_tiers() if settings.privacy is not None or has_tiers(files) else None

    def in_tiers(ids: Collection[str]) -> Mapping[str, Removed]:
        return rows_in_tiers(files, ids, of_tiers) if of_tiers is not None else {}

    # From here on, no load that fails keeps what it has staged.
    files.erasures.mkdir(mode=0o700, exist_ok=True)
    with warehouse.writing() as connection:
        erasure = erase(connection, request, key, in_tiers)
        compact(connection, files, always=True)
    with warehouse.writing() as connection:
        published = publish(connection, files, settings.feeds)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(PUBLISHED_KEY, metadata=publishing_metadata(published, files))
    )
    with files.staging_folder() as spill:
        in_lake = purge_shared(settings.scale, files.published, spill, erasure.ids)
    _renew_tiers(settings, files, instance)
    if of_days is not None:
        forget_persons(settings, of_days, erasure.ids | erasure.linked)
    with files.writer_lock():
        files.clear_leftovers()
    clear_leftovers(files)
    # At the end of time, everything has been kept long enough.
    files.clear_staging(float("inf"))
    with warehouse.writing() as connection:
        receipts = write_receipts(connection, files)
    found_in = [*_search(settings, files, erasure.ids, of_tiers), *in_lake]
    return Erased(erasure, tuple(receipts), tuple(found_in))


def _renew_tiers(settings: Settings, files: WarehouseFiles, instance: dg.DagsterInstance) -> None:
    """Make the privacy tiers of what is published now; those that nobody makes any more go."""
    if settings.privacy is None:
        remove_tiers(files)
        return
    for built in build_all(files, settings.privacy):
        instance.report_runless_asset_event(
            dg.AssetMaterialization(tier_key(built.tier), metadata=tier_metadata(built))
        )


def _search(
    settings: Settings, files: WarehouseFiles, ids: Collection[str], of_tiers: PseudonymKey | None
) -> list[str]:
    """Tables and files in which one of the ids still stands."""
    found = []
    with warehouse_in(settings.warehouse).writing() as connection:
        found += [f"{files.build}: {table}" for table in tables_that_hold(connection, ids)]
    with duckdb.connect(files.published, read_only=True) as published:
        prepare(published)
        found += [f"{files.published}: {table}" for table in tables_that_hold(published, ids)]
    if of_tiers is not None:
        found += tiers_that_hold(files, ids, of_tiers)
    holding = [file for file in files_below([files.root, dagster_home(files)]) if holds(file, ids)]
    # Files of exports that are not sent yet are compressed: their bytes show no id.
    holding += [file for file in Registry(files.exports).all_unsent() if holds(file, ids, unzipped)]
    # A load that is under way strikes erased persons before it commits, and removes what it has staged.
    in_use = files.staging_in_use()
    found += [str(f) for f in holding if f.exists() and not any(f.is_relative_to(folder) for folder in in_use)]
    return found
