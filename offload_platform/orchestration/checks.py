"""The checks of a table: what each of them looks at, and its verdict on a load.

A verdict is a figure of the load beside a threshold of the feed, in one sentence that ends with the next step. The
figures are in the metadata as numbers, which Dagster plots over partitions. Not here: how the figures are taken.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import dagster as dg

from offload_platform.contracts.contract import Content, Contract
from offload_platform.landing.errors import MostlyBad
from offload_platform.orchestration.partitions import partitions_of
from offload_platform.orchestration.reports import table
from offload_platform.quality.drift import Drift
from offload_platform.settings import Feed
from offload_platform.thresholds import CheckThresholds, Severity
from offload_platform.warehouse.load import Loaded
from offload_platform.warehouse.measures import Coverage, RepeatedKey, Undone, links_of

ACCOUNT_CHECK = "rows_are_accounted_for"
QUARANTINE_CHECK = "rows_keep_the_contract"
DRIFT_CHECK = "delivery_matches_the_contract"
KEY_CHECK = "natural_keys_are_unique"
TIME_CHECK = "events_arrive_in_time"
VOLUME_CHECK = "volume_is_usual"
REFERENCE_CHECK = "references_are_covered"
GAP_CHECK = "deliveries_follow_each_other"
DECISION_CHECK = "decisions_stand"

_JUDGED_FROM_DELIVERIES = 3
_SAMPLE_ROWS = 10
_REASONS_IN_A_SENTENCE = 3
_DRIFT_SHOWN = 100


def check_specs(feed: Feed, contract: Contract, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of a table, each with a result for each partition. Only the refusal of a delivery blocks."""
    said = {
        ACCOUNT_CHECK: "Rows in = rows loaded + rows in ops.quarantine (+ rows of erased persons), counted again after "
        "the commit.",
        QUARANTINE_CHECK: "Rows that break the contract are set aside in ops.quarantine; the others are loaded. "
        "A delivery with too many of them is refused, and the partition keeps its old rows.",
        DRIFT_CHECK: "Header, dialect and enumerated values are those that the contract knows.",
        KEY_CHECK: f"No two rows of a delivery have the same natural key ({', '.join(contract.key)}).",
        VOLUME_CHECK: "The delivery has about as many rows as those before it.",
    }
    if contract.event_time is not None:
        said[TIME_CHECK] = (
            f"Events ({contract.event_time}) are delivered soon after they happened."
            if contract.content is Content.INCREMENT
            else f"The newest event ({contract.event_time}) happened shortly before the stamp of the delivery."
        )
    if feed.adds_up(contract.family):
        said[GAP_CHECK] = (
            f"A delivery comes every {feed.period(contract.family).total_seconds() / 60:g} minutes; where several in a "
            "row are missing, the vendor may have stopped, or had nothing to tell."
        )
    if decided := contract.decisions:
        made, undecided = " or ".join(decided.made), " or ".join(decided.undecided)
        said[DECISION_CHECK] = f"No change takes {decided.column} back from {made} to {undecided}."
    if links := links_of(feed, contract):
        referring = ", ".join(dict.fromkeys(link.referring.offload_type for link in links))
        said[REFERENCE_CHECK] = f"What rows refer to has been delivered. Rows that refer: those of {referring}."
    return [
        dg.AssetCheckSpec(
            name,
            asset=key,
            partitions_def=partitions_of(feed, contract.family),
            blocking=name == QUARANTINE_CHECK,
            description=description,
        )
        for name, description in said.items()
    ]


def check_results(loaded: Loaded, feed: Feed) -> list[dg.AssetCheckResult]:
    """The verdict of every check on a finished load."""
    contract = loaded.partition.contract
    thresholds = feed.thresholds(contract.offload_type)
    results = [
        _account(loaded),
        _quarantine(loaded, thresholds),
        _drift(loaded, thresholds),
        _keys(loaded, thresholds),
        _volume(loaded, thresholds),
    ]
    if contract.event_time is not None:
        late = _late_rows if contract.content is Content.INCREMENT else _newest_event
        results.append(late(loaded, thresholds))
    if loaded.partition.adds_up:
        results.append(_gaps(loaded, thresholds))
    if loaded.measures.decisions is not None:
        results.append(_decisions(loaded.measures.decisions, thresholds))
    if loaded.measures.coverages:
        results.append(_references(loaded.measures.coverages, feed))
    return results


