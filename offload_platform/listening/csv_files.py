"""Standard CSV beside the files of days: UTF-8 without a mark, commas, line feeds, ISO 8601 in UTC, gzip."""

import gzip
from pathlib import Path

import polars as pl

from offload_platform.listening.days import replacing

_MOMENT = "%Y-%m-%dT%H:%M:%S%.3fZ"
_LEVEL = 6


def write_csv(file: Path, rows: pl.DataFrame) -> None:
    """Write rows, with a header; the same rows are the same bytes."""
    content = rows.write_csv(datetime_format=_MOMENT, line_terminator="\n").encode()
    with replacing(file) as aside:
        # Neither name nor time in the header.
        aside.write_bytes(gzip.compress(content, _LEVEL, mtime=0))
