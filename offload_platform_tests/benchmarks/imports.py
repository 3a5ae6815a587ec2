"""What importing takes: the packages that weigh most, by their own time."""

import re
import subprocess
import sys
from collections import Counter

_LINE = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*([\w.]+)")
_SHOWN = 10


def heaviest(module: str) -> list[tuple[str, int, float]]:
    """The packages that weigh most: name, number of modules, and the milliseconds that these take by themselves."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {module}"], capture_output=True, text=True, check=True
    ).stderr
    own: Counter[str] = Counter()
    modules: Counter[str] = Counter()
    for microseconds, name in _LINE.findall(told):
        package = name.partition(".")[0]
        own[package] += int(microseconds)
        modules[package] += 1
    return [(package, modules[package], round(took / 1000, 1)) for package, took in own.most_common(_SHOWN)]