def refusal(refused: MostlyBad) -> dg.AssetCheckResult:
    """The verdict on a delivery that is refused because of one of its parts."""
    return dg.AssetCheckResult(
        check_name=QUARANTINE_CHECK,
        passed=False,
        severity=dg.AssetCheckSeverity.ERROR,
        description=str(refused),
        metadata={
            "rows read": refused.rows,
            "rows that break the contract": refused.broken,
            "share that breaks the contract": _share(refused.broken, refused.rows),
            **_broken_rows(refused.reasons, ((*row, refused.key) for row in refused.sample)),
        },
    )


def _account(loaded: Loaded) -> dg.AssetCheckResult:
    parts = loaded.measures.parts
    in_table, in_quarantine = sum(p.in_table for p in parts), sum(p.in_quarantine for p in parts)
    broken = [part for part in parts if not part.balances]
    passed = not broken and loaded.rows_in == in_table + in_quarantine + loaded.erased
    metadata: dict[str, Any] = {
        "rows in": loaded.rows_in,
        "rows in the table": in_table,
        "rows in quarantine": in_quarantine,
        "parts that do not balance": len(broken),
    }
    if loaded.erased:
        metadata["rows of erased persons"] = loaded.erased
    if broken:
        metadata["by part"] = table(
            ("part", "in", "loaded", "quarantined", "erased", "in the table", "in quarantine"),
            (
                (p.object_key, p.rows_in, p.rows_loaded, p.rows_quarantined, p.rows_erased, p.in_table, p.in_quarantine)
                for p in broken[:_SAMPLE_ROWS]
            ),
        )
    counted = f"{in_table:,} in the table and {in_quarantine:,} in quarantine, counted again after the commit"
    if loaded.erased:
        counted = f"{loaded.erased:,} of erased persons, {counted}"
    return dg.AssetCheckResult(
        check_name=ACCOUNT_CHECK,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=(
            f"{loaded.rows_in:,} rows in = {counted}."
            if passed
            else f"{loaded.rows_in:,} rows came in, but there are {counted}, and no row may be missing: load the "
            "partition again, and report it if it stays so."
        ),
        metadata=metadata,
    )


def _quarantine(loaded: Loaded, thresholds: CheckThresholds) -> dg.AssetCheckResult:
    staged, allowed = loaded.staged, thresholds.quarantine.warn_above
    share = loaded.quarantined / loaded.rows_in if loaded.rows_in else 0.0
    metadata: dict[str, Any] = {
        "rows in": loaded.rows_in,
        "rows quarantined": loaded.quarantined,
        "share that breaks the contract": _share(loaded.quarantined, loaded.rows_in),
    }
    description = f"All {loaded.rows_in:,} rows keep the contract."
    if loaded.quarantined:
        reasons: dict[str, int] = {}
        for part in staged.parts:
            for reason, rows in part.reasons.items():
                reasons[reason] = reasons.get(reason, 0) + rows
        metadata |= _broken_rows(reasons, ((*row, part.part.key) for part in staged.parts for row in part.sample))
        description = (
            f"{_of(loaded.quarantined, loaded.rows_in)} are in quarantine, {_beside(share, allowed)}"
            f"{': ' if reasons else ''}{_in_words(reasons)}. See ops.quarantine."
        )
    return dg.AssetCheckResult(
        check_name=QUARANTINE_CHECK,
        passed=share <= allowed,
        severity=dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=metadata,
    )


def _drift(loaded: Loaded, thresholds: CheckThresholds) -> dg.AssetCheckResult:
    drift = _across_parts(loaded.measures.drift)
    metadata: dict[str, Any] = {"observations": len(drift)}
    if drift:
        metadata["drift"] = table(("kind", "column", "found", "rows"), drift[:_DRIFT_SHOWN])
    return dg.AssetCheckResult(
        check_name=DRIFT_CHECK,
        passed=not drift,
        severity=_severity(thresholds.drift.severity),
        description=(
            f"The delivery differs in {len(drift)} respect{'s' if len(drift) > 1 else ''}; see ops.drift."
            if drift
            else "Header and values are as expected."
        ),
        metadata=metadata,
    )


