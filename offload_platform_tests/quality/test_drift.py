"""Drift is counted over all blocks of a part and told in a stable order."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from offload_platform.quality.drift import Drift, DriftCounter, DriftKind
from offload_platform.vendors import vendor_named

from .conftest import Conform

CONTRACTS = vendor_named("sentiance").contracts
USER = "5a689ab0e97b960500002109"
START = datetime(2018, 10, 7, 12, tzinfo=UTC)


def trip(
    minutes: float | None, duration: str | None = None, mode: str = "car", waypoints: str = "[]"
) -> dict[str, str]:
    end = "-" if minutes is None else (START + timedelta(minutes=minutes)).isoformat()
    said = {"user_id": USER, "start": START.isoformat(), "end": end, "mode": mode, "waypoints": waypoints}
    return said | ({} if duration is None else {"duration": duration})


def test_new_values_are_added_up_over_blocks(capfd: pytest.CaptureFixture[str]) -> None:
    counter = DriftCounter(CONTRACTS["segments"])
    known = next(iter(CONTRACTS["segments"].columns["segment_id"].facts.enumeration or ()))
    for values in ([known, "new", "new", None], ["new", "newer"], []):
        counter.count(pl.DataFrame({"segment_id": pl.Series(values, dtype=pl.String)}), {})
    assert counter.found() == [
        Drift(DriftKind.NEW_VALUE, "segment_id", "new", 3),
        Drift(DriftKind.NEW_VALUE, "segment_id", "newer", 1),
    ]
    assert capfd.readouterr().err == "", "polars prints its warnings where they are turned into errors"


def test_remarks_are_counted_and_keep_the_row(conform: Conform) -> None:
    contract = CONTRACTS["transports"]
    rows = (
        trip(10),
        trip(10, "601"),
        trip(10, "602"),
        trip(10, "598"),
        trip(-1, "-60"),
        trip(None),
        trip(None, "-1"),
        trip(None, "60"),
        trip(10, waypoints='[[1, 2, "2017-05-25T08:85:23Z"], [1, 2, "2017-05-25T08:05:23Z"]]'),
        trip(10, waypoints='[[1, 2, "2017-05-25T08:05:23Z"]]'),
        trip(10, waypoints='[[90, -180, "2017-05-25T08:05:23Z"]]'),
        trip(10, waypoints='[[1, 2, "2017-05-25T08:05:23Z"], [90.1, 2, "2017-05-25T08:05:23Z"]]'),
        trip(10, waypoints='[[1, -180.1, "2017-05-25T08:05:23Z"]]'),
        trip(10, mode="hoverboard"),
    )
    conformed = conform(contract, *rows)
    assert conformed.failures.is_empty()
    counter = DriftCounter(contract)
    counter.count(conformed.rows, conformed.misfits)
    assert counter.found() == [
        Drift(DriftKind.NEW_VALUE, "mode", "hoverboard", 1),
        Drift(DriftKind.REMARK, "duration_s", "differs from end - start by more than 1 s", 2),
        Drift(DriftKind.REMARK, "duration_s", "given although the end is open", 1),
        Drift(DriftKind.REMARK, "end_at", "before start_at", 1),
        Drift(DriftKind.REMARK, "waypoints", "a fix outside the globe", 2),
        Drift(DriftKind.REMARK, "waypoints", "a fix without a readable time", 1),
    ]


def test_misfits_are_added_up() -> None:
    counter = DriftCounter(CONTRACTS["attributes.wide"])
    for count in (2, 3):
        counter.count(pl.DataFrame(), {"hashome": count})
    assert counter.found() == [
        Drift(DriftKind.MISFIT, "hashome", "text that does not fit the column's type, kept in extra", 5)
    ]


def test_of_countless_new_values_the_first_are_told_and_the_others_are_counted() -> None:
    counter = DriftCounter(CONTRACTS["segments"])
    for first in (0, 800):
        values = [f"new {n}" for n in range(first, first + 800)] + ["x" * 10_000_000]
        counter.count(pl.DataFrame({"segment_id": values}), {})
    found = {d.detail: d.rows for d in counter.found()}
    assert len(found) == 1001
    assert found["x" * 200 + "…"] == 2
    assert found["others, after 1,000 that are told"] == 1600 - 999
    assert sum(rows or 0 for rows in found.values()) == 1602
