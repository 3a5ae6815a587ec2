"""Part files as the vendor's job writes them: gzip level 6, without time or name, so equal rows are equal bytes."""

import uuid
import zlib
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from offload_platform.simulator.faults import Planter, with_broken_bytes
from offload_platform.simulator.manifest import Manifest
from offload_platform.simulator.randomness import Purpose, draw
from offload_platform.simulator.simulation import OFFLOAD_TYPES, Simulation
from offload_platform.simulator.snapshot import epoch_s
from offload_platform.simulator.wire import wire_of

_LEVEL = 6
_GZIP_FORMAT = 16 + zlib.MAX_WBITS


def part_key(simulation: Simulation, stamp: datetime, offload_type: str, part_number: int) -> str:
    """Where a part lies below the root; all parts of one type in one delivery are of one job."""
    folder = f"{stamp:%m_%d_%Y_%H_%M_%S}_{stamp.microsecond // 1000:03d}"
    high, low = (
        int(draw(simulation.seed, Purpose.JOB, epoch_s(stamp), OFFLOAD_TYPES.index(offload_type), half)[0])
        for half in (0, 1)
    )
    job = uuid.UUID(int=high << 64 | low, version=4)
    name = f"part-{part_number:05d}-{job}-c000.csv.gz"
    return f"{folder}/{simulation.app_id}/{offload_type}.{simulation.app_id}.csv/{name}"


class Part:
    """One part that is being written. `rows` counts the rows so far, `size` the stored bytes."""

    def __init__(
        self,
        simulation: Simulation,
        stamp: datetime,
        offload_type: str,
        part_number: int,
        root: Path,
        manifest: Manifest,
    ) -> None:
        self.key = part_key(simulation, stamp, offload_type, part_number)
        self.stamp = stamp
        self.offload_type = offload_type
        self.rows = 0
        self.size = 0
        self._wire = wire_of(simulation, offload_type, stamp)
        self._planter = Planter(simulation, stamp, self._wire, part_number)
        self._path = root / self.key
        self._manifest = manifest
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
        self._has_header = False

    @property
    def planted(self) -> int:
        """Broken rows so far."""
        return self._planter.planted

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("wb")
        self._manifest.add_drifts(self.key, self.offload_type, self._wire.drifts)
        return self

    def __exit__(self, error: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if error is None:
            self.size += self._file.write(self._compressor.flush())
        self._file.close()

    def write(self, cells: pl.DataFrame) -> None:
        """Append rows; the first call writes the header too, whether there are rows or not."""
        cells = self._wire.shaped(cells, self.rows)
        if not self._has_header:
            self._store(self._wire.header(cells.columns).encode())
            self._has_header = True
        if cells.is_empty():
            return
        lines, planted = self._planter.plant(cells, self._wire.lines(cells), self.rows)
        content: bytes = lines.str.join(self._wire.line_end).cast(pl.Binary)[0]
        self._store(with_broken_bytes(content) if planted else content)
        self._store(self._wire.line_end.encode())
        self._manifest.add_planted(self.key, self.offload_type, planted)
        self.rows += len(cells)

    def _store(self, content: bytes) -> None:
        self.size += self._file.write(self._compressor.compress(content))
