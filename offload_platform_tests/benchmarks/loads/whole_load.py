"""Loads one partition as the platform does: fetch, verify, parse, conform, validate, quarantine, commit, ledger.

    python -m offload_platform_tests.benchmarks.loads.whole_load TYPE URL WAREHOUSE [--without-validation]

Without validation, cells that cannot be converted are still quarantined, and the rules of the contract are not looked
at. There is no such switch in the platform: the step is taken out here.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl

from offload_platform.contracts.contract import Contract
from offload_platform.landing import staging
from offload_platform.landing.deliveries import discover
from offload_platform.landing.store import DeliveryStore
from offload_platform.quality.conform import Conformed
from offload_platform.quality.validate import BROKEN_SCHEMA
from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.files import CONNECTION_CONFIG, WarehouseFiles, prepare
from offload_platform.warehouse.load import Loaded, load_partition

ENDPOINT_VARIABLE = "OFFLOAD_BENCHMARK_ENDPOINT"
PROFILE = "offload-benchmark"


def feed_of(url: str, offload_type: str) -> Feed:
    """A feed of one offload type, in a folder or in the S3 server that the environment names."""
    family = vendor_named("sentiance").contracts[offload_type].family
    in_bucket = {"endpoint_url": os.environ[ENDPOINT_VARIABLE], "aws_profile": PROFILE} if url[:3] == "s3:" else {}
    return Feed.model_validate(
        {
            "name": "bench",
            "vendor": "sentiance",
            "url": url,
            "app_id": "5a689ab0e97b960500002109",
            "cadence": {family: "daily"},
            "types": [offload_type],
            "settle_hours": 0,
            "start": "2000-01-01",
            **in_bucket,
        }
    )


def load(feed: Feed, offload_type: str, files: WarehouseFiles) -> Loaded:
    """Load the one delivery that the feed's root holds."""
    store = DeliveryStore(feed)
    [delivery] = discover(feed, store.list_objects()).of_type(offload_type)
    contract = vendor_named(feed.vendor).contracts[offload_type]
    end = delivery.stamp + timedelta(seconds=1)
    partition = Partition(feed.name, contract, f"{delivery.stamp:%Y-%m-%d}", delivery.stamp, end)

    @contextmanager
    def writing() -> Iterator[duckdb.DuckDBPyConnection]:
        with files.writer_lock(), duckdb.connect(files.build, config=dict(CONNECTION_CONFIG)) as connection:
            prepare(connection)
            yield connection

    return load_partition(store, partition, files, writing, "a benchmark")


def only_what_cannot_be_converted(conformed: Conformed, _: Contract) -> pl.DataFrame:
    """What validation says, without the rules."""
    if conformed.failures.is_empty():
        return pl.DataFrame(schema=BROKEN_SCHEMA)
    return conformed.failures.group_by("row").agg(reasons=pl.col("reason").unique().sort()).sort("row")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("offload_type")
    parser.add_argument("url")
    parser.add_argument("warehouse", type=Path)
    parser.add_argument("--without-validation", action="store_true")
    asked = parser.parse_args()
    # It is there for tests alone, and pandera imports it wherever it is.
    sys.modules["hypothesis"] = None  # type: ignore[assignment]
    if asked.without_validation:
        assert callable(staging.validate)
        staging.validate = only_what_cannot_be_converted
    loaded = load(feed_of(asked.url, asked.offload_type), asked.offload_type, WarehouseFiles(asked.warehouse))
    said = {"rows": loaded.staged.loaded, "quarantined": loaded.staged.quarantined}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
