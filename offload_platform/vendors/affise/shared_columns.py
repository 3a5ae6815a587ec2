"""What both streams share: columns, other names of columns, what is dropped, and the clock in an id.

The header of the files is published nowhere. Columns are those of the same object in Affise's interface, under the
names that the interface and its flattened forms have; hence few are expected, and what is not delivered is no drift.
"""

from typing import Any

import polars as pl

from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.readers import (
    FamilyCell,
    NetworkCell,
    PseudonymCell,
    ScrubbedCell,
    SourceClockCell,
    TextCell,
    UnknownColumns,
)
from offload_platform.vendors.affise.vocabulary import BROWSERS, DEVICE_TYPES, OPERATING_SYSTEMS

INTERFACE = "Affise OpenAPI 3.2 and SDK of 2021"
DATA_FUSION = "help-center.affise.com, Data Fusion: Amazon S3"
_NO_DEVICE = ("00000000-0000-0000-0000-000000000000", "0000000000000000", "unknown", "null", "-")
_NO_TIME = ("0000-00-00 00:00:00",)
_CLOCK_TOLERANCE_S = 2

ALIASES = {
    "offer.id": "offer_id",
    "offer.title": "offer_title",
    "offer.offer_id": "offer_mongo_id",
    "partner.id": "partner_id",
    "affiliate_id": "partner_id",
    "affiliate.id": "partner_id",
    "partner.title": "partner_title",
    "affiliate.title": "partner_title",
    "landing.id": "landing_id",
    "prelanding.id": "prelanding_id",
    "ios_idfa": "idfa",
    "user_agent": "ua",
    "referer": "referrer",
}
"""Other names of columns that both streams have."""

DROPPED = (
    "partner_email",
    "partner.email",
    "affiliate_email",
    "affiliate.email",
    "partner_login",
    "partner.login",
    "partner_name",
    "partner.name",
    "partner.title_full",
    "manager_name",
    "manager.name",
    "manager.email",
    "partner.manager.name",
    "partner.manager.email",
    "partner.manager.first_name",
    "partner.manager.last_name",
    "advertiser.manager",
    "advertiser.email",
    "advertiser.manager_obj",
)
"""Names and addresses of people."""


def text(
    wire: str,
    description: str,
    *,
    privacy: Privacy = Privacy.NONE,
    enumeration: frozenset[str] | None = None,
    lower: bool = False,
) -> Any:
    """An optional text."""
    return column(
        TextCell(wire, lower=lower),
        description,
        source=INTERFACE,
        privacy=privacy,
        enumeration=enumeration,
        expected=False,
        nullable=True,
    )


def object_id(wire: str, what: str) -> Any:
    """The key of a stream."""
    return column(
        TextCell(wire, lower=True),
        f"Id of the {what}: 24 hexadecimal digits that begin with its time, or a UUID.",
        source=INTERFACE,
        privacy=Privacy.IDENTIFIER,
        str_length={"min_value": 1},
    )


def moment(wire: str, description: str, *, nullable: bool = True) -> Any:
    """A time on the platform's clock, as instant."""
    return column(
        SourceClockCell(wire, absent=_NO_TIME),
        f"{description} (UTC instant). Delivered on the platform's clock: source_timezone of the feed.",
        source=INTERFACE,
        privacy=Privacy.BEHAVIOUR,
        expected=not nullable,
        nullable=nullable,
    )


def pseudonym(wire: str, kind: str, what: str, *, of_person: bool = True) -> Any:
    """A keyed hash in place of an id."""
    return column(
        PseudonymCell(wire, kind, absent=_NO_DEVICE, of_person=of_person),
        f"Keyed hash of {what}; the same one has the same hash wherever it is delivered.",
        source=INTERFACE,
        privacy=Privacy.IDENTIFIER,
        expected=False,
        nullable=True,
    )


def scrubbed(wire: str, description: str, *, is_url: bool = False) -> Any:
    """Free text, without what may tell who somebody is."""
    left_out = (
        "query, fragment, mail addresses and telephone numbers" if is_url else "mail addresses, telephone numbers"
    )
    return column(
        ScrubbedCell(wire, is_url=is_url),
        f"{description}; without {left_out}.",
        source=INTERFACE,
        privacy=Privacy.BEHAVIOUR,
        expected=False,
        nullable=True,
    )


def ip_network() -> Any:
    """Where in the net a request came from, and no closer."""
    return column(
        NetworkCell("ip"),
        "Network of the IP address: 24 bits of it, or 48 of IPv6.",
        source=INTERFACE,
        privacy=Privacy.LOCATION,
        expected=False,
        nullable=True,
    )


def browser_family() -> Any:
    """The browser, by the user agent."""
    return column(
        FamilyCell("ua", BROWSERS),
        "Family of the browser, told by the user agent; nothing else is kept of it.",
        source=INTERFACE,
        privacy=Privacy.NONE,
        expected=False,
        nullable=True,
    )


def os_family() -> Any:
    """The operating system, by the user agent."""
    return column(
        FamilyCell("ua", OPERATING_SYSTEMS),
        "Family of the operating system, told by the user agent; nothing else is kept of it.",
        source=INTERFACE,
        privacy=Privacy.NONE,
        expected=False,
        nullable=True,
    )


def device_type() -> Any:
    """The kind of device."""
    return text("device_type", "Kind of device, in lower case.", enumeration=DEVICE_TYPES, lower=True)


def sub(number: int) -> Any:
    """What the partner has put into its link."""
    return scrubbed(f"sub{number}", f"Parameter sub{number} of the partner's link")


def extra() -> Any:
    """Whatever the contract does not know."""
    return column(
        UnknownColumns(scrubbed=True),
        "Delivered values that no other column holds, as a JSON object by delivered column name, without mail "
        "addresses and telephone numbers; null when none.",
        source="the part's own header",
        privacy=Privacy.BEHAVIOUR,
        nullable=True,
    )


def clock_remark(id_column: str) -> dict[str, pl.Expr]:
    """The time in an id against `created_at`: the built-in check of the time zone. Ids that hold none are left out."""
    said = pl.col(id_column).str.extract(r"^([0-9a-f]{8})[0-9a-f]{16}$")
    in_id = said.str.to_integer(base=16, dtype=pl.Int64, strict=False)
    apart = (pl.col("created_at").dt.epoch("s") - in_id).abs()
    rule = said.is_null() | (apart <= _CLOCK_TOLERANCE_S)
    detail = f"more than {_CLOCK_TOLERANCE_S} s from the time in {id_column}; check source_timezone of the feed"
    return {f"created_at: {detail}": rule}


def address_remark() -> dict[str, pl.Expr]:
    """Addresses of which no network could be told."""
    return {"ip_network: not an IP address": pl.col("ip_hash").is_null() | pl.col("ip_network").is_not_null()}
