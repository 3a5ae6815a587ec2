"""How Aura's logs are named below a feed's root, and what complete means.

The grammar is `<ENTITY>/<YYYYMM>/<name>.{txt,csv}[.zip|.gz]`: a folder for each entity, files spread by month. That
much is stated; how a file is named is not. A file must tell its day somewhere in its name (`20261121` or `2026-11-21`,
with or without a time after it), all in UTC, and the day must be of the folder's month. Files of one moment are one
delivery. An uploader adds files every hour or less often, so the deliveries of a day add up.
Source: aura documentation, "Entities CSV format" and "Aura KPIs uploader" (read in 2026).
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from offload_platform.contracts.deliveries import Family, Layout, Part, Placement, Role

LOGS = "logs"
TYPES = ("message", "recognizer", "api")
ALL_TYPES = (*TYPES, "extended_message", "groot_message")
"""Entities that are known to be written; of the last two nothing is loaded."""

_FILE = re.compile(
    r"(?P<entity>[A-Z_]+|[a-z_]+)/(?P<month>20\d{4})/(?P<name>[^/]+)\.(?:txt|csv)(?:\.zip|\.gz)?",
    re.ASCII,
)
_MOMENT = re.compile(
    r"(?<!\d)(?P<year>20\d{2})(?P<dash>-?)(?P<month>\d{2})(?P=dash)(?P<day>\d{2})"
    r"(?:[T_-](?P<hour>\d{2})(?P<colon>[-:]?)(?P<minute>\d{2})(?:(?P=colon)(?P<second>\d{2}))?Z?)?(?!\d)",
    re.ASCII,
)


class AuraLayout(Layout):
    """The layout of the logs of one operating business."""

    families: Mapping[str, Family] = {
        # The uploader runs every hour by default.
        LOGS: Family(ALL_TYPES, published_after=timedelta(hours=1), add_up=True),
    }

    def place(self, key: str) -> Placement | None:
        """Read a key; None where its name tells no day, or one that is not of its folder's month."""
        file = _FILE.fullmatch(key)
        if file is None or (offload_type := file["entity"].lower()) not in ALL_TYPES:
            return None
        stamp = _moment_of(file["name"])
        if stamp is None or f"{stamp:%Y%m}" != file["month"]:
            return None
        return Placement(
            folder=f"{file['entity']}/{file['month']}/{stamp:%Y-%m-%d-%H-%M-%S}",
            stamp=stamp,
            family=LOGS,
            app_id=None,
            offload_type=offload_type,
            role=Role.PART,
        )

    def folder(self, name: str) -> tuple[str, datetime | None]:  # noqa: ARG002 (the months lie deeper)
        """A folder at the top holds all months of an entity."""
        return LOGS, None

    def folders_between(self, first: date, last: date) -> list[str]:
        """The months of each entity, whose name may be in upper or lower case."""
        months = []
        month = first.replace(day=1)
        while month <= last:
            months.append(f"{month:%Y%m}")
            month = (month + timedelta(days=31)).replace(day=1)
        return [f"{entity}/{month}" for name in TYPES for entity in (name.upper(), name) for month in months]

    def incomplete_because(
        self,
        family: str,  # noqa: ARG002 (there is one)
        offload_type: str,  # noqa: ARG002
        parts: Mapping[str, Sequence[Part]],  # noqa: ARG002
        marked: Collection[str],  # noqa: ARG002
        expected_types: Sequence[str],  # noqa: ARG002
    ) -> str | None:
        """Objects appear in a bucket as a whole, and one entity does not wait for another."""
        return None


def _moment_of(name: str) -> datetime | None:
    """The first date in a name, with the time that follows on it; midnight where none does."""
    for found in _MOMENT.finditer(name):
        steps = (found[step] for step in ("year", "month", "day", "hour", "minute", "second"))
        try:
            return datetime(*(int(step or 0) for step in steps), tzinfo=UTC)  # type: ignore[arg-type,misc]
        except ValueError:
            continue
    return None


LAYOUT = AuraLayout()
