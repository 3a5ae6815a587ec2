"""How Sentiance names things below a feed's root, and what complete means.

The grammar is `<offload folder>/<app id>/<type>.<app id>.<csv|json>/<part>`. Lifestyle folders are month-first
(`12_08_2018_15_05_54_499`), driving folders year-first (`2018_12_07_<uuid>`). The stamp of a lifestyle folder is
the start of the snapshot job; its zone is not stated and read as UTC. The user mapping is one file,
`_mapping/user_external.csv`, replaced in place.
Source: offloads document "What are offloads continued", the layout of the published sample of 2019-01-14, and for the
mapping the document's section "User linking", as it stood in 2019.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from offload_platform.contracts.deliveries import Family, Layout, Part, Placement, Role

LIFESTYLE = "lifestyle"
DRIVING = "driving"
MAPPING = "mapping"
LIFESTYLE_TYPES = ("stationaries", "transports", "moments", "segments", "attributes.wide", "attributes.long")

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LIFESTYLE_FOLDER = re.compile(
    r"(?P<month>\d{2})_(?P<day>\d{2})_(?P<year>20\d{2})_(?P<hour>\d{2})_(?P<minute>\d{2})_(?P<second>\d{2})_(?P<ms>\d{3})",
    re.ASCII,
)
_DRIVING_FOLDER = re.compile(rf"(?P<year>20\d{{2}})_(?P<month>\d{{2}})_(?P<day>\d{{2}})_{_UUID}", re.ASCII)
_APP_ID = re.compile(r"[0-9a-f]{24}")
_TYPE_FOLDER = re.compile(r"(?P<type>[a-z_]+(?:\.[a-z_]+)?)\.(?P<app_id>[0-9a-f]{24})\.(?:csv|json)")
_PART = re.compile(
    rf"part-(?P<number>\d{{5}})(?:-(?P<job>{_UUID})-c(?P<file>\d{{3}}))?(?:\.(?:csv|json))?(?:\.gz)?", re.ASCII
)
_MAPPING_FILE = re.compile(r"(?:[^/]+/)*_mapping/(?:[0-9a-f]{24}/)?user_external\.csv(?:\.gz)?")
_LEFT_BY_TOOLS = re.compile(r"(?:^|/)(?:__MACOSX/|\._|\.DS_Store$|_temporary/|_committed_|_started_|[^/]*\.crc$)")


class SentianceLayout(Layout):
    """The layout of a client's root folder, one or more app ids below it."""

    families: Mapping[str, Family] = {
        # A listing of 2017 shows parts that landed 20.5 hours after the stamp.
        LIFESTYLE: Family(LIFESTYLE_TYPES, published_after=timedelta(hours=21), settles=True),
        # In the sample of 2019 the markers of a data day were written between 03:51 and 06:53 UTC of the next day.
        DRIVING: Family(
            ("transports_realtime", "scores_realtime", "driving_events_realtime", "mapped_waypoints_realtime"),
            published_after=timedelta(hours=31),
        ),
        MAPPING: Family(("mapping",), published_after=timedelta()),
    }

    def place(self, key: str) -> Placement | None:
        """Read a key; None for unknown folders, unknown types and app ids that disagree with each other."""
        steps = key.split("/")
        if _MAPPING_FILE.fullmatch(key):
            app_ids = [step for step in steps if _APP_ID.fullmatch(step)]
            return Placement(key, None, MAPPING, app_ids[0] if app_ids else None, "mapping", Role.PART)
        if len(steps) != 4:
            return None
        folder, app_id, type_folder, name = steps
        dated = self._date(folder)
        typed = _TYPE_FOLDER.fullmatch(type_folder)
        if dated is None or typed is None or typed["app_id"] != app_id:
            return None
        family, stamp = dated
        offload_type = typed["type"]
        if offload_type not in self.families[family].types:
            return None

        def placed(role: Role, position: tuple[int, int] = (0, 0), writer: str | None = None) -> Placement:
            return Placement(folder, stamp, family, app_id, offload_type, role, position, writer)

        if name == "_SUCCESS":
            return placed(Role.MARKER)
        if part := _PART.fullmatch(name):
            return placed(Role.PART, (int(part["number"]), int(part["file"] or 0)), part["job"])
        return None

    def ignores(self, key: str) -> bool:
        """Leftovers of archivers and of the vendor's job framework."""
        return _LEFT_BY_TOOLS.search(key) is not None

    def check_app_id(self, app_id: str | None) -> str | None:
        """An app id is 24 lower-case hexadecimal digits."""
        if _APP_ID.fullmatch(app_id or ""):
            return None
        return "must be 24 lower-case hexadecimal digits, as in the path of the delivery"

    def folder(self, name: str) -> tuple[str, datetime | None]:
        """Offload folders have a date in their name; any other folder may hold the mapping and nothing else."""
        return self._date(name) or (MAPPING, None)

    def incomplete_because(
        self,
        family: str,
        offload_type: str,
        parts: Mapping[str, Sequence[Part]],
        marked: Collection[str],
        expected_types: Sequence[str],
    ) -> str | None:
        """Driving types are judged each by its own marker, and may be empty; a lifestyle folder is judged as a whole.

        In both, the parts of a type are numbered without a hole and come from one job. The mapping is one object.
        """
        if family == MAPPING:
            return None
        if family == DRIVING:
            if offload_type not in marked:
                return f"{offload_type} has no _SUCCESS yet"
            return _broken_series(offload_type, parts.get(offload_type, ()))
        for expected in expected_types:
            if not parts.get(expected):
                return f"{expected} has no part yet"
            if broken := _broken_series(expected, parts[expected]):
                return broken
        return None

    @staticmethod
    def _date(folder: str) -> tuple[str, datetime] | None:
        for family, pattern in ((LIFESTYLE, _LIFESTYLE_FOLDER), (DRIVING, _DRIVING_FOLDER)):
            if found := pattern.fullmatch(folder):
                number = {name: int(digits) for name, digits in found.groupdict().items()}
                milliseconds = number.pop("ms", 0)
                try:
                    return family, datetime(**number, microsecond=milliseconds * 1000, tzinfo=UTC)
                except ValueError:
                    return None
        return None


def _broken_series(offload_type: str, parts: Sequence[Part]) -> str | None:
    jobs = {part.placement.writer for part in parts}
    if len(jobs) > 1:
        return f"{offload_type} holds parts of {len(jobs)} jobs; ask the vendor which one counts"
    if hole := _hole([part.placement.position for part in parts]):
        return f"{offload_type} {hole}"
    return None


def _hole(positions: Sequence[tuple[int, int]]) -> str | None:
    files: dict[int, list[int]] = {}
    for number, file in positions:
        files.setdefault(number, []).append(file)
    for expected, number in enumerate(sorted(files)):
        if number != expected:
            return f"lacks part {expected:05d}"
        for expected_file, file in enumerate(sorted(files[number])):
            if file > expected_file:
                return f"lacks part {number:05d}, file c{expected_file:03d}"
            if file < expected_file:
                return f"has part {number:05d} twice"
    return None


LAYOUT = SentianceLayout()
