"""What a delivery is, and what a vendor's layout must be able to say about the objects below a feed's root."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum
from hashlib import sha256
from typing import Protocol

_LEFT_BY_TOOLS = re.compile(r"(?:^|/)(?:\._|\.DS_Store$|[^/]*\.crc$|[^/]*\.tmp$)")


def is_plain(key: str) -> bool:
    """Whether a key can be shown and asked for as it is: all of it printable, and no empty step, `.` or `..` in it."""
    return key.isprintable() and not {"", ".", ".."} & set(key.split("/"))


def shown(key: str) -> str:
    """A key for eyes, terminals and logs: signs that are not printable are escaped."""
    return key if key.isprintable() else key.encode("unicode_escape").decode()


@dataclass(frozen=True)
class StoredObject:
    """One object of a listing. `key` is relative to the feed's root; `size` is in bytes.

    `etag` is the store's; for folders on disk it is the MD5 of the content. `last_modified` only serves the
    settle period and is never part of an identity.
    """

    key: str
    size: int
    etag: str
    last_modified: datetime


class Role(StrEnum):
    """What an object is to the layout."""

    PART = "part"
    MARKER = "marker"


@dataclass(frozen=True)
class Family:
    """A delivery rhythm of a vendor.

    `types` are its offload types, loaded or not. A delivery is normally complete in the bucket `published_after` its
    stamp. A family that `settles` has no marker of completeness: nothing may have changed for the settle period.
    Where deliveries `add_up`, each of them counts, and none takes the place of another in their partition.
    """

    types: tuple[str, ...]
    published_after: timedelta
    settles: bool = False
    add_up: bool = False


@dataclass(frozen=True)
class Places:
    """What a feed says of where its vendor puts things.

    `directories` are below the feed's root, by offload type, for vendors that let the client choose them; `zone` is the
    time zone of the names.
    """

    directories: Mapping[str, str]
    zone: tzinfo


@dataclass(frozen=True)
class Placement:
    """What a vendor's layout reads from an object's key.

    `folder` is the delivery's folder, `family` the delivery rhythm. `stamp` is the delivery's time in UTC; None for an
    object that is replaced in place, whose every version is a delivery of its own, stamped by its last change.
    `app_id` is None where the key names none. `position` orders the parts of one type; `writer` is the job that wrote
    a part, where the name tells.
    """

    folder: str
    stamp: datetime | None
    family: str
    app_id: str | None
    offload_type: str
    role: Role
    position: tuple[int, int] = (0, 0)
    writer: str | None = None


@dataclass(frozen=True)
class Part:
    """One object of a delivery that holds rows."""

    stored: StoredObject
    placement: Placement

    @property
    def key(self) -> str:
        """The object key, relative to the feed's root."""
        return self.stored.key


@dataclass(frozen=True)
class Delivery:
    """One folder of one offload type of one app id; the app id is None at a vendor that has none."""

    folder: str
    stamp: datetime
    family: str
    app_id: str | None
    offload_type: str
    parts: tuple[Part, ...]
    incomplete_because: str | None = None
    marker: StoredObject | None = None

    @property
    def rank(self) -> datetime:
        """What decides which of several deliveries counts: the later one. A marker's time is that of a re-run."""
        return self.marker.last_modified if self.marker else self.stamp

    @property
    def is_complete(self) -> bool:
        """Whether the vendor has finished the delivery, by the rules of its layout."""
        return self.incomplete_because is None

    @property
    def size(self) -> int:
        """Bytes of all parts as stored."""
        return sum(part.stored.size for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """Identity of the delivery: a hash of its stamp and its set of (key, size, ETag)."""
        said = sorted(f"{p.stored.key}\t{p.stored.size}\t{p.stored.etag}" for p in self.parts)
        return sha256("\n".join([self.stamp.isoformat(), *said]).encode()).hexdigest()[:16]

    @property
    def arrived_at(self) -> datetime:
        """When the store saw the last change of the delivery: of its marker, or of its newest part."""
        changes = [part.stored.last_modified for part in self.parts]
        return max([*changes, self.marker.last_modified] if self.marker else changes)


def combined(deliveries: Sequence[Delivery]) -> Delivery:
    """Several deliveries as one: under the name and stamp of the newest, with the parts of all."""
    newest = max(deliveries, key=lambda d: (d.stamp, d.folder))
    return replace(newest, parts=tuple(part for delivery in deliveries for part in delivery.parts))


class Layout(Protocol):
    """How one vendor names things and what complete means to it."""

    families: Mapping[str, Family]
    """The vendor's delivery rhythms, by name."""

    is_placed: bool = False
    """Whether the client chooses the directories."""

    def place(self, key: str) -> Placement | None:
        """Read an object's key, relative to the feed's root; None when the layout does not know such a key."""

    def ignores(self, key: str) -> bool:
        """Whether a key is a by-product of tools (checksum files, archive leftovers) that holds no data."""
        return _LEFT_BY_TOOLS.search(key) is not None

    def check_app_id(self, app_id: str | None) -> str | None:
        """Say what is wrong with an app id, or None; by default there are none."""
        return None if app_id is None else "this vendor has no app ids; leave it out"

    def at(self, places: Places) -> "Layout":  # noqa: ARG002 (for vendors that leave nothing to the client)
        """The layout of a feed that says this of its places."""
        return self

    @property
    def roots(self) -> list[str]:
        """Folders, below the feed's root, below which all deliveries lie."""
        return [""]

    def check_directories(
        self,
        directories: Mapping[str, str],
        expected_types: Sequence[str],  # noqa: ARG002 (as above)
    ) -> str | None:
        """Say what is wrong with the directories of a feed that expects some offload types, or None."""
        return "the vendor chooses its folders; leave it out" if directories else None

    def folders_between(self, first: date, last: date) -> list[str] | None:  # noqa: ARG002 (as above)
        """The folders, below the root, of all that is stamped on some days in the zone of the names, the last included.

        None where that does not follow from the days alone.
        """
        return None

    def folder(self, name: str) -> tuple[str, datetime | None]:
        """Family and stamp of all deliveries below a top folder; the stamp is None where the name tells none."""

    def incomplete_because(
        self,
        family: str,
        offload_type: str,
        parts: Mapping[str, Sequence[Part]],
        marked: Collection[str],
        expected_types: Sequence[str],
    ) -> str | None:
        """Say why one offload type in one folder of one app id is not complete, or None.

        `parts` holds the folder's parts by offload type, `marked` the types that carry a marker, `expected_types`
        the types that the feed subscribes to.
        """
