"""What the measured figures are held to, all in one place.

Every limit is a ratio inside one run: seconds say more of a machine than of a program.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """What `make bench` compares with: the figure's name, and the most that it may be."""

    figure: str
    most: float
    of: str


TARGETS = (
    Target("CPU, whole load ÷ DuckDB with inferred types", 0.9, "stationaries"),
    Target("CPU, whole load ÷ DuckDB with declared types", 1.4, "stationaries"),
    Target("wall, whole load ÷ DuckDB with declared types", 1.2, "stationaries"),
    Target("CPU, validated ÷ not validated", 1.15, "stationaries"),
    Target("CPU, whole load ÷ dlt, fastest route (middle, none broken)", 0.5, "stationaries"),
    Target("CPU, whole load ÷ dlt, as documented (small)", 0.02, "stationaries"),
    Target("CPU, whole load ÷ DuckDB with declared types", 1.0, "driving_events_realtime"),
    Target("µs for each fix of waypoints", 0.8, "transports"),
    Target("peak, MB", 600, "stationaries"),
    Target("peak, 16 × the data ÷ 4 ×", 1.5, "stationaries"),
)
"""For the largest delivery with few bad rows; three million stays (`--full`) for the ratios to DuckDB."""


GUARD = {"parse": 0.65, "conform": 0.46, "validate": 0.08, "commit": 2.5, "load": 5.0}
"""What the test suite holds the steps of a load to: the most CPU, in multiples of what the floor takes for the file.

About half as much again as was measured: neighbours on a machine change a ratio by less, and work done twice is more.
Whoever makes a step cheaper lowers its limit; `loads/counted_work.py` tells what is measured.
"""
