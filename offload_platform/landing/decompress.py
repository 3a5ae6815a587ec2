"""Bytes of a fetched part, decompressed. Compression is told by its magic bytes, never by the object's name."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from isal import isal_zlib

from offload_platform.landing.errors import DamagedBody, UntrustedPart

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
"""How an archive begins; the second one is of an archive without a file."""
_DAMAGE_OF_ZIP = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    # Where a flipped bit makes a length, an offset or a name that cannot be.
    *(EOFError, NotImplementedError, OSError, RuntimeError, ValueError),
)
GZIP, ZIP, NONE = "gzip", "zip", "none"
_CHUNK_BYTES = 1 << 18
_LARGEST_OUTPUT = 4 << 20
_GZIP_WINDOW = 31
_ENCRYPTED = 0x1
_UNSUSPICIOUS_BYTES = 64 << 20
_MOST_TIMES_UNPACKED = 200
"""Logs shrink to a tenth or a thirtieth; what shrinks to less than a two-hundredth was made to fill a disk."""


def compression_of(path: Path) -> str:
    """How a file is compressed, by how it begins."""
    with path.open("rb") as file:
        begin = file.read(4)
    if begin.startswith(GZIP_MAGIC):
        return GZIP
    return ZIP if begin in ZIP_MAGICS else NONE


def is_gzip(path: Path) -> bool:
    """Whether a file begins like gzip."""
    return compression_of(path) == GZIP


def chunks(path: Path, key: str) -> Iterator[bytes]:
    """Decompressed bytes in chunks of at most 4 MB, to the end of the last gzip member; plain files as they are.

    Checksum and length of every member are verified, and a member that does not end is an error. An archive (zip) must
    hold one file.

    Raises:
        DamagedBody: naming the object key.
        UntrustedPart: an archive holds no file, several or an encrypted one, or unpacks to far more than logs do.
    """
    compression = compression_of(path)
    if compression == ZIP:
        yield from _unzipped(path, key)
        return
    if compression == NONE:
        yield from _read(path)
        return
    member = isal_zlib.decompressobj(_GZIP_WINDOW)
    started = False
    try:
        for compressed in _read(path):
            while compressed:
                out = member.decompress(compressed, _LARGEST_OUTPUT)
                started = True
                if out:
                    yield out
                if member.eof:
                    compressed = member.unused_data
                    member = isal_zlib.decompressobj(_GZIP_WINDOW)
                    started = False
                else:
                    compressed = member.unconsumed_tail
        if started:
            tail = member.flush()
            if tail:
                yield tail
            if not member.eof:
                raise DamagedBody(
                    f"{key}: the gzip stream is cut off before its end. Ask the vendor to deliver the part anew."
                )
    except isal_zlib.error as error:  # type: ignore[misc]
        raise DamagedBody(
            f"{key}: the gzip stream is damaged ({error}). Ask the vendor to deliver the part anew."
        ) from error


def _unzipped(path: Path, key: str) -> Iterator[bytes]:
    """The one file of an archive; `zipfile` reads no more of it than the archive says, and compares its checksum."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_only_file(archive, path, key)) as file:
            while chunk := file.read(_LARGEST_OUTPUT):
                yield chunk
    except _DAMAGE_OF_ZIP as error:
        raise DamagedBody(
            f"{key}: the zip archive is damaged, or of an unknown kind ({error}). "
            "Ask the vendor to deliver the part anew."
        ) from error


def _only_file(archive: zipfile.ZipFile, path: Path, key: str) -> zipfile.ZipInfo:
    files = [member for member in archive.infolist() if not member.is_dir()]
    if len(files) != 1:
        raise UntrustedPart(
            f"{key}: the zip archive holds {len(files):,} files instead of one. Ask the vendor for an archive of each."
        )
    [file] = files
    if file.flag_bits & _ENCRYPTED:
        raise UntrustedPart(f"{key}: the file in the zip archive is encrypted. Ask the vendor for one that is not.")
    if file.file_size > max(_UNSUSPICIOUS_BYTES, _MOST_TIMES_UNPACKED * path.stat().st_size):
        raise UntrustedPart(
            f"{key}: the zip archive would unpack to {file.file_size:,} bytes, more than {_MOST_TIMES_UNPACKED} times "
            "its size, so it is not read. Ask the vendor what it is."
        )
    return file


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
