"""What is made from something that was made anew is made anew, whatever was seen at one look."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from offload_platform.orchestration.automation import after_news

SOURCE, FIRST, SECOND, LAST = (dg.AssetKey(name) for name in ("source", "first", "second", "last"))
MADE = [FIRST, SECOND, LAST]


def made_from(key: dg.AssetKey, *deps: dg.AssetKey, condition: Any = None) -> dg.AssetsDefinition:
    @dg.asset(key=key, deps=deps, automation_condition=condition)
    def make() -> None: ...

    return make


class Chain:
    """Looks at assets that are made from one another, as the tiers are from the published file."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.defs = dg.Definitions(
            [
                made_from(SOURCE),
                made_from(FIRST, SOURCE, condition=after_news("news")),
                made_from(SECOND, FIRST, condition=after_news("news")),
                made_from(LAST, FIRST, SECOND, condition=after_news("news")),
            ]
        )
        self.job = self.defs.resolve_implicit_global_asset_job_def()
        self.instance = instance
        self.cursor: Any = None

    def asked_for(self) -> list[dg.AssetKey]:
        result = dg.evaluate_automation_conditions(
            self.defs, self.instance, dg.AssetSelection.assets(*MADE), cursor=self.cursor
        )
        self.cursor = result.cursor
        return [key for key in MADE if result.get_num_requested(key)]

    def make(self, *keys: dg.AssetKey) -> None:
        assert self.job.execute_in_process(asset_selection=list(keys), instance=self.instance).success


@pytest.fixture
def chain() -> Iterator[Chain]:
    with dg.DagsterInstance.ephemeral() as instance:
        chain = Chain(instance)
        assert chain.asked_for() == [], "nothing was made"
        yield chain


def test_all_of_it_is_made_at_once_and_not_again(chain: Chain) -> None:
    chain.make(SOURCE)
    assert chain.asked_for() == MADE
    assert chain.asked_for() == [], "it has been asked for"
    chain.make(*MADE)
    assert chain.asked_for() == [], "what was made with it is no news"
    assert chain.asked_for() == []


def test_what_comes_right_after_it_was_made_is_seen(chain: Chain) -> None:
    chain.make(SOURCE)
    assert chain.asked_for() == MADE
    chain.make(*MADE)
    chain.make(SOURCE)
    assert chain.asked_for() == MADE
    chain.make(*MADE)
    assert chain.asked_for() == []


def test_what_comes_while_it_is_made_is_seen(chain: Chain) -> None:
    chain.make(SOURCE)
    assert chain.asked_for() == MADE
    assert chain.asked_for() == []
    chain.make(SOURCE)
    # What was asked for first is told of after the news, and was made before them.
    chain.make(*MADE)
    assert chain.asked_for() == MADE


def test_what_was_made_by_hand_is_news_for_what_is_made_from_it(chain: Chain) -> None:
    chain.make(FIRST)
    assert chain.asked_for() == [SECOND, LAST]
    assert chain.asked_for() == []
