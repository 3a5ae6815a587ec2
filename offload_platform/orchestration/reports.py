"""What a load says of itself in Dagster: metadata that is plotted, and the results of its checks."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg
import polars as pl

from offload_platform.landing.staging import StagedDelivery
from offload_platform.quality.drift import Drift
from offload_platform.warehouse.load import Loaded

QUARANTINE_CHECK = "rows_keep_the_contract"
DRIFT_CHECK = "delivery_matches_the_contract"
_SAMPLE_ROWS = 10
_REASONS_IN_A_SENTENCE = 3
_LONGEST_RAW = 200
_DELIMITER = re.compile(r"[,;|]")
_ZERO_WIDTH_SPACE = "\u200b"


def load_metadata(loaded: Loaded, seconds: float) -> dict[str, Any]:
    """Counts and sizes of a load; numbers are plotted over partitions."""
    staged = loaded.staged
    return {
        "dagster/partition_row_count": staged.loaded,
        "rows in": staged.rows_in,
        "rows loaded": staged.loaded,
        "rows quarantined": staged.quarantined,
        "drift observations": len(staged.drift),
        "parts": len(staged.parts),
        "stored size (MB)": round(loaded.delivery.size / 1e6, 3),
        "seconds": round(seconds, 2),
        "speed (MB/s stored)": round(loaded.delivery.size / 1e6 / max(seconds, 1e-9), 3),
        "delivery": loaded.delivery.folder,
        "delivery fingerprint": loaded.delivery.fingerprint,
        "contract version": loaded.partition.contract.version,
    }


def quarantine_result(loaded: Loaded, sample: Sequence[tuple[Any, ...]]) -> dg.AssetCheckResult:
    """Whether every row kept the contract; a failure is a warning, for the other rows are loaded."""
    staged = loaded.staged
    metadata: dict[str, Any] = {
        "rows in": staged.rows_in,
        "rows quarantined": staged.quarantined,
        "share quarantined": round(staged.quarantined / staged.rows_in, 6) if staged.rows_in else 0.0,
    }
    reasons = _reasons(staged)
    if staged.quarantined:
        metadata["by reason"] = table(("rows", "reason"), reasons)
        metadata["sample"] = table(("line", "reasons", "row as delivered", "part"), sample)
    return dg.AssetCheckResult(
        check_name=QUARANTINE_CHECK,
        passed=not staged.quarantined,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{staged.quarantined:,} of {staged.rows_in:,} rows are in quarantine: {_in_words(reasons)}. "
            "See ops.quarantine."
            if staged.quarantined
            else f"All {staged.rows_in:,} rows keep the contract."
        ),
        metadata=metadata,
    )


def drift_result(loaded: Loaded) -> dg.AssetCheckResult:
    """Whether header and values are what the contract leads one to expect; the rows are loaded either way."""
    drift = _across_parts(loaded.staged.drift)
    metadata: dict[str, Any] = {"observations": len(drift)}
    if drift:
        metadata["drift"] = table(("kind", "column", "found", "rows"), drift)
    return dg.AssetCheckResult(
        check_name=DRIFT_CHECK,
        passed=not drift,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"The delivery differs in {len(drift)} respect{'s' if len(drift) > 1 else ''}; see ops.drift."
            if drift
            else "Header and values are as expected."
        ),
        metadata=metadata,
    )


def quarantine_sample(staged: StagedDelivery) -> list[tuple[Any, ...]]:
    """The first quarantined rows of a staged delivery: line, reasons, row as delivered, name of the part."""
    sample: list[tuple[Any, ...]] = []
    for part in staged.parts:
        for file in part.quarantine_files:
            rows = pl.read_ipc(file).head(_SAMPLE_ROWS - len(sample))
            name = part.part.key.rpartition("/")[2]
            sample += [(line, "; ".join(reasons), raw, name) for line, reasons, raw in rows.rows()]
            if len(sample) >= _SAMPLE_ROWS:
                return sample
    return sample


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> dg.TableMetadataValue:
    """A table that Dagster shows at once (Markdown waits behind a click), its cells as text whatever they hold."""
    records = [dg.TableRecord(dict(zip(header, map(_cell, row), strict=True))) for row in rows]
    return dg.MetadataValue.table(records, dg.TableSchema([dg.TableColumn(name) for name in header]))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    text = text if len(text) <= _LONGEST_RAW else text[:_LONGEST_RAW] + "…"
    # A row has few spaces: where its line cannot be broken, it widens the whole page.
    return _DELIMITER.sub(rf"\g<0>{_ZERO_WIDTH_SPACE}", text)


def _in_words(reasons: Sequence[tuple[int, str]]) -> str:
    named = [f"{reason} ({rows:,})" for rows, reason in reasons[:_REASONS_IN_A_SENTENCE]]
    more = len(reasons) - len(named)
    return ", ".join(named) + (f" and {more} more reason{'s' if more > 1 else ''}" if more else "")


def _reasons(staged: StagedDelivery) -> list[tuple[int, str]]:
    totals: dict[str, int] = {}
    for part in staged.parts:
        for reason, rows in part.reasons.items():
            totals[reason] = totals.get(reason, 0) + rows
    return [(rows, reason) for reason, rows in sorted(totals.items(), key=lambda item: (-item[1], item[0]))]


def _across_parts(drift: Iterable[Drift]) -> list[tuple[str, str | None, str, int | None]]:
    totals: dict[tuple[str, str | None, str], int | None] = {}
    for d in drift:
        seen = totals.get((d.kind.value, d.column, d.detail))
        totals[d.kind.value, d.column, d.detail] = None if d.rows is None else d.rows + (seen or 0)
    return [(*what, rows) for what, rows in sorted(totals.items(), key=lambda item: str(item[0]))]
