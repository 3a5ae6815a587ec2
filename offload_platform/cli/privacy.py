"""`offload privacy`: make the privacy tiers, and see what the attacks on them have found."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from offload_platform.cli.app import PROBLEM_EXIT, FeedsOption, JsonOption, app, settings_of
from offload_platform.cli.console import print_json, stderr, stdout, table_of
from offload_platform.settings import Settings, SettingsError

privacy_app = typer.Typer(help="Make the privacy tiers, and see what attacks on them have found.", no_args_is_help=True)
app.add_typer(privacy_app, name="privacy")


@privacy_app.command()
def build(feeds: FeedsOption = None) -> None:
    """Make ppd_raw, ppd_clean and aggregate of the published file, attack them, and show the report."""
    from offload_platform.orchestration.instance import open_instance
    from offload_platform.orchestration.run import protect_now
    from offload_platform.warehouse.files import WarehouseFiles

    settings = _with_privacy(settings_of(feeds))
    files = WarehouseFiles(settings.warehouse)
    with open_instance(files, capture_output=False) as instance, stderr.status("Making the privacy tiers …"):
        wrong = protect_now(settings, instance)
    if wrong:
        stdout.print(f"[red]problem:[/red] {escape(wrong)}", soft_wrap=True)
        raise typer.Exit(PROBLEM_EXIT)
    _show(settings, as_json=False, show_all=False)


@privacy_app.command()
def report(
    show_all: Annotated[bool, typer.Option("--all", help="Show measures without a target as well.")] = False,
    feeds: FeedsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the newest report; the exit code is 1 where a target is missed."""
    _show(_with_privacy(settings_of(feeds)), as_json=as_json, show_all=show_all)


def _with_privacy(settings: Settings) -> Settings:
    if settings.privacy is None:
        raise SettingsError(f"{settings.file}: there are no privacy tiers. Add `privacy: {{}}`; see feeds.example.yaml")
    return settings


def _show(settings: Settings, *, as_json: bool, show_all: bool) -> None:
    from offload_platform.privacy.report import last_report
    from offload_platform.warehouse.files import WarehouseFiles

    made = last_report(WarehouseFiles(settings.warehouse))
    if made is None:
        raise SettingsError("there is no privacy report yet. Next: offload privacy build")
    if as_json:
        print_json(dict(made))
    else:
        _show_measures(made, show_all)
    if not made["passed"]:
        raise typer.Exit(PROBLEM_EXIT)


def _show_measures(made: Mapping[str, Any], show_all: bool) -> None:
    table = table_of(None, "head", "of", "measured", "value>", "target>", "")
    met = {True: "[green]met[/green]", False: "[red]missed[/red]", None: ""}
    for measure in made["measures"]:
        if show_all or measure["is_met"] is not None:
            said = (measure["head"], measure["of"], measure["what"], f"{measure['value']:.4g}", measure["target"])
            table.add_row(*map(escape, said), met[measure["is_met"]])
    stdout.print(table)
    missed = sum(measure["is_met"] is False for measure in made["measures"])
    stdout.print(
        f"Made {made['made_at'][:19]} UTC on {made['rows']:,} rows of {made['persons']:,} persons. "
        + (
            f"[red]{missed} targets are missed.[/red] docs/privacy.md says what to do."
            if missed
            else "All targets are met."
        ),
        soft_wrap=True,
    )
