"""The lake: what the published file has, in one commit or not at all, for readers who cannot write."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from offload_platform.scale import connection as connections
from offload_platform.scale.chunks import Mirrored
from offload_platform.scale.errors import ScaleUnusable, StaleAttempt
from offload_platform.scale.lake import Lake
from offload_platform.scale.mirror import PUBLICATION, publish_to_lake
from offload_platform.scale.place import Place
from offload_platform.scale.shared import shared_of
from offload_platform.scale.upkeep import forget, purge_shared
from offload_platform.settings import Scale
from offload_platform.simulator.object_store import REGION, ObjectStoreServer
from offload_platform.warehouse.publish import publish

from ..journeys.postgres_server import PostgresServer, postgres_server
from .everything import Everything

ANN, BEN, CID = "a" * 24, "b" * 24, "c" * 24
ADMIN, READER = "lake-admin", "lake-reader"
ANALYST = {"PGUSER": "analyst", "PGPASSWORD": "only reads"}
DOCUMENT = Path(__file__).parents[2] / "docs" / "scale.md"
PAUSED = """
import sys, time
from pathlib import Path
from offload_platform.scale import mirror
from offload_platform.scale.lake import Lake
from offload_platform.scale.place import Place
from offload_platform.scale.upkeep import forget, purge_shared

def pause(*_):
    print("in the transaction", flush=True)
    time.sleep(600)

mirror._prove = pause
published, catalog, url, endpoint, region, profile, spill = sys.argv[1:]
lake = Lake(catalog, Place(url, endpoint, region, profile))
try:
    mirror.publish_to_lake(Path(published), lake, "the victim", Path(spill))
except mirror.ScaleUnusable as error:
    print(error, flush=True)
