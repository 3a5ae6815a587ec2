"""The demo: a real S3 server, simulated deliveries and the configuration that reads them, in one folder."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from offload_platform.settings import read_settings
from offload_platform.simulator.deliveries import write_deliveries
from offload_platform.simulator.object_store import ObjectStoreServer
from offload_platform.simulator.simulation import Drift, DriftKind, Simulation
from offload_platform.simulator.writing import Summary

BUCKET = "sentiance-u1-offloads"
ROOT = "acme"
FEED = "acme_production"
PROFILE = "offload-demo"
_SNAPSHOTS = 9
_SATURDAY = 5


@dataclass(frozen=True)
class Query:
    """A question that an analyst asks, and its SQL."""

    question: str
    sql: str


QUERIES = (
    Query(
        "How do people travel?",
        """SELECT mode, count(*) AS trips, round(sum(distance_m) / 1000) AS km,
    round(100 * sum(distance_m) / sum(sum(distance_m)) OVER (), 1) AS percent
FROM sentiance.transports GROUP BY mode ORDER BY km DESC LIMIT 5""",
    ),
    Query(
        "Where do they spend their time, home and work apart?",
        """SELECT place_category, count(*) AS visits,
    count(DISTINCT user_id) AS visitors,
    round(median(duration_s) / 60) AS median_minutes
FROM sentiance.stationaries
WHERE NOT is_open AND significance NOT IN ('home', 'work')
    AND place_category IS NOT NULL
GROUP BY place_category ORDER BY visits DESC LIMIT 5""",
    ),
    Query(
        "What has the vendor changed afterwards?",
        """SELECT known_from::DATE AS delivered, change_kind, count(*) AS trips
FROM history.transports WHERE change_kind <> 'new'
GROUP BY ALL ORDER BY ALL LIMIT 6""",
    ),
    Query(
        "Did every delivered row arrive?",
        """SELECT offload_type, count(DISTINCT partition) AS weeks,
    sum(rows_in) AS rows_in, sum(rows_loaded) AS loaded,
    sum(rows_quarantined) AS quarantined,
    bool_and(rows_in = rows_loaded + rows_quarantined + rows_erased) AS balanced
FROM ops.ledger WHERE status = 'loaded'
GROUP BY offload_type ORDER BY rows_in DESC""",
    ),
)


class Demonstration:
    """The files of a demo below one folder; they are kept, so that the UI can be opened on them later."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.feeds_file = folder / "feeds.yaml"

    @property
    def _deliveries(self) -> Path:
        return self.folder / "deliveries"

    @contextmanager
    def server(self, port: int | None = None) -> Iterator[ObjectStoreServer]:
        """Run the S3 server over the demo's objects, and let AWS clients of this process find its keys."""
        with ObjectStoreServer(self.folder / "s3", BUCKET, ROOT, port) as server:
            credentials = self.folder / "credentials"
            server.write_profiles(credentials, client_profile=PROFILE)
            os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(credentials)
            yield server

    @classmethod
    @contextmanager
    def server_of(cls, feeds_file: Path) -> Iterator[None]:
        """Run the S3 server where a configuration is a demo's; do nothing elsewhere."""
        demo = cls(feeds_file.resolve().parent)
        if not (demo.folder / "s3").is_dir():
            yield
            return
        endpoint = read_settings(feeds_file).feeds[0].endpoint_url
        with demo.server(urlsplit(endpoint or "").port):
            yield

    def simulate(self, users: int, on_progress: Callable[[str, int], None]) -> Summary:
        """Write nine weekly deliveries that end last Saturday, a few rows in a thousand broken."""
        first = datetime.combine(_last_saturday() - timedelta(weeks=_SNAPSHOTS - 1), time(15, 5, 54, 499_000), UTC)
        newest = first + timedelta(weeks=_SNAPSHOTS - 1)
        simulation = Simulation(
            users=users,
            first_stamp=first,
            snapshots=_SNAPSHOTS,
            faults=0.001,
            drifts=(Drift(DriftKind.NEW_COLUMN, "moments", since=newest),),
        )
        return write_deliveries(simulation, self._deliveries, on_progress=on_progress)

    def upload(self, server: ObjectStoreServer) -> int:
        """Upload the deliveries; returns the number of objects."""
        return server.upload_folder(self._deliveries, ROOT)

    def write_feeds(self, server: ObjectStoreServer) -> Path:
        """Write the configuration that reads the deliveries with the vendor's read-only key."""
        feed = {
            "name": FEED,
            "vendor": "sentiance",
            "url": f"s3://{BUCKET}/{ROOT}",
            "app_id": Simulation().app_id,
            "endpoint_url": server.url,
            "region": "eu-west-1",
            "aws_profile": PROFILE,
            "cadence": {"lifestyle": "weekly"},
            "settle_hours": 0,
            "start": _last_saturday() - timedelta(weeks=_SNAPSHOTS - 1),
        }
        self.feeds_file.write_text(
            yaml.safe_dump({"warehouse": "./warehouse", "feeds": [feed]}, sort_keys=False), encoding="utf-8"
        )
        return self.feeds_file


def _last_saturday() -> date:
    today = datetime.now(UTC).date()
    return today - timedelta(days=(today.weekday() - _SATURDAY) % 7 or 7)
