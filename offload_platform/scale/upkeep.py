"""Looks at cluster and shared warehouse, and takes out of them what has been kept long enough, and what must not be
kept at all.
"""

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path

import duckdb

from offload_platform.scale.cluster import cluster_of, own_place, staging_of
from offload_platform.scale.delta import DeltaTables, tables_among
from offload_platform.scale.delta_mirror import versions_of
from offload_platform.scale.errors import ScaleUnusable
from offload_platform.scale.lake import LAKE, Lake
from offload_platform.scale.nodes import Probe, probe, software
from offload_platform.scale.shared import publish_to, shared_of
from offload_platform.settings import FanOut, Scale
from offload_platform.warehouse.search import tables_that_hold
from offload_platform.warehouse.sql import fetched, literal, quoted

_ERASURE = "an erasure"
_ABANDONED = timedelta(days=1)
"""What an attempt has left so long ago, nobody is writing any more."""


def tidy_shared(scale: Scale | None, spill: Path, now: datetime) -> int:
    """Forget states of the shared warehouse that were kept long enough, and what attempts that failed have left behind.

    Returns how many files are gone. Whoever still reads a state that is forgotten fails. `now` is in UTC.

    Raises:
        ScaleUnusable: the shared warehouse or the place cannot be reached.
    """
    if scale is None:
        return 0
    gone = staging_of(scale).empty(now - _ABANDONED) if scale.fan_out is FanOut.RAY else 0
    kept = timedelta(days=scale.keep_days)
    match shared_of(scale):
        case Lake() as lake:
            return gone + forget(lake, spill, kept, _ABANDONED)
        case DeltaTables() as tables:
            return gone + forget_versions(tables, spill, max(kept, _ABANDONED))
    return gone


def purge_shared(scale: Scale | None, published: Path, spill: Path, ids: Collection[str]) -> list[str]:
    """Bring the shared warehouse to what is published after an erasure, and forget all that it was before.

    Returns the tables in which one of the ids still stands. A load that is under way finds what nodes have staged for
    it gone, fails, and is to be run again; so does whoever reads an old state.

    Raises:
        ScaleUnusable: the shared warehouse or the place cannot be reached; the next call goes on.
    """
    if scale is None:
        return []
    if scale.fan_out is FanOut.RAY:
        staging_of(scale).empty()
    match shared_of(scale):
        case Lake() as lake:
            publish_to(lake, published, _ERASURE, spill)
            # A publication that is under way was overtaken by this one: what it has written is an orphan.
            forget(lake, spill, timedelta(0), timedelta(0))
            with lake.connected(spill, read_only=True) as connection:
                connection.execute(f"USE {LAKE}")
                return [f"the lake: {table}" for table in tables_that_hold(connection, ids)]
        case DeltaTables() as tables:
            there = tables.data.names()
            publish_to(tables, published, _ERASURE, spill)
            # What was there before and is in no table now was overtaken. What is newer, a later publication writes.
            forget_versions(tables, spill, timedelta(0), there)
            return [f"the Delta tables: {table}" for table in _files_that_hold(tables, spill, ids)]
    return []


def look_at_cluster(scale: Scale, spill: Path) -> str:
    """What is found of the cluster: its slots, after a node and this machine have exchanged a file.

    Raises:
        ScaleUnusable: it cannot be reached, or its nodes cannot use the shared place, or have other software.
    """
    if scale.fan_out is FanOut.INLINE:
        return "parts are staged and histories merged by this machine"
    cluster = cluster_of(scale)
    slots = cluster.slots()
    file = spill / "probe"
    file.write_text("written by offload doctor\n", encoding="utf-8")
    with own_place(staging_of(scale)) as place:
        place.put(file, file.name)
        if error := cluster.run(probe, Probe(software(), place, file.name)):
            raise error
    return f"{scale.ray_address}, {slots:,} slots; a node reads and writes {scale.staging}"


