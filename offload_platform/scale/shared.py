"""The shared warehouse of a configuration, whichever form it has."""

from pathlib import Path

from offload_platform.scale.chunks import Mirrored
from offload_platform.scale.delta import DeltaTables
from offload_platform.scale.delta_mirror import publish_to_delta
from offload_platform.scale.lake import Lake
from offload_platform.scale.mirror import publish_to_lake
from offload_platform.scale.place import Place
from offload_platform.settings import Scale, SharedWarehouse


def shared_of(scale: Scale | None) -> Lake | DeltaTables | None:
    """The shared warehouse of a configuration; None where it has none."""
    if scale is None or scale.warehouse is SharedWarehouse.DUCKDB:
        return None
    assert scale.data is not None
    data = Place(scale.data, scale.endpoint_url, scale.region, scale.aws_profile)
    if scale.warehouse is SharedWarehouse.DELTA:
        return DeltaTables(data, scale.keep_days)
    assert scale.catalog is not None
    return Lake(scale.catalog, data)


def publish_to(shared: Lake | DeltaTables, published: Path, run_id: str, spill: Path) -> Mirrored:
    """Bring a shared warehouse to a published file.

    Raises:
        StaleAttempt: a later attempt has begun.
        SharedDiffers: it would hold other rows, or does.
        ScaleUnusable: it cannot be reached.
    """
    if isinstance(shared, Lake):
        return publish_to_lake(published, shared, run_id, spill)
    return publish_to_delta(published, shared, run_id, spill)