def _keys(loaded: Loaded, thresholds: CheckThresholds) -> dg.AssetCheckResult:
    rows, repeats = loaded.staged.loaded, loaded.measures.repeats
    allowed = thresholds.duplicates.allowed_share
    share = repeats.rows / rows if rows else 0.0
    metadata: dict[str, Any] = {
        "rows": rows,
        "rows whose key stands before": repeats.rows,
        "identical copies": repeats.copies,
        "contradictions": repeats.contradictions,
        "share whose key stands before": _share(repeats.rows, rows),
    }
    description = f"Each of the {rows:,} rows has a natural key of its own."
    if repeats.rows:
        metadata["examples"] = table(("key", "rows", "content", "part", "lines"), _lines(repeats.examples))
        next_step = (
            "ask the vendor which row counts" if repeats.contradictions else "count rows that are the same only once"
        )
        description = (
            f"{_of(repeats.rows, rows)} have a natural key that stands before, {_beside(share, allowed)}: "
            f"{_many(repeats.copies, 'identical copy', 'identical copies')} and "
            f"{_many(repeats.contradictions, 'contradiction', 'contradictions')}; {next_step}."
        )
    return dg.AssetCheckResult(
        check_name=KEY_CHECK,
        passed=share <= allowed,
        severity=_severity(thresholds.duplicates.severity),
        description=description,
        metadata=metadata,
    )


def _late_rows(loaded: Loaded, thresholds: CheckThresholds) -> dg.AssetCheckResult:
    lags, threshold = loaded.measures.lags, thresholds.late_arrivals
    if lags is None:
        return _without_events(loaded, thresholds)
    share = lags.late / lags.rows
    passed = share <= threshold.allowed_share
    return dg.AssetCheckResult(
        check_name=TIME_CHECK,
        passed=passed,
        severity=_severity(threshold.severity),
        description=(
            f"{_of(lags.late, lags.rows)} tell of events more than {threshold.days:g} days before the end of their "
            f"data day, {_beside(share, threshold.allowed_share)}"
            + ("." if passed else "; ask the vendor why they come late, or raise checks.late_arrivals of the feed.")
        ),
        metadata={
            "rows": lags.rows,
            "late rows": lags.late,
            "share of late rows": _share(lags.late, lags.rows),
            "median lag (days)": round(lags.median_days, 3),
            "95th percentile of the lag (days)": round(lags.percentile_95_days, 3),
            "longest lag (days)": round(lags.longest_days, 3),
        },
    )


def _newest_event(loaded: Loaded, thresholds: CheckThresholds) -> dg.AssetCheckResult:
    days, threshold = loaded.measures.newest_event_days, thresholds.late_arrivals
    if days is None:
        return _without_events(loaded, thresholds)
    passed = days <= threshold.days
    return dg.AssetCheckResult(
        check_name=TIME_CHECK,
        passed=passed,
        severity=_severity(threshold.severity),
        description=(
            f"The newest event happened {days:.2f} days before the stamp of the delivery, "
            f"{'not more' if passed else 'more'} than the allowed {threshold.days:g}"
            + ("." if passed else "; ask whether the app still sends, or raise checks.late_arrivals.days of the feed.")
        ),
        metadata={"lag of the newest event (days)": round(days, 3)},
    )


def _without_events(loaded: Loaded, thresholds: CheckThresholds) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=TIME_CHECK,
        passed=True,
        severity=_severity(thresholds.late_arrivals.severity),
        description=f"Not judged: no row of the delivery has a time in {loaded.partition.contract.event_time}.",
        metadata={"rows": 0},
    )


