"""Machines of a cluster die, are cut off, come twice and come without a token: nothing is lost, nothing is doubled."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from .faults_in_namespace import ADDRESS

DELIVERED = "delivered.segments"
NO_ROWS = (None, hashlib.sha256().hexdigest()[:12])
"""Of a table that is not there yet, and of an empty one."""


@pytest.fixture(scope="module")
def found(found_by: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    said = found_by("faults_in_namespace")
    assert said["alone"] == [0, 0]
    assert said["once"][DELIVERED] == said["twice"][DELIVERED]
    return said


def test_two_loads_of_a_partition_that_both_have_staged_commit_one_after_the_other(found: dict[str, Any]) -> None:
    assert [code for code, _ in found["race"]["ended"]] == [0, 0], found["race"]["ended"]
    assert found["race"]["content"] == found["twice"]


def test_a_control_process_that_is_killed_has_committed_nothing(found: dict[str, Any]) -> None:
    killed = found["killed"]
    assert (killed["staging"], killed["staged"], killed["again"]) == (-9, -9, 0)
    *before, after = killed["content"]
    assert all(content.get(DELIVERED) in NO_ROWS for content in before)
    assert after == found["once"]


def test_what_nodes_have_staged_for_one_that_was_killed_is_tidied(found: dict[str, Any]) -> None:
    assert found["killed"]["left by staging"] > 0
    assert found["killed"]["tidied after staging"] == []
    assert found["killed"]["tidied after staged"] == []


def test_a_node_whose_network_is_cut_in_the_middle_of_a_part_changes_nothing(found: dict[str, Any]) -> None:
    cut = found["cut"]
    assert cut["was loading"]
    assert cut["ended"] == [0, ""]
    assert cut["content"] == found["once"]
    assert cut["tidied"] == []


def test_work_waits_for_a_node_and_says_so(found: dict[str, Any]) -> None:
    assert "has no node: start one (ray start --address)" in found["no nodes"]["doctor"]
    assert found["no nodes"]["said"] == [
        f"The cluster at {ADDRESS} has no node: its work waits. Start one (ray start --address {ADDRESS}), and it "
        "goes on."
    ], "once, and not at every look"
    assert found["no nodes"]["was waiting"]
    assert found["no nodes"]["result"] == 4


def test_a_load_whose_head_dies_says_what_to_do_and_is_done_again(found: dict[str, Any]) -> None:
    no_head = found["no head"]
    code, said = no_head["ended"]
    assert code == 3
    assert said.startswith(f"told: the head of the cluster at {ADDRESS} is gone")
    assert "start it (ray start --head) and each node again, then run again." in said
    assert no_head["without it"].startswith(f"no cluster answers at {ADDRESS}: start its head (ray start --head)")
    before, after = no_head["content"]
    assert before.get(DELIVERED) in NO_ROWS
    assert no_head["this process again"] == 5
    assert no_head["again"] == 0
    assert after == found["once"]


@pytest.mark.parametrize("which", ["none", "wrong"])
def test_who_has_no_token_or_another_one_is_told(found: dict[str, Any], which: str) -> None:
    [said] = found["no token"][which]
    assert said.startswith(f"problem: the cluster at {ADDRESS} takes no work without its token: set RAY_AUTH_MODE=tok")
    assert "~/.ray/auth_token" in said


def test_a_node_with_another_token_is_not_let_in(found: dict[str, Any]) -> None:
    assert found["no token"]["a node"] != 0
