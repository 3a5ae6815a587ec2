"""Loads the parts of a delivery with dlt, from its filesystem source into DuckDB. Runs with dlt alone.

    python dlt_pipeline.py TYPE FOLDER OUT default|fastest

`default` is what its documentation shows: `read_csv`, `read_jsonl`. `fastest` hands over Arrow tables that DuckDB reads
(CSV), or keeps nested values as one JSON column (JSON lines). Bad lines are skipped where the reader has an option.
"""

import gzip
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"

import dlt  # its settings are read at import
import duckdb
from dlt.sources.filesystem import filesystem, read_csv, read_csv_duckdb, read_jsonl


def _rows(folder: Path, *, is_fastest: bool) -> Any:
    [kind] = {part.suffixes[-2] for part in folder.rglob("part-*.gz")}
    files = filesystem(bucket_url=folder.as_uri(), file_glob=f"**/part-*{kind}.gz")
    if kind == ".csv" and is_fastest:
        return files | read_csv_duckdb(use_pyarrow=True, chunk_size=100_000, ignore_errors=True, strict_mode=False)
    if kind == ".csv":
        return files | read_csv(on_bad_lines="skip", encoding_errors="replace")
    if is_fastest:
        return dlt.resource(_objects(folder), name="lines", max_table_nesting=0)
    return files | read_jsonl()


def _objects(folder: Path) -> Iterator[list[dict[str, Any]]]:
    for part in sorted(folder.rglob("part-*.gz")):
        with gzip.open(part, "rb") as lines:
            yield [found for line in lines if (found := _object(line))]


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except ValueError:
        return None


def main() -> None:
    _, folder, out, route = sys.argv[1:]
    pipeline = dlt.pipeline(
        "benchmark", pipelines_dir=f"{out}.pipelines", destination=dlt.destinations.duckdb(out), dataset_name="loaded"
    )
    pipeline.run(_rows(Path(folder), is_fastest=route == "fastest").with_name("t"))
    with duckdb.connect(out, read_only=True) as connection:
        [(rows,)] = connection.execute("SELECT count(*) FROM loaded.t").fetchall()
    sys.stdout.write(json.dumps({"rows": rows}) + "\n")


if __name__ == "__main__":
    main()
