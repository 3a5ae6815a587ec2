"""What a load says of itself in Dagster: metadata that is plotted, and tables that are shown at once."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg

from offload_platform.warehouse.load import Loaded

_LONGEST_RAW = 200
_DELIMITER = re.compile(r"[,;|]")
_ZERO_WIDTH_SPACE = "\u200b"


def load_metadata(loaded: Loaded, seconds: float) -> dict[str, Any]:
    """Counts and sizes of a load; numbers are plotted over partitions."""
    staged = loaded.staged
    return {
        "dagster/partition_row_count": loaded.measures.volume.rows,
        "rows in": staged.rows_in,
        "rows loaded": staged.loaded,
        "rows quarantined": staged.quarantined,
        **({"rows erased": staged.erased} if staged.erased else {}),
        "drift observations": len(staged.drift),
        "parts": len(staged.parts),
        "stored size (MB)": round(loaded.delivery.size / 1e6, 3),
        "seconds": round(seconds, 2),
        "speed (MB/s stored)": round(loaded.delivery.size / 1e6 / max(seconds, 1e-9), 3),
        "delivery": loaded.delivery.folder,
        "delivery fingerprint": loaded.delivery.fingerprint,
        "contract version": loaded.partition.contract.version,
    }


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
