"""Bytes of a fetched part, decompressed. Compression is told by its magic bytes, never by the object's name."""

from collections.abc import Iterator
from pathlib import Path

from isal import isal_zlib

from offload_platform.landing.errors import DamagedBody

GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 18
_LARGEST_OUTPUT = 4 << 20
_GZIP_WINDOW = 31


def is_gzip(path: Path) -> bool:
    """Whether a file begins like gzip."""
    with path.open("rb") as file:
        return file.read(2) == GZIP_MAGIC


def chunks(path: Path, key: str) -> Iterator[bytes]:
    """Decompressed bytes in chunks of at most 4 MB, to the end of the last gzip member; plain files as they are.

    Checksum and length of every member are verified, and a member that does not end is an error.

    Raises:
        DamagedBody: naming the object key.
    """
    if not is_gzip(path):
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


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
