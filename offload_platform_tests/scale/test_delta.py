"""Delta tables: what the published file has, each whole at any moment, and versions that belong together."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import deltalake
import duckdb
import polars as pl
import pytest

from offload_platform.orchestration import run as runs
from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.sharing import is_behind
from offload_platform.scale import delta_mirror, upkeep
from offload_platform.scale.chunks import Mirrored, SharedDiffers, chunks_of
from offload_platform.scale.connection import connected_to
from offload_platform.scale.delta import DeltaTables, names_in, tables_among
from offload_platform.scale.delta_mirror import publish_to_delta
from offload_platform.scale.delta_types import NotInDelta
from offload_platform.scale.errors import ScaleUnusable, StaleAttempt
from offload_platform.scale.place import Place
from offload_platform.scale.shared import shared_of
from offload_platform.scale.upkeep import forget_versions, look_at_lake, purge_shared, tidy_shared
from offload_platform.settings import Scale, read_settings
from offload_platform.simulator.object_store import REGION, ObjectStoreServer
from offload_platform.warehouse.files import WarehouseFiles
from offload_platform.warehouse.sql import quoted

from .everything import SECRETS, Everything

ADMIN, READER = "lake-admin", "lake-reader"
ANN, BEN, CID = "a" * 24, "b" * 24, "c" * 24
FEW, ALL = (ANN,), (ANN, BEN, CID)
DOCUMENT = Path(__file__).parents[2] / "docs" / "scale.md"
PUBLISHER = """
import sys, time
from pathlib import Path
from offload_platform.scale import delta_mirror, upkeep
from offload_platform.scale.delta import DeltaTables, names_in, tables_among
from offload_platform.scale.errors import StaleAttempt
from offload_platform.scale.place import Place

stop_before, url, endpoint, region, profile, spill, *published = sys.argv[1:]
committed, began = delta_mirror._Publication._committed, []

def pause(self, relation, change):
    if len(began) == int(stop_before):
        print("in the middle", flush=True)
        time.sleep(600)
    began.append(relation)
    return committed(self, relation, change)

if int(stop_before) >= 0:
    delta_mirror._Publication._committed = pause
tables = DeltaTables(Place(url, endpoint, region, profile))
print("ready", flush=True)
sys.stdin.readline()
for file in published:
    try:
        delta_mirror.publish_to_delta(Path(file), tables, "a process", Path(spill))
        print("published", flush=True)
    except StaleAttempt as error:
        print(error, flush=True)
