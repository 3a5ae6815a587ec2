"""Days of deliveries one after the other through the real services: nothing grows that should not.

Few days; `python -m offload_platform_tests.benchmarks.soak --days 200` takes many.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from ..benchmarks.soak import Sample, grown, soak

DAYS, BATCH = 6, 2
FLAT = Sample(20, 4, 800.0, 50, 40, staging_mb=0.0, logs_mb=1.0, runs_mb=5.0, build_mb=3.0, published_mb=2.0)


def test_day_after_day_nothing_is_held_that_should_not_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The soak names a file of credentials there; with this, what was there before comes back.
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "")
    samples = list(soak(tmp_path, DAYS, BATCH))
    assert [sample.days for sample in samples] == [2, 4, 6]
    assert grown(samples) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("processes", 5),
        ("memory_mb", 1001.0),
        ("open_files", 63),
        ("threads", 51),
        ("logs_mb", 1.3),
        ("staging_mb", 0.1),
    ],
)
def test_what_grows_is_named(name: str, value: float) -> None:
    more = replace(FLAT, days=60, runs_mb=50.0, **{name: value})
    assert grown([replace(FLAT, days=1, memory_mb=300.0), FLAT, more]) == [
        f"{name}: {getattr(FLAT, name)} after 20 days, {value} after 60"
    ]
    assert grown([FLAT, FLAT, replace(FLAT, days=60, runs_mb=50.0)]) == []