"""
Make = Callable[..., Any]


@dataclass
class World:
    """A lake in a real server of Postgres and one of S3, and published files of one week and of two."""

    folder: Path
    server: PostgresServer
    store: ObjectStoreServer
    lake: Lake
    weeks: list[Path]

    def publish(self, number: int, run_id: str = "a run") -> Mirrored:
        return publish_to_lake(self.weeks[number], self.lake, run_id, self.folder)

    def query(self, sql: str, **other: Any) -> list[tuple[Any, ...]]:
        with replace(self.lake, **other).connected(self.folder, read_only=True) as connection:
            connection.execute("USE lake")
            return connection.execute(sql).fetchall()

    def users(self) -> list[str]:
        return [user for (user,) in self.query("SELECT user_id FROM sentiance.segments ORDER BY 1")]

    def snapshot(self) -> int:
        return int(self.query("SELECT max(snapshot_id) FROM ducklake_snapshots('lake')")[0][0])

    def victim(self, number: int) -> "subprocess.Popen[str]":
        """A publication in a process of its own, that stops before its commit."""
        data = self.lake.data
        arguments = [self.weeks[number], self.lake.catalog, data.url, data.endpoint_url, data.region, data.profile]
        process = subprocess.Popen(
            [sys.executable, "-c", PAUSED, *map(str, arguments), str(self.folder)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "in the transaction\n"
        return process


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, vendor_and_warehouse: Make, feed_of: Make, partition: Make
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("lake")
    vendor, warehouse = vendor_and_warehouse(folder)
    vendor.part("2018-11-24", [f"{ANN},,behavior.early_bird", "no user,,x"])
    vendor.part("2018-12-08", [f"{user},,behavior.early_bird" for user in (BEN, CID)])
    feed = feed_of(vendor.url, types=("segments",))
    weeks = []
    for week in ("2018-11-24", "2018-12-08"):
        warehouse.load(feed, partition(week))
        with warehouse.writing() as connection:
            publish(connection, warehouse.files)
        weeks.append(folder / f"{week}.duckdb")
        weeks[-1].write_bytes(warehouse.files.published.read_bytes())
    with (
        ObjectStoreServer(folder / "s3", "lake", "data") as store,
        postgres_server() as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        store.write_profiles(folder / "credentials", admin_profile=ADMIN, client_profile=READER)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
        patch.setenv("PGPASSWORD", server.environment["PGPASSWORD"])
        catalog = "host={PGHOST} port={PGPORT} user={PGUSER} dbname={PGDATABASE}".format(**server.environment)
        yield World(folder, server, store, Lake(catalog, Place("s3://lake/data", store.url, REGION, ADMIN)), weeks)


def names_in(connection: duckdb.DuckDBPyConnection, database: str) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = $1 UNION ALL "
        "SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = $1 AND NOT internal ORDER BY ALL",
        [database],
    ).fetchall()


def test_the_lake_holds_what_the_published_file_holds(world: World) -> None:
    first = world.publish(0, "the first")
    assert world.users() == [ANN]
    second = world.publish(1, "the second")
    assert second.kept > 0, "of the months before, nothing is written again"
    assert second.written > 0
    assert second.snapshot > first.snapshot
    with world.lake.connected(world.folder, read_only=True) as connection:
        connection.execute(f"ATTACH '{world.weeks[1]}' AS file (READ_ONLY)")
        own = names_in(connection, "file")
        assert len(own) > 40
        assert set(names_in(connection, "lake")) == {*own, ("ops", "lake"), ("ops", "view_columns")}
        connection.execute("USE lake; BEGIN")
        for schema, name in own:
            there, here = (f'{database}."{schema}"."{name}"' for database in ("lake", "file"))
            described = [connection.execute(f"DESCRIBE {one}").fetchall() for one in (there, here)]
            assert [row[:2] for row in described[0]] == [row[:2] for row in described[1]], name
            # What views make of equal tables costs more to ask than it can tell here; test_cluster.py asks them all.
            if schema in ("history", "ops", "sentiance"):
                rows = [sorted(map(repr, connection.execute(f"FROM {one}").fetchall())) for one in (there, here)]
                assert rows[0] == rows[1], name
        comments = (
            "SELECT schema_name, table_name, column_name, c.comment FROM duckdb_columns() AS c "
            "JOIN duckdb_tables() AS t USING (database_name, schema_name, table_name) "
            "WHERE database_name = $1 AND c.comment IS NOT NULL "
            "AND table_name NOT IN ('lake', 'view_columns') UNION ALL "
            "SELECT schema_name, table_name, NULL, comment FROM duckdb_tables() WHERE database_name = $1 "
            "AND comment IS NOT NULL UNION ALL SELECT schema_name, view_name, NULL, comment FROM duckdb_views() "
            "WHERE database_name = $1 AND NOT internal ORDER BY ALL"
        )
        here = connection.execute(comments, ["file"]).fetchall()
        assert len(here) > 300
        assert connection.execute(comments, ["lake"]).fetchall() == here
        assert (
            connection.execute(
                "SELECT comment FROM ops.view_columns WHERE schema_name = 'sentiance' AND view_name = 'segments' "
                "AND column_name = 'user_id'"
            ).fetchall()
            == connection.execute(
                "SELECT comment FROM duckdb_columns() WHERE database_name = 'file' AND schema_name = 'sentiance' "
                "AND table_name = 'segments' AND column_name = 'user_id'"
            ).fetchall()
        )
        as_of = "SELECT user_id FROM history.segments_as_of(TIMESTAMPTZ '2018-12-01')"
        assert connection.execute(as_of).fetchall() == [(ANN,)]
        then = f"SELECT count(*) FROM history.segments AT (VERSION => {first.snapshot})"
        assert connection.execute(then).fetchall() == [(1,)], "time travel"
        assert connection.execute("SELECT run_id FROM ops.lake").fetchall() == [("the second",)]


def test_every_offload_type_of_every_vendor_is_in_the_lake_as_in_the_published_file(
    world: World, everything: Everything
) -> None:
    """Tables and views, and again after an erasure; in a lake of its own."""
    world.server.query("CREATE DATABASE everything")
    data = replace(world.lake.data, url="s3://lake/everything")
    lake = Lake(world.lake.catalog.replace("dbname=postgres", "dbname=everything"), data)
    for file in (everything.whole, everything.after):
        publish_to_lake(file, lake, "a run", world.folder)
        with lake.connected(world.folder, read_only=True) as connection:
            connection.execute(f"ATTACH '{file}' AS file (READ_ONLY)")
            own = names_in(connection, "file")
            assert len(own) > 70
            connection.execute("USE lake; BEGIN")
            for schema, name in own:
                there, here = (f'{database}."{schema}"."{name}"' for database in ("lake", "file"))
                [counts] = connection.execute(
                    f"SELECT (SELECT count(*) FROM {there}), (SELECT count(*) FROM {here})"
                ).fetchall()
                assert counts[0] == counts[1], name
                assert connection.execute(f"FROM {here} EXCEPT ALL FROM {there}").fetchall() == [], name


def of_tables(world: World) -> list[str]:
    """Files of what was published; which run has published it is written down anew each time."""
    return [name for name in world.lake.data.names() if not name.startswith("ops/lake/")]


def test_what_is_there_already_is_not_written_again(world: World) -> None:
    world.publish(1)
    files = of_tables(world)
    again = world.publish(1)
    assert again.written == 0
    assert of_tables(world) == files


def test_what_others_have_done_to_the_tables_is_undone(world: World) -> None:
    world.publish(1)
    with world.lake.connected(world.folder) as connection:
        connection.execute(f"DELETE FROM lake.history.segments WHERE user_id = '{ANN}'")
        connection.execute("INSERT INTO lake.history.presence (user_id) VALUES ('nobody')")
    assert ANN not in world.users()
    world.publish(1)
    assert world.users() == [ANN, BEN, CID]
    assert world.query("SELECT * FROM history.presence WHERE user_id = 'nobody'") == []


def test_a_reader_reads_and_cannot_write(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the role that docs/scale.md describes, and keys that read the bucket alone."""
    world.publish(1)
    [role] = [
        text.split("```")[0]
        for text in DOCUMENT.read_text(encoding="utf-8").split("```sql\n")[1:]
        if "CREATE ROLE analyst" in text
    ]
    world.server.query(role.replace("'…'", "'only reads'").replace("lake_catalog", "postgres"))
    monkeypatch.setenv("PGPASSWORD", ANALYST["PGPASSWORD"])
    catalog = world.lake.catalog.replace("user=postgres", "user=analyst")
    data = replace(world.lake.data, profile=READER)
    assert world.query("SELECT count(*) FROM sentiance.segments", catalog=catalog, data=data) == [(3,)]
    reader = Lake(catalog, data)
    with reader.connected(world.folder) as connection:
        for statement in (
            f"DELETE FROM lake.history.segments WHERE user_id = '{ANN}'",
            "DELETE FROM lake.history.segments",
            "INSERT INTO lake.history.presence (user_id) VALUES ('nobody')",
            "CREATE TABLE lake.mine (a INTEGER)",
            "DROP TABLE lake.history.segments",
        ):
            with pytest.raises(duckdb.Error, match=r"permission denied|AccessDenied|403"):
                connection.execute(statement)
    with pytest.raises(ScaleUnusable):
        data.put(world.weeks[0], "a file of a reader")
    monkeypatch.undo()


