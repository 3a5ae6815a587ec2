"""What can go wrong between the bucket and the staged rows. Every message says what to do next."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any


class LandingError(Exception):
    """A delivery could not be landed; nothing of it reaches the warehouse."""


class SourceUnavailable(LandingError):
    """The feed's root could not be listed or read: credentials, rights, network or a missing bucket."""


class PartChanged(LandingError):
    """A part is not the object that was listed: it was replaced or removed meanwhile."""


class DamagedBody(LandingError):
    """Bytes of a part are not those that the vendor stored: wrong size, wrong checksum, broken or cut gzip."""


class UntrustedPart(LandingError):
    """A part whose rows cannot be told apart safely: no header, a missing key column, another encoding."""


class MostlyBad(UntrustedPart):
    """A part too many of whose rows break the contract, as found when it was given up.

    `rows` were read by then and `broken` of them break the contract; `reasons` counts these by reason (a row with two
    reasons counts under both), and `sample` holds the first of them as line, reasons and the beginning of the row,
    masked.
    """

    def __init__(
        self,
        message: str,
        *,
        key: str,
        rows: int,
        broken: int,
        reasons: Mapping[str, int],
        sample: Sequence[tuple[int, list[str], str]],
    ) -> None:
        super().__init__(message)
        self.key = key
        self.rows = rows
        self.broken = broken
        self.reasons = reasons
        self.sample = sample

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled as it was made: a part may have been given up in another process.
        return partial(type(self), **vars(self)), self.args
