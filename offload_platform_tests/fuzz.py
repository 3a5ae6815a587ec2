"""Feeds the readers with bytes that are made to reach every branch of them, for as long as is asked for.

Coverage of the code guides the choice, which `atheris` does; it is not among the packages of the lock:

    pip install atheris
    python -m offload_platform_tests.fuzz csv -max_total_time=300

What is found is told with the bytes that show it. Readers: csv, json, header, layout, settings.
"""

import csv
import json
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["offload_platform"]):
    from offload_platform.contracts.deliveries import Places, is_plain
    from offload_platform.landing import json_lines, records
    from offload_platform.landing.decompress import NONE
    from offload_platform.landing.errors import UntrustedPart
    from offload_platform.landing.fingerprint import read_fingerprint
    from offload_platform.quality.json_cells import JsonCells
    from offload_platform.settings import SettingsError, read_settings
    from offload_platform.vendors import vendor_named, vendor_names

    VENDORS = {name: vendor_named(name) for name in vendor_names()}

from offload_platform_tests.landing.test_hostile_parts import agrees, strict

CELLS = JsonCells()
SEGMENTS = VENDORS["sentiance"].contracts["segments"]
PLACES = Places({"clicks": "clicks", "conversions": "in/conversions"}, UTC)
LAYOUTS = [vendor.layout.at(PLACES) for vendor in VENDORS.values()]
FILE = Path(tempfile.mkdtemp()) / "feeds.yaml"


def csv_records(data: bytes) -> None:
    """Rows say what the csv module reads in their raw text, and every line is a row, a reject or blank."""
    columns = tuple("abcd"[: data[0] % 4 + 1]) if data else ("a",)
    block = records.Block(data[1:], 2)
    found = records.parse(block, columns, ",;\t|"[len(data) % 4])
    raws = block.raw(found.rows[records.LINE], found.heights)
    for raw, (*cells, _) in zip(raws, found.rows.iter_rows(), strict=True):
        # Read strictly, as one record: a line end inside quotes is the only one that it may have.
        [again] = csv.reader([raw], delimiter=",;\t|"[len(data) % 4], strict=True)
        assert [cell or None for cell in again] == cells, (raw, cells)


def json_records(data: bytes) -> None:
    """Each line is an object to the reader just where it is one to Python, with the same members."""
    with suppress(UntrustedPart):
        found, _ = json_lines.parse(records.Block(data, 1), CELLS, "part")
        lines = [line for line in data.removesuffix(b"\n").split(b"\n") if line.removesuffix(b"\r")]
        values = [value for line in lines if (value := strict(line)) is not None]
        assert found.rows.height == len(values), found.rejected
        for row, value in zip(found.rows.drop(records.LINE).to_dicts(), values, strict=True):
            assert all(agrees(row[f"wire:{name}"], inner) for name, inner in value.items()), (row, value)


def header(data: bytes) -> None:
    """Any beginning of a part is understood or refused."""
    with suppress(UntrustedPart):
        read_fingerprint(iter([data]), "part.csv", SEGMENTS, compression=NONE)


def layout(data: bytes) -> None:
    """Any key is placed or not, at a time that is one."""
    key = data.decode("utf-8", errors="surrogateescape")
    for one in LAYOUTS:
        one.ignores(key)
        placement = one.place(key) if is_plain(key) else None
        assert placement is None or placement.stamp is None or placement.stamp < datetime(2101, 1, 1, tzinfo=UTC)


def settings(data: bytes) -> None:
    """Any file is a configuration or told to be none."""
    FILE.write_bytes(data)
    with suppress(SettingsError):
        read_settings(FILE)


READERS = {"csv": csv_records, "json": json_records, "header": header, "layout": layout, "settings": settings}
SEEDS = {
    "csv": [b'\x011,2\n"a ""b""\nc",x\r\n\r\n\xff,\x00\n', b'\x02a;b;c\n"', b"\x03x^,\r,\n"],
    "json": [json.dumps({"a": [1, {"b": None}], "c": "é"}).encode() + b'\n{"a":1,"a":2}\n{"x":NaN,}\r\n'],
    "header": [b'\xef\xbb\xbf"user_id";metadata_user_id;segment_id\r\nx', b'{"user_id":1}\n', b"\xff\xfeu"],
    "layout": [
        b"12_08_2018_15_05_54_499/5a689ab0e97b960500002109/moments.5a689ab0e97b960500002109.csv/part-00000.gz",
        b"clicks/2026/03/1/2026-03-01-10-15_2.csv.gz",
        b"MESSAGE/202603/messages_2026-03-01T10-15.txt.gz",
    ],
    "settings": [(Path(__file__).parents[1] / "feeds.example.yaml").read_bytes()],
}


def main() -> None:
    """Run until something is found, or for as long as the options of libFuzzer say."""
    name, *options = sys.argv[1:]
    seeds = Path(tempfile.mkdtemp(prefix="fuzz_"))
    for number, seed in enumerate(SEEDS[name]):
        (seeds / str(number)).write_bytes(seed)
    atheris.Setup([sys.argv[0], *options, str(seeds)], READERS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
