"""The published file is rebuilt when loads have finished: not while one goes on, and not without news."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster._core.storage.tags import PARTITION_NAME_TAG

from offload_platform.orchestration.build import build_definitions
from offload_platform.orchestration.instance import open_instance
from offload_platform.orchestration.publishing import PUBLISHED_KEY
from offload_platform.settings import Settings
from offload_platform.warehouse.files import WarehouseFiles

SEGMENTS = dg.AssetKey(["acme", "segments"])
Make = Callable[..., Any]


class Automation:
    """Ticks of the automation sensor over a real instance."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.defs = build_definitions(settings)
        self.job = self.defs.resolve_implicit_global_asset_job_def()
        self.instance = instance
        self.cursor: Any = None

    def asks_to_publish(self) -> bool:
        result = dg.evaluate_automation_conditions(
            self.defs, self.instance, dg.AssetSelection.assets(PUBLISHED_KEY), cursor=self.cursor
        )
        self.cursor = result.cursor
        return result.get_num_requested(PUBLISHED_KEY) > 0

    def materialise(self, key: dg.AssetKey, partition: str | None = None) -> None:
        result = self.job.execute_in_process(asset_selection=[key], partition_key=partition, instance=self.instance)
        assert result.success

    def begin_a_load(self, partition: str) -> dg.DagsterRun:
        """A run of another process that has begun and not ended."""
        run = self.instance.create_run_for_job(
            self.job.get_subset(asset_selection={SEGMENTS}),
            status=dg.DagsterRunStatus.STARTED,
            asset_selection=frozenset({SEGMENTS}),
            tags={PARTITION_NAME_TAG: partition},
        )
        self.instance.report_dagster_event(planned(run, partition), run_id=run.run_id)
        return run

    def end(self, run: dg.DagsterRun) -> None:
        self.instance.report_run_failed(run)


def planned(run: dg.DagsterRun, partition: str) -> dg.DagsterEvent:
    from dagster._core.events import AssetMaterializationPlannedData, DagsterEventType

    return dg.DagsterEvent(
        event_type_value=DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value,
        job_name=run.job_name,
        event_specific_data=AssetMaterializationPlannedData(asset_key=SEGMENTS, partition=partition),
    )


@pytest.fixture
def automation(
    tmp_path: Path, vendor_folder: Any, feed_of: Make, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Automation]:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    for day in ("2018-12-08", "2018-12-15", "2018-12-22"):
        vendor_folder.part(day, [f"{'a' * 24},,behavior.early_bird"])
    feed = feed_of(vendor_folder.url, types=("segments",))
    settings = Settings(warehouse=tmp_path / "warehouse", feeds=(feed,))
    with open_instance(WarehouseFiles(settings.warehouse)) as instance:
        yield Automation(settings, instance)


def test_it_is_published_after_a_load_and_not_again_without_news(automation: Automation) -> None:
    assert not automation.asks_to_publish(), "nothing is loaded yet"
    automation.materialise(SEGMENTS, "2018-12-08")
    assert automation.asks_to_publish()
    assert not automation.asks_to_publish(), "it has been asked for"
    automation.materialise(PUBLISHED_KEY)
    assert not automation.asks_to_publish(), "nothing is new"
    automation.materialise(SEGMENTS, "2018-12-15")
    assert automation.asks_to_publish()


def test_it_is_not_published_while_a_load_goes_on(automation: Automation) -> None:
    assert not automation.asks_to_publish()
    automation.materialise(SEGMENTS, "2018-12-08")
    run = automation.begin_a_load("2018-12-15")
    assert not automation.asks_to_publish()
    assert not automation.asks_to_publish()
    automation.end(run)
    assert automation.asks_to_publish(), "the news are not forgotten while one waits"


def test_a_load_of_the_same_partition_is_news_too(automation: Automation) -> None:
    assert not automation.asks_to_publish()
    automation.materialise(SEGMENTS, "2018-12-08")
    assert automation.asks_to_publish()
    automation.materialise(PUBLISHED_KEY)
    assert not automation.asks_to_publish()
    automation.materialise(SEGMENTS, "2018-12-08")
    assert automation.asks_to_publish()


def test_a_load_that_ends_right_after_a_publish_is_published_too(automation: Automation) -> None:
    """Both are seen at one look, as looks are half a minute apart."""
    assert not automation.asks_to_publish()
    automation.materialise(SEGMENTS, "2018-12-08")
    assert automation.asks_to_publish()
    automation.materialise(PUBLISHED_KEY)
    automation.materialise(SEGMENTS, "2018-12-15")
    assert automation.asks_to_publish()
    automation.materialise(PUBLISHED_KEY)
    assert not automation.asks_to_publish()


def test_a_load_that_ends_while_it_is_published_is_published_too(automation: Automation) -> None:
    assert not automation.asks_to_publish()
    automation.materialise(SEGMENTS, "2018-12-08")
    assert automation.asks_to_publish()
    assert not automation.asks_to_publish()
    automation.materialise(SEGMENTS, "2018-12-15")
    # The file that was asked for first is told of after the load, and was made before it.
    automation.materialise(PUBLISHED_KEY)
    assert automation.asks_to_publish()


def test_the_asset_tells_what_it_published(automation: Automation, tmp_path: Path) -> None:
    automation.materialise(SEGMENTS, "2018-12-08")
    automation.materialise(PUBLISHED_KEY)
    event = automation.instance.get_latest_materialization_event(PUBLISHED_KEY)
    assert event is not None
    assert event.asset_materialization is not None
    said = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    published = tmp_path / "warehouse" / "published" / "offloads.duckdb"
    assert said["file"] == str(published)
    with duckdb.connect(published, read_only=True) as connection:
        tables = connection.execute("SELECT schema_name || '.' || table_name FROM duckdb_tables()").fetchall()
        counted = {t: connection.execute(f"SELECT count(*) FROM {t}").fetchall()[0][0] for (t,) in tables}
    assert said["rows by table"] == counted
    assert said["rows"] == sum(counted.values())
    assert said["size (MB)"] == round(published.stat().st_size / 1e6, 3)
