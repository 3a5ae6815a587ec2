"""Puts the feeds of a configuration, and the exports that are saved, together into Dagster's definitions."""

import dagster as dg

from offload_platform.orchestration.alerts import alerts_sensor
from offload_platform.orchestration.arrivals import arrivals_of
from offload_platform.orchestration.deliveries import owed_delivery
from offload_platform.orchestration.exporting import exports_of
from offload_platform.orchestration.housekeeping import housekeeping
from offload_platform.orchestration.listening import listening_assets, listening_feeds, listening_sensor
from offload_platform.orchestration.publishing import publish_after_loads, published_file
from offload_platform.orchestration.punctuality import on_time_checks
from offload_platform.orchestration.resources import source_key, source_of, warehouse_in
from offload_platform.orchestration.sharing import share_after_publishing, shared_warehouse
from offload_platform.orchestration.tables import subscribed_contracts, tables_of
from offload_platform.orchestration.tiers import protect_after_publishing, tiers_of
from offload_platform.settings import Settings


def build_definitions(settings: Settings) -> dg.Definitions:
    """Assets, checks, sensors and resources of all feeds, privacy tiers, exports, alerts and housekeeping."""
    tables = [table for feed in settings.feeds for table in tables_of(feed, settings.scale)]
    owed = [owed_delivery(feed, contract) for feed in settings.feeds for contract in subscribed_contracts(feed)]
    exports, schedules = exports_of(settings)
    sensors = [*(arrivals_of(feed) for feed in settings.feeds), publish_after_loads()]
    published, shared = published_file(settings.feeds, tables, settings.scale), shared_warehouse(settings)
    if shared:
        sensors.append(share_after_publishing())
    tiers = tiers_of(settings)
    if tiers:
        sensors.append(protect_after_publishing())
    listened = [asset for feed in listening_feeds(settings) for asset in listening_assets(feed)]
    sensors += [listening_sensor(settings, feed) for feed in listening_feeds(settings)]
    if settings.alerts is not None:
        sensors.append(alerts_sensor(settings, settings.alerts))
    return dg.Definitions(
        assets=[*owed, *tables, published, *shared, *tiers, *listened, *exports],
        asset_checks=[on_time_checks(feed) for feed in settings.feeds],
        sensors=sensors,
        schedules=[housekeeping(settings), *schedules],
        resources={
            "warehouse": warehouse_in(settings.warehouse, settings.retention.failed_staging_hours),
            **{source_key(feed): source_of(feed) for feed in settings.feeds},
        },
        # A second process for each step would cost more than the step.
        executor=dg.in_process_executor,
    )
