"""Part files as the vendor's job writes them: gzip level 6, without time or name, so equal rows are equal bytes."""

import zlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from offload_platform.simulator.faults import Planter, with_broken_bytes
from offload_platform.simulator.manifest import Manifest
from offload_platform.simulator.wire import Wire

_LEVEL = 6
_GZIP_FORMAT = 16 + zlib.MAX_WBITS


@dataclass(frozen=True)
class Written:
    """A finished part: its key below the root, the stamp of its delivery, rows, the `planted` among them, and bytes."""

    key: str
    offload_type: str
    stamp: datetime
    rows: int
    planted: int
    size: int


class Part:
    """One part that is being written."""

    def __init__(self, key: str, stamp: datetime, wire: Wire, planter: Planter, root: Path, manifest: Manifest) -> None:
        self._key = key
        self._stamp = stamp
        self._wire = wire
        self._planter = planter
        self._path = root / key
        self._manifest = manifest
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
        self._has_header = False
        self._rows = 0
        self._size = 0

    @property
    def written(self) -> Written:
        """What is in the part; its size is known when it is closed."""
        return Written(self._key, self._wire.offload_type, self._stamp, self._rows, self._planter.planted, self._size)

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("wb")
        self._manifest.add_drifts(self._key, self._wire.offload_type, self._wire.drifts)
        return self

    def __exit__(self, error: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if error is None:
            self._size += self._file.write(self._compressor.flush())
        self._file.close()

    def write(self, cells: pl.DataFrame) -> None:
        """Append rows; the first call writes the header too, whether there are rows or not."""
        cells = self._wire.shaped(cells, self._rows)
        if not self._has_header:
            self._store(self._wire.header(cells.columns).encode())
            self._has_header = True
        if cells.is_empty():
            return
        lines, planted = self._planter.plant(cells, self._wire.lines(cells), self._rows)
        content: bytes = lines.str.join(self._wire.line_end).cast(pl.Binary)[0]
        self._store(with_broken_bytes(content) if planted else content)
        self._store(self._wire.line_end.encode())
        self._manifest.add_planted(self._key, self._wire.offload_type, self._wire.first_line, planted)
        self._rows += len(cells)

    def _store(self, content: bytes) -> None:
        self._size += self._file.write(self._compressor.compress(content))
