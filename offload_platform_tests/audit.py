"""Looks for known vulnerabilities of the packages in the lock, by pip-audit, which asks a service on the network.

    python -m offload_platform_tests.audit

Exit codes: 0 when every package was looked at and none is known to be vulnerable, 1 when one is, 3 when some were not
looked at. pip-audit alone calls it a success when no package could be.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

LOCK = Path(__file__).parents[1] / "requirements.lock"
_SECONDS = 600


@dataclass(frozen=True)
class Audit:
    """What is `known` of packages, a sentence each; why others were `skipped`; how many were looked at.

    `trouble` is what kept pip-audit from telling anything.
    """

    FOUND: ClassVar[int] = 1
    NOT_CHECKED: ClassVar[int] = 3

    known: tuple[str, ...]
    skipped: tuple[str, ...]
    looked_at: int
    trouble: str = "no package was looked at"

    @property
    def exit_code(self) -> int:
        """0 is for a lock of which every package was looked at."""
        if self.known:
            return self.FOUND
        return self.NOT_CHECKED if self.skipped or not self.looked_at else 0

    @property
    def in_words(self) -> str:
        """The result, a line each."""
        said = list(self.known)
        if self.skipped:
            of_all = f"{len(self.skipped):,} of {len(self.skipped) + self.looked_at:,} packages"
            said.append(f"NOT CHECKED: {of_all}; the first: {self.skipped[0]}")
        elif not self.looked_at:
            said.append(f"NOT CHECKED: {self.trouble}")
        if not said:
            said.append(f"no known vulnerability in {self.looked_at:,} package{'s' if self.looked_at > 1 else ''}")
        return "\n".join(said)


def read_report(report: Mapping[str, Any]) -> Audit:
    """What pip-audit has found, from its JSON."""
    packages = report["dependencies"]
    looked_at = [p for p in packages if "skip_reason" not in p]
    known = [
        f"{p['name']} {p['version']}: {v['id']}, mended in {', '.join(v['fix_versions']) or 'no release'}"
        for p in looked_at
        for v in p["vulns"]
    ]
    return Audit(tuple(known), tuple(p["skip_reason"] for p in packages if "skip_reason" in p), len(looked_at))


def audit(arguments: Sequence[str]) -> Audit:
    """Run pip-audit over the lock; whatever keeps it from answering is told as not checked."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--requirement", str(LOCK)]
    output = ["--format", "json", "--progress-spinner", "off", "--desc", "off"]
    try:
        done = subprocess.run(
            [*command, *output, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        return read_report(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        return Audit((), (), 0, f"no answer in {_SECONDS} seconds")
    except ValueError:
        lines = done.stderr.strip().splitlines() or ["no word"]
        return Audit((), (), 0, f"pip-audit gave no report: {lines[-1]}")


def main() -> None:
    """Say what was found; what was not checked goes to the standard error."""
    found = audit(sys.argv[1:])
    print(found.in_words, file=sys.stderr if found.exit_code else sys.stdout)
    sys.exit(found.exit_code)


if __name__ == "__main__":
    main()