"""
Make = Callable[..., Any]


@dataclass
class World:
    """Delta tables in a real server of S3."""

    folder: Path
    store: ObjectStoreServer
    tables: DeltaTables

    def file(self, name: str, users: tuple[str, ...] = ALL, *more: str) -> Path:
        """A published file of a few tables: a user a month, a row in quarantine, and a view."""
        file = self.folder / f"{name}.duckdb"
        file.unlink(missing_ok=True)
        with duckdb.connect(file) as connection:
            for statement in (
                "CREATE SCHEMA ops; CREATE SCHEMA history; CREATE SCHEMA sentiance",
                "CREATE TABLE ops.ledger AS SELECT 'loaded' AS status, 1::BIGINT AS rows_quarantined",
                "CREATE TABLE ops.quarantine AS SELECT 'a row' AS raw",
                "CREATE TABLE history.segments (user_id VARCHAR, known_from TIMESTAMPTZ)",
                "COMMENT ON TABLE history.segments IS 'Who is what.'",
                "COMMENT ON COLUMN history.segments.user_id IS 'The id.'",
                *(
                    f"INSERT INTO history.segments VALUES ('{user}', '2018-{9 + month}-01 00:00:00+00')"
                    for month, user in enumerate(users)
                ),
                "CREATE VIEW sentiance.segments AS SELECT user_id, length(user_id) AS letters FROM history.segments",
                *more,
            ):
                connection.execute(statement)
        return file

    def publish(self, file: Path, run_id: str = "a run") -> Mirrored:
        return publish_to_delta(file, self.tables, run_id, self.folder)

    def opened(self, name: str, version: int | None = None) -> Any:
        table = self.tables.opened(*name.split("."))
        if version is not None:
            table.load_as_version(version)
        return table

    def read(self, name: str, version: int | None = None) -> pl.DataFrame:
        return pl.read_delta(self.opened(name, version))

    def users(self, name: str = "history.segments", version: int | None = None) -> tuple[str, ...]:
        return tuple(sorted(self.read(name, version)["user_id"]))

    def named(self) -> dict[str, int]:
        rows = self.read("ops.publication").select("schema_name", "table_name", "version").rows()
        return {f"{schema}.{table}": version for schema, table, version in rows}

    def published(self) -> tuple[str, ...]:
        """Users in what belongs together, which are the same in table and view."""
        named = self.named()
        users = [self.users(name, named[name]) for name in ("history.segments", "sentiance.segments")]
        assert users[0] == users[1], "one published state"
        return users[0]

    def files(self, but: str = "_delta_log") -> set[str]:
        names = self.tables.data.names()
        return {name for name in names if "_delta_log" not in name and not name.startswith(but)}

    @contextmanager
    def process(self, stop_before: int, *published: Path) -> Iterator["subprocess.Popen[str]"]:
        data = self.tables.data
        arguments = [stop_before, data.url, data.endpoint_url, data.region, data.profile, self.folder, *published]
        with subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStoreServer]:
    folder = tmp_path_factory.mktemp("s3")
    with ObjectStoreServer(folder, "lake", "delta") as store, pytest.MonkeyPatch.context() as patch:
        store.write_profiles(folder / "credentials", admin_profile=ADMIN, client_profile=READER)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
        yield store


@pytest.fixture
def world(store: ObjectStoreServer, tmp_path: Path) -> World:
    """A place of its own for each test."""
    place = Place(f"s3://lake/delta/{tmp_path.name}", store.url, REGION, ADMIN)
    return World(tmp_path, store, DeltaTables(place).reached())


def scale_of(world: World, **more: Any) -> Scale:
    said = {"endpoint_url": world.store.url, "region": REGION, "aws_profile": ADMIN}
    return Scale(warehouse="delta", data=world.tables.data.url, **said, **more)


def read_by_duckdb(
    connection: duckdb.DuckDBPyConnection, world: World, file: Path, schemas: tuple[str, ...] = ()
) -> int:
    """Compare what is published with what DuckDB's own reader of Delta finds; returns how many tables and views."""
    connection.execute(f"ATTACH '{file}' AS file (READ_ONLY)")
    names = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'file' UNION ALL "
        "SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = 'file' AND NOT internal"
    ).fetchall()
    names = [(schema, name) for schema, name in names if schema in schemas or not schemas]
    for schema, name in names:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE here AS FROM file.{quoted(schema)}.{quoted(name)}")
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE there AS FROM delta_scan('{world.tables.folder(schema, name)}')"
        )
        here, there = (connection.execute(f"DESCRIBE {table}").fetchall() for table in ("here", "there"))
        assert [row[:2] for row in there] == [(row[0], row[1].replace("JSON", "VARCHAR")) for row in here], name
        # Equal counts, and nothing that is here and not there: what is twice here is twice there.
        counts = connection.execute("SELECT (SELECT count(*) FROM here), (SELECT count(*) FROM there)").fetchall()
        assert counts[0][0] == counts[0][1], name
        assert connection.execute("FROM here EXCEPT ALL FROM there").fetchall() == [], name
        told = {field.name: field.metadata.get("comment") for field in world.opened(f"{schema}.{name}").schema().fields}
        assert told == dict(
            connection.execute(
                "SELECT column_name, comment FROM duckdb_columns() WHERE database_name = 'file' AND schema_name = ? "
                "AND table_name = ?",
                [schema, name],
            ).fetchall()
        )
    connection.execute("DETACH file")
    return len(names)