def _volume(loaded: Loaded, thresholds: CheckThresholds) -> dg.AssetCheckResult:
    volume, threshold = loaded.measures.volume, thresholds.volume
    earlier, usual = len(volume.earlier), volume.usual
    metadata: dict[str, Any] = {"rows": volume.rows, "deliveries before": earlier}
    passed = True
    if usual is None or earlier < _JUDGED_FROM_DELIVERIES:
        description = (
            f"Not judged: {_many(earlier, 'delivery', 'deliveries')} before this one "
            f"{'is' if earlier == 1 else 'are'} loaded, and {_JUDGED_FROM_DELIVERIES} are needed."
        )
    else:
        # After days without a row any row is a change that no share can tell.
        passed = volume.rows == usual if volume.change is None else abs(volume.change) <= threshold.allowed_change
        metadata["median of the deliveries before"] = usual
        if volume.change is not None:
            metadata["change"] = round(volume.change, 6)
        description = (
            f"{volume.rows:,} rows, where the median of the {earlier} deliveries before is {usual:,g}: "
            f"{_change(volume.rows, usual)}, {'not more' if passed else 'more'} than the allowed "
            f"{_percent(threshold.allowed_change)}"
            + ("." if passed else "; ask the vendor, or raise checks.volume.allowed_change of the feed.")
        )
    return dg.AssetCheckResult(
        check_name=VOLUME_CHECK,
        passed=passed,
        severity=_severity(threshold.severity),
        description=description,
        metadata=metadata,
    )


def _gaps(loaded: Loaded, thresholds: CheckThresholds) -> dg.AssetCheckResult:
    gaps, threshold = loaded.measures.gaps, thresholds.gaps
    longest = gaps[0].missing if gaps else 0
    passed = longest < threshold.warn_from
    metadata: dict[str, Any] = {
        "missing deliveries": sum(gap.missing for gap in gaps),
        "most in a row": longest,
    }
    description = "No delivery is missing."
    if gaps:
        metadata["gaps"] = table(
            ("after", "before", "missing"),
            ((f"{g.after:%Y-%m-%d %H:%M}", f"{g.before:%Y-%m-%d %H:%M}", g.missing) for g in gaps[:_SAMPLE_ROWS]),
        )
        first = gaps[0]
        description = (
            f"{_many(longest, 'delivery is', 'deliveries are')} missing in a row, between {first.after:%Y-%m-%d %H:%M} "
            f"and {first.before:%Y-%m-%d %H:%M} UTC, "
            + (
                f"fewer than the {threshold.warn_from:,} from which on it is reported."
                if passed
                else "as many as are reported or more; ask the vendor whether there was nothing to tell."
            )
        )
    return dg.AssetCheckResult(
        check_name=GAP_CHECK,
        passed=passed,
        severity=_severity(Severity.ERROR if longest >= threshold.error_from else Severity.WARN),
        description=description,
        metadata=metadata,
    )


def _decisions(decisions: Undone, thresholds: CheckThresholds) -> dg.AssetCheckResult:
    threshold = thresholds.decisions
    share = decisions.undone / decisions.changes if decisions.changes else 0.0
    passed = share <= threshold.allowed_share
    description = f"None of {_many(decisions.changes, 'change', 'changes')} undoes a decision."
    if decisions.undone:
        description = (
            f"{decisions.undone:,} of {_many(decisions.changes, 'change', 'changes')} ({_percent(share)}) "
            f"undo a decision, {_beside(share, threshold.allowed_share)}"
            + ("." if passed else "; ask who took them back, or raise checks.decisions.allowed_share of the feed.")
        )
    return dg.AssetCheckResult(
        check_name=DECISION_CHECK,
        passed=passed,
        severity=_severity(threshold.severity),
        description=description,
        metadata={
            "changes": decisions.changes,
            "decisions undone": decisions.undone,
            "share of decisions undone": _share(decisions.undone, decisions.changes),
        },
    )


