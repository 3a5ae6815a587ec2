"""Has nodes merge: each the keys of some users, with the very statements that merge on one machine.

What is decided over all users stays with the control machine: which deliveries count, who is present in them, what each
takes back, and whether one is held. A node is given what its users' rows and versions say, and gives back the versions
that hold no more and those that take their place. Rows about nobody are spread by their keys.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from offload_platform.landing.errors import LandingError
from offload_platform.scale.cluster import Nodes, cluster_of, own_place, staging_of
from offload_platform.scale.nodes import refuse_other_software, software
from offload_platform.scale.place import Place
from offload_platform.settings import FanOut, Scale
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.files import CONNECTION_CONFIG, prepare
from offload_platform.warehouse.sql import literal
from offload_platform.warehouse.storage import SCHEMA, sightings_table, versions_table
from offload_platform.warehouse.versions import OWN_BUCKETS, Buckets, Versions

_ROWS_PER_BUCKET = 250_000
_FEWEST = 2
_LOW_BITS = "18446744073709551615::UHUGEINT"
_VERSION = "row_no, change_kind, known_from, known_to, part_no, line"


@dataclass(frozen=True)
class BucketToMerge:
    """The users of a bucket, of one feed's offload type, and the place of the files about them."""

    feed: str
    vendor: str
    offload_type: str
    first: datetime
    has_lost_rows: bool
    number: int
    software: str
    place: Place


def merge_bucket(task: BucketToMerge) -> LandingError | None:
    """Work out the versions of a bucket; an error that another attempt would not mend is the result."""
    try:
        refuse_other_software(task.software)
        with (
            TemporaryDirectory(prefix="offload-") as name,
            duckdb.connect(Path(name) / "bucket.duckdb", config=CONNECTION_CONFIG) as connection,
        ):
            prepare(connection)
            _merge(connection, task, Path(name))
    except LandingError as error:
        return error
    return None


def _merge(connection: duckdb.DuckDBPyConnection, task: BucketToMerge, folder: Path) -> None:
    contract = vendor_named(task.vendor).contracts[task.offload_type]
    connection.execute(f"CREATE SCHEMA {SCHEMA}")
    for table, what in _given(Versions(connection, task.feed, contract, task.first, task.has_lost_rows)).items():
        file = folder / table
        task.place.fetch(_name(table, task.number if what.is_spread else None), file)
        columns = f"* EXCLUDE (key_high, key_low), {_KEY} AS key_id" if table == "candidates" else "*"
        connection.execute(
            f"CREATE {'' if '.' in what.target else 'TEMP '}TABLE {what.target} AS "
            f"SELECT {columns} FROM read_parquet({literal(str(file))}, hive_partitioning = false)"
        )
        file.unlink()
    versions = Versions(connection, task.feed, contract, task.first, task.has_lost_rows)
    versions.work_out_candidates()
    held = f"SELECT {_VERSION} FROM {versions_table(contract)} WHERE rowid IN (FROM stale)"
    for table, sql in {"stale": held, "fresh": f"SELECT {_VERSION} FROM fresh"}.items():
        file = folder / table
        connection.execute(f"COPY ({sql}) TO {literal(str(file))} (FORMAT parquet, COMPRESSION zstd)")
        task.place.put(file, _name(f"result-{table}", task.number))


@dataclass(frozen=True)
class _Given:
    """A table that nodes are given: its name there, its content, and whether each bucket has its own part of it."""

    target: str
    sql: str
    is_spread: bool = True


_KEY = "(key_high::UHUGEINT << 64 | key_low::UHUGEINT)"


def _given(versions: Versions) -> dict[str, _Given]:
    """What it takes to work out versions. `candidates` has `bucket` on the control machine."""
    contract = versions.contract
    sightings, kept = sightings_table(contract), versions_table(contract)
    of_users = "SELECT *, hash(subject) % $buckets AS bucket FROM"
    return {
        "candidates": _Given(
            "candidates",
            "SELECT * EXCLUDE (key_id), (key_id >> 64)::UBIGINT AS key_high, "
            f"(key_id & {_LOW_BITS})::UBIGINT AS key_low FROM spread",
        ),
        "sightings": _Given(
            sightings,
            f"SELECT s.*, bucket FROM {sightings} AS s JOIN spread USING (row_no) "
            "WHERE part_no IN (SELECT part_no FROM looked_at)",
        ),
        # All that hold when the first unmerged delivery comes, or begin later.
        "versions": _Given(
            kept,
            f"SELECT v.*, bucket FROM {kept} AS v JOIN spread USING (row_no) "
            "WHERE known_from >= $first OR known_to IS NULL OR known_to >= $first",
        ),
        "found": _Given("found", f"{of_users} found", versions.is_of_users),
        "present": _Given("present", f"{of_users} present", versions.is_of_users),
        "unmerged": _Given("unmerged", "FROM unmerged", is_spread=False),
        "counted": _Given("counted", "FROM counted", is_spread=False),
        "looked_at": _Given("looked_at", "FROM looked_at", is_spread=False),
    }


