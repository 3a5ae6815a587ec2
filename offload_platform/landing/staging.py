"""Stages a delivery: fetch, verify, parse, convert and validate each part, and leave the result on local disk.

No database lock is held here, and memory is bounded by the block size. What is staged is either complete and
accounted for row by row, or an error: a part that cannot be trusted fails the whole delivery.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from offload_platform.contracts.contract import Contract
from offload_platform.contracts.deliveries import Delivery, Part
from offload_platform.landing import json_lines, records
from offload_platform.landing.decompress import NONE, chunks, compression_of
from offload_platform.landing.errors import DamagedBody, LandingError, MostlyBad, UntrustedPart
from offload_platform.landing.fingerprint import MOST_COLUMNS, Fingerprint, header_drift, read_fingerprint
from offload_platform.landing.masking import mask_of, protection_of
from offload_platform.landing.pseudonyms import reading_of
from offload_platform.landing.store import DeliveryStore, etag_is_md5
from offload_platform.quality.conform import Conformer
from offload_platform.quality.drift import Drift, DriftCounter, DriftKind
from offload_platform.quality.hashes import RowHashes
from offload_platform.quality.json_cells import JsonCells
from offload_platform.quality.reading import AS_DELIVERED, Reading
from offload_platform.quality.validate import validate

_FETCHES_OF_A_DAMAGED_PART = 2
_WORKERS = 2
_SAMPLE_ROWS = 10
_SAMPLE_CHARACTERS = 1000
_ALWAYS_READ_BLANK_LINES = 1_000_000


@dataclass(frozen=True)
class StagedPart:
    """One part, staged. Files are Arrow IPC: rows with the contract's columns, `line` and hashes, and quarantined rows.

    `lines` counts physical lines after the header, `rows_in` records; `reasons` counts quarantined rows by reason (a
    row with two reasons counts under both), and `sample` holds the first of them as line, reasons and the beginning of
    the row as delivered, masked. `erased` counts rows that were struck because they are of erased persons.
    """

    part: Part
    checksum: str
    fingerprint: Fingerprint
    lines: int
    rows_in: int
    loaded: int
    quarantined: int
    reasons: dict[str, int]
    sample: list[tuple[int, list[str], str]]
    drift: list[Drift]
    row_files: tuple[Path, ...]
    quarantine_files: tuple[Path, ...]
    erased: int = 0

    def __post_init__(self) -> None:
        if self.rows_in != self.loaded + self.quarantined + self.erased:
            raise AssertionError(
                f"{self.part.key}: {self.rows_in:,} rows in, but {self.loaded:,} loaded, "
                f"{self.quarantined:,} quarantined and {self.erased:,} erased"
            )


@dataclass(frozen=True)
class StagedDelivery:
    """A whole delivery, staged in a folder of its own."""

    delivery: Delivery
    contract: Contract
    parts: tuple[StagedPart, ...]
    reading: Reading = AS_DELIVERED

    @property
    def rows_in(self) -> int:
        """Rows in all parts."""
        return sum(part.rows_in for part in self.parts)

    @property
    def loaded(self) -> int:
        """Rows that keep the contract."""
        return sum(part.loaded for part in self.parts)

    @property
    def quarantined(self) -> int:
        """Rows set aside."""
        return sum(part.quarantined for part in self.parts)

    @property
    def erased(self) -> int:
        """Rows of erased persons."""
        return sum(part.erased for part in self.parts)

    @property
    def drift(self) -> list[Drift]:
        """What all parts show beside the contract."""
        return [drift for part in self.parts for drift in part.drift]


class Bench(Protocol):
    """Where single parts are staged: in this process, or elsewhere. What is staged is the same."""

    @property
    def at_once(self) -> int:
        """How many parts it takes at the same time."""

    def stage_part(
        self, store: DeliveryStore, part: Part, contract: Contract, reading: Reading, folder: Path
    ) -> StagedPart:
        """Stage one part; its files are in the folder afterwards, whoever has made them.

        Raises:
            LandingError: it cannot be fetched or trusted.
        """


class OwnBench:
    """Stages parts in this process, two at once."""

    at_once = _WORKERS

    def stage_part(
        self, store: DeliveryStore, part: Part, contract: Contract, reading: Reading, folder: Path
    ) -> StagedPart:
        """Stage one part."""
        return _stage_part(store, part, reading.of(contract), reading, folder)


OWN_BENCH: Bench = OwnBench()


def stage(
    store: DeliveryStore,
    delivery: Delivery,
    contract: Contract,
    folder: Path,
    on_progress: Callable[[int], None] = lambda _: None,
    bench: Bench = OWN_BENCH,
) -> StagedDelivery:
    """Stage every part of a delivery into a folder; `on_progress` is told the stored bytes of each finished part.

    Raises:
        LandingError: one part cannot be fetched or trusted; the message names it and says what to do.
        PseudonymKeyError: ids are to be kept as pseudonyms, and there is no usable key; nothing is read.
    """

    def stage_one(part: Part) -> StagedPart:
        staged = bench.stage_part(store, part, contract, reading, folder)
        on_progress(part.stored.size)
        return staged

    reading = reading_of(store.feed, contract)

    with ThreadPoolExecutor(bench.at_once) as workers:
        parts = tuple(workers.map(stage_one, delivery.parts))
    return StagedDelivery(delivery, contract, parts, reading)


def stage_each(
    store: DeliveryStore,
    deliveries: Sequence[Delivery],
    contract: Contract,
    folder: Path,
    on_progress: Callable[[int], None] = lambda _: None,
    bench: Bench = OWN_BENCH,
) -> tuple[list[StagedDelivery], list[LandingError]]:
    """Stage deliveries that stand for themselves: what of them could be staged, in order, and what was wrong elsewhere.

    Raises:
        PseudonymKeyError: ids are to be kept as pseudonyms, and there is no usable key; nothing is read.
    """
    reading_of(store.feed, contract)

    def stage_one(numbered: tuple[int, Delivery]) -> StagedDelivery | LandingError:
        number, delivery = numbered
        own = folder / f"{number:05d}"
        own.mkdir()
        try:
            return stage(store, delivery, contract, own, on_progress, bench)
        except LandingError as error:
            return error

    with ThreadPoolExecutor(bench.at_once) as workers:
        outcomes = list(workers.map(stage_one, enumerate(deliveries)))
    refused = [outcome for outcome in outcomes if isinstance(outcome, LandingError)]
    return [outcome for outcome in outcomes if isinstance(outcome, StagedDelivery)], refused


def _stage_part(store: DeliveryStore, part: Part, contract: Contract, reading: Reading, folder: Path) -> StagedPart:
    spool = folder / f"{_file_stem(part)}.spool"
    try:
        for attempt in range(1, _FETCHES_OF_A_DAMAGED_PART + 1):
            store.fetch(part.stored, spool)
            try:
                return _stage_spooled(store, part, contract, reading, spool)
            except DamagedBody:
                # A checksum that fits proves that the store holds these very bytes; another fetch brings no others.
                if etag_is_md5(part.stored.etag) or attempt == _FETCHES_OF_A_DAMAGED_PART:
                    raise
    finally:
        spool.unlink(missing_ok=True)
    raise AssertionError("unreachable")


def _stage_spooled(store: DeliveryStore, part: Part, contract: Contract, reading: Reading, spool: Path) -> StagedPart:
    compression = compression_of(spool)
    newlines = _NewlineCounter(chunks(spool, part.key))
    fingerprint, rest = read_fingerprint(newlines, part.key, contract, compression=compression, columns=reading.columns)
    header_lines = 1 if fingerprint.has_header else 0
    tally = _Tally(contract)
    with JsonCells() as json_cells, RowHashes(contract, part.placement.stamp) as hashes:
        parse = _parser(fingerprint, contract, reading, json_cells, part.key)
        for block in records.read_blocks(newlines, rest, part.key, first_line=1 + header_lines):
            stem = spool.with_name(f"{_file_stem(part)}-{block.first_line:010d}")
            _stage_block(block, *parse(block), contract, hashes, tally, stem, fingerprint.delimiter)
            _refuse_if_mostly_bad(store, part, tally)
            _refuse_if_odd(part, tally)
    if tally.lines != newlines.lines - header_lines:
        raise AssertionError(f"{part.key}: {tally.lines:,} of {newlines.lines - header_lines:,} lines were read")
    if fingerprint.is_json:
        fingerprint = replace(fingerprint, columns=tuple(tally.columns))
    return StagedPart(
        part=part,
        checksum="md5"
        if etag_is_md5(part.stored.etag)
        else "size only"
        if compression == NONE
        else f"{compression} crc",
        fingerprint=fingerprint,
        lines=tally.lines,
        rows_in=tally.lines - tally.blank - tally.continued,
        loaded=tally.loaded,
        quarantined=tally.quarantined,
        reasons=dict(sorted(tally.reasons.items())),
        sample=tally.sample,
        drift=tally.all_drift(fingerprint),
        row_files=tuple(tally.row_files),
        quarantine_files=tuple(tally.quarantine_files),
    )


def _parser(
    fingerprint: Fingerprint, contract: Contract, reading: Reading, json_cells: JsonCells, key: str
) -> Callable[[records.Block], tuple[records.Records, Conformer]]:
    """How the blocks of a part are split into records, and what converts these; JSON lines may differ by block."""
    if not fingerprint.is_json:
        conformer = Conformer(contract, fingerprint.columns, json_cells, reading)
        return lambda block: (records.parse(block, fingerprint.columns, fingerprint.delimiter), conformer)

    def parse(block: records.Block) -> tuple[records.Records, Conformer]:
        found, columns = json_lines.parse(block, json_cells, key)
        return found, Conformer(contract, columns, json_cells, reading)

    return parse


def _stage_block(
    block: records.Block,
    found: records.Records,
    conformer: Conformer,
    contract: Contract,
    hashes: RowHashes,
    tally: "_Tally",
    stem: Path,
    delimiter: str,
) -> None:
    lines = found.rows[records.LINE]
    conformed = conformer.conform(found.rows.drop(records.LINE))
    broken = validate(conformed, contract)
    good = conformed.rows.with_columns(lines)
    quarantined = found.rejected
    if broken.height:
        positions = broken["row"]
        bad_lines = lines.gather(positions)
        breaking = pl.DataFrame(
            {records.LINE: bad_lines, "reasons": broken["reasons"], "raw": block.raw(bad_lines, found.heights)}
        )
        quarantined = pl.concat([quarantined, breaking]).sort(records.LINE)
        is_good = pl.Series([True]).new_from_index(0, good.height).scatter(positions, False)
        good = good.filter(is_good)
    if protect := protection_of(contract, conformer.delivered_columns, delimiter):
        raw = [protect(text) for text in quarantined["raw"]]
        quarantined = quarantined.with_columns(pl.Series("raw", raw, dtype=pl.String))
    tally.add(block, found, good, quarantined, mask_of(contract, conformer.delivered_columns, delimiter))
    tally.columns.update(dict.fromkeys(conformer.delivered_columns))
    tally.drift.count(good, conformed.misfits)
    if good.height:
        tally.row_files.append(stem.with_suffix(".rows"))
        hashes.added_to(good).write_ipc(tally.row_files[-1], compression="uncompressed")
    if quarantined.height:
        tally.quarantine_files.append(stem.with_suffix(".quarantine"))
        quarantined.write_ipc(tally.quarantine_files[-1], compression="uncompressed")


def _refuse_if_mostly_bad(store: DeliveryStore, part: Part, tally: "_Tally") -> None:
    rows = tally.loaded + tally.quarantined
    threshold = store.feed.thresholds(part.placement.offload_type).quarantine
    limit = threshold.refuse_above
    if tally.quarantined >= threshold.refuse_from_rows and tally.quarantined > limit * rows:
        reason, count = tally.reasons.most_common(1)[0]
        raise MostlyBad(
            f"{part.key}: {tally.quarantined:,} of the first {rows:,} rows break the contract, more than the limit of "
            f"{limit:.0%}; most often {reason!r} ({count:,} rows), first at line {tally.sample[0][0]:,}. Ask the "
            "vendor, mend the contract, or raise checks.quarantine.refuse_above of the feed.",
            key=part.key,
            rows=rows,
            broken=tally.quarantined,
            reasons=tally.reasons,
            sample=tally.sample,
        )


def _refuse_if_odd(part: Part, tally: "_Tally") -> None:
    """A part may have blank lines and new columns, but not so many that it takes time and space without end."""
    if tally.blank > max(_ALWAYS_READ_BLANK_LINES, tally.lines - tally.blank):
        raise UntrustedPart(
            f"{part.key}: {tally.blank:,} of the first {tally.lines:,} lines are blank. "
            "Ask the vendor what the part is."
        )
    if len(tally.columns) > MOST_COLUMNS:
        raise UntrustedPart(
            f"{part.key}: {len(tally.columns):,} different members, more than the {MOST_COLUMNS:,} that are read. "
            "Ask the vendor what the part is."
        )


@dataclass
class _Tally:
    """Adds up the blocks of one part."""

    contract: Contract
    columns: dict[str, None] = field(default_factory=dict)
    lines: int = 0
    blank: int = 0
    continued: int = 0
    loaded: int = 0
    quarantined: int = 0
    line_feeds: int = 0
    carriage_returns: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    sample: list[tuple[int, list[str], str]] = field(default_factory=list)
    row_files: list[Path] = field(default_factory=list)
    quarantine_files: list[Path] = field(default_factory=list)
    drift: DriftCounter = field(init=False)

    def __post_init__(self) -> None:
        self.drift = DriftCounter(self.contract)

    def add(
        self,
        block: records.Block,
        found: records.Records,
        good: pl.DataFrame,
        quarantined: pl.DataFrame,
        mask: Callable[[str], str],
    ) -> None:
        self.lines += block.lines
        self.blank += found.blank
        self.continued += found.continued
        self.loaded += good.height
        self.quarantined += quarantined.height
        line_feeds, carriage_returns = block.ends_of_records(found.heights)
        self.line_feeds += line_feeds
        self.carriage_returns += carriage_returns
        if quarantined.height:
            first = quarantined.head(_SAMPLE_ROWS - len(self.sample))
            self.sample += [(line, why, mask(raw)[:_SAMPLE_CHARACTERS]) for line, why, raw in first.rows()]
            self.reasons.update(dict(quarantined["reasons"].explode().value_counts().rows()))

    def all_drift(self, fingerprint: Fingerprint) -> list[Drift]:
        is_mixed = self.carriage_returns != (self.line_feeds if fingerprint.line_end == "CRLF" else 0)
        mixed = [Drift(DriftKind.LINE_END, None, "line ends are mixed: CRLF and LF in one part")]
        return header_drift(fingerprint, self.contract) + (mixed if is_mixed else []) + self.drift.found()


class _NewlineCounter(Iterator[bytes]):
    """Passes chunks on and counts their lines, as an account that is independent of the parser."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._newlines = 0
        self._last = b"\n"

    def __next__(self) -> bytes:
        chunk = next(self._source)
        self._newlines += int(np.count_nonzero(np.frombuffer(chunk, dtype=np.uint8) == ord("\n")))
        self._last = chunk[-1:] or self._last
        return chunk

    @property
    def lines(self) -> int:
        return self._newlines + (self._last != b"\n")


def _file_stem(part: Part) -> str:
    # Positions need not tell apart parts of one delivery that lie in several folders.
    number, file = part.placement.position
    return f"part-{number:05d}-{file:03d}-{sha256(part.key.encode()).hexdigest()[:12]}"
