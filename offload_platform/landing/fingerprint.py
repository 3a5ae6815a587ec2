"""The fingerprint of a part: header, delimiter, line end, encoding and compression, read before any row is parsed.

Everything that silently spoils a load elsewhere (another delimiter, a byte-order mark, swapped columns, a missing
header) is decided here: read around it and report it, or refuse the part.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from offload_platform.contracts.contract import Contract
from offload_platform.landing.errors import UntrustedPart
from offload_platform.quality.drift import Drift, DriftKind

DELIMITERS = (",", ";", "\t", "|")
_SAID_JSON = re.compile(r"\.json(?:/|\.|$)")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00": "UTF-32"}
_LONGEST_HEADER = 1 << 20
MOST_COLUMNS = 5_000


@dataclass(frozen=True)
class Fingerprint:
    """What the first bytes of a part say about the rest. `columns` are the delivered names in delivered order, each as
    the contract reads it.

    JSON lines have no header and no `delimiter`; their columns are known when all lines have been read.
    """

    columns: tuple[str, ...]
    delimiter: str
    line_end: str
    has_byte_order_mark: bool
    compression: str
    has_header: bool = True

    @property
    def is_json(self) -> bool:
        """Whether the part holds JSON lines, whatever its name says."""
        return not self.delimiter


def read_fingerprint(
    chunks: Iterator[bytes], key: str, contract: Contract, *, compression: str, columns: tuple[str, ...] = ()
) -> tuple[Fingerprint, bytes]:
    """Read the header of a part; returns the fingerprint and the bytes that were read past the header.

    `columns` are those of a part without a header; one that has a header is read by it all the same.

    Raises:
        UntrustedPart: when the part has no usable header; the message names the object key and line 1.
    """
    head = b""
    for chunk in chunks:
        head += chunk
        if b"\n" in chunk or len(head) > _LONGEST_HEADER:
            break
    said_json = _SAID_JSON.search(key) is not None
    if not head and (said_json or columns or contract.wire.may_be_empty):
        return Fingerprint((), "", "none", False, compression, has_header=False), head
    if not head:
        raise UntrustedPart(f"{key}: the part is empty, not even a header. Ask the vendor to deliver it anew.")
    for mark, encoding in _OTHER_ENCODINGS.items():
        if head.startswith(mark):
            raise UntrustedPart(f"{key}: line 1: the part is {encoding}, not UTF-8. Ask the vendor for UTF-8.")
    has_mark = head.startswith(_BYTE_ORDER_MARK)
    head = head.removeprefix(_BYTE_ORDER_MARK)
    # Of a part that is said to be JSON lines, a first line that is no header is a line like any other, if broken.
    if head.lstrip()[:1] == b"{" or (said_json and not _is_header(head, contract)):
        line_end = "CRLF" if b"\r\n" in head else "LF"
        return Fingerprint((), "", line_end, has_mark, compression, has_header=False), head
    line, newline, rest = head.partition(b"\n")
    if len(line) > _LONGEST_HEADER:
        raise UntrustedPart(f"{key}: line 1 is longer than {_LONGEST_HEADER:,} bytes, so it is no header.")
    line_end = "CRLF" if line.endswith(b"\r") else "LF"
    try:
        header = line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise UntrustedPart(f"{key}: line 1: the header is not UTF-8 (byte {error.start + 1}).") from error
    try:
        delimiter, delivered = _columns(header, contract)
        if columns and not _names_columns(delivered, contract):
            delimiter = _delimiter_of_a_row(header, len(columns), contract, key)
            said = (contract.read_as(columns), delimiter, line_end if newline else "none", has_mark)
            return Fingerprint(*said, compression, has_header=False), head
    except csv.Error as error:
        raise UntrustedPart(
            f"{key}: line 1: the header is not CSV with lines that end in LF or CRLF ({error}). "
            "Ask the vendor to deliver the part anew."
        ) from error
    _refuse_unusable(key, delivered, contract)
    return (
        Fingerprint(
            contract.read_as(delivered),
            delimiter,
            line_end if newline else "none",
            has_mark,
            compression,
        ),
        rest,
    )


def header_drift(fingerprint: Fingerprint, contract: Contract) -> list[Drift]:
    """Differences between a part's fingerprint and the contract."""
    delivered, known = set(fingerprint.columns), set(contract.wire_columns)
    is_empty = fingerprint.is_json and not delivered
    unknown = [c for c in fingerprint.columns if c not in contract.known_wire_columns]
    kept = "kept in extra" if contract.unknown_column is not None else "not kept"
    drift = [Drift(DriftKind.UNKNOWN_COLUMN, c, kept) for c in unknown]
    missing = contract.expected_wire_columns - delivered
    if not is_empty:
        drift += [Drift(DriftKind.MISSING_COLUMN, c, "read as null") for c in contract.wire_columns if c in missing]
    expected_order = [c for c in contract.wire_columns if c in delivered]
    delivered_order = [c for c in fingerprint.columns if c in known]
    if contract.wire.ordered and not fingerprint.is_json and expected_order != delivered_order:
        moved = next(d for d, e in zip(delivered_order, expected_order, strict=True) if d != e)
        drift.append(Drift(DriftKind.COLUMN_ORDER, moved, "columns are bound by name; first column out of place"))
    if not fingerprint.is_json and fingerprint.delimiter != contract.wire.delimiter:
        drift.append(
            Drift(DriftKind.DELIMITER, None, f"{fingerprint.delimiter!r} instead of {contract.wire.delimiter!r}")
        )
    if contract.wire.compression not in (None, fingerprint.compression):
        drift.append(
            Drift(DriftKind.COMPRESSION, None, f"{fingerprint.compression} instead of {contract.wire.compression}")
        )
    if fingerprint.has_byte_order_mark:
        drift.append(Drift(DriftKind.BYTE_ORDER_MARK, None, "UTF-8 byte-order mark before the header"))
    return drift


