"""Reads the parts of a delivery with polars alone, converts the columns and writes one file.

    python -m offload_platform_tests.benchmarks.loads.polars_alone TYPE FOLDER OUT

What cannot be converted becomes null; waypoints stay a text; no warehouse is written.
"""

import json
import sys
import warnings
from pathlib import Path

import polars as pl

_TIMES = ("start", "end")
_NUMBERS = {"latitude": pl.Float64, "longitude": pl.Float64, "distance": pl.Float64, "duration": pl.Int32}


def main() -> None:
    _, folder, out = sys.argv[1:]
    warnings.simplefilter("ignore")
    parts = sorted(Path(folder).rglob("part-*.gz"))
    if parts[0].name.endswith(".json.gz"):
        # Parquet cannot hold an object without members, and some events have one.
        pl.scan_ndjson(parts, ignore_errors=True).sink_ipc(out, compression="zstd")
        written = pl.scan_ipc(out)
    else:
        rows = pl.scan_csv(
            parts, infer_schema=False, ignore_errors=True, truncate_ragged_lines=True, encoding="utf8-lossy"
        )
        names = rows.collect_schema().names()
        times = [
            pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_zone="UTC")
            for name in _TIMES
            if name in names
        ]
        numbers = [pl.col(name).cast(kind, strict=False) for name, kind in _NUMBERS.items() if name in names]
        rows.with_columns(*times, *numbers).sink_parquet(out)
        written = pl.scan_parquet(out)
    [(count,)] = written.select(pl.len()).collect().rows()
    sys.stdout.write(json.dumps({"rows": count}) + "\n")


if __name__ == "__main__":
    main()
