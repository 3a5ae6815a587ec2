"""Loads the parts of a delivery with one CREATE TABLE AS, from local files.

    python -m offload_platform_tests.benchmarks.loads.duckdb_engine TYPE FOLDER OUT inferred|declared

Rows with a cell of another type are dropped or keep a column of texts, as DuckDB decides; nothing says which.
`strict_mode=false`, because with it a single quote that is not closed makes DuckDB drop thousands of rows after it.
With declared types, waypoints and events become lists of the same values as in the platform's tables.
"""

import json
import sys
from pathlib import Path

import duckdb

_FIXES = '{"waypoints": [{"latitude": "DOUBLE", "longitude": "DOUBLE", "timestamp": "TIMESTAMPTZ"}]}'
_PERIOD = 'start TIMESTAMPTZ, "end" TIMESTAMPTZ, duration DOUBLE, mean DOUBLE'
_PEAK = f"STRUCT({_PERIOD}, max DOUBLE, integral DOUBLE, angle DOUBLE, magnitude DOUBLE, is_positive BOOLEAN)"
_EVENT = (
    f'STRUCT({_PERIOD}, "type" VARCHAR, features STRUCT(magnitude DOUBLE), intensity VARCHAR, probs DOUBLE, '
    f"peaks {_PEAK}[])"
)
_CATEGORIES = ["acceleration", "idle", "breakdown", "boundaries", "turn", "anomalies", "mounted", "crash", "traffic"]
_PERSON = {"user_id": "VARCHAR", "metadata_user_id": "VARCHAR"}
_EVENT_TIMES = {"start": "TIMESTAMPTZ", "end": "TIMESTAMPTZ"}
DECLARED: dict[str, dict[str, str]] = {
    "stationaries": {
        **_PERSON,
        **_EVENT_TIMES,
        "location.significance": "VARCHAR",
        "latitude": "DOUBLE",
        "longitude": "DOUBLE",
        "address.country": "VARCHAR",
        "address.city": "VARCHAR",
        "address.city_type": "VARCHAR",
        "address.streetname": "VARCHAR",
        "location.place.name": "VARCHAR",
        "location.place.type": "VARCHAR",
        "duration": "INTEGER",
    },
    "transports": {
        **_PERSON,
        **_EVENT_TIMES,
        "mode": "VARCHAR",
        "distance": "DOUBLE",
        "waypoints": "VARCHAR",
        "duration": "INTEGER",
    },
    "attributes.long": {**_PERSON, "attribute_name": "VARCHAR", "attribute_value": "VARCHAR"},
    "driving_events_realtime": {
        "mode": "VARCHAR",
        **_PERSON,
        "event_id": "VARCHAR",
        **_EVENT_TIMES,
        "behavior_events": f"STRUCT({', '.join(f'{category} {_EVENT}[]' for category in _CATEGORIES)})",
    },
}
"""Types by delivered column, in the order of the files."""
_SELECTED = {
    "transports": f"* REPLACE (CASE WHEN json_valid(waypoints) THEN from_json(waypoints, '{_FIXES}') END AS waypoints)"
}


def create(connection: duckdb.DuckDBPyConnection, offload_type: str, parts: list[str], *, is_declared: bool) -> int:
    """Create the table `t` of all parts; returns its rows."""
    columns = f", columns = {DECLARED[offload_type]!r}" if is_declared else ""
    if parts[0].endswith(".json.gz"):
        source = f"read_json(?, format = 'newline_delimited', ignore_errors = true{columns})"
    else:
        sniffing = f", auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"'{columns}"
        options = sniffing if is_declared else ""
        source = f"read_csv(?, ignore_errors = true, strict_mode = false{options})"
    selected = _SELECTED.get(offload_type, "*") if is_declared else "*"
    [(rows,)] = connection.execute(f"CREATE OR REPLACE TABLE t AS SELECT {selected} FROM {source}", [parts]).fetchall()
    return int(rows)


def main() -> None:
    offload_type, folder, out, types = sys.argv[1:]
    parts = sorted(map(str, Path(folder).rglob("part-*.gz")))
    with duckdb.connect(out) as connection:
        rows = create(connection, offload_type, parts, is_declared=types == "declared")
    sys.stdout.write(json.dumps({"rows": rows}) + "\n")


if __name__ == "__main__":
    main()
