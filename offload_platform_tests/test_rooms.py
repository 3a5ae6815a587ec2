"""The house: which room may import which, and what stays out of a room."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from offload_platform.vendors import vendor_names

PACKAGE = Path(__file__).parents[1] / "offload_platform"
ROOMS: dict[str, set[str]] = {
    "contracts": set(),
    "vendors": {"contracts"},
    "thresholds": set(),
    "settings": {"contracts", "vendors", "thresholds"},
    "simulator": {"contracts", "vendors"},
    "quality": {"contracts"},
    "landing": {"quality", "settings", "vendors", "contracts"},
    "warehouse": {"landing", "quality", "settings", "thresholds", "vendors", "contracts"},
    # Beyond one machine: hands the staging of `landing` and the merge of `warehouse` to nodes, and publishes again.
    "scale": {"warehouse", "landing", "quality", "settings", "vendors", "contracts"},
    "privacy": {"warehouse", "landing", "quality", "settings", "vendors", "contracts"},
    "listening": {"privacy", "warehouse", "landing", "quality", "settings", "vendors", "contracts"},
    "handoff": {"listening", "warehouse", "settings", "contracts"},
    "exports": {"warehouse", "landing", "settings", "vendors", "contracts"},
    "orchestration": {
        "exports",
        "handoff",
        "listening",
        "privacy",
        "scale",
        "warehouse",
        "landing",
        "quality",
        "settings",
        "thresholds",
        "vendors",
        "contracts",
    },
    "scorecard_files": {"warehouse", "settings", "vendors"},
    "dictionary": {"warehouse", "landing", "settings", "simulator", "vendors", "contracts"},
    "dashboard": {"warehouse"},
    "demo": {"orchestration", "warehouse", "landing", "settings", "simulator"},
    "cli": {
        "dashboard",
        "demo",
        "dictionary",
        "scorecard_files",
        "orchestration",
        "exports",
        "handoff",
        "listening",
        "privacy",
        "scale",
        "warehouse",
        "landing",
        "settings",
        "simulator",
        "vendors",
        "contracts",
    },
    "definitions": {"orchestration", "settings"},
}
"""What each room may import, from the ground floor up."""

KNOW_DAGSTER = {"orchestration", "definitions", "cli"}
FILES = sorted(PACKAGE.rglob("*.py"))
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|DELETE\s+FROM|UPDATE\s+\S+\s+SET|CREATE\s+(OR\s+REPLACE\s+)?(TABLE|VIEW|SCHEMA)"
    r"|ALTER\s+TABLE|DROP\s+(TABLE|VIEW|SCHEMA)|ATTACH\s|CHECKPOINT\b)",
    re.DOTALL,
)


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Names of the imported modules, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole way"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_every_room_is_known() -> None:
    assert {room_of(file) for file in FILES} - {"__init__"} == set(ROOMS)


def test_the_table_itself_only_points_down() -> None:
    seen: set[str] = set()
    for room, below in ROOMS.items():
        assert below <= seen, room
        seen.add(room)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_only_point_down(room: str) -> None:
    for file in FILES:
        if room_of(file) == room:
            imported = {
                name.split(".")[1]
                for name in imports_of(ast.parse(file.read_text(encoding="utf-8")))
                if name.startswith("offload_platform.")
            }
            assert imported <= ROOMS[room] | {room}, file


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_dagster_is_known_on_the_upper_floors_only(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    knows_dagster = any(name.startswith("dagster") for name in imports_of(tree))
    assert not knows_dagster or room_of(file) in KNOW_DAGSTER


@pytest.mark.parametrize("file", [file for file in FILES if room_of(file) == "cli"], ids=lambda file: file.name)
def test_the_command_line_loads_dagster_only_when_a_command_needs_it(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [n for node in at_once for n in imports_of(node) if n.startswith(("dagster", "offload_platform.orch"))]


def test_orchestration_holds_no_sql() -> None:
    for file in FILES:
        if room_of(file) in ("orchestration", "definitions"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert not SQL.search(node.value), f"{file}:{node.lineno}"


@pytest.mark.parametrize("vendor", vendor_names())
def test_only_a_vendors_folder_and_what_simulates_it_knows_the_vendor(vendor: str) -> None:
    """The demo shows one vendor; the command line names what it simulates by the module that does."""
    own = (PACKAGE / "vendors" / vendor, PACKAGE / "simulator", PACKAGE / "demo.py")
    for file in PACKAGE.rglob("*"):
        if file.suffix in (".py", ".sql", ".yaml", ".html", ".md") and not any(file.is_relative_to(o) for o in own):
            text = re.sub(
                r"from offload_platform\.simulator\..+ import .+|\bAffiseSimulation\b", "", file.read_text("utf-8")
            )
            assert not re.search(rf"(?<![a-z]){vendor}", text.lower()), file


def test_contracts_vendors_and_settings_open_no_connection() -> None:
    for file in FILES:
        if room_of(file) in ("contracts", "vendors", "settings", "thresholds"):
            imported = {name.split(".")[0] for name in imports_of(ast.parse(file.read_text(encoding="utf-8")))}
            assert not imported & {"duckdb", "boto3", "obstore", "requests", "httpx", "socket"}, file
