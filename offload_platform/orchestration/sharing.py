"""The shared warehouse as an asset: brought to each published file, where the configuration has one."""

from pathlib import Path
from typing import Any

import dagster as dg

from offload_platform.orchestration.automation import after_news
from offload_platform.orchestration.publishing import PUBLISHED_KEY
from offload_platform.orchestration.resources import WarehouseResource
from offload_platform.scale.chunks import Mirrored
from offload_platform.scale.delta import DeltaTables
from offload_platform.scale.errors import ScaleUnusable
from offload_platform.scale.lake import Lake
from offload_platform.scale.shared import publish_to, shared_of
from offload_platform.settings import Settings
from offload_platform.warehouse.files import WarehouseFiles

SHARED_KEY = dg.AssetKey("shared_warehouse")

_DESCRIPTIONS = {
    Lake: "The lake that analysts attach from many machines: tables, views, macros and comments of the published file, "
    "brought to it in one commit. Readers see one published state or the next.",
    DeltaTables: "Delta tables that many programs read: tables and views of the published file, brought to it one by "
    "one. Which versions belong together is said by ops.publication, which is committed last.",
}


def shared_warehouse(settings: Settings) -> list[dg.AssetsDefinition]:
    """The asset of the warehouse that many machines read; none where the configuration has none."""
    shared = shared_of(settings.scale)
    return [] if shared is None else [_shared(shared)]


def share_after_publishing() -> dg.AutomationConditionSensorDefinition:
    """The sensor that brings the shared warehouse to what was published; running from the start."""
    return dg.AutomationConditionSensorDefinition(
        "share_after_publishing",
        target=dg.AssetSelection.assets(SHARED_KEY),
        default_status=dg.DefaultSensorStatus.RUNNING,
    )


def _shared(shared: Lake | DeltaTables) -> dg.AssetsDefinition:
    @dg.asset(
        key=SHARED_KEY,
        deps=[PUBLISHED_KEY],
        group_name="warehouse",
        owners=["team:data-platform"],
        kinds={"duckdb", "postgres"} if isinstance(shared, Lake) else {"deltalake"},
        automation_condition=after_news("a file was published"),
        description=_DESCRIPTIONS[type(shared)],
    )
    def share(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        files = warehouse.files
        try:
            identity = _identity(files)
            with files.staging_folder() as spill:
                mirrored = publish_to(shared, files.published, context.run.run_id, spill)
            _mark_of(files).write_text(identity, encoding="utf-8")
        except ScaleUnusable as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        return dg.MaterializeResult(metadata=sharing_metadata(mirrored))

    return share


def is_behind(settings: Settings) -> bool:
    """Whether there is a shared warehouse, and what is published was not brought to it yet."""
    files = WarehouseFiles(settings.warehouse)
    if shared_of(settings.scale) is None or not files.published.exists():
        return False
    mark = _mark_of(files)
    return not mark.exists() or mark.read_text(encoding="utf-8") != _identity(files)


def _mark_of(files: WarehouseFiles) -> Path:
    """The file that says which published file the shared warehouse was brought to."""
    return files.build.with_name("shared")


def _identity(files: WarehouseFiles) -> str:
    return str(files.published.stat().st_mtime_ns)


def sharing_metadata(mirrored: Mirrored) -> dict[str, Any]:
    """What is said in Dagster of a shared warehouse that was brought to the published file."""
    return {
        "snapshot": mirrored.snapshot,
        "rows": sum(mirrored.rows.values()),
        "rows by table": dg.MetadataValue.json(mirrored.rows),
        "files written": mirrored.written,
        "files kept": mirrored.kept,
        "commit (s)": round(mirrored.locked_seconds, 3),
        "seconds": round(mirrored.seconds, 3),
    }
