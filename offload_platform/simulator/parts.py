"""Part files as the vendor's job writes them: gzip level 6, without time or name, so equal rows are equal bytes."""

import zlib
from pathlib import Path
from types import TracebackType
from typing import Self

_LEVEL = 6
_GZIP_FORMAT = 16 + zlib.MAX_WBITS


class PartFile:
    """One part that is being written; `key` is its path below the root, `size` its bytes so far."""

    def __init__(self, root: Path, key: str) -> None:
        self.key = key
        self.size = 0
        self._path = root / key
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("wb")
        return self

    def __exit__(self, error: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if error is None:
            self._store(self._compressor.flush())
        self._file.close()

    def write(self, content: bytes) -> None:
        """Append to the uncompressed content."""
        self._store(self._compressor.compress(content))

    def _store(self, compressed: bytes) -> None:
        self.size += self._file.write(compressed)
