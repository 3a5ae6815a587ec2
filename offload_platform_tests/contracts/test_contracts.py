"""Contracts say everything of every column, and their version changes when what they say does."""

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import duckdb
import pandera.polars as pa
import polars as pl
import pytest

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import Content, Contract, CsvFormat, View
from offload_platform.contracts.readers import Computed, IntegerCell, NumberCell, TextCell, UnknownColumns, delivered
from offload_platform.quality.arrow import ArrowStream
from offload_platform.vendors import vendor_named
from offload_platform.warehouse.sql import column_type

CONTRACTS = vendor_named("sentiance").contracts
CASES = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.offload_type)


@CASES
def test_every_column_says_what_it_is_where_it_is_from_and_whom_it_touches(contract: Contract) -> None:
    assert contract.description
    assert contract.source
    for c in contract.columns.values():
        assert len(c.description) > 10, c.name
        assert c.facts.source, c.name
        assert isinstance(c.facts.privacy, Privacy), c.name
        assert c.facts.privacy is not Privacy.NONE or not c.facts.sensitive, c.name
        assert c.name == c.name.lower().strip("_"), c.name


@CASES
def test_the_key_is_of_columns_that_the_table_has(contract: Contract) -> None:
    assert contract.key[:2] in (("app_id", "user_id"), ("app_id", "drive_key"))
    assert set(contract.identity) <= {*contract.columns, "delivery_stamp"}
    if contract.event_time:
        assert not contract.columns[contract.event_time].nullable
    assert contract.content is not Content.SNAPSHOT or contract.window
    assert set(contract.key[1:]) <= {*contract.columns, "delivery_stamp"}


@CASES
def test_unknown_columns_have_one_place(contract: Contract) -> None:
    places = [c.name for c in contract.columns.values() if isinstance(c.facts.reader, UnknownColumns)]
    assert places == ["extra"]


@CASES
def test_types_are_duckdbs_too(contract: Contract) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        wanted = ", ".join(f'"{c.name}" {column_type(c)}' for c in contract.columns.values())
        connection.execute(f"CREATE TABLE t ({wanted})")
        empty = pl.DataFrame(schema={c.name: c.dtype for c in contract.columns.values()})
        assert pl.DataFrame(ArrowStream(connection.sql("SELECT * FROM t"))).schema == empty.schema


def test_wire_columns_of_the_published_headers() -> None:
    headers = {
        "stationaries": "user_id,metadata_user_id,start,end,location.significance,latitude,longitude,address.country,"
        "address.city,address.city_type,address.streetname,location.place.name,location.place.type,duration",
        "transports": "user_id,metadata_user_id,start,end,mode,distance,waypoints,duration",
        "moments": "user_id,metadata_user_id,start,end,moment_definition_id,meta,duration",
        "segments": "user_id,metadata_user_id,segment_id",
        "attributes.long": "user_id,metadata_user_id,attribute_name,attribute_value",
    }
    for offload_type, header in headers.items():
        assert CONTRACTS[offload_type].wire_columns == tuple(header.split(",")), offload_type
    wide = CONTRACTS["attributes.wide"].wire_columns
    assert wide[:2] == ("user_id", "metadata_user_id")
    assert len(wide) == len(set(wide)) > 600
    assert all(wire.endswith(".value") for wire in wide[2:])


def test_columns_without_which_no_row_can_be_read() -> None:
    required = {name: set(contract.required_wire_columns) for name, contract in CONTRACTS.items()}
    assert required == {
        "stationaries": {"user_id", "start", "location.significance", "latitude", "longitude"},
        "transports": {"user_id", "start", "mode"},
        "moments": {"user_id", "start", "moment_definition_id"},
        "segments": {"user_id", "segment_id"},
        "attributes.wide": {"user_id"},
        "attributes.long": {"user_id", "attribute_name"},
        "transports_realtime": {"user_id", "start", "end", "mode"},
        "scores_realtime": {"user_id", "timestamp"},
        "driving_events_realtime": {"user_id", "start", "end", "mode", "behavior_events"},
        "mapped_waypoints_realtime": {"user_id", "start", "end", "mapped_waypoints"},
        "mapping": {"user_id", "external_id"},
    }
    for contract in CONTRACTS.values():
        assert contract.required_wire_columns <= contract.expected_wire_columns <= set(contract.wire_columns)


_VERSIONS = """
from offload_platform.vendors import vendor_named
print({name: contract.version for name, contract in vendor_named("sentiance").contracts.items()})
"""


def test_version_is_the_same_in_every_process() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", _VERSIONS],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1")
    }
    assert said == {str({name: contract.version for name, contract in CONTRACTS.items()})}
    assert len({contract.version for contract in CONTRACTS.values()}) == len(CONTRACTS)


MANY = {str(i): i for i in range(100)}


def made(**changes: Any) -> Contract:
    """A small contract of which one thing at a time can be changed."""
    usual: dict[str, Any] = {
        "reader": NumberCell("wire"),
        "description": "How far it went.",
        "type": types.Number,
        "rules": {"ge": 0},
        "nullable": False,
        "facts": {"source": "the vendor's model", "privacy": Privacy.BEHAVIOUR, "enumeration": frozenset("abc")},
        "otherwise": lambda: pl.col("distance_m") + 1,
        "mapping": MANY,
    }
    said = usual | {name: changes.pop(name) for name in usual if name in changes}
    facts = usual["facts"] | said["facts"]
    rows = type(
        "Rows",
        (pa.DataFrameModel,),
        {
            "__doc__": changes.pop("doc", "A row."),
            "__module__": __name__,
            "__annotations__": {"distance_m": said["type"], "times": types.Count, "mapped": types.Count},
            "distance_m": column(
                said["reader"], said["description"], nullable=said["nullable"], **said["rules"], **facts
            ),
            "times": column(IntegerCell("times", otherwise=said["otherwise"]), "How often it did.", **facts),
            "mapped": column(Computed(lambda: delivered("wire").replace_strict(said["mapping"])), "Mapped.", **facts),
        },
    )
    contract = Contract("vendor", "type", "family", rows, ("distance_m",), "a document")
    return replace(contract, **changes)


CHANGES: dict[str, dict[str, Any]] = {
    "reader": {"reader": NumberCell("wire", absent=(-1,))},
    "kind of reader": {"reader": TextCell("wire")},
    "wire name": {"reader": NumberCell("wire2")},
    "type": {"type": types.Count},
    "rule": {"rules": {"ge": 1}},
    "rule gone": {"rules": {}},
    "nullable": {"nullable": True},
    "description": {"description": "How far it was."},
    "row": {"doc": "Another row."},
    "privacy": {"facts": {"privacy": Privacy.LOCATION}},
    "unit": {"facts": {"unit": "m"}},
    "sensitive": {"facts": {"sensitive": True}},
    "enumeration": {"facts": {"enumeration": frozenset("abcd")}},
    "computation of a missing value": {"otherwise": lambda: pl.col("distance_m") + 2},
    "one entry of a long mapping": {"mapping": MANY | {"50": 0}},
    "remark": {"remarks": {"distance_m: is long": pl.col("distance_m") < 1}},
    "wire format": {"wire": CsvFormat(delimiter=";")},
    "key": {"key": ("times",)},
    "identity": {"identified_by": ("times",)},
    "view": {"views": (View("v", "a view", "SELECT 1"),)},
}


def test_version_stays_while_nothing_changes() -> None:
    assert made().version == made().version


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_version_changes_with_what_is_said(change: dict[str, Any]) -> None:
    assert made(**change).version != made().version
