"""What assets need from outside: a feed's source, and the warehouse's one writer."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import duckdb
from dagster_aws.s3 import S3Resource
from dagster_duckdb import DuckDBResource

from offload_platform.contracts.deliveries import Delivery
from offload_platform.landing.store import DeliveryStore
from offload_platform.settings import Feed
from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles, prepare
from offload_platform.warehouse.ledger import LoadedDeliveries, loaded_deliveries


class FeedSource(S3Resource):
    """S3 session and credentials of one feed; for a folder on disk it holds none.

    Its client (`get_client`) serves an engineer's own assets; deliveries are read through `store`.
    """

    def store(self, feed: Feed) -> DeliveryStore:
        """The feed's deliveries, read with this session's credentials."""
        if not feed.url.startswith("s3://"):
            return DeliveryStore(feed)
        return DeliveryStore(feed, boto3.Session(profile_name=self.profile_name, region_name=self.region_name))

    def get_object_to_set_on_execution_context(self) -> "FeedSource":
        """An asset gets the source itself; S3Resource would hand out its boto3 client."""
        return self


class WarehouseResource(DuckDBResource):
    """The warehouse's build file. One writer at a time, and never a connection left open by an exception."""

    root: str
    failed_staging_hours: float = 0.0

    @property
    def files(self) -> WarehouseFiles:
        """Where the warehouse keeps its files."""
        return WarehouseFiles(Path(self.root), self.failed_staging_hours)

    def loaded(self, deliveries: Iterable[Delivery] | None = None) -> LoadedDeliveries:
        """Which deliveries are loaded, of all or of some; none before the first load."""
        if not self.files.build.exists():
            return LoadedDeliveries({})
        with self.writing() as connection:
            return loaded_deliveries(connection, deliveries)

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Wait for the writer lock, then open the build file; both are given back whatever happens."""
        with self.files.writer_lock():
            self.files.mend_log()
            with self.get_connection() as connection:
                try:
                    prepare(connection)
                    yield connection
                finally:
                    # DuckDBResource closes only after a body that did not raise; the file's lock would leak otherwise.
                    connection.close()


def source_of(feed: Feed) -> FeedSource:
    """The source of a feed, as configured."""
    return FeedSource(profile_name=feed.aws_profile, region_name=feed.region, endpoint_url=feed.endpoint_url)


def source_key(feed: Feed) -> str:
    """Name of a feed's source among Dagster's resources."""
    return f"{feed.name}_source"


def warehouse_in(folder: Path, failed_staging_hours: float = 0.0) -> WarehouseResource:
    """The warehouse in a folder. What loads that failed have staged is kept for some hours; none by default."""
    return WarehouseResource(
        root=str(folder),
        failed_staging_hours=failed_staging_hours,
        database=str(WarehouseFiles(folder).build),
        connection_config=dict(CONNECTION_CONFIG),
    )
