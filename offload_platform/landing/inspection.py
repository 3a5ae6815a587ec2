"""What `offload doctor` looks at below a feed's root, and the next step for each problem."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from offload_platform.contracts.contract import Content
from offload_platform.landing.deliveries import Discovery, discover
from offload_platform.landing.errors import LandingError
from offload_platform.landing.pseudonyms import KEY_VARIABLE, PseudonymKeyError, reading_of
from offload_platform.landing.punctuality import counts, schedule
from offload_platform.landing.rights import rights_beyond_reading
from offload_platform.landing.store import DeliveryStore
from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named

_SHOWN = 5


class Grade(StrEnum):
    """How bad a finding is."""

    GOOD = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and what to do where it is not as it should be."""

    feed: str
    subject: str
    grade: Grade
    found: str
    next_step: str | None = None


def inspect(feed: Feed, store: DeliveryStore | None = None) -> list[Finding]:
    """Look at a feed's source: credentials, listing rights, layout, app ids, types, completeness, gaps."""
    try:
        store = store or DeliveryStore(feed)
        listing = store.list_objects(feed.layout.roots)
    except LandingError as error:
        return [Finding(feed.name, "listing", Grade.PROBLEM, str(error), "Mend it and run `offload doctor` again.")]
    found = Finding(feed.name, "listing", Grade.GOOD, f"{len(listing):,} objects below {feed.url}")
    if not listing:
        return [
            Finding(
                feed.name,
                "listing",
                Grade.PROBLEM,
                f"no object below {feed.url}",
                "Check the root folder with the vendor.",
            )
        ]
    discovery = discover(feed, listing)
    findings = [found, _reading(feed, store, discovery), *_rights(feed, store), *_key_of_pseudonyms(feed)]
    findings += [*_layout(feed, discovery), *_types(feed, discovery), *_completeness(feed, discovery)]
    findings += _gaps(feed, discovery)
    return findings


def _reading(feed: Feed, store: DeliveryStore, discovery: Discovery) -> Finding:
    parts = [part for delivery in discovery.deliveries for part in delivery.parts]
    if not parts:
        return Finding(feed.name, "reading", Grade.NOTE, "no part to try", None)
    smallest = min(parts, key=lambda part: part.stored.size)
    try:
        store.read_first_bytes(smallest.stored)
    except LandingError as error:
        return Finding(feed.name, "reading", Grade.PROBLEM, str(error), "Ask for s3:GetObject below the root.")
    return Finding(feed.name, "reading", Grade.GOOD, "parts can be read")


def _rights(feed: Feed, store: DeliveryStore) -> Iterator[Finding]:
    """What the key may do besides; a folder on disk has no key."""
    if not feed.url.startswith("s3:"):
        return
    try:
        rights = rights_beyond_reading(store)
    except LandingError as error:
        yield Finding(feed.name, "rights", Grade.PROBLEM, str(error), "Mend it and run `offload doctor` again.")
        return
    if rights.held:
        yield Finding(
            feed.name,
            "rights",
            Grade.NOTE,
            f"the key may also {', '.join(rights.held)}; nothing here needs that",
            f"Ask the vendor for a key that may list and get below {feed.url}, and nothing else.",
        )
    if rights.unknown:
        yield Finding(feed.name, "rights", Grade.NOTE, f"whether the key may {', '.join(rights.unknown)} is not known")
    if not rights.held and not rights.unknown:
        found = "the key may list and read below the root; it may not write, delete or list the whole bucket"
        yield Finding(feed.name, "rights", Grade.GOOD, found)


def _key_of_pseudonyms(feed: Feed) -> Iterator[Finding]:
    contracts = vendor_named(feed.vendor).contracts
    expected = [contracts[t] for family in feed.cadence for t in feed.expected_types(family) if t in contracts]
    try:
        readings = [reading_of(feed, contract) for contract in expected]
    except PseudonymKeyError as error:
        yield Finding(feed.name, "pseudonyms", Grade.PROBLEM, str(error), "Nothing is loaded without it.")
    else:
        if any(reading.key for reading in readings):
            yield Finding(feed.name, "pseudonyms", Grade.GOOD, f"their key is in {KEY_VARIABLE}")


