"""What tests of several rooms share: feeds, hand-written deliveries, a warehouse to load them into, an S3 server."""

import atexit
import contextlib
import gzip
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from offload_platform import cli
from offload_platform.cli import console
from offload_platform.contracts.contract import Contract
from offload_platform.landing.store import DeliveryStore
from offload_platform.settings import Feed
from offload_platform.simulator.object_store import ObjectStoreServer
from offload_platform.vendors import vendor_named, vendor_names
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles, prepare
from offload_platform.warehouse.load import Loaded, load_partition


def _silence_the_end() -> None:
    """Throw away what is written after the last line of pytest: DuckDB's bindings list what pytest still refers to."""
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)


atexit.register(_silence_the_end)
# Processes among which the suite is shared out are told the width of a terminal that is none (GNU readline does it);
# tables are as in a file.
os.environ.pop("COLUMNS", None)
console.stdout.width = 160

APP_ID = "5a689ab0e97b960500002109"
JOB = "0b4f3c1e-7a52-4c9b-9d3e-2f6a8c1d5e70"
SAMPLE = Path(__file__).parents[2] / "shared" / "samples" / "sentiance-2019-01-14"
CLIENT_PROFILE = "tests-client"
SEGMENTS_HEADER = "user_id,metadata_user_id,segment_id"


class VendorFolder:
    """A feed's root on disk, with parts that are written by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return self.root.as_uri()

    def part(
        self,
        stamp: datetime | str,
        rows: Sequence[str],
        *,
        number: int = 0,
        offload_type: str = "segments",
        header: str = SEGMENTS_HEADER,
        app_id: str = APP_ID,
    ) -> Path:
        """Write (or replace) one part; a stamp without a time is of 15:05:54.499."""
        if isinstance(stamp, str):
            stamp = datetime.fromisoformat(f"{stamp}T15:05:54.499+00:00" if len(stamp) == 10 else stamp)
        folder = f"{stamp.astimezone(UTC):%m_%d_%Y_%H_%M_%S}_{stamp.microsecond // 1000:03d}"
        name = f"part-{number:05d}-{JOB}-c000.csv.gz"
        path = self.root / folder / app_id / f"{offload_type}.{app_id}.csv" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("".join(f"{line}\r\n" for line in (header, *rows)).encode(), mtime=0))
        return path

    def driving_day(self, day: str, rows: Sequence[dict[str, Any]], offload_type: str) -> Path:
        """Write (or replace) the one part of a driving type of a day, with its marker; an empty day has no part."""
        folder = f"{day.replace('-', '_')}_{JOB}"
        path = self.root / folder / APP_ID / f"{offload_type}.{APP_ID}.json" / "part-00000.json.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if rows:
            path.write_bytes(gzip.compress("".join(f"{json.dumps(row)}\n" for row in rows).encode(), mtime=0))
        path.with_name("_SUCCESS").touch()
        return path


class Warehouse:
    """A warehouse in a folder, loaded without Dagster."""

    def __init__(self, root: Path) -> None:
        self.files = WarehouseFiles(root)

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self.files.writer_lock(), duckdb.connect(self.files.build, config=dict(CONNECTION_CONFIG)) as connection:
            prepare(connection)
            yield connection

    def load(self, feed: Feed, partition: Partition, run_id: str = "a run", **more: Any) -> Loaded:
        return load_partition(DeliveryStore(feed), partition, self.files, self.writing, run_id, **more)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.writing() as connection:
            return connection.execute(sql).fetchall()

    def content(self, *left_out: str) -> dict[str, list[str]]:
        """Every row of the delivered rows, the history and `ops`, but for those left out, as sorted texts."""
        with self.writing() as connection:
            return content_of(connection, *left_out)


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def content_of(connection: duckdb.DuckDBPyConnection, *left_out: str) -> dict[str, list[str]]:
    tables = connection.execute(
        "SELECT table_schema || '.' || table_name FROM information_schema.tables "
        "WHERE table_schema IN ('ops', 'delivered', 'history')"
    ).fetchall()
    return {
        table: sorted(repr(row) for row in connection.execute(f"SELECT * FROM {table}").fetchall())
        for (table,) in tables
        if table not in left_out
    }


@pytest.fixture
def vendor_folder(tmp_path: Path) -> VendorFolder:
    return VendorFolder(tmp_path / "delivered")


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse")


@pytest.fixture(scope="session")
def vendor_and_warehouse() -> Callable[[Path], tuple[VendorFolder, Warehouse]]:
    """Makes a vendor's folder and a warehouse below a folder, for fixtures that serve several tests."""
    return lambda folder: (VendorFolder(folder / "delivered"), Warehouse(folder / "warehouse"))


@pytest.fixture(scope="session")
def feed_of() -> Callable[..., Feed]:
    """Makes a feed of a URL; everything else has a value that can be overridden."""

    def make(url: str, **said: Any) -> Feed:
        usual: dict[str, Any] = {
            "name": "acme",
            "vendor": "sentiance",
            "app_id": APP_ID,
            "cadence": {"lifestyle": "weekly"},
            "settle_hours": 0,
            "start": date(2018, 12, 1),
        }
        return Feed(**usual | {"url": url} | said)

    return make


@pytest.fixture(scope="session")
def feeds_yaml() -> Callable[..., Path]:
    """Writes a configuration of feeds; returns the file. The warehouse is beside it."""

    def write(folder: Path, *feeds: Feed, warehouse: str = "./warehouse") -> Path:
        said = [feed.model_dump(mode="json", exclude_defaults=True) | {"start": feed.start} for feed in feeds]
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "feeds.yaml"
        file.write_text(yaml.safe_dump({"warehouse": warehouse, "feeds": said}, sort_keys=False), encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def partition() -> Callable[..., Partition]:
    """A week of a feed, by its first day."""

    def make(first: str = "2018-12-08", offload_type: str = "segments", feed: str = "acme", days: int = 7) -> Partition:
        start = datetime.fromisoformat(first).replace(tzinfo=UTC)
        return Partition(feed, contract_of(offload_type), first, start, start + timedelta(days=days))

    return make


def contract_of(offload_type: str) -> Contract:
    [contract] = [c for v in vendor_names() if (c := vendor_named(v).contracts.get(offload_type))]
    return contract


@pytest.fixture(scope="session")
def offload() -> Callable[..., Said]:
    """Runs the `offload` command in this process."""

    def run(*arguments: str | Path) -> Said:
        out, err = io.StringIO(), io.StringIO()
        code: Any = 0
        umask = os.umask(0)
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.setattr(sys, "argv", ["offload", *map(str, arguments)])
            patch.delenv("DAGSTER_HOME", raising=False)
            patch.delenv("OFFLOAD_FEEDS", raising=False)
            patch.setenv("COLUMNS", "200")
            try:
                cli.main()
            except SystemExit as stop:
                code = stop.code
            finally:
                os.umask(umask)
        return Said(code or 0, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def sample() -> Path:
    """The vendor's published sample, where it is at hand."""
    if not SAMPLE.is_dir():
        pytest.skip(f"the vendor's sample is not at {SAMPLE}; it is not part of the repository")
    return SAMPLE


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStoreServer]:
    """An S3 server whose client may list and read below `s3://offloads/acme/` and nothing else."""
    folder = tmp_path_factory.mktemp("s3")
    with ObjectStoreServer(folder / "data", "offloads", "acme") as server:
        server.write_profiles(folder / "credentials", client_profile=CLIENT_PROFILE)
        patch = pytest.MonkeyPatch()
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
        yield server
        patch.undo()
