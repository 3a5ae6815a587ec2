"""Damaged gzip or zip is an error and never other bytes; memory stays small whatever is packed."""

import gzip
import io
import zipfile
import zlib
from pathlib import Path

import pytest

from offload_platform.landing.decompress import GZIP, chunks, compression_of
from offload_platform.landing.errors import DamagedBody, UntrustedPart

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
        assert compression_of(file) != GZIP


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
    assert compression_of(file) != GZIP


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


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return packed.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_an_archive_of_one_file_is_read_whatever_it_is_named(file: Path, method: int) -> None:
    assert unpacked(file, zipped(("message.txt", PLAIN), method=method)) == PLAIN
    assert unpacked(file, zipped(("logs/", b""), ("logs/message.csv", PLAIN), method=method)) == PLAIN
    assert compression_of(file) == "zip"


def test_every_flipped_bit_of_an_archive_is_found_or_harmless(file: Path) -> None:
    archive = zipped(("m", PLAIN))
    found = 0
    for bit in range(32, len(archive) * 8, 7):
        flipped = bytearray(archive)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(bytes(flipped))
        try:
            came = b"".join(chunks(file, "a key"))
        except (DamagedBody, UntrustedPart):
            found += 1
        else:
            assert came == PLAIN, f"bit {bit}"
    assert found > len(archive) * 8 / 7 / 2


def test_an_archive_that_is_cut_is_damaged(file: Path) -> None:
    archive = zipped(("m", PLAIN))
    for length in range(4, len(archive), 11):
        assert unpacked(file, archive[:length]) is None, f"cut after {length} bytes"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zipped(), "holds 0 files instead of one"),
        (zipped(("a.csv", PLAIN), ("b.csv", PLAIN)), "holds 2 files instead of one"),
        (zipped(("bomb.csv", bytes(129 << 20))), "packed bytes become more than 134,217,728, as no rows do"),
    ],
)
def test_an_archive_that_is_no_part_is_refused_in_a_sentence(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    with pytest.raises(UntrustedPart, match=f"^a key: .*{said}"):
        list(chunks(file, "a key"))


def test_an_encrypted_archive_is_refused(file: Path) -> None:
    content = bytearray(zipped(("m.csv", PLAIN)))
    # The flag stands in the file's own head and in the archive's list of files.
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + at] |= 1
    file.write_bytes(bytes(content))
    with pytest.raises(UntrustedPart, match="encrypted"):
        list(chunks(file, "a key"))


def test_a_size_that_an_archive_hides_is_found(file: Path) -> None:
    """An archive that says it is small is read no further than that, and its checksum does not fit."""
    content = bytearray(zipped(("m.csv", bytes(5 << 20))))
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.index(mark) + at
        content[start : start + 4] = (1000).to_bytes(4, "little")
    assert unpacked(file, bytes(content)) is None
