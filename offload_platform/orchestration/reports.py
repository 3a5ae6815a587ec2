"""What a load says of itself in Dagster: metadata that is plotted, and the results of its checks."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import dagster as dg
import polars as pl

from offload_platform.landing.staging import StagedDelivery
from offload_platform.quality.drift import Drift
from offload_platform.warehouse.load import Loaded

QUARANTINE_CHECK = "rows_keep_the_contract"
DRIFT_CHECK = "delivery_matches_the_contract"
_SAMPLE_ROWS = 10
_LONGEST_RAW = 200


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
        "share quarantined": staged.quarantined / staged.rows_in if staged.rows_in else 0.0,
    }
    if staged.quarantined:
        metadata["by reason"] = dg.MetadataValue.md(markdown_table(("reason", "rows"), _reasons(staged)))
        metadata["sample"] = dg.MetadataValue.md(
            markdown_table(("line", "reasons", "row as delivered", "part"), sample)
        )
    return dg.AssetCheckResult(
        check_name=QUARANTINE_CHECK,
        passed=not staged.quarantined,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{staged.quarantined:,} of {staged.rows_in:,} rows are in quarantine; see ops.quarantine."
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
        metadata["drift"] = dg.MetadataValue.md(markdown_table(("kind", "column", "found", "rows"), drift))
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


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table whose cells are shown as text, whatever they hold."""
    lines = [header, ["---"] * len(header), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    text = text if len(text) <= _LONGEST_RAW else text[:_LONGEST_RAW] + "…"
    text = escape(text, quote=False)
    for sign in "\\`*_[]|":
        text = text.replace(sign, f"&#{ord(sign)};")
    return " ".join(text.split())


def _reasons(staged: StagedDelivery) -> list[tuple[str, int]]:
    totals: dict[str, int] = {}
    for part in staged.parts:
        for reason, rows in part.reasons.items():
            totals[reason] = totals.get(reason, 0) + rows
    return sorted(totals.items(), key=lambda item: (-item[1], item[0]))


def _across_parts(drift: Iterable[Drift]) -> list[tuple[str, str | None, str, int | None]]:
    totals: dict[tuple[str, str | None, str], int | None] = {}
    for d in drift:
        seen = totals.get((d.kind.value, d.column, d.detail))
        totals[d.kind.value, d.column, d.detail] = None if d.rows is None else d.rows + (seen or 0)
    return [(*what, rows) for what, rows in sorted(totals.items(), key=lambda item: str(item[0]))]
