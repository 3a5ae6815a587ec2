"""From a listing to deliveries: which are there, which are complete, and which one of a partition counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from offload_platform.contracts.deliveries import Delivery, Part, Placement, Role, StoredObject, is_plain, shown
from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Discovery:
    """What a listing of one feed's root shows.

    `deliveries` are those of the feed's app id and subscribed types, newest first. `unrecognised` are keys that the
    layout does not know, as they can be shown; `other_app_ids` and `other_types` count recognised objects that the feed
    does not load.
    """

    deliveries: tuple[Delivery, ...]
    unrecognised: tuple[str, ...]
    other_app_ids: Mapping[str, int]
    other_types: Mapping[str, int]

    def of_type(self, offload_type: str) -> tuple[Delivery, ...]:
        """Deliveries of one offload type, newest first."""
        return tuple(d for d in self.deliveries if d.offload_type == offload_type)


@dataclass(frozen=True)
class Choice:
    """The deliveries of one partition: the newest complete one counts, older complete ones are superseded.

    Where deliveries add up, nothing is superseded, and the `earlier` complete ones count as well.
    """

    chosen: Delivery | None
    superseded: tuple[Delivery, ...]
    incomplete: tuple[Delivery, ...]
    earlier: tuple[Delivery, ...] = ()

    @property
    def counting(self) -> tuple[Delivery, ...]:
        """All that count, oldest first."""
        return (*self.earlier, self.chosen) if self.chosen else ()


def discover(feed: Feed, listing: Iterable[StoredObject], now: datetime | None = None) -> Discovery:
    """Group a listing into deliveries by the vendor's layout; `now` decides the settle period."""
    layout = feed.layout
    contracts = vendor_named(feed.vendor).contracts
    now = now or datetime.now(UTC)
    folders: dict[str, _Folder] = {}
    unrecognised: list[str] = []
    other_app_ids: dict[str, int] = {}
    other_types: dict[str, int] = {}
    for stored in listing:
        placement = layout.place(stored.key) if is_plain(stored.key) else None
        if placement is None:
            if not layout.ignores(stored.key):
                unrecognised.append(shown(stored.key))
        elif placement.app_id not in (None, feed.app_id):
            other = str(placement.app_id)
            other_app_ids[other] = other_app_ids.get(other, 0) + 1
        elif placement.offload_type not in contracts or not _is_expected(feed, placement):
            other_types[placement.offload_type] = other_types.get(placement.offload_type, 0) + 1
        else:
            stamp = placement.stamp or stored.last_modified
            folder = folders.setdefault(placement.folder, _Folder(placement.family, stamp))
            folder.add(stored, placement)
    deliveries = [
        Delivery(
            name,
            folder.stamp,
            folder.family,
            feed.app_id,
            offload_type,
            tuple(sorted(folder.parts.get(offload_type, ()), key=lambda p: (p.placement.position, p.key))),
            layout.incomplete_because(
                folder.family, offload_type, folder.parts, folder.markers, feed.expected_types(folder.family)
            )
            or _unsettled(feed, folder.family, folder.newest, now),
            None if layout.families[folder.family].settles else folder.markers.get(offload_type),
        )
        for name, folder in folders.items()
        for offload_type in folder.types
    ]
    return Discovery(
        tuple(sorted(deliveries, key=lambda d: (d.stamp, d.folder, d.offload_type), reverse=True)),
        tuple(sorted(unrecognised)),
        other_app_ids,
        other_types,
    )


@dataclass
class _Folder:
    """What one offload folder holds of one app id."""

    family: str
    stamp: datetime
    newest: datetime = _LONG_AGO
    parts: dict[str, list[Part]] = field(default_factory=dict)
    markers: dict[str, StoredObject] = field(default_factory=dict)

    @property
    def types(self) -> list[str]:
        return list(dict.fromkeys([*self.parts, *self.markers]))

    def add(self, stored: StoredObject, placement: Placement) -> None:
        self.newest = max(self.newest, stored.last_modified)
        if placement.role is Role.MARKER:
            self.markers[placement.offload_type] = stored
        else:
            self.parts.setdefault(placement.offload_type, []).append(Part(stored, placement))


def choose(deliveries: Sequence[Delivery], *, add_up: bool = False) -> Choice:
    """Decide among the deliveries of one type whose stamps fall into one partition; order does not matter."""
    newest_first = sorted(deliveries, key=lambda d: (d.rank, d.folder), reverse=True)
    complete = [d for d in newest_first if d.is_complete]
    return Choice(
        chosen=complete[0] if complete else None,
        superseded=() if add_up else tuple(complete[1:]),
        incomplete=tuple(d for d in newest_first if not d.is_complete),
        earlier=tuple(reversed(complete[1:])) if add_up else (),
    )


def _is_expected(feed: Feed, placement: Placement) -> bool:
    return placement.family in feed.cadence and placement.offload_type in feed.expected_types(placement.family)


def settle_period(feed: Feed, family: str) -> timedelta:
    """How long nothing may have changed in a delivery before it counts as complete; none where a marker says so."""
    settles = vendor_named(feed.vendor).layout.families[family].settles
    return timedelta(hours=feed.settle_hours) if settles else timedelta()


def _unsettled(feed: Feed, family: str, last_change: datetime, now: datetime) -> str | None:
    period = settle_period(feed, family)
    settled_at = last_change + period
    if period and now < settled_at:
        return (
            f"changed {last_change:%Y-%m-%d %H:%M} UTC, counts as complete from {settled_at:%Y-%m-%d %H:%M} UTC "
            f"(settle_hours: {feed.settle_hours:g})"
        )
    return None
