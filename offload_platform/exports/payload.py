"""The file of a slot: CSV as in RFC 4180 (UTF-8, header, line feeds), gzipped. The same rows make the same bytes."""

import csv
import gzip
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from offload_platform.exports.errors import RowsDiffer
from offload_platform.exports.selection import header_line
from offload_platform.landing.records import LONGEST_LINE_BYTES
from offload_platform.warehouse.publish import flush

_LEVEL = 6


@dataclass(frozen=True)
class Payload:
    """A file that is made: rows without the header, size in bytes, and SHA-256 in hexadecimal digits."""

    rows: int
    bytes: int
    sha256: str


def write_payload(target: Path, columns: Sequence[str], lines: Iterable[Sequence[str]]) -> Payload:
    """Write a file, and read it again with another reader than the one that has made its lines."""
    with target.open("wb") as file, gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as zipped:
        zipped.write(f"{header_line(columns)}\n".encode())
        for some in lines:
            zipped.write("".join(f"{line}\n" for line in some).encode())
    flush(target)
    return Payload(_count(target, columns), target.stat().st_size, sha256_of(target))


def unzipped(file: Path) -> BinaryIO:
    """A file, open to be read as the text that it holds, in UTF-8."""
    return cast(BinaryIO, gzip.open(file))


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _count(file: Path, columns: Sequence[str]) -> int:
    """Rows in a file.

    Raises:
        RowsDiffer: it is not the CSV that it should be.
    """
    # Shared by all readers of the process, and too small by default. Lists take more room than they were delivered in.
    csv.field_size_limit(4 * LONGEST_LINE_BYTES)
    with unzipped(file) as content, io.TextIOWrapper(content, encoding="utf-8", newline="") as text:
        reader = csv.reader(text, strict=True)
        if tuple(next(reader, ())) != tuple(columns):
            raise RowsDiffer(f"{file.name} has another header than {', '.join(columns)}; it was not sent")
        rows = 0
        for rows, cells in enumerate(reader, 1):
            if len(cells) != len(columns):
                raise RowsDiffer(
                    f"{file.name}: record {rows} has {len(cells)} cells and not {len(columns)}; it was not sent"
                )
    return rows