def _layout(feed: Feed, discovery: Discovery) -> Iterator[Finding]:
    if discovery.unrecognised:
        shown = ", ".join(discovery.unrecognised[:_SHOWN])
        yield Finding(
            feed.name,
            "layout",
            Grade.PROBLEM,
            f"{len(discovery.unrecognised):,} unrecognised objects: {shown}"
            + (" …" if len(discovery.unrecognised) > _SHOWN else ""),
            "Ask the vendor what they are; nothing of them is loaded.",
        )
    else:
        yield Finding(feed.name, "layout", Grade.GOOD, "every object is recognised")
    if feed.app_id is None:
        if not discovery.deliveries:
            yield Finding(
                feed.name,
                "deliveries",
                Grade.PROBLEM,
                "no delivery is there",
                "Check url and directories of the feed.",
            )
    elif not discovery.deliveries:
        seen = ", ".join(sorted(discovery.other_app_ids)) or "none"
        yield Finding(
            feed.name,
            "app id",
            Grade.PROBLEM,
            f"no delivery of app id {feed.app_id}; app ids seen: {seen}",
            "Set app_id of the feed to one of those, or check its url.",
        )
    elif discovery.other_app_ids:
        others = ", ".join(f"{app_id} ({objects:,} objects)" for app_id, objects in discovery.other_app_ids.items())
        yield Finding(feed.name, "app id", Grade.NOTE, f"also seen: {others}", "Add a feed for each one that you want.")
    else:
        yield Finding(feed.name, "app id", Grade.GOOD, f"{feed.app_id} and no other")


def _types(feed: Feed, discovery: Discovery) -> Iterator[Finding]:
    contracts = vendor_named(feed.vendor).contracts
    for family in feed.cadence:
        expected = [t for t in feed.expected_types(family) if t in contracts]
        missing = [t for t in expected if not discovery.of_type(t)]
        if missing and discovery.deliveries:
            yield Finding(
                feed.name,
                f"{family} types",
                Grade.PROBLEM,
                f"never delivered: {', '.join(missing)}",
                "Ask the vendor, or list the types that you get under `types` of the feed.",
            )
        elif not missing:
            yield Finding(feed.name, f"{family} types", Grade.GOOD, ", ".join(expected))
    if discovery.other_types:
        seen = ", ".join(f"{t} ({objects:,})" for t, objects in discovery.other_types.items())
        yield Finding(feed.name, "other types", Grade.NOTE, f"delivered but not loaded by this feed: {seen}")


def _completeness(feed: Feed, discovery: Discovery) -> Iterator[Finding]:
    waiting = {d.folder: d.incomplete_because for d in discovery.deliveries if not d.is_complete}
    for folder, because in sorted(waiting.items()):
        yield Finding(
            feed.name,
            "completeness",
            Grade.NOTE,
            f"{folder}: {because}",
            "It is loaded once it is complete; ask the vendor if it stays so.",
        )
    complete = {d.folder for d in discovery.deliveries if d.is_complete}
    if complete:
        yield Finding(feed.name, "completeness", Grade.GOOD, f"{len(complete):,} complete delivery folders")


def _gaps(feed: Feed, discovery: Discovery) -> Iterator[Finding]:
    now = datetime.now(UTC)
    registers = {c.family for c in vendor_named(feed.vendor).contracts.values() if c.content is Content.REGISTER}
    for family, cadence in feed.cadence.items():
        of_family = {d.stamp for d in discovery.deliveries if d.family == family}
        stamps = [stamp for stamp in of_family if counts(feed, family, stamp, now)]
        if not stamps or family in registers:
            continue
        expected = [e.stamp.date() for e in schedule(feed, family, stamps) if not e.found]
        if expected and feed.adds_up(family):
            days = list(dict.fromkeys(expected))
            yield Finding(
                feed.name,
                f"{family} gaps",
                Grade.NOTE,
                f"{len(expected):,} deliveries are not there, on {', '.join(map(str, days[:_SHOWN]))}"
                + (" …" if len(days) > _SHOWN else ""),
                "Ask the vendor, unless it delivers nothing where it has nothing to tell.",
            )
        elif expected:
            yield Finding(
                feed.name,
                f"{family} gaps",
                Grade.PROBLEM,
                f"no {cadence.value} delivery for {', '.join(map(str, expected[:_SHOWN]))}"
                + (" …" if len(expected) > _SHOWN else ""),
                "Ask the vendor to deliver them again before their nine-week window has passed.",
            )
        else:
            days = sorted({stamp.date() for stamp in stamps})
            span = f"{days[0]} to {days[-1]}" if len(days) > 1 else str(days[0])
            yield Finding(feed.name, f"{family} gaps", Grade.GOOD, f"{len(days):,} deliveries, {span}, no gap")
