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
# Rows of deliveries are packed to a tenth or so, and hardly ever below a hundredth; gzip can do a thousandth.
_LARGEST_RATIO = 200
_ALWAYS_UNPACKED_BYTES = 128 << 20


def compression_of(path: Path) -> str:
    """How a file is compressed, by how it begins."""
    with path.open("rb") as file:
        begin = file.read(4)
    if begin.startswith(GZIP_MAGIC):
        return GZIP
    return ZIP if begin in ZIP_MAGICS else NONE


def chunks(path: Path, key: str) -> Iterator[bytes]:
    """Decompressed bytes in chunks of at most 4 MB, to the end of the last gzip member; plain files as they are.

    Checksum and length of every member are verified, and a member that does not end is an error. An archive (zip) must
    hold one file.

    Raises:
        DamagedBody: naming the object key.
        UntrustedPart: an archive holds no file, several or an encrypted one; or, after 128 MB, there are more than 200
            times as many bytes as there were packed.
    """
    compression = compression_of(path)
    if compression == NONE:
        yield from _read(path)
        return
    packed = path.stat().st_size
    most = max(_ALWAYS_UNPACKED_BYTES, _LARGEST_RATIO * packed)
    unpacked = 0
    for chunk in (_unzipped if compression == ZIP else _gunzipped)(path, key):
        unpacked += len(chunk)
        if unpacked > most:
            raise UntrustedPart(
                f"{key}: {packed:,} packed bytes become more than {most:,}, as no rows do. "
                "Ask the vendor what the part is."
            )
        yield chunk


def _gunzipped(path: Path, key: str) -> Iterator[bytes]:
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
        with zipfile.ZipFile(path) as archive, archive.open(_only_file(archive, key)) as file:
            while chunk := file.read(_LARGEST_OUTPUT):
                yield chunk
    except _DAMAGE_OF_ZIP as error:
        raise DamagedBody(
            f"{key}: the zip archive is damaged, or of an unknown kind ({error}). "
            "Ask the vendor to deliver the part anew."
        ) from error


def _only_file(archive: zipfile.ZipFile, key: str) -> zipfile.ZipInfo:
    files = [member for member in archive.infolist() if not member.is_dir()]
    if len(files) != 1:
        raise UntrustedPart(
            f"{key}: the zip archive holds {len(files):,} files instead of one. Ask the vendor for an archive of each."
        )
    [file] = files
    if file.flag_bits & _ENCRYPTED:
        raise UntrustedPart(f"{key}: the file in the zip archive is encrypted. Ask the vendor for one that is not.")
    return file


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