def test_an_attempt_that_was_overtaken_changes_nothing(world: World) -> None:
    world.publish(1)
    before = world.snapshot()
    token = world.lake.begin(PUBLICATION)
    assert world.lake.begin(PUBLICATION) > token
    with pytest.raises(StaleAttempt, match="was overtaken by attempt"), world.lake.committing(PUBLICATION, token):
        raise AssertionError("no commit")
    assert world.snapshot() == before


def test_attempts_that_race_leave_one_whole_state(world: World) -> None:
    world.publish(0)
    ends: list[object] = []

    def attempt(number: int) -> None:
        try:
            ends.append(world.publish(number).rows["history.segments"])
        except StaleAttempt as error:
            ends.append(error)

    racers = [threading.Thread(target=attempt, args=(number,)) for number in (0, 1, 1)]
    for racer in racers:
        racer.start()
    seen = set()
    while any(racer.is_alive() for racer in racers):
        seen.add(tuple(world.users()))
    for racer in racers:
        racer.join()
    assert len(ends) == 3
    assert any(isinstance(end, int) for end in ends), ends
    assert seen <= {(ANN,), (ANN, BEN, CID)}, "readers see one published state or the other"
    world.publish(1)
    assert world.users() == [ANN, BEN, CID]


def test_a_publisher_that_is_killed_in_its_transaction_has_changed_nothing(world: World) -> None:
    world.publish(0)
    before = world.snapshot()
    with world.victim(1) as victim:
        assert world.users() == [ANN], "nobody who reads waits"
        victim.kill()
    assert world.users() == [ANN]
    assert world.snapshot() == before
    began = time.monotonic()
    with world.lake.committing(PUBLICATION, world.lake.begin(PUBLICATION)):
        assert time.monotonic() - began < 30, "the lock died with its holder"
    world.publish(1)
    assert world.users() == [ANN, BEN, CID]


