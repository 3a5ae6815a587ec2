"""Damaged gzip is an error and never other bytes; memory stays small whatever is packed."""

import gzip
import zlib
from pathlib import Path

import pytest

from offload_platform.landing.decompress import chunks, is_gzip
from offload_platform.landing.errors import DamagedBody

PLAIN = b"".join(b"row %d,%d\r\n" % (i, i * i % 97) for i in range(120))
PACKED = gzip.compress(PLAIN, mtime=0)
SECOND = gzip.compress(b"more\r\n", mtime=0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def unpacked(file: Path, content: bytes) -> bytes | None:
    """What comes out; None where damage is found."""
    file.write_bytes(content)
    try:
        return b"".join(chunks(file, "a key"))
    except DamagedBody:
        return None


def test_damage_is_told_with_the_key_and_the_next_step(file: Path) -> None:
    file.write_bytes(PACKED[:-9])
    with pytest.raises(DamagedBody, match=r"^a key: the gzip stream is cut off .* Ask the vendor"):
        list(chunks(file, "a key"))
    file.write_bytes(PACKED[:-1] + b"x")
    with pytest.raises(DamagedBody, match=r"^a key: the gzip stream is damaged .* Ask the vendor"):
        list(chunks(file, "a key"))


def test_every_flipped_bit_is_found_or_harmless(file: Path) -> None:
    found = 0
    for bit in range(16, len(PACKED) * 8):  # without the magic bytes the file is a plain one
        flipped = bytearray(PACKED)
        flipped[bit // 8] ^= 1 << bit % 8
        came = unpacked(file, bytes(flipped))
        assert came in (None, PLAIN), f"bit {bit}"
        found += came is None
    assert found > len(PACKED) * 7


def test_a_flipped_bit_of_the_magic_bytes_makes_a_plain_file(file: Path) -> None:
    for bit in range(16):
        flipped = bytearray(PACKED)
        flipped[bit // 8] ^= 1 << bit % 8
        assert unpacked(file, bytes(flipped)) == bytes(flipped)
        assert not is_gzip(file)


def test_a_cut_is_found_at_every_byte(file: Path) -> None:
    for length in range(2, len(PACKED)):
        assert unpacked(file, PACKED[:length]) is None, f"cut after {length} bytes"


def test_members_follow_each_other_and_a_cut_is_found_unless_between_them(file: Path) -> None:
    both = PACKED + SECOND
    assert unpacked(file, both) == PLAIN + b"more\r\n"
    for length in range(len(PACKED) + 1, len(both)):
        assert unpacked(file, both[:length]) is None, f"cut after {length} bytes"
    # Nothing in the bytes tells of such a cut: size and ETag do, which are compared when the part is fetched.
    assert unpacked(file, both[: len(PACKED)]) == PLAIN


def test_many_members_and_empty_ones(file: Path) -> None:
    empty = gzip.compress(b"", mtime=0)
    assert unpacked(file, empty) == b""
    assert unpacked(file, (empty + SECOND) * 200) == b"more\r\n" * 200


def test_members_that_straddle_the_read_chunks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1, 2, 7, len(PACKED)):
        monkeypatch.setattr("offload_platform.landing.decompress._CHUNK_BYTES", size)
        assert unpacked(file, PACKED + SECOND + PACKED) == PLAIN + b"more\r\n" + PLAIN
        assert unpacked(file, (PACKED + SECOND)[:-1]) is None


@pytest.mark.parametrize(
    "tail", [b"\0", b"\0" * 512, b"junk", b"\x1f\x8b", b"\x1f\x8b\x08 and junk that goes on and on"]
)
def test_whatever_follows_the_last_member_is_damage(file: Path, tail: bytes) -> None:
    assert unpacked(file, PACKED + tail) is None


def test_header_fields_of_other_packers(file: Path) -> None:
    with gzip.GzipFile(filename="moments.csv", mode="wb", fileobj=file.open("wb"), mtime=1_544_000_000) as packer:
        packer.write(PLAIN)
        inner = packer.fileobj
    inner.close()
    assert b"".join(chunks(file, "a key")) == PLAIN


@pytest.mark.parametrize("content", [b"", b"\x1f", b"a,b\n1,2\n", b"\x8b\x1f"])
def test_plain_files_come_as_they_are(file: Path, content: bytes) -> None:
    assert unpacked(file, content) == content
    assert not is_gzip(file)


def test_zlib_without_gzip_around_it_is_no_gzip(file: Path) -> None:
    content = zlib.compress(PLAIN)
    assert unpacked(file, content) == content


def test_a_bomb_comes_out_in_bounded_chunks(file: Path) -> None:
    size = 96 << 20
    file.write_bytes(gzip.compress(bytes(size), compresslevel=9, mtime=0))
    assert file.stat().st_size < 100_000
    lengths = [len(chunk) for chunk in chunks(file, "a key")]
    assert sum(lengths) == size
    assert max(lengths) <= 4 << 20