def test_every_table_of_every_vendor_is_what_the_published_file_has(
    world: World, everything: Everything, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all offload types, with history, quarantine and receipts, and again after an erasure."""
    scale = scale_of(world)
    world.publish(everything.whole, "the first")
    with connected_to(world.tables.data, world.folder, ("httpfs", "delta")) as connection:
        assert read_by_duckdb(connection, world, everything.whole) > 70
        assert purge_shared(scale, everything.after, world.folder, [everything.erased]) == []
        # Views are asked by polars alone: to ask them twice costs more than it tells.
        read_by_duckdb(connection, world, everything.after, ("history", "ops"))
        prefix = world.tables.data.url
        for schema, name in tables_among(world.tables.data.names()):
            [files] = connection.execute(f"SELECT count(*) FROM glob('{prefix}/{schema}/{name}/*.parquet')").fetchall()
            assert files[0] == len(world.opened(f"{schema}.{name}").file_uris()), "no file of an old version is left"
        holding = f"SELECT count(*) FROM read_text('{prefix}/**') WHERE contains(content, '{everything.erased}')"
        log = holding.replace("/**", "/**/_delta_log/*.json")
        assert connection.execute(log).fetchall() == [(0,)]
        read_by_polars(world, everything.after)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    settings = read_settings(everything.feeds_file).model_copy(update={"scale": scale})
    assert is_behind(settings)
    before = world.files("ops/publication/")
    with open_instance(WarehouseFiles(settings.warehouse), capture_output=False) as instance:
        assert runs.share_now(settings, instance) is None
    assert not is_behind(settings)
    assert world.files("ops/publication/") == before, "of what is there, nothing is written again"


def read_by_polars(world: World, file: Path) -> None:
    """Compare what is published with what polars finds, by the lines of the document."""
    [lines] = re.findall(r"```python\n(import polars.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    lines = lines.replace("s3://acme-lake/delta", world.tables.data.url)
    said: dict[str, Any] = {}
    exec(lines.replace('{"AWS_REGION": "eu-west-1"}', repr(dict(world.tables.options))), said)
    with duckdb.connect(file, read_only=True, config={"threads": 2}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        compared = 0
        for name in said["version"]:
            there, here = said["table"](name).collect(), pl.DataFrame(connection.sql(f"FROM {name}"))
            assert there.columns == here.columns
            assert sorted(map(repr, there.rows())) == sorted(map(repr, here.rows())), name
            compared += len(here)
        moment = datetime(2026, 9, 1, tzinfo=UTC)
        ends = pl.col("known_to").is_null() | (pl.col("known_to") > moment)
        known = said["table"]("history.stationaries").filter(
            pl.col("known_from") <= moment, ends, pl.col("change_kind") != "deleted"
        )
        as_of = "SELECT count(*), sum(duration_s) FROM history.stationaries_as_of(?)"
        [(rows, seconds)] = connection.execute(as_of, [moment]).fetchall()
        found = known.select(pl.len(), pl.col("duration_s").sum()).collect().row(0)
        assert found == (rows, pytest.approx(seconds)), "what the macro tells"
        assert 0 < rows < said["table"]("history.stationaries").collect().height
    assert compared > 1000


def test_who_reads_the_versions_that_are_named_reads_one_published_state(world: World) -> None:
    world.publish(world.file("few", FEW), "the first")
    before = world.named()
    first = world.opened("ops.publication").version()
    mirrored = world.publish(world.file("all"), "the second")
    assert (mirrored.written, mirrored.kept, mirrored.snapshot) == (3, 3, 2), "of the month before, nothing"
    assert world.published() == ALL
    assert {name: world.users(name, before[name]) for name in before if name.endswith("segments")} == {
        "history.segments": FEW,
        "sentiance.segments": FEW,
    }
    named = world.read("ops.publication", first)
    assert named["run_id"].unique().to_list() == ["the first"], "earlier publications name earlier versions"
    assert dict(zip(named["table_name"], named["rows"], strict=True))["ledger"] == 1
    assert world.named()["ops.ledger"] == before["ops.ledger"], "what is as it was is not committed again"
    assert world.opened("history.segments").metadata().description == "Who is what."


def test_what_others_have_done_to_the_tables_is_undone(world: World) -> None:
    world.publish(world.file("all"))
    world.opened("history.segments").delete(f"user_id = '{ANN}'")
    deltalake.write_deltalake(
        world.opened("sentiance.segments"), pl.DataFrame({"user_id": ["x"], "letters": [1]}), mode="append"
    )
    assert world.users() == (BEN, CID)
    world.publish(world.file("all"))
    assert (world.published(), world.users("sentiance.segments")) == (ALL, ALL)
    world.opened("history.segments").alter.add_feature(
        deltalake.TableFeatures.DeletionVectors, allow_protocol_versions_increase=True
    )
    with pytest.raises(SharedDiffers, match=r"has turned deletionVectors on in history.segments. Remove its folder"):
        world.publish(world.file("all"))


def test_what_another_program_writes_in_the_middle_is_undone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish(world.file("few", FEW))
    committed = delta_mirror._Publication._committed

    def wait(self: Any, relation: Any, change: Any) -> Any:
        monkeypatch.undo()
        deltalake.write_deltalake(world.opened("history.segments"), world.read("history.segments"), mode="append")
        return committed(self, relation, change)

    monkeypatch.setattr(delta_mirror._Publication, "_committed", wait)
    world.publish(world.file("all"))
    assert (world.published(), world.users()) == (ALL, ALL)


def test_a_reader_reads_and_cannot_write(world: World) -> None:
    """With keys that read the place alone."""
    world.publish(world.file("all"))
    place = replace(world.tables.data, profile=READER)
    reader = World(world.folder, world.store, DeltaTables(place).reached())
    assert reader.published() == ALL
    with pytest.raises(ScaleUnusable, match=r"cannot be used; each is whole"):
        reader.publish(world.file("few", FEW))
    with pytest.raises(OSError, match=r"AccessDenied|403"):
        reader.opened("history.segments").delete()
    assert world.published() == ALL


def test_columns_comments_and_tables_that_change_are_followed(world: World) -> None:
    world.publish(world.file("before", ALL, "CREATE VIEW sentiance.gone AS FROM history.segments"))
    assert world.users("sentiance.gone") == ALL
    others = "COMMENT ON COLUMN history.segments.user_id IS 'Another.'; COMMENT ON TABLE ops.ledger IS 'Accounts.'"
    mirrored = replaced(world, keep_days=1).publish(world.file("after", ALL, others))
    assert mirrored.written == 0, "a description is no reason to write rows again"
    table = world.opened("history.segments")
    assert table.schema().fields[0].metadata == {"comment": "Another."}
    for changed in (table, world.opened("ops.publication")):
        assert changed.metadata().configuration["delta.logRetentionDuration"] == "interval 24 hours"
    assert world.opened("ops.ledger").metadata().description == "Accounts."
    assert world.opened("sentiance.gone").file_uris() == []
    assert "sentiance.gone" not in world.named()
    world.publish(world.file("wider", ALL, "ALTER TABLE history.segments ADD COLUMN score DOUBLE"))
    assert world.read("history.segments").columns == ["user_id", "known_from", "score"]
    assert world.published() == ALL


def replaced(world: World, keep_days: float) -> World:
    return World(world.folder, world.store, DeltaTables(world.tables.data, keep_days).reached())


TYPES: dict[str, tuple[str, Any]] = {
    "UTINYINT": ("255", 255),
    "USMALLINT": ("65535", 65535),
    "UINTEGER": ("4294967295", 4294967295),
    "UBIGINT": ("18446744073709551615", Decimal(18446744073709551615)),
    "HUGEINT": ("-99999999999999999999999999999999999999", Decimal("-99999999999999999999999999999999999999")),
    "TINYINT": ("-128", -128),
    "SMALLINT": ("-32768", -32768),
    "INTEGER": ("-2147483648", -2147483648),
    "BIGINT": ("-9223372036854775808", -9223372036854775808),
    "FLOAT": ("0.25", 0.25),
    "DOUBLE": ("0.1", 0.1),
    "DECIMAL(18,4)": ("12345678901234.5678", Decimal("12345678901234.5678")),
    "DECIMAL(38,4)": ("-0.0001", Decimal("-0.0001")),
    "BOOLEAN": ("true", True),
    "VARCHAR": ("'é\U0001f600\n'", "é\U0001f600\n"),
    "BLOB": ("'\\x00\\xFF'::BLOB", b"\x00\xff"),
    "DATE": ("DATE '0001-01-01'", date(1, 1, 1)),
    "TIMESTAMP": ("TIMESTAMP '2018-12-08 01:02:03.123456'", datetime(2018, 12, 8, 1, 2, 3, 123456)),
    "TIMESTAMPTZ": (
        "TIMESTAMPTZ '2018-12-08 01:02:03.123456+01'",
        datetime(2018, 12, 8, 0, 2, 3, 123456, tzinfo=UTC),
    ),
    "UUID": ("'00000000-0000-4000-8000-000000000001'", str(UUID(int=0x4000_8000_0000_0000_0001))),
    "ENUM('few', 'many')": ("'many'", "many"),
    "TIME": ("TIME '23:59:59.999999'", str(time(23, 59, 59, 999999))),
    "INTERVAL": ("INTERVAL '1 month 2 days 3 seconds'", "1 month 2 days 00:00:03"),
    "JSON": ("""'{"a": [1, null]}'""", '{"a": [1, null]}'),
    "VARCHAR[]": ("['a', NULL, '']", ["a", None, ""]),
    "STRUCT(a UUID, b STRUCT(c TIMESTAMP, d UINTEGER)[])": (
        "{'a': NULL, 'b': [{'c': TIMESTAMP '2018-12-08', 'd': 4294967295}, NULL]}",
        {"a": None, "b": [{"c": datetime(2018, 12, 8), "d": 4294967295}, None]},
    ),
    "MAP(VARCHAR, BIGINT)": ("MAP {'a': 1, 'b': NULL}", {"a": 1, "b": None}),
}


def test_every_type_is_kept_whole(world: World) -> None:
    columns = ", ".join(f'"{number}" {kind}' for number, kind in enumerate(TYPES))
    file = world.file(
        "types",
        FEW,
        f"CREATE TABLE history.types ({columns})",
        f"INSERT INTO history.types VALUES ({', '.join(value for value, _ in TYPES.values())})",
        "INSERT INTO history.types DEFAULT VALUES",
    )
    world.publish(file)
    expected = [value for _, value in TYPES.values()]
    with connected_to(world.tables.data, world.folder, ("httpfs", "delta")) as connection:
        found = connection.execute(
            f"FROM delta_scan('{world.tables.folder('history', 'types')}') ORDER BY \"0\""
        ).fetchall()
    assert [list(row) for row in found] == [expected, [None] * len(TYPES)]
    row, nothing = sorted(world.read("history.types").rows(), key=lambda found: found[0] is None)
    assert list(row) == expected
    assert set(nothing) == {None}


@pytest.mark.parametrize("kind", ["UHUGEINT", "TIMESTAMP_NS", "TIMETZ", "STRUCT(a BIT)[]"])
def test_a_type_that_would_lose_something_is_refused_by_name(world: World, kind: str) -> None:
    file = world.file("odd", FEW, f"CREATE TABLE history.odd (a {kind})")
    with pytest.raises(NotInDelta, match=r"history.odd, column a: .* has no form in Delta that keeps all of it"):
        world.publish(file)


def test_a_number_that_is_too_large_is_an_error_and_no_other_number(world: World) -> None:
    largest = "170141183460469231731687303715884105727"
    with pytest.raises(ScaleUnusable, match=rf"{largest}.*DECIMAL"):
        world.publish(world.file("large", FEW, f"CREATE TABLE history.large AS SELECT {largest} AS a"))


def test_a_publication_that_is_killed_leaves_whole_tables_and_the_next_one_mends(world: World) -> None:
    few, everybody = world.file("few", FEW), world.file("all")
    world.publish(few)
    with world.process(1, everybody) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "in the middle\n"]
        process.kill()
    assert (world.users("history.segments"), world.users("sentiance.segments")) == (ALL, FEW), "between commits"
    assert world.published() == FEW, "what belongs together is as it was"
    attempts = [world.publish(file).snapshot for file in (few, everybody)]
    assert attempts == [3, 4]
    assert world.published() == ALL
    is_whole(world)


def is_whole(world: World) -> None:
    assert [world.users(name) for name in ("history.segments", "sentiance.segments")] == [world.published()] * 2


def test_an_attempt_that_wakes_up_late_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one begins and ends while it waits, and finds every table as it is to be."""
    few, everybody = world.file("few", FEW), world.file("all")
    world.publish(everybody)
    committed = delta_mirror._Publication._committed

    def wait(self: Any, relation: Any, change: Any) -> Any:
        monkeypatch.undo()
        world.publish(everybody, "the later")
        return committed(self, relation, change)

    monkeypatch.setattr(delta_mirror._Publication, "_committed", wait)
    with pytest.raises(StaleAttempt, match=r"attempt 2 at a publication was overtaken by attempt 3"):
        world.publish(few, "the earlier")
    is_whole(world)
    assert world.published() == ALL
    versions = world.named()
    assert world.publish(everybody).snapshot == 4
    assert world.named() == versions, "all before have ended: what is as it was is not committed"


def test_an_attempt_that_is_overtaken_at_its_end_does_not_name_its_versions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish(world.file("few", FEW))
    end = delta_mirror._Publication._end

    def wait(self: Any, *said: Any) -> None:
        world.tables.begin()
        end(self, *said)

    monkeypatch.setattr(delta_mirror._Publication, "_end", wait)
    with pytest.raises(StaleAttempt):
        world.publish(world.file("all"))
    monkeypatch.undo()
    assert world.published() == FEW


def test_processes_that_race_double_and_lose_nothing(world: World) -> None:
    few, everybody = world.file("few", FEW), world.file("all")
    world.publish(few)
    rounds = 2
    with world.process(-1, *[few, everybody] * rounds) as one, world.process(-1, *[everybody, few] * rounds) as other:
        for process in (one, other):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in (one, other):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        seen = set()
        while one.poll() is None or other.poll() is None:
            seen.add(world.published())
        said = [line for process in (one, other) for line in (process.stdout or "")]
    assert seen <= {FEW, ALL}
    assert len(said) == 4 * rounds
    assert {line for line in said if "was overtaken by attempt" not in line} == {"published\n"}
    assert any("was overtaken by attempt" in line for line in said), "they have raced"
    for name in ("history.segments", "sentiance.segments"):
        assert world.users(name) in (FEW, ALL), "each table is whole"
    world.publish(everybody)
    is_whole(world)


def test_what_is_kept_long_enough_goes_and_what_is_named_stays(world: World) -> None:
    few, everybody = world.file("few", FEW), world.file("all")
    world.publish(few)
    old = world.opened("sentiance.segments")
    world.publish(everybody)
    orphan = world.folder / "orphan"
    orphan.write_bytes(b"of an attempt that was killed")
    world.tables.data.put(orphan, "history/segments/orphan.parquet")
    files = world.files()
    assert tidy_shared(scale_of(world, keep_days=0), world.folder, datetime.now(UTC)) == 0, "still read, perhaps"
    assert world.files() == files
    assert forget_versions(world.tables, world.folder, timedelta(0), among=set()) == 0
    gone = forget_versions(world.tables, world.folder, timedelta(0))
    assert gone == len(files) - len(world.files()) == 3, "of a view, of the publication, and of nobody"
    assert "history/segments/orphan.parquet" not in world.files()
    assert old.file_uris()[0].rpartition("/")[2] not in "".join(world.files())
    assert world.published() == ALL
    # As where an attempt was killed: the newest version is not the one that is named.
    world.opened("sentiance.segments").delete()
    assert forget_versions(world.tables, world.folder, timedelta(0)) == 0
    assert world.published() == ALL


def test_who_is_erased_is_in_no_file(world: World) -> None:
    everybody, few = world.file("all"), world.file("few", FEW)
    world.publish(few)
    scale = scale_of(world)
    assert purge_shared(scale, everybody, world.folder, [BEN]) == [
        'the Delta tables: "history"."segments"',
        'the Delta tables: "sentiance"."segments"',
    ]
    orphan = world.folder / "orphan.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT '{BEN}' AS user_id) TO '{orphan}'")
    world.tables.data.put(orphan, "history/segments/orphan.parquet")
    assert purge_shared(scale, few, world.folder, [BEN]) == []
    assert world.published() == FEW
    known = set()
    for name in (*world.named(), "ops.publication"):
        known |= {f"{name.replace('.', '/')}/{file}" for file in names_in(world.opened(name))}
    assert world.files() == known


