"""The Dagster instance of a warehouse: where its runs and events are kept, by the settings in `dagster.yaml`."""

import os
import shutil
from pathlib import Path

import dagster as dg
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from offload_platform.settings import SettingsError
from offload_platform.warehouse.files import WarehouseFiles

TEMPLATE = Path(__file__).with_name("dagster.yaml")
"""The settings that a new instance begins with."""


def dagster_home(files: WarehouseFiles) -> Path:
    """The instance's folder: `DAGSTER_HOME` where it is set, else one inside the warehouse; made if need be."""
    home = Path(os.environ.get("DAGSTER_HOME") or files.dagster_home).resolve()
    home.mkdir(parents=True, exist_ok=True)
    settings = home / TEMPLATE.name
    if not settings.exists():
        shutil.copyfile(TEMPLATE, settings)
    return home


def open_instance(files: WarehouseFiles, capture_output: bool = True) -> dg.DagsterInstance:
    """The instance itself; use it as a context manager.

    Without `capture_output`, what runs print goes where this process prints, and not to Dagster's files: to capture it
    takes four more processes for each run. Where `dagster.yaml` keeps it elsewhere, it is captured all the same.

    Raises:
        SettingsError: The storage that `dagster.yaml` names cannot be opened.
    """
    home = dagster_home(files)
    try:
        instance = dg.DagsterInstance.from_config(str(home))
    except dg.DagsterInvalidConfigError as error:
        wrong = "; ".join(_first_sentence(one.message) for one in error.errors)
        raise SettingsError(f"{home / TEMPLATE.name}: {wrong}. Next: compare it with docs/production.md") from error
    except Exception as error:  # whatever the configured storage raises
        raise SettingsError(
            f"{home / TEMPLATE.name}: Dagster cannot use the storage that it names: {_first_cause(error)}. "
            "Next: see that the server runs and that the variables named there hold its host, user and password"
        ) from error
    if capture_output:
        return instance
    configured = instance.get_ref()
    if configured.compute_logs_data.class_name != LocalComputeLogManager.__name__:
        return instance
    instance.dispose()
    no_capture = configured.compute_logs_data._replace(
        module_name="dagster._core.storage.noop_compute_log_manager",
        class_name="NoOpComputeLogManager",
        config_yaml="{}",
    )
    return dg.DagsterInstance.from_ref(configured._replace(compute_logs_data=no_capture))


def _first_cause(error: BaseException) -> str:
    while cause := error.__cause__ or error.__context__:
        error = cause
    return " ".join(str(error).split())


def _first_sentence(message: str) -> str:
    """What Dagster says of a setting, without the stack trace that may follow."""
    return " ".join(message.partition("Stack Trace:")[0].split()).rstrip(".")