def test_a_catalog_that_restarts_in_a_transaction_loses_nothing(world: World) -> None:
    world.publish(0)
    with world.victim(1) as victim:
        [backend, *_] = world.server.query(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        # A server whose backend is killed ends all others, and recovers as after a power cut.
        os.kill(int(backend), signal.SIGKILL)
        victim.kill()
    deadline = time.monotonic() + 60
    while True:
        try:
            assert world.users() == [ANN]
            break
        except ScaleUnusable:
            assert time.monotonic() < deadline
            time.sleep(0.5)
    world.publish(1)
    assert world.users() == [ANN, BEN, CID]


def test_old_snapshots_and_orphans_go_and_what_holds_now_stays(world: World) -> None:
    """What was killed and raced above has left files that no snapshot knows."""
    world.publish(0)
    world.publish(1)
    files = len(world.lake.data.names())
    day = timedelta(days=1)
    assert forget(world.lake, world.folder, day, day) == 0, "young: perhaps somebody reads or writes them"
    assert len(world.lake.data.names()) == files
    gone = forget(world.lake, world.folder, timedelta(0), timedelta(0))
    assert 0 < gone == files - len(world.lake.data.names())
    assert world.users() == [ANN, BEN, CID]
    assert world.query("SELECT count(*) FROM ducklake_snapshots('lake')") == [(1,)]
    assert world.publish(1).written == 0


def test_who_is_erased_is_in_no_state_of_the_lake(world: World) -> None:
    """The file of the first week has nobody of those that came later: as if they were erased from the second."""
    world.publish(1)
    scale = Scale(
        warehouse="ducklake",
        catalog=world.lake.catalog,
        **{"data": world.lake.data.url, "endpoint_url": world.store.url, "region": REGION, "aws_profile": ADMIN},
    )
    assert shared_of(scale) == world.lake
    assert purge_shared(scale, world.weeks[1], world.folder, [BEN]) != []
    assert purge_shared(scale, world.weeks[0], world.folder, [BEN]) == []
    assert world.query("SELECT count(*) FROM ducklake_snapshots('lake')") == [(1,)]
    assert len(world.lake.data.names()) == len(
        world.query("SELECT path FROM __ducklake_metadata_lake.ducklake_data_file")
    )


def test_troubles_are_told_in_a_sentence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish(0)
    with pytest.raises(ScaleUnusable, match=r"check scale.catalog, the password in PGPASSWORD"):
        replace(world.lake, catalog="host=127.0.0.1 port=1 user=x dbname=y").begin(PUBLICATION)
    nowhere = replace(world.lake, data=replace(world.lake.data, endpoint_url="http://127.0.0.1:1"))
    with pytest.raises(ScaleUnusable, match="the lake could not be brought to"):
        publish_to_lake(world.weeks[1], nowhere, "a run", world.folder)
    monkeypatch.setattr(connections, "find_spec", lambda _: None)
    with pytest.raises(ScaleUnusable, match=r"is not installed here: set the environment up from requirements-scale"):
        world.users()


def test_the_lake_of_a_configuration() -> None:
    assert shared_of(None) is None
    assert shared_of(Scale()) is None
    scale = Scale(warehouse="ducklake", catalog="host=pg dbname=lake", data="s3://lake/data/", region="eu-west-1")
    assert shared_of(scale) == Lake("host=pg dbname=lake", Place("s3://lake/data", None, "eu-west-1", None))
