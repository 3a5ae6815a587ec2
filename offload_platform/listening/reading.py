"""CLEAN as others read it: the messages of a feed, in words that are no vendor's, by one query over all its days."""

from dataclasses import dataclass

from offload_platform.listening.days import Tier, days_of
from offload_platform.listening.figures import NONE
from offload_platform.listening.raw import listening_of
from offload_platform.settings import Feed
from offload_platform.warehouse.files import WarehouseFiles
from offload_platform.warehouse.sql import literal, quoted


@dataclass(frozen=True)
class Messages:
    """The messages of a feed: a query of DuckDB, and what the names of the files that it reads are like."""

    sql: str
    pattern: str


def messages_of(files: WarehouseFiles, feed: Feed) -> Messages:
    """Where the messages of a feed are, whether there are any yet or not.

    Raises:
        ListeningError: nothing is made of the feed's logs.
    """
    listening = listening_of(feed)
    assert feed.listening is not None
    pattern = days_of(files, feed.listening.country).pattern(Tier.CLEAN, listening.dataset)
    breakdowns = {one.name for one in listening.breakdowns}
    said = {"feed": literal(feed.name), "country": literal(feed.listening.country)} | {
        name: f"coalesce({quoted(column)}, {literal(NONE)})" if name in breakdowns else quoted(column)
        for name, column in listening.names.items()
    }
    columns = ", ".join(f"{value} AS {name}" for name, value in said.items())
    return Messages(f"SELECT {columns} FROM read_parquet({literal(pattern)})", pattern)
