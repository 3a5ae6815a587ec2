"""Bytes of a fetched part, decompressed. Compression is told by its magic bytes, never by the object's name."""

from collections.abc import Iterator
from pathlib import Path

from isal import isal_zlib

from offload_platform.landing.errors import DamagedBody, UntrustedPart

GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 18
_LARGEST_OUTPUT = 4 << 20
_GZIP_WINDOW = 31
# Rows of deliveries are packed to a tenth or so, and hardly ever below a hundredth; gzip can do a thousandth.
_LARGEST_RATIO = 200
_ALWAYS_UNPACKED_BYTES = 256 << 20


def is_gzip(path: Path) -> bool:
    """Whether a file begins like gzip."""
    with path.open("rb") as file:
        return file.read(2) == GZIP_MAGIC


def chunks(path: Path, key: str) -> Iterator[bytes]:
    """Decompressed bytes in chunks of at most 4 MB, to the end of the last gzip member; plain files as they are.

    Checksum and length of every member are verified, and a member that does not end is an error.

    Raises:
        DamagedBody: naming the object key.
        UntrustedPart: after 256 MB, when there are more than 200 times as many bytes as there were packed.
    """
    if not is_gzip(path):
        yield from _read(path)
        return
    member = isal_zlib.decompressobj(_GZIP_WINDOW)
    started = False
    most = max(_ALWAYS_UNPACKED_BYTES, _LARGEST_RATIO * path.stat().st_size)
    unpacked = 0
    try:
        for compressed in _read(path):
            while compressed:
                out = member.decompress(compressed, _LARGEST_OUTPUT)
                started = True
                unpacked += len(out)
                if unpacked > most:
                    raise UntrustedPart(
                        f"{key}: {path.stat().st_size:,} packed bytes become more than {most:,}, as no rows do. "
                        "Ask the vendor what the part is."
                    )
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
