"""One alert, and the one message that many become: Slack's own form, readable wherever only `text` is read.

Not here: what is worth an alert (`alerts.py`), and sending it (`webhook.py`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from offload_platform.settings import AlertKind

_HEADINGS: Mapping[AlertKind, str] = {
    AlertKind.FAILED: "Failed runs",
    AlertKind.LATE: "Late deliveries",
    AlertKind.QUARANTINE: "Rows in quarantine",
    AlertKind.DRIFT: "Deliveries that differ from their contract",
    AlertKind.CHECK: "Failed checks",
}
_NEXT_STEPS: Mapping[AlertKind, str] = {
    AlertKind.FAILED: "Mend the cause, then re-execute the run or start `offload run`.",
    AlertKind.LATE: "See what the root holds with `offload doctor`, then ask the vendor.",
    AlertKind.QUARANTINE: "Look at `ops.quarantine` in the published file, by feed, offload_type and partition.",
    AlertKind.DRIFT: "Look at `ops.drift` in the published file, then ask the vendor or change the contract.",
    AlertKind.CHECK: "Look at the check in the Dagster UI; thresholds stand under `checks` of the feed.",
}
_STATES: Mapping[dg.AssetCheckSeverity | None, str] = {
    dg.AssetCheckSeverity.ERROR: "error",
    dg.AssetCheckSeverity.WARN: "warning",
    None: "resolved",
}
"""Worst first."""
_SHOWN = 5
_LONGEST_LIST_OF_SUBJECTS = 600
_LONGEST_TEXT = 400
_LONGEST_SUBJECT = 80
_LONGEST_SECTION = 3000
"""Characters that Slack takes in one section of a message."""


@dataclass(frozen=True)
class Alert:
    """Something that people should know: what (kind and words), where, and how bad.

    `subject` is feed and offload type, or what else it is about. Without a severity it is over.
    """

    kind: AlertKind
    subject: str
    says: str
    severity: dg.AssetCheckSeverity | None
    partition: str | None = None
    link: str | None = None


def message_of(alerts: Sequence[Alert]) -> dict[str, Any]:
    """The message that tells of some alerts: counts of all, the first few of each kind, worst first."""
    groups = [_group(kind, found) for kind in _HEADINGS if (found := [a for a in alerts if a.kind is kind])]
    return _message(_headline(alerts), groups)


def trial_message(about: str) -> dict[str, Any]:
    """A message that proves that the webhook works."""
    return _message("Test alert", [f"Alerts about {_escaped(about)} arrive here. Nothing is wrong."])


def _message(headline: str, paragraphs: Sequence[str]) -> dict[str, Any]:
    title = f"offload_platform: {headline}"
    return {
        "text": "\n\n".join([f"*{title}*", *paragraphs]),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": title}},
            *({"type": "section", "text": {"type": "mrkdwn", "text": paragraph}} for paragraph in paragraphs),
        ],
    }


def _headline(alerts: Sequence[Alert]) -> str:
    counts = Counter(_STATES[a.severity] for a in alerts)
    return ", ".join(
        f"{count:,} {state}{'s' if count > 1 and severity else ''}"
        for severity, state in _STATES.items()
        if (count := counts[state])
    )


def _group(kind: AlertKind, alerts: Sequence[Alert]) -> str:
    ordered = sorted(alerts, key=lambda a: list(_STATES).index(a.severity))
    lines = [f"*{_HEADINGS[kind]}: {len(alerts):,}*{_by_subject(alerts)}"]
    last = [f"Next: {_NEXT_STEPS[kind]}"] if any(a.severity for a in alerts) else []
    shown = 0
    for alert in ordered[:_SHOWN]:
        line = _line(alert)
        if sum(map(len, (*lines, line, *last))) > _LONGEST_SECTION - 100:
            break
        lines.append(line)
        shown += 1
    if shown < len(alerts):
        lines.append(f"… and {len(alerts) - shown:,} more.")
    return "\n".join(lines + last)


def _by_subject(alerts: Sequence[Alert]) -> str:
    if len(alerts) <= _SHOWN:
        return ""
    counts = Counter(a.subject for a in alerts).most_common()
    named: list[str] = []
    for subject, count in counts:
        named.append(f"{_escaped(subject, _LONGEST_SUBJECT)} {count:,}")
        if sum(map(len, named)) > _LONGEST_LIST_OF_SUBJECTS:
            break
    more = len(counts) - len(named)
    return f" ({', '.join(named)}{f' and {more:,} others' if more else ''})"


def _line(alert: Alert) -> str:
    where = _escaped(alert.subject, _LONGEST_SUBJECT) + (f" {_escaped(alert.partition)}" if alert.partition else "")
    link = f" {alert.link}" if alert.link else ""
    return f"• *{where}* ({_STATES[alert.severity]}): {_escaped(alert.says)}{link}"


def _escaped(text: str, longest: int = _LONGEST_TEXT) -> str:
    text = " ".join(text.split())
    text = text if len(text) <= longest else text[:longest] + "…"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
