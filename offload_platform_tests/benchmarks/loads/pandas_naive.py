"""The script that one would write first: pandas reads the parts, and DuckDB keeps the frame. Runs with pandas alone.

    python pandas_naive.py TYPE FOLDER OUT

Lines that pandas cannot read are skipped; nothing says which.
"""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd


def _objects(part: Path) -> Iterator[dict[str, object]]:
    with gzip.open(part, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                continue


def main() -> None:
    _, folder, out = sys.argv[1:]
    parts = sorted(Path(folder).rglob("part-*.gz"))
    if parts[0].name.endswith(".json.gz"):
        frame = pd.DataFrame(record for part in parts for record in _objects(part))
    else:
        frame = pd.concat(
            pd.read_csv(part, on_bad_lines="skip", encoding_errors="replace", low_memory=False) for part in parts
        )
    for name in ("start", "end"):
        if name in frame:
            frame[name] = pd.to_datetime(frame[name], utc=True, errors="coerce", format="ISO8601")
    for name in ("latitude", "longitude", "distance", "duration"):
        if name in frame:
            frame[name] = pd.to_numeric(frame[name], errors="coerce")
    with duckdb.connect(out) as connection:
        connection.execute("CREATE TABLE t AS FROM frame")
    sys.stdout.write(json.dumps({"rows": len(frame)}) + "\n")


if __name__ == "__main__":
    main()
