"""Strikes erased persons from a staged delivery, so that no old or new delivery brings them back.

Only the files that hold somebody are written anew; where nobody is erased, nothing is read.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import polars as pl

from offload_platform.landing.staging import StagedDelivery, StagedPart
from offload_platform.quality.drift import DriftKind
from offload_platform.quality.hashes import RowHashes
from offload_platform.warehouse.tombstones import Erased, erased_of, names_erased, without_erased


def strike(connection: duckdb.DuckDBPyConnection, staged: StagedDelivery) -> StagedDelivery:
    """The delivery without the rows of erased persons; they are counted as `erased`. Its files are changed in place.

    Raises:
        ErasureKeyError: somebody is erased, and the key is missing or another one.
    """
    erased = erased_of(connection, staged.contract.vendor)
    if erased is None:
        return staged
    persons, unknown = staged.contract.person_columns, staged.contract.unknown_column
    parts = tuple(_struck(part, persons, erased) for part in staged.parts)
    if unknown is not None:
        with RowHashes(staged.contract, staged.delivery.stamp) as hashes:
            for file in (file for part in parts for file in part.row_files):
                _mask(file, unknown, erased, hashes)
    return replace(staged, parts=parts)


def _struck(part: StagedPart, persons: Sequence[str], erased: Erased) -> StagedPart:
    row_files, of_rows = _strike_files(part.row_files, persons, lambda rows: _is_of_person(rows, erased))
    quarantine_files, of_quarantine = _strike_files(
        part.quarantine_files, ["raw"], lambda rows: _names_person(rows, erased)
    )
    return replace(
        part,
        row_files=row_files,
        quarantine_files=quarantine_files,
        loaded=part.loaded - len(of_rows),
        quarantined=part.quarantined - len(of_quarantine),
        erased=part.erased + len(of_rows) + len(of_quarantine),
        reasons=_reasons(quarantine_files) if of_quarantine else part.reasons,
        sample=[row for row in part.sample if row[0] not in of_quarantine],
        drift=[d for d in part.drift if d.kind is not DriftKind.NEW_VALUE or d.detail not in erased],
    )


def _strike_files(
    files: Sequence[Path], judged: Sequence[str], is_struck: Callable[[pl.DataFrame], pl.Series]
) -> tuple[tuple[Path, ...], set[int]]:
    """The files that still hold rows, and the lines of those that are struck, as told by the `judged` columns."""
    kept: list[Path] = []
    lines: set[int] = set()
    if not judged:
        return tuple(files), lines
    for file in files:
        struck = is_struck(pl.read_ipc(file, columns=list(judged)))
        if struck.any():
            rows = pl.read_ipc(file)
            lines.update(rows.filter(struck)["line"])
            _replace(file, rows.filter(~struck))
        if not struck.all():
            kept.append(file)
    return tuple(kept), lines


def _mask(file: Path, column: str, erased: Erased, hashes: RowHashes) -> None:
    """Put a mark in the place of erased ids in what rows of others say beside their contract."""
    said = pl.read_ipc(file, columns=[column])[column]
    if said.null_count() == said.len():
        return
    masked = {text: without_erased(text, erased) for text in said.drop_nulls().unique()}
    changed = {text: mask for text, mask in masked.items() if mask != text}
    if changed:
        _replace(file, hashes.added_to(pl.read_ipc(file).with_columns(pl.col(column).replace(changed))))


def _replace(file: Path, rows: pl.DataFrame) -> None:
    if rows.is_empty():
        file.unlink()
        return
    aside = file.with_name(file.name + ".new")
    rows.write_ipc(aside, compression="uncompressed")
    aside.replace(file)


def _is_of_person(rows: pl.DataFrame, erased: Erased) -> pl.Series:
    distinct = {value for name in rows.columns for value in rows[name].unique().drop_nulls()}
    gone = [value for value in distinct if value in erased]
    return rows.select(pl.any_horizontal(pl.all().is_in(gone).fill_null(False))).to_series()


def _names_person(rows: pl.DataFrame, erased: Erased) -> pl.Series:
    return pl.Series([names_erased(raw, erased) for raw in rows["raw"]], dtype=pl.Boolean)


def _reasons(files: Sequence[Path]) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for file in files:
        counted.update(dict(pl.read_ipc(file)["reasons"].explode().value_counts().rows()))
    return dict(sorted(counted.items()))
