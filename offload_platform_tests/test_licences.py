"""Every package of the lock may be used and passed on as this project is: its licence is one of a short list.

A package's own metadata say what its licence is. A licence that is not in the list fails here, in CI, before anybody
builds on the package: choose another one, or have the licence read and add it with its reason.
"""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from .audit import Audit, read_report

LOCK = Path(__file__).parents[1] / "requirements.lock"
PERMISSIVE = {"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "PSF-2.0", "Zlib", "CC0-1.0"}
# Of each file by itself: our own files do not fall under it, and none of theirs is changed.
WEAK_COPYLEFT = {"MPL-2.0"}
# Without a licence of their own words: as written in `License`, or by the classifier.
SPELLINGS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
EXCEPTIONS = {
    # The extra `postgres` alone brings it; it is loaded as it comes, and may be replaced by another build of itself.
    "psycopg2-binary": "GNU Library or Lesser General Public License (LGPL)",
    # Python source, used as it comes: it may be replaced by another version of itself.
    "python-stdnum": "GNU Lesser General Public License v2 or later (LGPLv2+)",
}
OF_OTHER_SYSTEMS = {"colorama", "pyreadline3", "pywin32"}


def packages() -> list[str]:
    """Names in the lock."""
    return sorted(set(re.findall(r"(?m)^([A-Za-z0-9][\w.-]*)==", LOCK.read_text(encoding="utf-8"))))


def licences_of(package: str) -> set[str]:
    """The licences that a package names; all of them hold, or one may choose."""
    said = metadata.metadata(package)
    if expression := said.get("License-Expression"):
        return set(re.split(r" (?:AND|OR) |[()]", expression)) - {""}
    classifiers = [c for c in said.get_all("Classifier", []) if c.startswith("License :: ")]
    named = [c.rpartition(" :: ")[2] for c in classifiers] or re.split(
        r" (?:AND|OR) ", (said.get("License") or "").strip()
    )
    return {SPELLINGS.get(name, name) for name in named}


def test_the_lock_names_packages() -> None:
    assert len(packages()) > 100


@pytest.mark.parametrize("package", packages())
def test_the_licence_is_one_that_is_allowed(package: str) -> None:
    try:
        licences = licences_of(package)
    except metadata.PackageNotFoundError:
        assert package in OF_OTHER_SYSTEMS, f"{package} is in the lock and not installed: make setup"
        return
    if EXCEPTIONS.get(package) in licences:
        return
    assert licences, f"{package} names no licence"
    assert licences <= PERMISSIVE | WEAK_COPYLEFT, f"{package}: {', '.join(licences)}"


def test_a_licence_that_is_not_in_the_list_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    message = metadata.metadata("duckdb")
    del message["Classifier"]
    message["License-Expression"] = "MIT AND AGPL-3.0-only"
    monkeypatch.setattr(metadata, "metadata", lambda _: message)
    with pytest.raises(AssertionError, match=r"AGPL-3\.0-only"):
        test_the_licence_is_one_that_is_allowed("duckdb")


# The check for known vulnerabilities: what it says, and above all what it does not


CHECKED = {"name": "good", "version": "1.0", "vulns": []}
VULNERABLE = {"name": "bad", "version": "2.0", "vulns": [{"id": "CVE-2026-1", "fix_versions": ["2.1"]}]}
SKIPPED = {"name": "far", "skip_reason": "Dependency not found on PyPI and could not be audited: far (1.0)"}


@pytest.mark.parametrize(
    ("packages", "code", "says"),
    [
        ([CHECKED], 0, "no known vulnerability in 1 package"),
        ([CHECKED, VULNERABLE], 1, "bad 2.0: CVE-2026-1, mended in 2.1"),
        ([CHECKED, SKIPPED], 3, "NOT CHECKED: 1 of 2 packages"),
        ([SKIPPED, VULNERABLE], 1, "NOT CHECKED: 1 of 2 packages"),
        ([], 3, "NOT CHECKED: no package was looked at"),
    ],
)
def test_what_was_not_checked_is_no_pass(packages: list[dict[str, object]], code: int, says: str) -> None:
    audit = read_report({"dependencies": packages})
    assert audit.exit_code == code
    assert says in audit.in_words


def test_a_service_that_cannot_be_reached_is_no_pass() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "offload_platform_tests.audit",
            "--osv-url",
            "http://127.0.0.1:9/",
            "--vulnerability-service",
            "osv",
        ],
        capture_output=True,
        text=True,
        cwd=LOCK.parent,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (Audit.NOT_CHECKED, "")
    assert done.stderr.startswith("NOT CHECKED: ")
