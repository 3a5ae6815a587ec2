"""What is to be simulated: the one object that a caller fills in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from offload_platform.vendors.sentiance.layout import LAYOUT, LIFESTYLE

OFFLOAD_TYPES: tuple[str, ...] = LAYOUT.families[LIFESTYLE].types


class WaypointForm(StrEnum):
    """How the fixes of a transport are written in their cell."""

    OBJECTS = "objects"  # as in the sample of 2019
    ARRAYS = "arrays"  # as in the sample of 2017


class DriftKind(StrEnum):
    """A change of the files that costs no row."""

    NEW_COLUMN = "new column"
    MISSING_COLUMN = "missing column"
    COLUMN_ORDER = "column order"
    UNKNOWN_VALUE = "unknown value"
    SEMICOLON = "semicolon"
    BYTE_ORDER_MARK = "byte order mark"
    LINE_FEED = "line feed"


@dataclass(frozen=True)
class Drift:
    """A change of one offload type, in every part; with `since`, only of deliveries stamped then or later."""

    kind: DriftKind
    offload_type: str
    since: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse a drift that its offload type cannot show."""
        if self.offload_type not in OFFLOAD_TYPES:
            raise ValueError(f"unknown offload type {self.offload_type!r}; known: {', '.join(OFFLOAD_TYPES)}")
        if self.kind is DriftKind.UNKNOWN_VALUE and self.offload_type == "attributes.wide":
            raise ValueError("attributes.wide has no enumerated column for an unknown value; use a new column")


@dataclass(frozen=True)
class Simulation:
    """Which deliveries to write.

    Attributes:
        seed: Another seed gives another population.
        users: Size of the population. In the default window a user has about 180 stays and as many transports,
            320 moments, 21 segments and one row of 615 attributes.
        first_stamp: Stamp of the first snapshot (UTC). The same stamp gives the same delivery in any run that has
            the same other settings.
        snapshots: How many snapshots to write.
        cadence_days: Days from one snapshot to the next.
        window_days: Days of history in each snapshot.
        app_id: 24 hexadecimal digits.
        types: Offload types to write.
        users_per_part: Users whose rows make one part.
        faults: Share of all rows that are broken, each in one way.
        correction_share: Share of stays and transports that are first delivered with other values, and corrected
            one to four cadences after they ended.
        withdrawal_share: Share of stays and transports that are no longer delivered one to four cadences after
            they ended.
        inactive_share: Share of users that a snapshot leaves out; who is left out changes every seven days.
        drifts: Changes of the files that cost no row.
        waypoint_form: How fixes are written.
    """

    seed: int = 1
    users: int = 1_000
    first_stamp: datetime = datetime(2018, 12, 8, 15, 5, 54, 499_000, tzinfo=UTC)
    snapshots: int = 1
    cadence_days: int = 7
    window_days: int = 63
    app_id: str = "5a689ab0e97b960500002109"
    types: tuple[str, ...] = OFFLOAD_TYPES
    users_per_part: int = 5_000
    faults: float = 0.0
    correction_share: float = 0.02
    withdrawal_share: float = 0.01
    inactive_share: float = 0.05
    drifts: tuple[Drift, ...] = ()
    waypoint_form: WaypointForm = WaypointForm.OBJECTS

    def __post_init__(self) -> None:
        """Refuse settings that cannot be simulated."""
        if self.first_stamp.tzinfo is None:
            raise ValueError("first_stamp must have a zone; the vendor's stamps are UTC")
        check_paths(self.app_id, self.types, OFFLOAD_TYPES)
        check_counts(self, "users", "snapshots", "cadence_days", "window_days", "users_per_part")
        check_shares(self, "faults", "correction_share", "withdrawal_share", "inactive_share")
        if self.correction_share + self.withdrawal_share > 1:
            raise ValueError("correction_share and withdrawal_share must not exceed 1 together")

    @property
    def stamps(self) -> tuple[datetime, ...]:
        """Stamps of the snapshots in UTC, in order."""
        first = self.first_stamp.astimezone(UTC)
        return tuple(first + timedelta(days=self.cadence_days * number) for number in range(self.snapshots))


def check_paths(app_id: str, types: Sequence[str], known: Sequence[str]) -> None:
    """Raise `ValueError` for an app id or an offload type that cannot stand in a path."""
    if wrong := LAYOUT.check_app_id(app_id):
        raise ValueError(f"app_id {wrong}")
    for offload_type in types:
        if offload_type not in known:
            raise ValueError(f"unknown offload type {offload_type!r}; known: {', '.join(known)}")


def check_counts(settings: object, *names: str) -> None:
    """Raise `ValueError` where a setting is below 1."""
    for name in names:
        if getattr(settings, name) < 1:
            raise ValueError(f"{name} must be at least 1")


def check_shares(settings: object, *names: str) -> None:
    """Raise `ValueError` where a setting is no share."""
    for name in names:
        if not 0 <= getattr(settings, name) <= 1:
            raise ValueError(f"{name} must be between 0 and 1")
