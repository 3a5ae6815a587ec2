"""The published file as an asset: rebuilt when loads have finished, never while one is under way."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from offload_platform.orchestration.automation import after_news
from offload_platform.orchestration.reports import table
from offload_platform.orchestration.resources import WarehouseResource
from offload_platform.scale.errors import ScaleUnusable
from offload_platform.scale.merging import buckets_of
from offload_platform.settings import Feed, Scale
from offload_platform.warehouse.files import WarehouseFiles, WarehouseUnusable, troubles_explained
from offload_platform.warehouse.holds import Held
from offload_platform.warehouse.publish import Published, publish

_CHANGES = ("new", "changed", "deleted", "restored")
HELD_CHECK = "no_delivery_is_held"
PUBLISHED_KEY = dg.AssetKey("published_file")


def published_file(
    feeds: Sequence[Feed], tables: Sequence[dg.AssetsDefinition], scale: Scale | None = None
) -> dg.AssetsDefinition:
    """The asset of the file that analysts open; it depends on every table. Histories are merged where `scale` says."""

    @dg.asset(
        key=PUBLISHED_KEY,
        deps=[table.key for table in tables],
        group_name="warehouse",
        owners=["team:data-platform"],
        kinds={"duckdb"},
        automation_condition=after_news("a table was loaded and no load is under way"),
        check_specs=[
            dg.AssetCheckSpec(
                HELD_CHECK,
                asset=PUBLISHED_KEY,
                description="A delivery that would take back suspiciously much is held: what was known before it "
                "stands, until the next delivery confirms it or somebody decides.",
            )
        ],
        description="The read-only DuckDB file that analysts open: what is true now, its history, and the accounts; "
        "merged, written aside, verified, and swapped in one step. Readers of the old file are never blocked and never "
        "block a load.",
    )
    def publish_warehouse(warehouse: WarehouseResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        try:
            with troubles_explained(warehouse.files.root), warehouse.writing() as connection:
                published = publish(connection, warehouse.files, feeds, buckets_of(scale))
        except (WarehouseUnusable, ScaleUnusable) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        return dg.MaterializeResult(
            metadata=publishing_metadata(published, warehouse.files), check_results=[_held_result(published.held)]
        )

    return publish_warehouse


def _held_result(held: Sequence[Held]) -> dg.AssetCheckResult:
    said = f"{len(held):,} deliveries are held. Decide: offload decide FEED TYPE DAY --release or --reject"
    return dg.AssetCheckResult(
        check_name=HELD_CHECK,
        passed=not held,
        description=said if held else "No delivery is held.",
        metadata={
            "held": table(
                ("feed", "type", "delivery", "would take back", "of"),
                [(h.feed, h.offload_type, f"{h.stamp:%Y-%m-%d %H:%M}", h.withdrawn, h.compared) for h in held],
            )
        },
    )


def publishing_metadata(published: Published, files: WarehouseFiles) -> dict[str, Any]:
    """What is said in Dagster of a file that was published."""
    return {
        "file": dg.MetadataValue.path(files.published),
        "size (MB)": round(published.size_bytes / 1e6, 3),
        "merged, written and verified in (s)": round(published.seconds, 3),
        "rows": sum(published.rows.values()),
        "rows by table": dg.MetadataValue.json(published.rows),
        "older than expired rows, not merged": published.too_old_to_merge,
        "merged": table(
            ("feed", "type", "deliveries", "first", "last", *_CHANGES),
            [
                (
                    *(m.feed, m.offload_type, m.deliveries, f"{m.first:%Y-%m-%d}", f"{m.last:%Y-%m-%d}"),
                    *(m.versions.get(kind, 0) for kind in _CHANGES),
                )
                for m in published.merged
            ],
        ),
    }


def publish_after_loads() -> dg.AutomationConditionSensorDefinition:
    """The sensor that publishes when loads have finished; running from the start."""
    return dg.AutomationConditionSensorDefinition(
        "publish_after_loads",
        target=dg.AssetSelection.assets(PUBLISHED_KEY),
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
