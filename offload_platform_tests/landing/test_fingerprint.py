"""What the first bytes of a part say: read around what is harmless and report it, refuse the rest."""

import pytest

from offload_platform.landing.errors import UntrustedPart
from offload_platform.landing.fingerprint import Fingerprint, header_drift, read_fingerprint
from offload_platform.quality.drift import DriftKind
from offload_platform.vendors import vendor_named

SEGMENTS = vendor_named("sentiance").contracts["segments"]
MOMENTS = vendor_named("sentiance").contracts["moments"]
WIDE = vendor_named("sentiance").contracts["attributes.wide"]
COLUMNS = ("user_id", "metadata_user_id", "segment_id")
HEADER = ",".join(COLUMNS).encode()


def fingerprint(content: bytes, chunk: int = 1 << 18, compressed: bool = True) -> tuple[Fingerprint, bytes]:
    """The fingerprint of a part of segments, and all bytes after the header."""
    chunks = iter([content[i : i + chunk] for i in range(0, len(content), chunk)])
    found, rest = read_fingerprint(chunks, "a key", SEGMENTS, compression="gzip" if compressed else "none")
    return found, rest + b"".join(chunks)


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_usual_header_and_the_bytes_after_it(chunk: int) -> None:
    assert fingerprint(HEADER + b"\r\n1,,a\r\n2", chunk) == (
        Fingerprint(COLUMNS, ",", "CRLF", False, "gzip"),
        b"1,,a\r\n2",
    )
    assert fingerprint(HEADER + b"\n1,,a\n", chunk) == (Fingerprint(COLUMNS, ",", "LF", False, "gzip"), b"1,,a\n")
    assert fingerprint(HEADER, chunk) == (Fingerprint(COLUMNS, ",", "none", False, "gzip"), b"")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_the_one_that_gives_known_names(delimiter: str) -> None:
    found, _ = fingerprint(HEADER.replace(b",", delimiter.encode()) + b"\n")
    assert (found.columns, found.delimiter) == (COLUMNS, delimiter)
    drift = [d.kind for d in header_drift(found, SEGMENTS)]
    assert drift == ([] if delimiter == "," else [DriftKind.DELIMITER])


def test_names_are_read_as_csv_and_without_blanks_around_them() -> None:
    found, _ = fingerprint(b'"user_id" , metadata_user_id,"segment_id","a ""new"", one"\n')
    assert found.columns == (*COLUMNS, 'a "new", one')


def test_byte_order_mark_is_no_part_of_the_first_name() -> None:
    for chunk in (1, 1000):
        found, _ = fingerprint(b"\xef\xbb\xbf" + HEADER + b"\n", chunk)
        assert found.columns == COLUMNS
        assert [d.kind for d in header_drift(found, SEGMENTS)] == [DriftKind.BYTE_ORDER_MARK]


def drift_of(*columns: str, contract: object = MOMENTS) -> list[tuple[DriftKind, str | None]]:
    found = header_drift(Fingerprint(columns, ",", "CRLF", False, "gzip"), contract)  # type: ignore[arg-type]
    return [(d.kind, d.column) for d in found]


def test_drift_of_columns() -> None:
    known = MOMENTS.wire_columns
    assert drift_of(*known) == []
    assert drift_of(*known, "zeta", "alpha") == [
        (DriftKind.UNKNOWN_COLUMN, "zeta"),
        (DriftKind.UNKNOWN_COLUMN, "alpha"),
    ]
    assert drift_of(*(c for c in known if c not in ("duration", "meta"))) == [
        (DriftKind.MISSING_COLUMN, "meta"),
        (DriftKind.MISSING_COLUMN, "duration"),
    ]
    assert drift_of(known[1], known[0], *known[2:]) == [(DriftKind.COLUMN_ORDER, known[1])]
    assert drift_of("new", *known) == [(DriftKind.UNKNOWN_COLUMN, "new")]


def test_wide_columns_have_no_order_and_those_that_are_gone_are_not_missed() -> None:
    expected = [c for c in WIDE.wire_columns if c in WIDE.expected_wire_columns]
    assert len(expected) < len(WIDE.wire_columns)
    assert drift_of(*reversed(expected), contract=WIDE) == []


def test_compression_is_compared_with_the_contract() -> None:
    plain, _ = fingerprint(HEADER + b"\n", compressed=False)
    (drift,) = header_drift(plain, SEGMENTS)
    assert (drift.kind, drift.detail) == (DriftKind.COMPRESSION, "none instead of gzip")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the part is empty, not even a header"),
        (b"\xef\xbb\xbf", "line 1: no header"),
        (b"\n" + HEADER + b"\n", "line 1: no header"),
        (b"5a689ab0e97b960500002109,,home\n", "line 1: no header: none of its 3 fields is a column of segments. Ask"),
        (HEADER.decode().encode("utf-16"), "line 1: the part is UTF-16"),
        (b"\xfe\xff" + HEADER.decode().encode("utf-16-be"), "line 1: the part is UTF-16"),
        (HEADER.decode().encode("utf-16-le"), "line 1: no header"),
        (b"\x00\x00\xfe\xff" + HEADER.decode().encode("utf-32-be"), "line 1: the part is UTF-32"),
        (b"user_id,segment_id,st\xe4dt\n", r"line 1: the header is not UTF-8 \(byte 22\)"),
        (HEADER + b"\r1,,a\r2,,b\r", "line 1: the header is not CSV with lines that end in LF or CRLF"),
        (b"x" * (2 << 20), "line 1 is longer than"),
        (b"user_id,segment_id,user_id\n", "line 1: column 'user_id' stands twice"),
        (b"user_id,metadata_user_id\n1,\n", "line 1: column 'segment_id' is missing"),
        (b"segment_id,User_Id\n", "line 1: column 'user_id' is missing"),
    ],
)
@pytest.mark.parametrize("chunk", [5, 1 << 18])
def test_a_part_without_a_usable_header_is_refused(content: bytes, message: str, chunk: int) -> None:
    with pytest.raises(UntrustedPart, match=f"^a key: {message}"):
        fingerprint(content, chunk if len(content) < 1000 else 1 << 18)
