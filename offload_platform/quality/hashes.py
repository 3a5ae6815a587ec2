"""What a row is known by: 128 bits of what it is about, and 64 of all that it says. They may differ between engines.

They are taken where a row is staged, so that a commit looks at them alone to tell which rows are kept already.
"""

from collections.abc import Iterator
from datetime import datetime

import polars as pl

from offload_platform.contracts.contract import Contract
from offload_platform.quality.arrow import ArrowStream
from offload_platform.quality.engine import connect
from offload_platform.quality.sql import quoted

KEY_HIGH, KEY_LOW, CONTENT_HASH = "key_high", "key_low", "content_hash"
HASHES = (KEY_HIGH, KEY_LOW, CONTENT_HASH)


def key_hashes(contract: Contract) -> tuple[str, str]:
    """SQL of the two halves of the 128 bits that identify, within a feed, what a row is about.

    Two hashes, which share no hash of the first value: what one of them confuses the other tells apart. `key_stamp` is
    the stamp of the delivery, where that is part of the key.
    """
    values = ["key_stamp" if name == "delivery_stamp" else quoted(name) for name in contract.identity]
    marked = f"{values[0]}::VARCHAR || chr(31)"
    return f"hash({', '.join(values)})", f"hash({', '.join([*values[:0:-1], marked])})"


def content_hash(contract: Contract) -> str:
    """SQL of a hash of all that a row says. It tells contents of one key apart."""
    parts = [quoted(name) for name in contract.columns]
    # DuckDB gives NULL, [] and [NULL] one hash.
    parts += [length for c in contract.columns.values() for length in _lengths(quoted(c.name), c.dtype)]
    return f"hash({', '.join(parts)})"


def _lengths(value: str, dtype: pl.DataType, depth: int = 0) -> Iterator[str]:
    """SQL of the lengths of a list, and of all lists inside its items."""
    if isinstance(dtype, pl.List):
        yield f"coalesce(len({value}), -1)"
        item = f"item{depth}"
        for inside in _lengths(item, dtype.inner, depth + 1):  # type: ignore[arg-type]
            yield f"list_transform({value}, lambda {item}: {inside})"
    elif isinstance(dtype, pl.Struct):
        for member in dtype.fields:
            yield from _lengths(f"{value}.{quoted(member.name)}", member.dtype, depth)  # type: ignore[arg-type]


class RowHashes:
    """Adds the hashes to rows of a contract; `stamp` is that of their delivery. One is needed for each thread.

    As a context manager, it gives the engine's connection back.
    """

    def __init__(self, contract: Contract, stamp: datetime | None) -> None:
        high, low = key_hashes(contract)
        self._sql = (
            f"SELECT line, {high} AS {KEY_HIGH}, {low} AS {KEY_LOW}, {content_hash(contract)} AS {CONTENT_HASH} "
            "FROM (SELECT *, ?::TIMESTAMPTZ AS key_stamp FROM rows)"
        )
        if contract.is_told_apart_by_delivery and stamp is None:
            raise ValueError(f"{contract.offload_type}: its rows are told apart by delivery, and it has no stamp")
        self._stamp = stamp
        self._connection = connect()

    def __enter__(self) -> "RowHashes":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def added_to(self, staged: pl.DataFrame) -> pl.DataFrame:
        """Rows, with their `line`, and beside them the columns `HASHES`, in the place of those that they had."""
        rows = ArrowStream(staged)  # noqa: F841 (read by DuckDB by its name)
        found = pl.DataFrame(ArrowStream(self._connection.sql(self._sql, params=[self._stamp])))
        if not found["line"].equals(staged["line"]):
            raise AssertionError("the hashes of rows are out of order")
        return staged.with_columns(found.select(HASHES))
