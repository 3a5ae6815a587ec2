"""The `offload` application: the options that commands share, and what they say of configuration."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from offload_platform.settings import FEEDS_VARIABLE, Feed, Settings, SettingsError, feeds_file, read_settings

if TYPE_CHECKING:
    import duckdb

app = typer.Typer(
    help="Turns vendor offloads in S3 into a DuckDB warehouse that analysts can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

FeedsOption = Annotated[
    Path | None, typer.Option("--feeds", help=f"Configuration file. Default: ${FEEDS_VARIABLE}, or feeds.yaml.")
]
FeedOption = Annotated[list[str] | None, typer.Option("--feed", help="Only this feed; may be repeated.")]
TypeOption = Annotated[list[str] | None, typer.Option("--type", help="Only this offload type; may be repeated.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to standard output instead of tables.")]
FirstOption = Annotated[
    datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day of stamps to look at.")
]
LastOption = Annotated[
    datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day of stamps to look at.")
]
PROBLEM_EXIT, USAGE_EXIT = 1, 2


def settings_of(feeds: Path | None) -> Settings:
    """The configuration in that file, or in the default one. Raises SettingsError."""
    return read_settings(feeds or feeds_file())


def feeds_or_demo(feeds: Path | None) -> Path:
    """The configuration file that was named, else the default one, else that of a demo in this folder."""
    from offload_platform.demo import Demonstration

    of_demo = Demonstration(Path("demo")).feeds_file
    return feeds or (of_demo if not feeds_file().exists() and of_demo.exists() else feeds_file())


def chosen_feeds(settings: Settings, names: Sequence[str] | None) -> tuple[Feed, ...]:
    """The feeds of those names, or all. Raises SettingsError for a name that is not configured."""
    return tuple(settings.feed(name) for name in names) if names else settings.feeds


def check_types(feeds: Sequence[Feed], offload_types: Sequence[str] | None) -> None:
    """Raises SettingsError for a type that none of the feeds can deliver."""
    from offload_platform.orchestration.run import known_types

    known = known_types(feeds)
    for name in offload_types or ():
        if name not in known:
            raise SettingsError(f"--type: unknown offload type {name!r}; known: {', '.join(known)}")


def published_file(settings: Settings) -> Path:
    """Where analysts find the warehouse, published or not."""
    from offload_platform.warehouse.files import WarehouseFiles

    return WarehouseFiles(settings.warehouse).published


@contextmanager
def reading_published(settings: Settings) -> Iterator["duckdb.DuckDBPyConnection | None"]:
    """The published file, open for reading; None where nothing is published yet."""
    import duckdb

    from offload_platform.warehouse.files import prepare

    if not published_file(settings).exists():
        yield None
        return
    with duckdb.connect(published_file(settings), read_only=True) as connection:
        prepare(connection)
        yield connection