def _references(coverages: Sequence[Coverage], feed: Feed) -> dg.AssetCheckResult:
    """One verdict on all references; thresholds are those of the type that refers, whichever is loaded last."""
    metadata: dict[str, Any] = {}
    sentences: list[str] = []
    failed: list[Severity] = []
    for coverage in coverages:
        link = coverage.link
        referring, referred = link.referring.offload_type, link.referred.offload_type
        name = f"{referring} → {referred} ({', '.join(link.reference.columns)})"
        if coverage.unjudged:
            sentences.append(f"{referring} → {referred}: not judged, for {coverage.unjudged}.")
            continue
        threshold = feed.thresholds(referring).references
        share = coverage.uncovered / coverage.rows if coverage.rows else 0.0
        metadata |= {
            f"{name}: rows": coverage.rows,
            f"{name}: rows without a match": coverage.uncovered,
            f"{name}: share without a match": _share(coverage.uncovered, coverage.rows),
        }
        sentence = (
            f"{referring} → {referred}: {_of(coverage.uncovered, coverage.rows)} refer to what was not delivered, "
            f"{_beside(share, threshold.allowed_share)}"
        )
        if share > threshold.allowed_share:
            failed.append(threshold.severity)
            sentence += "; ask the vendor for the missing rows, or raise checks.references.allowed_share of the feed"
        sentences.append(sentence + ".")
    return dg.AssetCheckResult(
        check_name=REFERENCE_CHECK,
        passed=not failed,
        severity=_severity(Severity.ERROR if Severity.ERROR in failed else Severity.WARN),
        description=" ".join(sentences),
        metadata=metadata,
    )


def _severity(configured: Severity) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity[configured.name]


def _share(some: int, rows: int) -> float:
    return round(some / rows, 6) if rows else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%" if share < 10 else f"{100 * share:,.0f}%"


def _of(some: int, rows: int) -> str:
    return f"{some:,} of {rows:,} rows ({_percent(some / rows if rows else 0.0)})"


def _beside(share: float, allowed: float) -> str:
    return f"{'not more' if share <= allowed else 'more'} than the allowed {_percent(allowed)}"


def _many(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _change(rows: int, usual: float) -> str:
    if rows == usual:
        return "no change"
    if not usual:
        return "any row is a change"
    return f"{_percent(abs(rows - usual) / usual)} {'fewer' if rows < usual else 'more'}"


def _in_words(reasons: Mapping[str, int]) -> str:
    by_rows = _by_rows(reasons)
    named = [f"{reason} ({rows:,})" for rows, reason in by_rows[:_REASONS_IN_A_SENTENCE]]
    more = len(by_rows) - len(named)
    return ", ".join(named) + (f" and {_many(more, 'more reason', 'more reasons')}" if more else "")


def _by_rows(reasons: Mapping[str, int]) -> list[tuple[int, str]]:
    return [(rows, reason) for reason, rows in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))]


def _broken_rows(
    reasons: Mapping[str, int], sample: Iterable[tuple[int, Sequence[str], str, str]]
) -> dict[str, dg.TableMetadataValue]:
    """Reasons by count, and some rows as delivered with the names of their parts."""
    first = list(sample)[:_SAMPLE_ROWS]
    rows = [(line, "; ".join(why), raw, key.rpartition("/")[2]) for line, why, raw, key in first]
    return {
        "by reason": table(("rows", "reason"), _by_rows(reasons)),
        "sample": table(("line", "reasons", "row as delivered", "part"), rows),
    }


def _lines(examples: Sequence[RepeatedKey]) -> list[tuple[int, int, str, str, str]]:
    """Where the rows of some keys stand; the keys themselves are identifiers of persons and are not told."""
    return [
        (
            number,
            key.rows,
            "identical" if key.contents == 1 else f"{key.contents:,} contradict each other",
            part,
            ", ".join(f"{line:,}" for _, line in places),
        )
        for number, key in enumerate(examples, 1)
        for part, places in groupby(key.places, key=lambda place: place[0])
    ]


def _across_parts(drift: Iterable[Drift]) -> list[tuple[str, str | None, str, int | None]]:
    totals: dict[tuple[str, str | None, str], int | None] = {}
    for d in drift:
        seen = totals.get((d.kind.value, d.column, d.detail))
        totals[d.kind.value, d.column, d.detail] = None if d.rows is None else d.rows + (seen or 0)
    return [(*what, rows) for what, rows in sorted(totals.items(), key=lambda item: str(item[0]))]
