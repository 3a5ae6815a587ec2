"""What is sent is what is there: read back by two readers, our own among them, and by a client that keeps a table."""

import gzip
import itertools
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offload_platform.contracts.readers import wire_name
from offload_platform.exports.form import ExportForm
from offload_platform.exports.payload import write_payload
from offload_platform.exports.selection import Question, lines, select
from offload_platform.landing.records import LINE, Block, parse

FIRST = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
SETTLED = timedelta(minutes=1)
TYPES = {
    "key": "VARCHAR",
    "text": "VARCHAR",
    "money": "DECIMAL(18, 4)",
    "number": "BIGINT",
    "share": "DOUBLE",
    "flag": "BOOLEAN",
    "happened_at": "TIMESTAMPTZ",
    "local_time": "TIMESTAMP",
    "day": "DATE",
    "items": "VARCHAR[]",
}
# DuckDB's text may hold no NUL where it is bound as a parameter; inbound, such rows go to quarantine.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12) | st.sampled_from(
    ["", " ", '"', ",", "\n", "\r\n", "\r", "a,b", 'a "b" c', "NULL", "null", "'", "\\", "\ufeff", "é\n🚗", "\x1f"]
)
MONEY = st.decimals(Decimal("-99999999999999.9999"), Decimal("99999999999999.9999"), places=4)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31))
ROWS = st.lists(
    st.tuples(
        TEXT,
        st.none() | TEXT,
        st.none() | MONEY,
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False),
        st.none() | st.booleans(),
        st.none() | TIMES.map(lambda moment: moment.replace(tzinfo=UTC)),
        st.none() | TIMES,
        st.none() | st.dates(),
        st.none() | st.lists(st.none() | TEXT, max_size=3),
    ),
    unique_by=lambda row: row[0],
    max_size=8,
)


def form_of(table: str, columns: list[str]) -> ExportForm:
    return ExportForm.model_validate(
        {
            "name": "acme",
            "source": {"table": table, "key": [columns[0]]},
            "columns": columns,
            "bucket": "clients",
            "directory": "out",
        }
    )


def content_of(rows: list[tuple[Any, ...]], types: dict[str, str]) -> bytes:
    """The file of some rows, unzipped."""
    with duckdb.connect(":memory:") as connection, tempfile.TemporaryDirectory() as folder:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE SCHEMA shop")
        connection.execute(f"CREATE TABLE shop.t ({', '.join(f'{n} {kind}' for n, kind in types.items())})")
        for row in rows:
            connection.execute(f"INSERT INTO shop.t VALUES ({', '.join('?' * len(types))})", row)
        question = Question(form_of("shop.t", list(types)), None)
        selected = select(connection, question, None, None, Path(folder) / "known.parquet")
        payload = write_payload(Path(folder) / "file", list(types), lines(connection, question))
        assert payload.rows == selected.rows == len(rows)
        return gzip.decompress((Path(folder) / "file").read_bytes())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS)
def test_a_database_reads_back_the_same_values(rows: list[tuple[Any, ...]]) -> None:
    content = content_of(rows, TYPES)
    with duckdb.connect(":memory:") as connection, tempfile.TemporaryDirectory() as folder:
        connection.execute("SET TimeZone = 'UTC'")
        file = Path(folder) / "file.csv"
        file.write_bytes(content)
        back = connection.execute(
            f"""
            SELECT key, text, money::DECIMAL(18, 4), number::BIGINT, share::DOUBLE, flag::BOOLEAN,
                happened_at::TIMESTAMPTZ, local_time::TIMESTAMP, day::DATE, from_json(items, '["VARCHAR"]')
            FROM read_csv('{file}', header = true, delim = ',', quote = '"', escape = '"', nullstr = '',
                allow_quoted_nulls = false, all_varchar = true, auto_detect = false, new_line = '\\n',
                columns = {{{", ".join(f"'{name}': 'VARCHAR'" for name in TYPES)}}})
            """
        ).fetchall()
    assert back == sorted(rows, key=lambda row: row[0].encode())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(TEXT.filter(bool), st.none() | TEXT, st.none() | TEXT), unique_by=lambda row: row[0]))
def test_our_own_reader_reads_back_the_same_texts(rows: list[tuple[Any, ...]]) -> None:
    columns = ("key", "a", "b")
    content = content_of(rows, dict.fromkeys(columns, "VARCHAR"))
    header, _, body = content.partition(b"\n")
    assert header == b"key,a,b"
    records = parse(Block(body, 2), columns, ",") if body else None
    back = [] if records is None else records.rows.sort(LINE).select(map(wire_name, columns)).rows()
    assert records is None or records.rejected.is_empty()
    # Inbound, an empty text is no value.
    expected = sorted(rows, key=lambda row: row[0].encode())
    assert back == [tuple(value or None for value in row) for row in expected]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 4), TEXT),
        st.tuples(st.just("remove"), st.integers(0, 4), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 3), st.none()),
        st.tuples(st.just("send"), st.none(), st.none()),
    ),
    max_size=14,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(OPERATIONS, st.booleans())
def test_a_client_that_keeps_a_table_has_what_we_have(
    shop_in: Callable[[Path], Any], client: Any, operations: list[tuple[str, Any, Any]], has_time: bool
) -> None:
    """Whatever is changed, when, and however many slots are missed: nothing is missed, and nothing is sent in vain."""
    with tempfile.TemporaryDirectory() as folder:
        shop = shop_in(Path(folder))
        source = {"table": "shop.conversions", "key": ["id"]} | ({"change_time": "changed_at"} if has_time else {})
        shop.add(source=source, columns=["id", "status"])
        ours: dict[str, str] = {}
        now = FIRST + SETTLED
        for what, number, text in [*operations, ("wait", 1, None), ("send", None, None)]:
            now += timedelta(seconds=1)
            if what == "wait":
                now += number * QUARTER
            elif what == "send":
                shop.send(now)
            elif what == "put":
                # Some are late, and some ahead of all times.
                at = now - timedelta(days=1) if number == 3 else now + timedelta(days=1) if number == 4 else now
                shop.put((str(number), text, "0", at))
                ours[str(number)] = text
            else:
                shop.remove(str(number))
                ours.pop(str(number), None)
        theirs: dict[str, str] = {}
        names = sorted(client.objects(shop.directory))
        for key in names:
            for row in client.rows(key):
                removed = row["id"] not in ours or any(w == "remove" and str(n) == row["id"] for w, n, _ in operations)
                assert removed or theirs.get(row["id"]) != row["status"]
                theirs[row["id"]] = row["status"]
        assert {key: theirs[key] for key in ours} == ours
        moments = [datetime.strptime(key[-23:-7], "%Y-%m-%d-%H-%M") for key in names]
        assert all(after - before == QUARTER for before, after in itertools.pairwise(moments))
