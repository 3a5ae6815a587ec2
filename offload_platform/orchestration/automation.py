"""When an asset is made anew because of what it is made from."""

import dagster as dg


def after_news(label: str) -> dg.AutomationCondition:  # type: ignore[type-arg]
    """Something that an asset depends on was made, nothing of it is being made, and neither is the asset.

    What is seen at one look may have come in any order: news that are seen together with a request, or after one, may
    be younger than what the request makes. To make it once more costs little; once less leaves the news out, as
    Dagster's own `eager()` does. The UI tells the condition by its label.
    """
    condition = dg.AutomationCondition
    news = condition.any_deps_updated()
    return (
        news.since(condition.newly_requested() & ~news) & ~condition.any_deps_in_progress() & ~condition.in_progress()
    ).with_label(label)
