"""Commented blocks of `dagster.yaml`, turned on as an operator does it."""

import re


def turned_on(settings: str, block: str) -> str:
    """The settings with "# " removed from the lines of a block."""
    lines = re.compile(rf"^# {block}:\n(?:#   .*\n)+", re.MULTILINE)
    changed, count = lines.subn(lambda found: re.sub(r"^# ", "", found[0], flags=re.MULTILINE), settings)
    assert count == 1, block
    return changed
