"""Which rows break which rules: what pandera itself says, and each fault once."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandera.errors
import pandera.polars as pa
import polars as pl
import pytest

from offload_platform.contracts.contract import Contract
from offload_platform.contracts.types import POINT
from offload_platform.quality.conform import FAILURE_SCHEMA, Conformed
from offload_platform.quality.validate import BROKEN_SCHEMA, ContractDefect, validate
from offload_platform.vendors import vendor_named, vendor_names

from .conftest import Conform

CONTRACTS = vendor_named("sentiance").contracts
ALL_CONTRACTS = [contract for name in vendor_names() for contract in vendor_named(name).contracts.values()]
USER = "5a689ab0e97b960500002109"
VALUES: dict[Any, list[Any]] = {
    pl.String: [USER, USER[:-1], "", "home", "-"],
    pl.Float64: [0.0, -91.0, 89.9, 181.0, -5.0, -1.0, float("nan")],
    pl.Int32: [0, 5, -1, -7],
    pl.Int16: [0, 60, -1000],
    pl.Int64: [0, 5, -1],
    pl.Decimal: [Decimal(0), Decimal(-5)],
    pl.Boolean: [True, False],
    pl.Datetime: [datetime(2018, 12, 8) + timedelta(hours=h) for h in range(4)],
    pl.List: [[], None],
}


def random_frame(contract: Contract, rows: int, seed: int) -> pl.DataFrame:
    """Values of the right types, good and bad, a tenth of them null."""
    draw = random.Random(seed)
    series = []
    for column in contract.columns.values():
        values: list[Any] = []
        for _ in range(rows):
            value = None if draw.random() < 0.1 else draw.choice(VALUES[column.dtype.base_type()])
            if isinstance(value, datetime) and column.dtype == pl.Datetime("us", "UTC"):
                value = value.replace(tzinfo=UTC)
            values.append(value)
        series.append(pl.Series(column.name, values, dtype=column.dtype))
    return pl.DataFrame(series)


def conformed(rows: pl.DataFrame, failures: list[tuple[int, str, str]] | None = None) -> Conformed:
    return Conformed(rows, pl.DataFrame(failures or [], schema=FAILURE_SCHEMA, orient="row"), {})


@pytest.mark.parametrize("contract", ALL_CONTRACTS, ids=lambda contract: f"{contract.vendor} {contract.offload_type}")
def test_reasons_are_panderas_own_failure_cases(contract: Contract) -> None:
    rows = random_frame(contract, 60, seed=len(contract.columns))
    with pytest.raises(pandera.errors.SchemaErrors) as found:
        contract.rows.validate(rows, lazy=True)
    expected: dict[int, set[str]] = {}
    for case in found.value.failure_cases.iter_rows(named=True):
        expected.setdefault(case["index"], set()).add(f"{case['column']}: {case['check']}")
    broken = validate(conformed(rows), contract)
    assert broken.schema == BROKEN_SCHEMA
    assert broken.rows() == [(row, sorted(reasons)) for row, reasons in sorted(expected.items())]


def test_the_rules_hold_row_by_row() -> None:
    """The same by hand, so that the test above does not only compare pandera with itself."""
    contract = CONTRACTS["stationaries"]
    rows = random_frame(contract, 200, seed=1)
    expected = []
    for number, row in enumerate(rows.iter_rows(named=True)):
        reasons = {
            f"{c.name}: not_nullable"
            for c in contract.columns.values()
            if not c.nullable and (row[c.name] is None or row[c.name] != row[c.name])
        }
        if row["user_id"] is not None and row["user_id"] != USER:
            reasons.add("user_id: str_matches('^[0-9a-f]{24}$')")
        for name, least, most in (("latitude", -90, 90), ("longitude", -180, 180), ("duration_s", 0, None)):
            value = row[name]
            if value is not None and value < least:
                reasons.add(f"{name}: greater_than_or_equal_to({least})")
            # A number that is none is missing, and greater than any.
            if value is not None and most is not None and not value <= most:
                reasons.add(f"{name}: less_than_or_equal_to({most})")
        if reasons:
            expected.append((number, sorted(reasons)))
    assert validate(conformed(rows), contract).rows() == expected


def test_good_rows_and_no_rows_break_nothing(conform: Conform) -> None:
    contract = CONTRACTS["segments"]
    good = conform(contract, {"user_id": USER, "segment_id": "x"})
    for case in (good, conform(contract, columns=("user_id", "segment_id"))):
        broken = validate(case, contract)
        assert (broken.height, broken.schema) == (0, BROKEN_SCHEMA)


def test_a_cell_that_cannot_be_read_is_not_missing_too(conform: Conform) -> None:
    stay = {"user_id": USER, "location.significance": "home", "latitude": "1", "longitude": "1"}
    time = "2018-10-07T00:56:57+01:00"
    rows = (
        stay | {"start": "x", "end": time},  # start_local and utc_offset_min are null for the same reason
        stay | {"start": None, "end": time},
        stay | {"start": "x", "end": time, "latitude": None, "longitude": "181"},
        stay | {"start": time, "end": time, "latitude": "north"},
    )
    broken = validate(conform(CONTRACTS["stationaries"], *rows), CONTRACTS["stationaries"])
    assert broken.rows() == [
        (0, ["start_at: not a time with an offset"]),
        (1, ["start_at: not_nullable", "start_local: not_nullable", "utc_offset_min: not_nullable"]),
        (
            2,
            ["latitude: not_nullable", "longitude: less_than_or_equal_to(180)", "start_at: not a time with an offset"],
        ),
        (3, ["latitude: not a number"]),
    ]


def test_failures_alone_are_reported_where_no_rule_is_broken(conform: Conform) -> None:
    contract = CONTRACTS["transports"]
    time = "2018-10-07T00:56:57+01:00"
    row = {"user_id": USER, "start": time, "end": "x", "mode": "car", "distance": "far", "waypoints": "[[1]]"}
    assert validate(conform(contract, row), contract).rows() == [
        (0, ["distance_m: not a number", "end_at: not a time with an offset", "waypoints: not a list of fixes"])
    ]


def test_a_contract_that_does_not_fit_its_columns_is_a_defect() -> None:
    contract = CONTRACTS["segments"]
    rows = random_frame(contract, 3, seed=1)
    for wrong in (rows.with_columns(segment_id=pl.lit(1)), rows.drop("extra"), rows.with_columns(more=pl.lit(1))):
        with pytest.raises(ContractDefect, match=r"^segments: the contract does not fit its own columns"):
            validate(conformed(wrong), contract)


def test_a_check_that_raises_is_a_defect() -> None:
    class Raising(CONTRACTS["segments"].rows):  # type: ignore[name-defined, misc]
        @pa.check("segment_id")
        def fails(cls, data: pa.PolarsData) -> pl.LazyFrame:  # noqa: ARG002, N805
            raise ZeroDivisionError("a bug in the check")

    contract = replace(CONTRACTS["segments"], rows=Raising)
    with pytest.raises(ContractDefect):
        validate(conformed(random_frame(CONTRACTS["segments"], 3, seed=1)), contract)


def test_a_rule_of_the_whole_frame_is_a_defect() -> None:
    class Judging(CONTRACTS["segments"].rows):  # type: ignore[name-defined, misc]
        @pa.dataframe_check
        def holds(cls, data: pa.PolarsData) -> pl.LazyFrame:  # noqa: N805
            return data.lazyframe.select(pl.lit(True))

    contract = replace(CONTRACTS["segments"], rows=Judging)
    with pytest.raises(ContractDefect, match="Make it a check of one column"):
        validate(conformed(random_frame(CONTRACTS["segments"], 3, seed=1)), contract)


@pytest.mark.parametrize("outcome", [False, pl.col("segment_id").n_unique() > 1], ids=["a truth", "an aggregate"])
def test_a_check_that_says_one_thing_of_all_rows_is_a_defect(outcome: bool | pl.Expr) -> None:
    class Judging(CONTRACTS["segments"].rows):  # type: ignore[name-defined, misc]
        @pa.check("segment_id")
        def holds(cls, data: pa.PolarsData) -> bool | pl.LazyFrame:  # noqa: N805
            return outcome if isinstance(outcome, bool) else data.lazyframe.select(outcome)

    contract = replace(CONTRACTS["segments"], rows=Judging)
    with pytest.raises(ContractDefect, match="a rule of the whole frame is not told of a row"):
        validate(conformed(random_frame(CONTRACTS["segments"], 3, seed=1)), contract)


def test_points_are_a_type_that_pandera_knows() -> None:
    assert CONTRACTS["transports"].columns["waypoints"].dtype == pl.List(POINT)
