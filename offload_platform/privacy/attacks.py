"""Attacks on what is released: somebody knows something of a person, and looks for the rest.

Each attack gets the truth beside the release, so that it is known when it succeeds; the attacker does not use it. What
is returned is how often the attacker's best guess is right. The same attack on rows as they were delivered tells that
it works.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from offload_platform.privacy.cells import at_most, centres
from offload_platform.privacy.hiding import LEVEL, ROW, at_level
from offload_platform.privacy.tables import PERSON, CleanTable

TARGET = "target"
_EARTH_KM = 6371.0
_CELLS_TRIED = (7, 6, 5)


def known_points(rows: pl.DataFrame, points: int, targets: int, seed: int = 0) -> pl.DataFrame:
    """What somebody knows: some random rows of some random persons who have so many; the person is the `target`."""
    counts = rows.group_by(PERSON).len().filter(pl.col("len") >= points, pl.col(PERSON).is_not_null()).sort(PERSON)
    chosen = counts.sample(min(targets, counts.height), seed=seed)
    known = rows.join(chosen.select(PERSON), on=PERSON, maintain_order="left")
    order = pl.int_range(pl.len()).shuffle(seed).over(PERSON)
    return known.filter(order < points).rename({PERSON: TARGET})


def unicity(rows: pl.DataFrame, columns: Sequence[str], points: int, targets: int = 500) -> float:
    """Share of persons whom so many of their own random rows, told by some columns, tell from all others."""
    known = known_points(rows.select(PERSON, *columns).unique(maintain_order=True), points, targets)
    if known.is_empty():
        return 0.0
    found = known.join(rows.select(PERSON, *columns).unique(), on=list(columns), nulls_equal=True)
    fitting = found.group_by(TARGET, PERSON).len().filter(pl.col("len") == points)
    alone = fitting.group_by(TARGET).len().filter(pl.col("len") == 1)
    return alone.height / known[TARGET].n_unique()


def linked_persons(known: pl.DataFrame, release: pl.DataFrame, columns: Sequence[str]) -> float:
    """How often the pseudonym that fits most of what is known of a person is that person's; ties are guessed."""
    if known.is_empty():
        return 0.0
    facts = known.select(TARGET, *columns).unique()
    found = facts.join(release.select(PERSON, *columns).unique(), on=list(columns), nulls_equal=True)
    scores = found.group_by(TARGET, PERSON).len()
    best = scores.filter(pl.col("len") == pl.col("len").max().over(TARGET))
    chance = best.group_by(TARGET).agg((pl.col(PERSON) == pl.col(TARGET)).mean().alias("chance"))
    return float(chance["chance"].sum()) / known[TARGET].n_unique()


def linked_rows(known: pl.DataFrame, told: pl.DataFrame, table: CleanTable) -> float:
    """How often the row that tells of a known event is found, where the event is known as exactly as rows ever tell.

    `known` are rows of the query of the table with their `row`, `told` is what is told of them and of all others. The
    attacker takes a row that fits the event, of those that tell most.
    """
    left, right = known, 0.0
    for number, level in enumerate(table.levels):
        columns = list(table.columns)
        guesses = at_level(left, table, level).select(ROW, *columns)
        of_level = told.filter(pl.col(LEVEL) == number)
        sizes = of_level.group_by(columns).len()
        fitting = guesses.join(sizes, on=columns, nulls_equal=True).select(ROW, "len")
        hits = fitting.join(of_level.select(ROW), on=ROW, how="semi")
        right += float((1 / hits["len"]).sum())
        left = left.join(fitting.select(ROW), on=ROW, how="anti")
    return right / max(known.height, 1)


def chained(rows: pl.DataFrame, arrival: Sequence[str], departure: Sequence[str]) -> float:
    """How often a trip that begins where and when another one ended is of the same person; both are told by columns."""
    numbered = rows.with_row_index("number")
    ended = numbered.select("number", pl.col(PERSON).alias(TARGET), *(pl.col(c).alias(f"_{c}") for c in arrival))
    ended = ended.drop_nulls(f"_{arrival[0]}")
    begun = numbered.drop_nulls(departure[0])
    all_of = begun.group_by(list(departure)).len()
    own_of = begun.group_by(PERSON, *departure).len(name="own")
    on = [f"_{c}" for c in arrival]
    found = ended.join(all_of, left_on=on, right_on=list(departure), nulls_equal=True)
    found = found.join(
        own_of, left_on=[TARGET, *on], right_on=[PERSON, *departure], how="left", nulls_equal=True
    ).with_columns(pl.col("own").fill_null(0))
    # A trip that ends where it began fits itself, and is no guess.
    is_itself = found["number"].is_in(_round_trips(numbered, arrival, departure).implode())
    others = found.with_columns(
        pl.col("len") - is_itself.cast(pl.UInt32), pl.col("own") - is_itself.cast(pl.UInt32)
    ).filter(pl.col("len") > 0)
    return float((others["own"] / others["len"]).mean() or 0.0)  # type: ignore[arg-type]


def homes_from_trips(
    known: pl.DataFrame, trips: pl.DataFrame, place: str, arrival: str, departure: str, shared: Sequence[str]
) -> pl.DataFrame:
    """Where persons would live, if they came from home to the places that are known: the guess for each `target`.

    Of the trips that fit a known place and its time, the cell that most of them begin in.
    """
    fitting = []
    for resolution in _CELLS_TRIED:
        at = known.select(TARGET, *shared, at_most(known[place], resolution).alias(arrival))
        fitting.append(at.join(trips.select(*shared, arrival, departure), on=[*shared, arrival]))
    return guessed_homes(pl.concat(fitting).select(TARGET, pl.col(departure).alias("cell")))


def guessed_homes(cells: pl.DataFrame) -> pl.DataFrame:
    """For each `target` the centre of the `cell` that it has most rows of: latitude and longitude in degrees."""
    counts = cells.drop_nulls().group_by(TARGET, "cell").len().sort("len", "cell", descending=True)
    best = counts.unique(TARGET, keep="first", maintain_order=True)
    return best.select(TARGET).hstack(centres(best["cell"]))


def kilometres_off(guesses: pl.DataFrame, homes: pl.DataFrame) -> pl.Series:
    """How far guesses are from the homes (`person`, `latitude`, `longitude`), in km."""
    both = guesses.join(homes, left_on=TARGET, right_on=PERSON, suffix="_true")
    north, true_north = (np.radians(both[name].to_numpy()) for name in ("latitude", "latitude_true"))
    east = np.radians((both["longitude"] - both["longitude_true"]).to_numpy())
    half = np.sin((north - true_north) / 2) ** 2 + np.cos(north) * np.cos(true_north) * np.sin(east / 2) ** 2
    return pl.Series("km", 2 * _EARTH_KM * np.arcsin(np.sqrt(half)))


def _round_trips(numbered: pl.DataFrame, arrival: Sequence[str], departure: Sequence[str]) -> pl.Series:
    is_round = pl.all_horizontal(pl.col(a).eq_missing(pl.col(d)) for a, d in zip(arrival, departure, strict=True))
    return numbered.filter(is_round)["number"]
