"""Values that Affise is known to deliver in enumerated columns, and the words that stand for its codes.

Use: to report a value that is seen for the first time, and to give a status one name. Nothing is rejected by it.
Source: official SDK of 2021, OpenAPI of 2026, help-center.affise.com articles 6618579, 4103329 and 6511283.
"""

from typing import Final

STATUSES: Final[dict[str, str]] = {
    "1": "confirmed",
    "approved": "confirmed",
    "2": "pending",
    "3": "declined",
    "rejected": "declined",
    "5": "hold",
    # In older documents alone; it is reported where it is delivered.
    "4": "not_found",
}
"""The status behind a code, or another name of it, in lower case."""

STATUS_NAMES: Final[frozenset[str]] = frozenset({"confirmed", "pending", "declined", "hold"})

DEVICE_TYPES: Final[frozenset[str]] = frozenset(
    {"mediahub", "mobile", "ereader", "console", "tv", "tablet", "desktop", "smartwatch"}
)

DECLINE_REASONS: Final[frozenset[str]] = frozenset(
    {
        "anti_fraud",
        "by_import",
        "by_manager",
        "by_server_postback",
        "cap_reached",
        "click_time_expire",
        "ip_duplicate",
        "min_click_time_not_reached",
        "partner_banned",
        "partner_disabled",
        "payment_not_found",
        "promocode_expired",
        "promocode_not_available",
    }
)

FRAUD_RISKS: Final[frozenset[str]] = frozenset({"not_analyzed", "low", "medium", "high", "no_risk"})

PAYMENT_TYPES: Final[frozenset[str]] = frozenset({"fixed", "percent"})

PAYMENT_STATUSES: Final[frozenset[str]] = frozenset({"opened", "pending", "closed"})

BROWSERS: Final[tuple[tuple[str, str], ...]] = (
    ("in-app", r"FBA[NV]|FB_IAB|Instagram|musical_ly|TikTok|Snapchat|Pinterest/|Line/|MicroMessenger|; wv\)"),
    ("edge", r"Edg(?:e|A|iOS)?/"),
    ("opera", r"OPR/|Opera|OPiOS/|OPT/"),
    ("samsung internet", r"SamsungBrowser/"),
    ("yandex", r"YaBrowser/"),
    ("firefox", r"Firefox/|FxiOS/"),
    ("chrome", r"Chrome/|CriOS/"),
    ("safari", r"Safari/"),
)
"""Families of browsers by what is found in a user agent; the first one counts, because browsers name others too."""

OPERATING_SYSTEMS: Final[tuple[tuple[str, str], ...]] = (
    ("ios", r"iPhone|iPad|iPod"),
    ("android", r"Android"),
    ("windows", r"Windows"),
    ("macos", r"Macintosh|Mac OS X"),
    ("chromeos", r"CrOS"),
    ("linux", r"Linux|X11"),
)
"""Families of operating systems by what is found in a user agent; the first one counts."""
