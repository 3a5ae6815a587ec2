"""How Affise's Data Fusion names things below a feed's root, and what complete means.

The grammar is `<directory>/<YYYY>/<MM>/<DD>/<YYYY-MM-DD-hh-mm>.csv.gz`; the client chooses the directory of a stream.
Folders and names tell when the export ran, on the platform's own clock: rows are of the minutes before, and no time of
an event follows from a name. A file is a delivery: it is complete when it is there, and replaces nothing but itself.
Stated is the tree and the name; month and day without a leading zero, a suffix, a folder below the day and `.gz` alone
are accepted beside it, because the sources say no more.
Source: help-center.affise.com, "Data Fusion: Amazon S3" (articles 4123259 and 4123246, read in 2026).
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo

from offload_platform.contracts.deliveries import Family, Layout, Part, Placement, Places, Role

DATA_FUSION = "data_fusion"
TYPES = ("clicks", "conversions")

_BELOW_A_DIRECTORY = re.compile(
    r"(?P<year>20\d{2})/(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?:[^/]+/)?"
    r"(?P<name>20\d{2}-\d{1,2}-\d{1,2}-\d{1,2}-\d{1,2})(?:[-_.](?P<suffix>[0-9A-Za-z_-]+))??\.(?:csv|csv\.gz|gz)",
    re.ASCII,
)
_NUMBER = re.compile(r"[0-9]{1,9}")
_A_DAY = timedelta(days=1)


class AffiseLayout(Layout):
    """The layout of one account: a directory for each of its streams."""

    is_placed = True
    families: Mapping[str, Family] = {
        # A file is named after the minute in which its export began; exports of a few minutes are usual.
        DATA_FUSION: Family(TYPES, published_after=timedelta(minutes=5), add_up=True),
    }

    def __init__(self, places: Places) -> None:
        self._directories = {name: directory.strip("/") for name, directory in places.directories.items()}
        self._zone: tzinfo = places.zone

    def at(self, places: Places) -> "AffiseLayout":
        """The layout of a feed with these directories, in this time zone."""
        return AffiseLayout(places)

    @property
    def roots(self) -> list[str]:
        """The directories of the streams."""
        return list(self._directories.values())

    def check_directories(self, directories: Mapping[str, str], expected_types: Sequence[str]) -> str | None:
        """Each stream has a directory, and none lies inside another one."""
        if missing := [name for name in expected_types if name not in directories]:
            return f"name the directory of {', '.join(missing)}, as it stands in the form of the integration"
        if unknown := [name for name in directories if name not in expected_types]:
            return f"unknown offload type {unknown[0]!r}; known: {', '.join(expected_types)}"
        paths = [f"{directory.strip('/')}/" for directory in directories.values()]
        if any(a != b and a.startswith("" if b == "/" else b) for a in paths for b in paths) or len(set(paths)) < len(
            paths
        ):
            return "each stream needs a directory of its own, and none inside another"
        return None

    def place(self, key: str) -> Placement | None:
        """Read a key; None where the day in its name is not the day of its folder."""
        for offload_type, directory in self._directories.items():
            below = f"{directory}/" if directory else ""
            if not key.startswith(below) or not (found := _BELOW_A_DIRECTORY.fullmatch(key[len(below) :])):
                continue
            try:
                local = datetime(*(int(number) for number in found["name"].split("-")), tzinfo=self._zone)  # type: ignore[arg-type,misc]
            except ValueError:
                return None
            if (local.year, local.month, local.day) != tuple(int(found[step]) for step in ("year", "month", "day")):
                return None
            suffix = found["suffix"] or "0"
            return Placement(
                folder=f"{below}{local:%Y/%m/%d/%Y-%m-%d-%H-%M}",
                stamp=local.astimezone(UTC),
                family=DATA_FUSION,
                app_id=None,
                offload_type=offload_type,
                role=Role.PART,
                position=(int(suffix) if _NUMBER.fullmatch(suffix) else 0, 0),
            )
        return None

    def folder(self, name: str) -> tuple[str, datetime | None]:  # noqa: ARG002 (the days lie deeper)
        """A folder at the top holds all days of a stream."""
        return DATA_FUSION, None

    def folders_between(self, first: date, last: date) -> list[str]:
        """Whole months as such, other days one by one; each with and without leading zeros."""
        steps: list[str] = []
        day = first
        while day <= last:
            next_month = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
            months = dict.fromkeys((f"{day:%Y/%m}", f"{day.year}/{day.month}"))
            if day.day == 1 and next_month - _A_DAY <= last:
                steps += months
                day = next_month
            else:
                steps += [
                    f"{month}/{number}" for month in months for number in dict.fromkeys((f"{day:%d}", str(day.day)))
                ]
                day += _A_DAY
        return ["/".join(filter(None, (directory, step))) for directory in self.roots for step in steps]

    def incomplete_because(
        self,
        family: str,  # noqa: ARG002 (there is one)
        offload_type: str,  # noqa: ARG002
        parts: Mapping[str, Sequence[Part]],  # noqa: ARG002
        marked: Collection[str],  # noqa: ARG002
        expected_types: Sequence[str],  # noqa: ARG002
    ) -> str | None:
        """Objects appear in a bucket as a whole, and a stream does not wait for the other."""
        return None


LAYOUT = AffiseLayout(Places({}, UTC))
