"""The `offload` command: what people type and read.

The work is done in the rooms below. Dagster and DuckDB are imported inside the commands that need them: `--help` and a
mistyped option answer at once.
"""

import os
import signal
import sys

from rich.markup import escape

from offload_platform.cli import (  # noqa: F401 (commands)
    backup,
    dashboard,
    decide,
    demo,
    dictionary,
    doctor,
    erase,
    es,
    export,
    listening,
    loading,
    plan,
    privacy,
    scorecard,
    simulate,
    status,
    tidy,
    verify,
)
from offload_platform.cli.app import PROBLEM_EXIT, USAGE_EXIT, app
from offload_platform.cli.console import stderr
from offload_platform.exports.errors import ExportError
from offload_platform.handoff.errors import HandoffError
from offload_platform.landing.errors import LandingError
from offload_platform.listening.errors import ListeningError
from offload_platform.settings import SettingsError

__all__ = ["app", "main"]


def main() -> None:
    """Entry point: errors that people can mend are told in a sentence, not a traceback."""
    # What this process and its children make is for nobody else, whatever the shell has set.
    os.umask(0o077)
    # A shell's background job ignores Ctrl-C, and SIGTERM would leave servers behind: both end a command in order.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except (SettingsError, LandingError, ExportError, ListeningError, HandoffError) as error:
        stderr.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(USAGE_EXIT if isinstance(error, SettingsError) else PROBLEM_EXIT)