def _is_header(head: bytes, contract: Contract) -> bool:
    line = head.partition(b"\n")[0].decode("utf-8", errors="replace")
    try:
        return not set(_columns(line, contract)[1]).isdisjoint(contract.wire_columns)
    except csv.Error:
        return False


def _columns(header: str, contract: Contract) -> tuple[str, tuple[str, ...]]:
    """The delimiter under which most names of the header are names of the contract, and the names."""
    known = contract.known_wire_columns

    def names(delimiter: str) -> tuple[str, ...]:
        fields = next(csv.reader([header], delimiter=delimiter), [])
        return tuple(name.strip() for name in fields)

    order = (contract.wire.delimiter, *(d for d in DELIMITERS if d != contract.wire.delimiter))
    best = max(order, key=lambda d: sum(name in known for name in names(d)))
    return best, names(best)


def _names_columns(fields: tuple[str, ...], contract: Contract) -> bool:
    """Whether the fields of a first line are names: a row may hold the name of a column by chance, but not of most."""
    return 2 * sum(field in contract.known_wire_columns for field in fields) > len(fields)


def _delimiter_of_a_row(row: str, fields: int, contract: Contract, key: str) -> str:
    """The delimiter under which a first line that is no header has as many fields as the feed names columns."""
    for delimiter in (contract.wire.delimiter, *DELIMITERS):
        if len(next(csv.reader([row], delimiter=delimiter), [])) == fields:
            return delimiter
    raise UntrustedPart(
        f"{key}: line 1: no header, and not the {fields:,} fields that `columns` of the feed names for "
        f"{contract.offload_type}. Ask the vendor for the order of the columns, and write it there."
    )


def _refuse_unusable(key: str, columns: tuple[str, ...], contract: Contract) -> None:
    if not any(name in contract.known_wire_columns for name in columns):
        # Without a header the line is a row, and a row does not belong into logs and messages.
        raise UntrustedPart(
            f"{key}: line 1: no header: none of its {len(columns):,} fields is a column of {contract.offload_type}. "
            "Ask the vendor to deliver the part with its header, or name its columns under `columns` of the feed."
        )
    if len(columns) > MOST_COLUMNS:
        raise UntrustedPart(
            f"{key}: line 1: {len(columns):,} columns, more than the {MOST_COLUMNS:,} that are read. "
            "Ask the vendor what the part is."
        )
    if doubled := sorted(name for name, times in Counter(columns).items() if times > 1):
        raise UntrustedPart(
            f"{key}: line 1: column {doubled[0]!r} stands twice in the header, so its value is unclear."
        )
    if missing := contract.missing_wire_columns(columns):
        raise UntrustedPart(
            f"{key}: line 1: column {missing[0]!r} is missing, without which no row keeps the contract of "
            f"{contract.offload_type}. Ask the vendor, or change the contract."
        )
