"""The whole of it: a cluster that loses a node in the middle of a partition, beside one process and one file."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="module")
def found(found_by: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return found_by("in_namespace")


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
