"""Looks at cluster and lake, and takes out of them what has been kept long enough, and what must not be kept at all."""

from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from offload_platform.scale.cluster import cluster_of, own_place, staging_of
from offload_platform.scale.errors import ScaleUnusable
from offload_platform.scale.lake import LAKE, Lake, lake_of
from offload_platform.scale.mirror import publish_to_lake
from offload_platform.scale.nodes import Probe, probe, software
from offload_platform.settings import FanOut, Scale
from offload_platform.warehouse.search import tables_that_hold
from offload_platform.warehouse.sql import fetched, literal

_ABANDONED = timedelta(days=1)
"""What an attempt has left so long ago, nobody is writing any more."""


def tidy_shared(scale: Scale | None, spill: Path, now: datetime) -> int:
    """Forget states of the lake that have been kept long enough, and what attempts that failed have left behind.

    Returns how many files are gone. Whoever still reads a state that is forgotten fails. `now` is in UTC.

    Raises:
        ScaleUnusable: the lake or the place cannot be reached.
    """
    if scale is None:
        return 0
    gone = staging_of(scale).empty(now - _ABANDONED) if scale.fan_out is FanOut.RAY else 0
    lake = lake_of(scale)
    return gone if lake is None else gone + forget(lake, spill, timedelta(days=scale.keep_days), _ABANDONED)


def purge_shared(scale: Scale | None, published: Path, spill: Path, ids: Collection[str]) -> list[str]:
    """Bring the lake to what is published after an erasure, and forget all that it was before.

    Returns the tables in which one of the ids still stands. A load that is under way finds what nodes have staged for
    it gone, fails, and is to be run again; so does whoever reads an old state of the lake.

    Raises:
        ScaleUnusable: the lake or the place cannot be reached; the next call goes on.
    """
    if scale is None:
        return []
    if scale.fan_out is FanOut.RAY:
        staging_of(scale).empty()
    lake = lake_of(scale)
    if lake is None:
        return []
    publish_to_lake(published, lake, "an erasure", spill)
    # A publication that is under way was overtaken by this one: what it has written is an orphan.
    forget(lake, spill, timedelta(0), timedelta(0))
    with lake.connected(spill, read_only=True) as connection:
        connection.execute(f"USE {LAKE}")
        return [f"the lake: {table}" for table in tables_that_hold(connection, ids)]


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
    """What is found of the lake: its newest state.

    Raises:
        ScaleUnusable: an extension is missing, or catalog or files cannot be reached.
    """
    lake = lake_of(scale)
    if lake is None:
        return "analysts open the published file"
    file = spill / "probe"
    file.write_text("written by offload doctor\n", encoding="utf-8")
    lake.data.below("probe").put(file, file.name)
    lake.data.below("probe").empty()
    # Not read-only: a lake that nobody has published to yet is made.
    with lake.connected(spill) as connection:
        [(states,)] = fetched(connection, f"SELECT count(*) FROM ducklake_snapshots({literal(LAKE)})")
    return f"{lake.catalog}, {states:,} states, files in {lake.data.url}"


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
