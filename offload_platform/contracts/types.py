"""Column types of contracts: polars types at run time, plain Python types to a type checker.

A contract is read by people, by pandera and by a type checker; these names serve all three.
"""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl

POINT = pl.Struct(
    {
        "latitude": pl.Float64,
        "longitude": pl.Float64,
        "fix_at": pl.Datetime("us", "UTC"),
        "fix_local": pl.Datetime("us"),
        "utc_offset_min": pl.Int16,
    }
)
"""One position fix: degrees WGS84, the instant, the wall clock as delivered and their difference in minutes."""

if TYPE_CHECKING:
    Text: TypeAlias = str
    Flag: TypeAlias = bool
    Number: TypeAlias = float
    Count: TypeAlias = int
    Seconds: TypeAlias = int
    OffsetMinutes: TypeAlias = int
    Instant: TypeAlias = datetime
    WallClock: TypeAlias = datetime
    TextList: TypeAlias = list[str]
    PointList: TypeAlias = list[dict[str, Any]]
    Json: TypeAlias = str
    Money: TypeAlias = Decimal
else:
    Text = pl.String
    Flag = pl.Boolean
    Number = pl.Float64
    Count = pl.Int32
    Seconds = pl.Int32
    OffsetMinutes = pl.Int16
    Instant = pl.Datetime("us", "UTC")
    WallClock = pl.Datetime("us")
    TextList = pl.List(pl.String)
    PointList = pl.List(POINT)
    Json = pl.String
    Money = pl.Decimal(18, 4)