@dataclass(frozen=True)
class ClusterBuckets:
    """Has nodes merge where at least `from_rows` are looked at; this process what is less.

    `at_once` bounds the buckets that are handed out at the same time.
    """

    nodes: Nodes
    place: Place
    from_rows: int
    at_once: int

    def work_out(self, versions: Versions, rows: int) -> None:
        """Bring the table of versions to the deliveries that count."""
        if rows < self.from_rows:
            OWN_BUCKETS.work_out(versions, rows)
            return
        buckets = max(_FEWEST, 1 + rows // _ROWS_PER_BUCKET)
        versions.find_candidates()
        with own_place(self.place) as place, TemporaryDirectory(prefix="offload-") as name:
            folder = Path(name)
            _hand_out(versions, buckets, place, folder)
            contract = versions.contract
            tasks = [
                BucketToMerge(
                    *(versions.feed, contract.vendor, contract.offload_type, versions.first, versions.has_lost_rows),
                    *(number, software(), place),
                )
                for number in range(buckets)
            ]
            with ThreadPoolExecutor(self.at_once) as waiting:
                for error in waiting.map(lambda task: self.nodes.run(merge_bucket, task), tasks):
                    if error is not None:
                        raise error
            _take_in(versions, buckets, place, folder)


def _hand_out(versions: Versions, buckets: int, place: Place, folder: Path) -> None:
    """Put into the place what each bucket needs."""
    connection = versions.connection
    by = "subject" if versions.is_of_users else "key_id"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE spread AS SELECT *, hash({by}) % {buckets} AS bucket FROM candidates"
    )
    for table, given in _given(versions).items():
        values = {"first": versions.first, "buckets": buckets}
        used = {name: value for name, value in values.items() if f"${name}" in given.sql}
        if not given.is_spread:
            file = folder / table
            connection.execute(f"COPY ({given.sql}) TO {literal(str(file))} (FORMAT parquet)", used)
            place.put(file, _name(table, None))
            continue
        connection.execute(f"CREATE OR REPLACE TEMP TABLE given AS {given.sql}", used)
        for number in range(buckets):
            file = folder / f"{table}-{number}"
            connection.execute(
                f"COPY (SELECT * EXCLUDE (bucket) FROM given WHERE bucket = {number}) TO {literal(str(file))} "
                "(FORMAT parquet, COMPRESSION zstd)"
            )
            place.put(file, _name(table, number))
            file.unlink()
    connection.execute("DROP TABLE given; DROP TABLE spread")


def _take_in(versions: Versions, buckets: int, place: Place, folder: Path) -> None:
    """Put what the nodes have worked out in the place of what held before, bucket by bucket."""
    kept = versions_table(versions.contract)
    same = " AND ".join(f"v.{name} IS NOT DISTINCT FROM s.{name}" for name in _VERSION.split(", "))
    for number in range(buckets):
        files = {table: folder / f"{table}-{number}" for table in ("stale", "fresh")}
        for table, file in files.items():
            place.fetch(_name(f"result-{table}", number), file)
        stale, fresh = (f"read_parquet({literal(str(file))})" for file in files.values())
        versions.replace_stale(f"SELECT v.rowid FROM {kept} AS v JOIN {stale} AS s ON {same}", f"FROM {fresh}")
        for file in files.values():
            file.unlink()


def _name(table: str, bucket: int | None) -> str:
    return f"{table}.parquet" if bucket is None else f"{table}-{bucket:05d}.parquet"


def buckets_of(scale: Scale | None) -> Buckets:
    """Who works out versions by a configuration: this process, unless it says otherwise."""
    if scale is None or scale.fan_out is FanOut.INLINE or scale.merge_from_rows is None:
        return OWN_BUCKETS
    return ClusterBuckets(cluster_of(scale), staging_of(scale), scale.merge_from_rows, scale.parts_at_once)
