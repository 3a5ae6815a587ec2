"""The Dagster instance of a warehouse: where its runs and events are kept."""

import os
from pathlib import Path

import dagster as dg
import yaml

from offload_platform.warehouse.files import WarehouseFiles

_SETTINGS = {
    "telemetry": {"enabled": False},
    "concurrency": {"runs": {"max_concurrent_runs": 2}},
    "run_monitoring": {"enabled": True},
    "retention": {"sensor": {"purge_after_days": {"skipped": 2, "success": 30, "failure": 30}}},
}
_HEADER = """\
# Settings of Dagster for this warehouse, written once; change them as you like.
# Runs and events in Postgres instead of SQLite: https://docs.dagster.io/deployment/oss/dagster-yaml (storage).
# Logs of runs in S3: compute_logs with module dagster_aws.s3.compute_log_manager, class S3ComputeLogManager.
"""


def dagster_home(files: WarehouseFiles) -> Path:
    """The instance's folder: `DAGSTER_HOME` where it is set, else one inside the warehouse; made if need be."""
    home = Path(os.environ.get("DAGSTER_HOME") or files.dagster_home).resolve()
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        settings.write_text(_HEADER + yaml.safe_dump(_SETTINGS, sort_keys=False), encoding="utf-8")
    return home


def open_instance(files: WarehouseFiles) -> dg.DagsterInstance:
    """The instance itself; use it as a context manager."""
    return dg.DagsterInstance.from_config(str(dagster_home(files)))
