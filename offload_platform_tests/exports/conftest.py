"""A published file that is written by hand, a bucket of a real S3 server, and an export between them."""

import csv
import gzip
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
from botocore.config import Config

from offload_platform.exports import managing
from offload_platform.exports.form import ExportForm
from offload_platform.exports.registry import Registry, Saved, Slot
from offload_platform.exports.sending import send_due
from offload_platform.simulator.object_store import ObjectStoreServer
from offload_platform.warehouse.files import WarehouseFiles

ACCESS_VARIABLE, SECRET_VARIABLE = "ACME_KEY", "ACME_SECRET"
TABLE = "shop.conversions"
COLUMNS = ("id", "status", "revenue", "changed_at")
FIRST = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


class Client:
    """The client's bucket, seen with the rights of its owner."""

    def __init__(self, server: ObjectStoreServer) -> None:
        self.server = server
        self.s3 = boto3.client(
            "s3",
            endpoint_url=server.url,
            aws_access_key_id=server.admin.access_key,
            aws_secret_access_key=server.admin.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    def objects(self, prefix: str) -> dict[str, str]:
        """ETags by key, below a prefix."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.server.bucket, Prefix=f"{prefix}/")
        return {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", ())}

    def body(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=self.server.bucket, Key=key)["Body"].read()

    def rows(self, key: str) -> list[dict[str, str]]:
        text = gzip.decompress(self.body(key)).decode()
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))

    def all_rows(self, prefix: str) -> list[dict[str, str]]:
        """Rows of all files, in the order of their names."""
        return [row for key in sorted(self.objects(prefix)) for row in self.rows(key)]


@dataclass
class Shop:
    """A warehouse whose published file is written by hand, and its exports."""

    files: WarehouseFiles
    directory: str
    endpoint: str

    @property
    def registry(self) -> Registry:
        return Registry(self.files.exports)

    def publish(self, *statements: tuple[str, Sequence[Any]]) -> None:
        """Write a new published file: the tables of the old one, changed by SQL, swapped in as publishing does."""
        self.files.published.parent.mkdir(parents=True, exist_ok=True)
        aside = self.files.published.with_suffix(".duckdb.new")
        with duckdb.connect(aside) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            if self.files.published.exists():
                connection.execute(f"ATTACH '{self.files.published}' AS old (READ_ONLY)")
                connection.execute(f"COPY FROM DATABASE old TO {aside.stem.partition('.')[0]}")
                connection.execute("DETACH old")
            else:
                connection.execute("CREATE SCHEMA shop")
                connection.execute(
                    f"CREATE TABLE {TABLE} (id VARCHAR, status VARCHAR, revenue DECIMAL(18, 4), changed_at TIMESTAMPTZ)"
                )
            for sql, values in statements:
                connection.execute(sql, list(values))
        aside.replace(self.files.published)

    def put(self, *rows: tuple[str, str, str, datetime | None]) -> None:
        """Publish with some rows that are new or replace those of their ids."""
        removed = (f"DELETE FROM {TABLE} WHERE list_contains(?, id)", [[row[0] for row in rows]])
        self.publish(removed, *((f"INSERT INTO {TABLE} VALUES (?, ?, ?, ?)", row) for row in rows))

    def remove(self, *ids: str) -> None:
        """Publish without some rows."""
        self.publish((f"DELETE FROM {TABLE} WHERE list_contains(?, id)", [list(ids)]))

    def form(self, **said: Any) -> ExportForm:
        usual: dict[str, Any] = {
            "name": "acme",
            "source": {"table": TABLE, "key": ["id"], "change_time": "changed_at"},
            "columns": COLUMNS,
            "bucket": "clients",
            "directory": self.directory,
            "region": "us-east-1",
            "endpoint_url": self.endpoint,
            "access_key": f"env:{ACCESS_VARIABLE}",
            "secret_key": f"env:{SECRET_VARIABLE}",
        }
        return ExportForm.model_validate(usual | said)

    def add(self, now: datetime = FIRST, sql: str | None = None, **said: Any) -> Saved:
        return managing.add(self.files, self.registry, self.form(**said), sql, now)

    def send(self, now: datetime, name: str = "acme", until: datetime | None = None) -> list[Slot]:
        return list(send_due(self.files, self.registry, name, until, now))


@pytest.fixture(scope="session")
def client_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStoreServer]:
    """An S3 server with the bucket `clients`; its second key may only read below `clients/readable/`."""
    with ObjectStoreServer(tmp_path_factory.mktemp("clients") / "data", "clients", "readable") as server:
        yield server


@pytest.fixture(scope="session")
def client(client_store: ObjectStoreServer) -> Client:
    return Client(client_store)


@contextmanager
def keys_of(server: ObjectStoreServer) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ACCESS_VARIABLE, server.admin.access_key)
        patch.setenv(SECRET_VARIABLE, server.admin.secret_key)
        yield


@pytest.fixture
def shop(tmp_path: Path, client_store: ObjectStoreServer) -> Iterator[Shop]:
    """A shop with an empty table; files go to a directory of the test's own."""
    with keys_of(client_store):
        yield made_shop(tmp_path, client_store)


def made_shop(folder: Path, server: ObjectStoreServer) -> Shop:
    shop = Shop(WarehouseFiles(folder / "warehouse"), f"out/{os.urandom(6).hex()}", server.url)
    shop.publish()
    return shop


@pytest.fixture(scope="session")
def shop_in(client_store: ObjectStoreServer) -> Iterator[Callable[[Path], Shop]]:
    """Makes shops for tests that need many."""
    with keys_of(client_store):
        yield lambda folder: made_shop(folder, client_store)
