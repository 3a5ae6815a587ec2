"""An export of one warehouse is the feed of another: what is sent to a real S3 server and read in again is the same."""

import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offload_platform.contracts.contract import Contract
from offload_platform.contracts.readers import UnknownColumns
from offload_platform.quality.drift import DriftKind
from offload_platform.settings import Feed, Files
from offload_platform.simulator.object_store import ObjectStoreServer
from offload_platform.warehouse.commit import Partition
from offload_platform.warehouse.merge import merge
from offload_platform.warehouse.sql import column_type

from ..conftest import Warehouse, contract_of
from .conftest import FIRST, Shop

QUARTER, SETTLED = timedelta(minutes=15), timedelta(minutes=1)
DAY = FIRST.replace(hour=0)
STREAMS = ("clicks", "conversions")
# DuckDB's text may hold no NUL where it is bound as a parameter, and a table that was read in holds no empty text.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12) | st.sampled_from(
    [" ", '"', ",", "\n", "\r\n", "\r", "a,b", 'a "b" c', "NULL", "null", "'", "\\", "\ufeff", "é\n🚗", "\x1f", "=1+1"]
)
MONEY = st.decimals(Decimal("-99999999999999.9999"), Decimal("99999999999999.9999"), places=4)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)).map(lambda moment: moment.replace(tzinfo=UTC))
OBJECTS = st.sampled_from([None, '{"a":"b"}', '{"payouts":"0.20005","é":"\\"\\n"}'])
KEYS = tuple(letter * 24 for letter in "abc")


def value_of(contract: Contract, name: str) -> st.SearchStrategy[Any]:
    """What a column of a table may hold."""
    column = contract.columns[name]
    if name in contract.key:
        return st.sampled_from(KEYS)
    if isinstance(column.facts.reader, UnknownColumns):
        return OBJECTS
    values = {pl.String: TEXT, pl.Datetime("us", "UTC"): TIMES}.get(column.dtype, MONEY)
    return st.none() | values if column.nullable else values


@st.composite
def changes(draw: st.DrawFn) -> tuple[Contract, list[dict[str, tuple[Any, ...]]]]:
    """A stream, and what each of some slots changes in its table: whole rows, by their keys. Later is changed later."""
    contract = contract_of(draw(st.sampled_from(STREAMS)))
    row = st.fixed_dictionaries({name: value_of(contract, name) for name in contract.columns})
    slots = []
    for number, rows in enumerate(draw(st.lists(st.lists(row, max_size=3), min_size=1, max_size=4))):
        if contract.changed_at is not None:
            rows = [said | {contract.changed_at: FIRST + number * QUARTER} for said in rows]
        slots.append({said[contract.key[0]]: tuple(said[name] for name in contract.columns) for said in rows})
    return contract, slots


class Fusion:
    """A warehouse that sends a stream of Affise, and another one that reads it in."""

    def __init__(self, shop: Shop, folder: Path, contract: Contract) -> None:
        self.shop, self.contract = shop, contract
        self.warehouse = Warehouse(folder / "reader")
        self.table = f"{contract.vendor}.{contract.table}"
        columns = ", ".join(f"{c.name} {column_type(c)}" for c in contract.columns.values())
        shop.publish((f"CREATE SCHEMA {contract.vendor}", ()), (f"CREATE TABLE {self.table} ({columns})", ()))
        self.feed = Feed(
            name="acme",
            vendor=contract.vendor,
            url=f"s3://clients/{shop.directory}",
            endpoint_url=shop.endpoint,
            region="us-east-1",
            cadence={"data_fusion": "intraday"},
            types=(contract.offload_type,),
            directories={contract.offload_type: contract.offload_type},
            files=Files.TABLE,
            start=date(2026, 11, 1),
        )

    def add(self, **said: Any) -> None:
        self.shop.add(
            source={"table": self.table, "key": self.contract.key},
            columns=tuple(self.contract.columns),
            directory=f"{self.shop.directory}/{self.contract.offload_type}",
            **said,
        )

    def change(self, rows: dict[str, tuple[Any, ...]]) -> None:
        [key] = self.contract.key
        marks = ", ".join("?" * len(self.contract.columns))
        self.shop.publish(
            (f"DELETE FROM {self.table} WHERE list_contains(?, {key})", [list(rows)]),
            *((f"INSERT INTO {self.table} VALUES ({marks})", row) for row in rows.values()),
        )

    def read_in(self) -> Any:
        partition = Partition("acme", self.contract, f"{DAY:%Y-%m-%d}", DAY, DAY + timedelta(days=1))
        loaded = self.warehouse.load(self.feed, partition)
        with self.warehouse.writing() as connection:
            merge(connection)
        return loaded

    def rows(self) -> list[tuple[Any, ...]]:
        return self.warehouse.query(f"SELECT {', '.join(self.contract.columns)} FROM {self.table} ORDER BY 1")


@pytest.fixture(scope="session")
def fusion_in(client_store: ObjectStoreServer, shop_in: Callable[[Path], Shop]) -> Any:
    """Makes senders and readers; the reader has its keys from the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", client_store.admin.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", client_store.admin.secret_key)
        yield lambda folder, stream: Fusion(shop_in(folder), folder, contract_of(stream))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes(), st.sampled_from(["header_only", "skip"]))
def test_a_table_that_is_sent_and_read_in_is_the_same(
    fusion_in: Callable[[Path, str], Fusion],
    said: tuple[Contract, list[dict[str, tuple[Any, ...]]]],
    on_empty: str,
) -> None:
    """Whatever its texts hold, whether slots are empty or have no file; and each change that is sent is a version."""
    contract, slots = said
    with tempfile.TemporaryDirectory() as folder:
        fusion = fusion_in(Path(folder), contract.offload_type)
        fusion.add(on_empty=on_empty)
        table: dict[str, tuple[Any, ...]] = {}
        versions = dict.fromkeys(KEYS, 0)
        files = 0
        for number, rows in enumerate(slots, 1):
            changed = {key for key, row in rows.items() if table.get(key) != row}
            table |= rows
            fusion.change(rows)
            fusion.shop.send(FIRST + number * QUARTER + SETTLED)
            files += on_empty == "header_only" or bool(changed)
            for key in changed:
                versions[key] += 1
        if files:
            loaded = fusion.read_in()
            assert (loaded.quarantined, loaded.refused) == (0, ())
            assert not [d for d in loaded.measures.drift if d.kind not in (DriftKind.NEW_VALUE, DriftKind.REMARK)]
            assert fusion.rows() == sorted(
                table.values(), key=lambda row: row[list(contract.columns).index(contract.key[0])]
            )
            known = fusion.warehouse.query(
                f"SELECT {contract.key[0]}, count(*) FROM history.{contract.table} GROUP BY ALL"
            )
            assert dict(known) == {key: count for key, count in versions.items() if count}
            assert fusion.warehouse.query("SELECT count(*) FROM ops.ledger WHERE status = 'loaded'") == [(files,)]
            before = fusion.warehouse.content("ops.receipts")
            assert fusion.read_in().staged.parts == ()
            assert fusion.warehouse.content("ops.receipts") == before, "what is read in twice changes nothing"
