"""One partitioned asset for each feed and offload type: the table that its deliveries fill."""

import inspect
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg

from offload_platform.contracts.columns import Column
from offload_platform.contracts.contract import Contract
from offload_platform.landing.errors import LandingError, MostlyBad
from offload_platform.orchestration.checks import check_results, check_specs, refusal
from offload_platform.orchestration.deliveries import delivery_key
from offload_platform.orchestration.partitions import partition_of, partitions_of
from offload_platform.orchestration.reports import load_metadata
from offload_platform.orchestration.resources import FeedSource, WarehouseResource, source_key
from offload_platform.scale.cluster import bench_of
from offload_platform.settings import Feed, Scale
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.load import load_partition
from offload_platform.warehouse.views import delivered_columns

LOADS_POOL = "loads"
"""Every load belongs to this pool, so that `dagster.yaml` bounds how many go on at once."""


def subscribed_contracts(feed: Feed) -> list[Contract]:
    """Contracts of the offload types that a feed subscribes to."""
    contracts = vendor_named(feed.vendor).contracts
    return [contracts[t] for family in feed.cadence for t in feed.expected_types(family) if t in contracts]


def tables_of(feed: Feed, scale: Scale | None = None) -> list[dg.AssetsDefinition]:
    """The table assets of a feed: one for each subscribed offload type that has a contract.

    Parts are staged where `scale` says.
    """
    return [_table(feed, contract, scale) for contract in subscribed_contracts(feed)]


def table_key(feed: Feed, offload_type: str) -> dg.AssetKey:
    """Asset key of a table: feed and offload type."""
    return dg.AssetKey([feed.name, offload_type])


def _table(feed: Feed, contract: Contract, scale: Scale | None) -> dg.AssetsDefinition:
    key = table_key(feed, contract.offload_type)

    @dg.asset(
        key=key,
        partitions_def=partitions_of(feed, contract.family),
        deps=[delivery_key(feed.name, contract.offload_type)],
        group_name=feed.name,
        owners=list(feed.owners),
        kinds={"s3" if feed.url.startswith("s3://") else "file", "polars", "duckdb"},
        pool=LOADS_POOL,
        tags={"vendor": feed.vendor, "family": contract.family, "cadence": feed.cadence[contract.family].value},
        description=f"{contract.description}\n\nDelivered below `{feed.url}`. {contract.source}.",
        metadata={
            "dagster/column_schema": _column_schema(contract),
            "dagster/table_name": f"delivered.{contract.table}",
            "dagster/code_references": _code_reference(contract),
            "natural key": ", ".join(contract.key),
        },
        check_specs=check_specs(feed, contract, key),
        required_resource_keys={"warehouse", source_key(feed)},
    )
    def load(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:  # type: ignore[type-arg]
        started = time.monotonic()
        warehouse: WarehouseResource = context.resources.warehouse
        source: FeedSource = getattr(context.resources, source_key(feed))
        partition = partition_of(feed, contract, context.partition_key)
        try:
            loaded = load_partition(
                source.store(feed),
                partition,
                warehouse.files,
                warehouse.writing,
                context.run.run_id,
                bench=bench_of(scale),
            )
        except LandingError as error:
            if isinstance(error, MostlyBad):
                yield refusal(error)
            raise dg.Failure(str(error), allow_retries=False) from error
        yield dg.MaterializeResult(
            metadata=load_metadata(loaded, time.monotonic() - started),
            data_version=dg.DataVersion(loaded.delivery.fingerprint),
            check_results=check_results(loaded, feed),
        )
        if loaded.refused:
            more = f" {len(loaded.refused) - 1:,} more are like it." if len(loaded.refused) > 1 else ""
            raise dg.Failure(f"{loaded.refused[0]} The others are loaded.{more}", allow_retries=False)

    return load


def _column_schema(contract: Contract) -> dg.TableSchema:
    return dg.TableSchema(
        [
            dg.TableColumn(name, kind, description=comment, **_of_contract(contract.columns.get(name)))
            for name, (kind, comment) in delivered_columns(contract).items()
        ]
    )


def _of_contract(column: Column | None) -> dict[str, Any]:
    if column is None:
        return {}
    return {
        "constraints": dg.TableColumnConstraints(nullable=column.nullable),
        "tags": {"privacy": column.facts.privacy.value},
    }


def _code_reference(contract: Contract) -> dg.CodeReferencesMetadataValue:
    module = inspect.getmodule(contract.rows)
    assert module is not None
    assert module.__file__ is not None
    return dg.CodeReferencesMetadataValue(
        code_references=[dg.LocalFileCodeReference(file_path=module.__file__, line_number=1)]
    )