def look_at_lake(scale: Scale, spill: Path) -> str:
    """What is found of the shared warehouse: the states that it has.

    Raises:
        ScaleUnusable: an extension is missing, catalog or files cannot be reached, or the store is not fit for Delta.
    """
    shared = shared_of(scale)
    if shared is None:
        return "analysts open the published file"
    file = spill / "probe"
    file.write_text("written by offload doctor\n", encoding="utf-8")
    probed = shared.data.below("probe")
    if isinstance(shared, Lake):
        probed.put(file, file.name)
        probed.empty()
        # Not read-only: a lake that nobody has published to yet is made.
        with shared.connected(spill) as connection:
            [(states,)] = fetched(connection, f"SELECT count(*) FROM ducklake_snapshots({literal(LAKE)})")
        return f"{shared.catalog}, {states:,} states, files in {shared.data.url}"
    is_safe = probed.refuses_a_second(file, uuid.uuid4().hex)
    probed.empty()
    if not is_safe:
        raise ScaleUnusable(
            f"the store of {shared.data.url} takes a second file of one name: of two publications at once, one would "
            "be lost. Use a store that knows If-None-Match, or warehouse: ducklake."
        )
    with shared.connected(spill) as connection, shared.troubles_explained():
        named = versions_of(connection, shared.reached())
    return f"{len(named):,} Delta tables in {shared.data.url}"


def forget(lake: Lake, spill: Path, kept: timedelta, abandoned: timedelta) -> int:
    """Forget states of a lake that are older than they are kept, and files that no state knows; returns the files.

    A file that is being written is known to no state: `abandoned` must be longer than any publication takes, unless
    what is under way may fail.

    Raises:
        ScaleUnusable: the lake cannot be reached.
    """
    before = "older_than => now() - to_microseconds({:.0f})"
    with lake.connected(spill) as connection, lake.locked():
        try:
            connection.execute(
                f"CALL ducklake_expire_snapshots({literal(LAKE)}, {before.format(kept / timedelta(microseconds=1))})"
            )
            expired = fetched(connection, f"CALL ducklake_cleanup_old_files({literal(LAKE)}, cleanup_all => true)")
            orphans = fetched(
                connection,
                f"CALL ducklake_delete_orphaned_files({literal(LAKE)}, "
                f"{before.format(abandoned / timedelta(microseconds=1))})",
            )
        except duckdb.Error as error:
            raise ScaleUnusable(f"old states of the lake cannot be forgotten; run it again. ({error})") from error
    return len(expired) + len(orphans)


def forget_versions(tables: DeltaTables, spill: Path, kept: timedelta, among: Collection[str] | None = None) -> int:
    """Remove files that no version of a Delta table knows but such as are older than is kept; returns how many.

    What the newest publication names stays. A file that is being written is known to no version: it stays while it is
    younger than what is kept, or where it is not `among` some, by their names in the place.

    Raises:
        ScaleUnusable: the tables cannot be reached.
    """
    tables = tables.reached()
    with tables.connected(spill) as connection, tables.troubles_explained():
        published = versions_of(connection, tables)
        there, gone = set(tables.data.names()), set()
        for schema, name in tables_among(there):
            named = published.get((schema, name))
            # It only says what is to go: to remove it in a commit would make versions that nobody has published. It
            # says again what has gone already.
            files = tables.opened(schema, name).vacuum(
                ceil(kept / timedelta(hours=1)),
                dry_run=True,
                enforce_retention_duration=False,
                full=True,
                keep_versions=None if named is None else [named],
            )
            gone |= {f"{schema}/{name}/{file}" for file in files}
    return tables.data.remove(sorted(gone & there if among is None else gone & there & set(among)))


def _files_that_hold(tables: DeltaTables, spill: Path, ids: Collection[str]) -> list[str]:
    """Delta tables in whose files one of the ids still stands, whichever version knows them."""
    names = [parts for name in tables.data.names() if len(parts := name.split("/")) == 3 and name.endswith(".parquet")]
    with tables.connected(spill) as connection, tables.troubles_explained():
        for schema, name in sorted({(schema, name) for schema, name, _ in names}):
            files = literal(f"{tables.folder(schema, name)}/*.parquet")
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
            connection.execute(
                f"CREATE VIEW {quoted(schema)}.{quoted(name)} AS FROM read_parquet({files}, union_by_name => true)"
            )
        return tables_that_hold(connection, ids, in_views=True)