def test_an_erasure_removes_no_file_of_a_publication_that_begins_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has written its files, and not committed them, when those go that no version knows."""
    few, everybody = world.file("few", FEW), world.file("all")
    world.publish(everybody)
    forget, committed = upkeep.forget_versions, delta_mirror._Publication._committed

    def publish_first(*said: Any) -> int:
        def wait(self: Any, relation: Any, change: Any) -> Any:
            monkeypatch.undo()
            assert forget(*said) == 4, "two months, and what a view and the publication were"
            return committed(self, relation, change)

        monkeypatch.setattr(delta_mirror._Publication, "_committed", wait)
        return world.publish(everybody).written

    monkeypatch.setattr(upkeep, "forget_versions", publish_first)
    purge_shared(scale_of(world), few, world.folder, [])
    assert world.published() == ALL


def test_a_chunk_is_told_by_its_rows_and_not_by_their_order() -> None:
    with duckdb.connect() as connection:
        here, turned, other = (
            chunks_of(connection, f"(SELECT a FROM range(100000) AS t(a) {clause})", "history", "t", {"a": "BIGINT"})
            for clause in ("", "ORDER BY a DESC", "WHERE a <> 7 UNION ALL SELECT -7")
        )
    assert here == turned
    assert here != other
    assert here[0].rows == other[0].rows


def test_doctor_tells_what_is_there_and_whether_the_store_is_fit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = scale_of(world)
    assert look_at_lake(scale, world.folder) == f"0 Delta tables in {world.tables.data.url}"
    world.publish(world.file("all"))
    assert look_at_lake(scale, world.folder) == f"4 Delta tables in {world.tables.data.url}"
    assert not [name for name in world.files() if "probe" in name]
    monkeypatch.setattr(Place, "refuses_a_second", lambda *_: False)
    with pytest.raises(ScaleUnusable, match=r"takes a second file of one name: .* that knows If-None-Match"):
        look_at_lake(scale, world.folder)


def test_tables_in_a_folder_are_the_same(world: World, tmp_path: Path) -> None:
    here = World(world.folder, world.store, DeltaTables(Place((tmp_path / "tables").as_uri())))
    here.publish(here.file("few", FEW))
    here.publish(here.file("all"))
    assert here.published() == ALL
    assert forget_versions(here.tables, here.folder, timedelta(0)) == 2


def test_what_is_missing_is_told_in_a_sentence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = world.file("all")
    with duckdb.connect(everybody) as connection:
        connection.execute("UPDATE ops.ledger SET rows_quarantined = 2")
    with pytest.raises(SharedDiffers, match=r"tells of 2 rows in quarantine, and there are 1"):
        world.publish(everybody)
    monkeypatch.setitem(sys.modules, "deltalake.exceptions", None)
    with pytest.raises(ScaleUnusable, match=r"needs deltalake, which is not installed here: set the environment up"):
        world.publish(everybody)


def test_the_tables_of_a_configuration() -> None:
    scale = Scale(warehouse="delta", data="s3://lake/data/", region="eu-west-1", keep_days=2)
    assert shared_of(scale) == DeltaTables(Place("s3://lake/data", None, "eu-west-1", None), 2)
