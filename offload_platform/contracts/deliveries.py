"""What a delivery is, and what a vendor's layout must be able to say about the objects below a feed's root."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Protocol


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
    """

    types: tuple[str, ...]
    published_after: timedelta
    settles: bool = False


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
    """One folder of one offload type of one app id."""

    folder: str
    stamp: datetime
    family: str
    app_id: str
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


class Layout(Protocol):
    """How one vendor names things and what complete means to it."""

    families: Mapping[str, Family]
    """The vendor's delivery rhythms, by name."""

    def place(self, key: str) -> Placement | None:
        """Read an object's key, relative to the feed's root; None when the layout does not know such a key."""

    def ignores(self, key: str) -> bool:
        """Whether a key is a by-product of tools (checksum files, archive leftovers) that holds no data."""

    def check_app_id(self, app_id: str) -> str | None:
        """Say what is wrong with an app id, or None."""

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
