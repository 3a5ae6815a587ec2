"""The whole of it: a cluster that loses a node in the middle of a partition, beside one process and one file."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# Postgres refuses to run as root: whoever is root stays root outside, and starts it as somebody else.
NAMESPACE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-current-user", "--keep-caps", "--net"]
ALONE = 'ip link set lo up && exec "$0" "$@"'


def namespaces_are_permitted() -> bool:
    tried = subprocess.run([*NAMESPACE, "bash", "-c", ALONE, "true"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not namespaces_are_permitted():
        must_run = os.environ.get("OFFLOAD_TESTS_MUST_RUN")
        assert not must_run, "CI must permit network namespaces (unshare --net): Ray listens on every address"
        pytest.skip("network namespaces are not permitted here, and Ray would listen on every address")
    folder = tmp_path_factory.mktemp("cluster")
    program = [sys.executable, "-m", "offload_platform_tests.scale.in_namespace", folder, folder / "said.json"]
    ended = subprocess.run(
        [*NAMESPACE, "bash", "-c", ALONE, *map(str, program)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-6000:]
    return dict(json.loads((folder / "said.json").read_text()))


def test_no_partition_fails_when_a_node_is_killed_in_the_middle(found: dict[str, Any]) -> None:
    assert found["loads"] == [[True, None]] * 8
    assert found["publishing_error"] is None
    assert found["behind"] is False
    assert found["killed"] < found["loaded"]


def test_doctor_finds_cluster_and_lake_in_order(found: dict[str, Any]) -> None:
    assert found["doctor"] == {"cluster": "ok", "lake": "ok"}


def test_every_table_is_what_one_process_makes(found: dict[str, Any]) -> None:
    assert found["different"] == []
    assert found["compared"] > 150


def test_who_is_erased_is_gone_everywhere(found: dict[str, Any]) -> None:
    assert found["before"][0][0] > 0
    assert found["after"] == [[0]]
    assert found["different after an erasure"] == []


def test_nothing_is_left_in_the_shared_place_and_no_secret_is_written_down(found: dict[str, Any]) -> None:
    assert found["left in staging"] == []
    assert found["log files"] > 10
    assert found["secrets in logs"] == []
