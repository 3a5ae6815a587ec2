"""`offload doctor`: look for problems, and say the next step for each."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from offload_platform.cli.app import (
    PROBLEM_EXIT,
    FeedOption,
    FeedsOption,
    JsonOption,
    app,
    chosen_feeds,
    settings_of,
)
from offload_platform.cli.console import print_json, stderr, stdout, table_of
from offload_platform.settings import Feed, Settings, SettingsError

if TYPE_CHECKING:
    from offload_platform.landing.inspection import Finding


@app.command()
def doctor(
    feeds: FeedsOption = None,
    feed: FeedOption = None,
    send_test_alert: Annotated[
        bool, typer.Option("--send-test-alert", help="Send a message to the webhook of the alerts.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check configuration, credentials, rights, layout and gaps; say the next step for each problem."""
    from offload_platform.landing.inspection import Finding, Grade, inspect

    settings = settings_of(feeds)
    findings = [Finding("", "configuration", Grade.GOOD, f"{settings.file}: {len(settings.feeds)} feeds")]
    findings += _warehouse_findings(settings)
    if settings.scale is not None:
        findings += _scale_findings(settings)
    if settings.privacy is not None:
        findings.append(_privacy_finding())
    if settings.alerts is not None or send_test_alert:
        findings.append(_alerts_finding(settings, send_test_alert))
    if settings.dashboard.basemap_style_url is not None:
        findings.append(_basemap_finding(settings.dashboard.basemap_style_url))
    findings += [_listening_finding(one) for one in chosen_feeds(settings, feed) if one.listening is not None]
    for one in chosen_feeds(settings, feed):
        with stderr.status(f"Looking at {one.name} …"):
            findings += inspect(one)
    if as_json:
        print_json({"findings": [asdict(f) for f in findings]})
    else:
        colours = {Grade.GOOD: "green", Grade.NOTE: "yellow", Grade.PROBLEM: "red"}
        table = table_of(None, "feed", "looked at", "", "found and next step")
        for f in findings:
            step = f"\n[bold]→ {escape(f.next_step)}[/bold]" if f.next_step else ""
            colour = colours[f.grade]
            table.add_row(f.feed, f.subject, f"[{colour}]{f.grade.value}[/{colour}]", escape(f.found) + step)
        stdout.print(table)
    if any(f.grade is Grade.PROBLEM for f in findings):
        raise typer.Exit(PROBLEM_EXIT)


def _warehouse_findings(settings: Settings) -> Iterator["Finding"]:
    from offload_platform.landing.inspection import Finding, Grade
    from offload_platform.warehouse.files import WarehouseFiles

    folder = settings.warehouse
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if existing.is_dir() and os.access(existing, os.W_OK):
        yield Finding("", "warehouse", Grade.GOOD, str(folder))
    else:
        step = "Set warehouse to a folder of yours."
        yield Finding("", "warehouse", Grade.PROBLEM, f"{existing} cannot be written to", step)
    if open_folders := WarehouseFiles(folder).open_to_others():
        found = f"other users of this machine can enter {', '.join(map(str, open_folders))}"
        yield Finding("", "warehouse", Grade.NOTE, found, f"chmod go= {' '.join(map(str, open_folders))}")


def _scale_findings(settings: Settings) -> Iterator["Finding"]:
    from offload_platform.landing.inspection import Finding, Grade
    from offload_platform.scale.errors import ScaleUnusable
    from offload_platform.scale.upkeep import look_at_cluster, look_at_lake
    from offload_platform.warehouse.files import WarehouseFiles

    assert settings.scale is not None
    files = WarehouseFiles(settings.warehouse)
    for subject, look in (("cluster", look_at_cluster), ("lake", look_at_lake)):
        try:
            with files.staging_folder() as spill:
                found = look(settings.scale, spill)
        except ScaleUnusable as error:
            yield Finding("", subject, Grade.PROBLEM, str(error), "docs/scale.md says how it is started.")
        else:
            yield Finding("", subject, Grade.GOOD, found)


def _privacy_finding() -> "Finding":
    from offload_platform.landing.inspection import Finding, Grade
    from offload_platform.landing.pseudonyms import PseudonymKeyError
    from offload_platform.privacy.rules import RulesError
    from offload_platform.privacy.tiers import readiness

    try:
        ready = readiness()
    except PseudonymKeyError as error:
        return Finding("", "privacy", Grade.PROBLEM, str(error), "Set it where `offload run` and Dagster start.")
    except RulesError as error:
        return Finding("", "privacy", Grade.PROBLEM, str(error), "Mend the file; docs/privacy.md has its form.")
    return Finding("", "privacy", Grade.GOOD, ready)


def _listening_finding(feed: Feed) -> "Finding":
    from offload_platform.landing.errors import LandingError
    from offload_platform.landing.inspection import Finding, Grade
    from offload_platform.listening.errors import ListeningError
    from offload_platform.listening.raw import check_rules, key_of_raw
    from offload_platform.listening.testers import listed

    assert feed.listening is not None
    try:
        check_rules(feed)
        known = listed(feed)
    except ListeningError as error:
        return Finding(feed.name, "listening", Grade.PROBLEM, str(error), "Nothing is made of its logs until then.")
    testers = f"{len(known):,} hashes of test users" if known is not None else "no list of test users"
    try:
        key_of_raw(feed)
    except LandingError as error:
        return Finding(feed.name, "listening", Grade.NOTE, str(error), "All but that step can be run here.")
    return Finding(feed.name, "listening", Grade.GOOD, f"logs of {feed.listening.country}, {testers}")


def _basemap_finding(url: str) -> "Finding":
    from offload_platform.dashboard.basemap import BasemapUnusable, hosts_asked
    from offload_platform.landing.inspection import Finding, Grade

    try:
        hosts = ", ".join(hosts_asked(url))
    except BasemapUnusable as error:
        step = (
            "Open dashboard.basemap_style_url in a browser, or leave it out: maps show countries then, and ask nobody."
        )
        return Finding("", "basemap", Grade.PROBLEM, str(error), step)
    return Finding("", "basemap", Grade.GOOD, f"a style; browsers ask {hosts} for pictures of where people look")


def _alerts_finding(settings: Settings, send_test_alert: bool) -> "Finding":
    from offload_platform.landing.inspection import Finding, Grade

    if settings.alerts is None:
        step = f"Add `alerts` to {settings.file}; see feeds.example.yaml."
        return Finding("", "alerts", Grade.PROBLEM, "no alerts are configured", step)
    try:
        host = urlsplit(settings.alerts.url()).hostname
    except SettingsError as error:
        step = "Set it where `offload run` and Dagster start; it holds the whole URL."
        return Finding("", "alerts", Grade.PROBLEM, str(error), step)
    about = ", ".join(settings.alerts.about)
    if not send_test_alert:
        return Finding("", "alerts", Grade.GOOD, f"to {host}, about {about}; not tried (--send-test-alert)")
    from offload_platform.orchestration.alert_message import trial_message
    from offload_platform.orchestration.webhook import AlertNotSent, post

    try:
        post(settings.alerts.url(), trial_message(about))
    except AlertNotSent as error:
        return Finding("", "alerts", Grade.PROBLEM, str(error), "Compare the URL with the one that the service shows.")
    return Finding("", "alerts", Grade.GOOD, f"{host} has taken a test message")
