"""What of the files of days has been kept long enough. Figures of groups stay."""

from datetime import date, timedelta
from pathlib import Path

from offload_platform.listening.days import Days, Tier
from offload_platform.listening.raw import listening_of
from offload_platform.settings import Feed


def expired_files(feed: Feed, days: Days, today: date) -> list[Path]:
    """Files of RAW and CLEAN that have been kept long enough."""
    assert feed.listening is not None
    kept = {Tier.RAW: feed.listening.raw_days, Tier.CLEAN: feed.listening.clean_days}
    return [
        file
        for tier, limit in kept.items()
        if limit is not None
        for file in sorted((days.root / tier / days.country).glob("*/*"))
        if (day := _day_of(file)) is not None and day < today - timedelta(days=limit)
    ]


def expired_days(feed: Feed, days: Days, today: date) -> list[date]:
    """Days whose CLEAN has been kept long enough."""
    assert feed.listening is not None
    limit = feed.listening.clean_days
    clean = days.of(Tier.CLEAN, listening_of(feed).dataset)
    return [day for day in clean if limit is not None and day < today - timedelta(days=limit)]


def _day_of(file: Path) -> date | None:
    try:
        return date.fromisoformat(file.name.partition(".")[0])
    except ValueError:
        return None
