"""`offload listening`: what is made of the logs of an assistant."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from offload_platform.cli.app import (
    PROBLEM_EXIT,
    FeedOption,
    FeedsOption,
    FirstOption,
    JsonOption,
    LastOption,
    app,
    chosen_feeds,
    settings_of,
)
from offload_platform.cli.console import print_json, stderr, stdout, table_of
from offload_platform.settings import Feed, Settings, SettingsError

if TYPE_CHECKING:
    from offload_platform.orchestration.listening import Due

listening_app = typer.Typer(
    help="Make data that name nobody of the logs of an assistant, day by day.", no_args_is_help=True
)
app.add_typer(listening_app, name="listening")


@listening_app.command()
def run(
    feeds: FeedsOption = None,
    feed: FeedOption = None,
    first: FirstOption = None,
    last: LastOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make what is due of each day: RAW (the only step that takes the key), CLEAN, and the files of the hand-off."""
    from offload_platform.orchestration.instance import open_instance
    from offload_platform.orchestration.listening import due_days
    from offload_platform.orchestration.run import listen_now
    from offload_platform.warehouse.files import WarehouseFiles

    settings = settings_of(feeds)
    span = (first.date() if first else None, last.date() if last else None)
    made: list[tuple[Feed, Due, str | None]] = []
    with open_instance(WarehouseFiles(settings.warehouse), capture_output=False) as instance:
        for one in listened(settings, feed):
            failed: set[Due] = set()
            # A day changes those beside it: what is due is looked at again until nothing is, or what is has failed.
            while due := [d for d in due_days(settings, one, *span) if d not in failed]:
                # What is clean of a day takes RAW of those beside it.
                first_steps = [d for d in due if d.steps == due[0].steps]
                with stderr.status(f"Listening: {one.name}, {len(due):,} days …"):
                    for day, error in listen_now(settings, instance, one, first_steps):
                        if error:
                            failed.add(day)
                        made.append((one, day, error))
    if as_json:
        said = [{"feed": f.name, "day": str(d.day), "steps": list(d.steps), "error": error} for f, d, error in made]
        print_json({"made": said})
    else:
        for f, d, error in made:
            outcome = f"[red]failed:[/red] {escape(error)}" if error else "made"
            stdout.print(f"{f.name} {d.day} {', '.join(d.steps)}: {outcome}", soft_wrap=True)
        if not made:
            stdout.print("Nothing is due.")
    if any(error for _, _, error in made):
        raise typer.Exit(PROBLEM_EXIT)


@listening_app.command()
def status(feeds: FeedsOption = None, feed: FeedOption = None, as_json: JsonOption = False) -> None:
    """Show how many days are made of each feed's logs, and what is due."""
    from offload_platform.listening.days import Tier, days_of
    from offload_platform.listening.raw import listening_of
    from offload_platform.orchestration.listening import due_days
    from offload_platform.warehouse.files import WarehouseFiles

    settings = settings_of(feeds)
    said: list[dict[str, Any]] = []
    for one in listened(settings, feed):
        assert one.listening is not None
        days = days_of(WarehouseFiles(settings.warehouse), one.listening.country)
        clean = days.of(Tier.CLEAN, listening_of(one).dataset)
        due = due_days(settings, one)
        said.append(
            {
                "feed": one.name,
                "country": one.listening.country,
                "days": len(clean),
                "first": str(clean[0]) if clean else None,
                "last": str(clean[-1]) if clean else None,
                "due": {str(d.day): list(d.steps) for d in due},
            }
        )
    if as_json:
        return print_json({"feeds": said})
    table = table_of(None, "feed", "country", "days>", "first", "last", "due>")
    for s in said:
        table.add_row(s["feed"], s["country"], str(s["days"]), s["first"] or "–", s["last"] or "–", str(len(s["due"])))
    stdout.print(table)
    return None


@listening_app.command(name="testers")
def list_users(
    ids: Annotated[Path, typer.Argument(help="File with an id of a test user on each line.")],
    feed: Annotated[str, typer.Option("--feed", help="The feed whose list it is.")],
    column: Annotated[str, typer.Option("--column", help="Column of the log that has such ids.")],
    out: Annotated[Path, typer.Option("--out", help="The list to write; other hashes on it stay.")],
    feeds: FeedsOption = None,
) -> None:
    """Write a list of test users: keyed hashes in the place of their ids. It takes the key."""
    from offload_platform.listening.days import replacing
    from offload_platform.listening.raw import key_of_raw, listening_of
    from offload_platform.listening.testers import hashes_of

    one = settings_of(feeds).feed(feed)
    known = listening_of(one).testers
    if column not in known:
        raise typer.BadParameter(f"--column: unknown column {column!r}; known: {', '.join(known)}")
    try:
        values = [line.strip() for line in ids.read_text(encoding="utf-8").splitlines() if line.strip()]
        before = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{ids}: cannot be read: {error}") from error
    lines = sorted({*before, *hashes_of(values, known[column], key_of_raw(one))})
    with replacing(out) as aside:
        aside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    stdout.print(f"{len(lines):,} hashes in {out}. Next: [bold]listening.test_users[/bold] of the feed", soft_wrap=True)


def listened(settings: Settings, names: list[str] | None) -> list[Feed]:
    """The feeds of those names, or all, of whose logs something is made. Raises SettingsError where there is none."""
    found = [feed for feed in chosen_feeds(settings, names) if feed.listening is not None]
    if not found:
        raise SettingsError(f"{settings.file}: no feed has a section `listening`; see feeds.example.yaml")
    return found
