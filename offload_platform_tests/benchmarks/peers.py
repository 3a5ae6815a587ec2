"""Other tools that load files into DuckDB, installed into an environment of their own beside the project's.

They are never part of the project: `.bench/` can be removed at any time.
"""

import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = REPOSITORY / ".bench"
_LOADS = Path(__file__).parent / "loads"
_PACKAGES = {
    "dlt": ("dlt[duckdb,filesystem]==1.31.0", "pyarrow", "pandas"),
    "pandas": ("pandas", "pyarrow", "duckdb"),
    # The package `sling` fetches its program when it is first used; this one holds it. It drives a DuckDB program.
    "sling": ("sling-linux-amd64==1.4.11", "duckdb-cli"),
}
_SECONDS_TO_INSTALL = 300
_SLING = """
import os, sling_linux_amd64, duckdb_cli
print(os.path.join(os.path.dirname(sling_linux_amd64.__file__), "bin", "sling-linux-amd64"))
print(os.path.join(os.path.dirname(duckdb_cli.__file__), "duckdb"))
"""


@dataclass(frozen=True)
class Peers:
    """The tools that are at hand, and of the others why not."""

    missing: dict[str, str] = field(default_factory=dict)

    @property
    def python(self) -> str:
        """The interpreter that knows them."""
        return str(ENVIRONMENT / "bin" / "python")

    @cached_property
    def programs(self) -> tuple[str, str]:
        """Sling's program and DuckDB's."""
        sling, engine = subprocess.check_output([self.python, "-c", _SLING], text=True).split()
        Path(sling).chmod(0o755)
        return sling, engine

    def versions(self) -> dict[str, str]:
        """Versions of what is installed beside the project, by package."""
        if not Path(self.python).exists():
            return {}
        listed = subprocess.check_output([self.python, "-m", "pip", "list", "--format=freeze"], text=True)
        wanted = ("dlt", "duckdb", "duckdb-cli", "pandas", "pyarrow", "sling-linux-amd64")
        found = (line.partition("==") for line in listed.split())
        return {name: version for name, _, version in found if name in wanted}

    def command(self, script: str, *arguments: str) -> list[str]:
        """What runs one of the scripts beside this module with the peers' interpreter."""
        return [self.python, str(_LOADS / script), *arguments]

    def sling(self, folder: Path, out: Path) -> tuple[list[str], dict[str, str]]:
        """What loads the parts of a delivery with sling, and the variables of its environment."""
        program, engine = self.programs
        [parts, *_] = sorted({part.parent for part in folder.rglob("part-*.gz")})
        [kind] = {part.suffixes[-2] for part in parts.glob("part-*.gz")}
        home = out.with_suffix(".sling")
        home.mkdir(parents=True)
        stream = ["--src-stream", f"file://{parts}/*{kind}.gz", "--tgt-conn", "OUT", "--tgt-object", "main.t"]
        environment = {
            # Its other ways into DuckDB download an extension.
            "OUT": f"{{type: duckdb, instance: '{out}', copy_method: csv_files}}",
            "DUCKDB_PATH": engine,
            "DUCKDB_USE_INSTALLED_EXTENSIONS": "true",
            **dict.fromkeys(("SLING_HOME_DIR", "SLING_TEMP_DIR", "HOME"), str(home)),
        }
        return [program, "run", *stream, "--mode", "full-refresh"], environment


def install() -> Peers:
    """Install what is not there yet, from PyPI; what cannot be installed is missing, with the reason."""
    missing = {}
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    for name, packages in _PACKAGES.items():
        installed = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS_TO_INSTALL,
        )
        if installed.returncode:
            said = [line for line in installed.stderr.splitlines() if line.startswith("ERROR")]
            missing[name] = (said or ["pip failed"])[-1].removeprefix("ERROR: ")
    return Peers(missing)
