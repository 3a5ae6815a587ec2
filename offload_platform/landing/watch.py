"""Looks at a feed's root again and again at the price of a few requests.

A store lists a thousand keys for each request. A root of few objects is listed as a whole. Of a large one, the folders
at the top are listed, and below them only those that are new or changed of late, and those that compete with these for
a partition. The whole is listed once an hour all the same, so that a change to an old folder is seen whatever its date.

Where a vendor's folders follow from the days, none needs to be looked for: the last days are listed, and one month.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from pydantic import BaseModel

from offload_platform.contracts.deliveries import StoredObject
from offload_platform.landing.deliveries import settle_period
from offload_platform.landing.store import DeliveryStore
from offload_platform.settings import Feed

KEYS_PER_REQUEST = 1000
_WHOLE_EVERY = timedelta(hours=1)
_QUIET = timedelta(days=14)
_SETTLED = timedelta(days=1)
_RECENT = timedelta(days=1)


class Memory(BaseModel):
    """What is remembered from one look to the next.

    `whole_at` is when the whole root was listed, `objects` how many there were, and `changed` the newest change (UTC)
    below each folder at the top. `month` is the month, as its first day, that was listed in its turn.
    """

    whole_at: datetime | None = None
    objects: int = 0
    changed: dict[str, datetime] = {}
    month: date | None = None


@dataclass(frozen=True)
class Look:
    """What one look has shown; where it is not `whole`, old folders are left out that nothing points to.

    From `since` on all was listed, whole or not; None where only a whole look shows how a vendor stands.
    """

    listing: list[StoredObject]
    whole: bool
    memory: Memory
    since: datetime | None = None


def look(
    store: DeliveryStore, memory: Memory, now: datetime, partition_of: Callable[[str, datetime], Hashable]
) -> Look:
    """List what may have changed. `partition_of` names the partition of a family that a stamp falls into, or None.

    Raises:
        SourceUnavailable: when the root cannot be listed.
    """
    if store.feed.layout.folders_between(now.date(), now.date()) is not None:
        return _look_at_days(store, memory, now)
    whole_requests = requests_for(memory.objects)
    is_due = memory.whole_at is None or not memory.whole_at <= now < memory.whole_at + _WHOLE_EVERY
    if not is_due and whole_requests > 2:
        folders = store.list_folders()
        open_folders = _open(store, memory, now, folders, partition_of)
        if requests_for(len(folders)) + len(open_folders) < whole_requests:
            listing = store.list_objects(open_folders)
            kept = {folder: memory.changed[folder] for folder in folders if folder in memory.changed}
            changed = kept | _newest_changes(listing)
            return Look(listing, False, memory.model_copy(update={"changed": changed}))
    listing = store.list_objects(store.feed.layout.roots)
    return Look(listing, True, Memory(whole_at=now, objects=len(listing), changed=_newest_changes(listing)))


def _look_at_days(store: DeliveryStore, memory: Memory, now: datetime) -> Look:
    """List the last days, and one month in its turn, so that a change to any day is seen after as many looks as months.

    What that costs does not grow with what lies below the root. The whole is listed once, at the first look.
    """
    feed = store.feed
    today = now.astimezone(feed.zone).date()
    back = max(_RECENT, *(_overdue_after(feed, family) for family in feed.cadence))
    first_day = (now - back).astimezone(feed.zone).date()
    since = datetime.combine(first_day, time(), feed.zone)
    if memory.whole_at is None:
        listing = store.list_objects(feed.layout.roots)
        return Look(listing, True, Memory(whole_at=now, objects=len(listing)), since)
    first = feed.start.replace(day=1)
    month = _month_after(memory.month) if memory.month else first
    if not first <= month <= today:
        month = first
    spans = ((first_day, today), (month, _month_after(month) - timedelta(days=1)))
    folders = [folder for span in spans for folder in feed.layout.folders_between(*span) or ()]
    found = {stored.key: stored for stored in store.list_objects(dict.fromkeys(folders))}
    return Look(list(found.values()), False, memory.model_copy(update={"month": month}), since)


def _overdue_after(feed: Feed, family: str) -> timedelta:
    """For how long a vendor may have been silent before it is overdue, and nothing more is to be said of it."""
    silence = feed.period(family) + timedelta(hours=feed.deadline(family).overdue_hours)
    return silence + feed.layout.families[family].published_after + _SETTLED


def _month_after(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1)


def requests_for(objects: int) -> int:
    """Requests that a listing of so many keys takes; an empty one takes one."""
    return max(1, -(-objects // KEYS_PER_REQUEST))


def top_folders(listing: Iterable[StoredObject]) -> set[str]:
    """Names of the folders at the top of a root."""
    return {stored.key.partition("/")[0] for stored in listing if "/" in stored.key}


def _open(
    store: DeliveryStore,
    memory: Memory,
    now: datetime,
    folders: list[str],
    partition_of: Callable[[str, datetime], Hashable],
) -> list[str]:
    """Folders that are new or changed of late, that tell no stamp, or that share a partition with such a one."""
    layout = store.feed.layout
    quiet = max(_QUIET, *(settle_period(store.feed, family) + _SETTLED for family in store.feed.cadence))
    slots: dict[str, Hashable] = {}
    moving = set()
    for name in folders:
        family, stamp = layout.folder(name)
        if stamp is None or name not in memory.changed or memory.changed[name] > now - quiet:
            moving.add(name)
        if stamp is not None and family in store.feed.cadence and (partition := partition_of(family, stamp)):
            slots[name] = (family, partition)
    contested = {slots[name] for name in moving if name in slots}
    return [name for name in folders if name in moving or slots.get(name) in contested]


def _newest_changes(listing: list[StoredObject]) -> dict[str, datetime]:
    newest: dict[str, datetime] = {}
    for stored in listing:
        folder = stored.key.partition("/")[0]
        newest[folder] = max(newest.get(folder, stored.last_modified), stored.last_modified)
    return newest
