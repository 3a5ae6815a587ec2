"""Keys as S3 lets anybody write them: named as unrecognised, never read, never a reason not to load the rest."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import boto3
import pytest
from botocore.config import Config
from hypothesis import example, given, settings
from hypothesis import strategies as st

from offload_platform.contracts.deliveries import Part, Placement, Places, Role, StoredObject, is_plain, shown
from offload_platform.landing import staging
from offload_platform.landing.deliveries import discover
from offload_platform.landing.staging import stage
from offload_platform.landing.store import DeliveryStore
from offload_platform.landing.watch import Memory, look
from offload_platform.settings import Feed
from offload_platform.simulator.object_store import REGION, ObjectStoreServer
from offload_platform.vendors import vendor_named, vendor_names

from ..conftest import CLIENT_PROFILE, VendorFolder, contract_of

MakeFeed = Callable[..., Feed]
APP = "5a689ab0e97b960500002109"
GOOD = f"12_08_2018_15_05_54_499/{APP}/segments.{APP}.csv/part-00000.gz"
ODD = [
    "../../etc/passwd",
    "../_mapping/user_external.csv",
    "./x",
    "a//_mapping/user_external.csv",
    "/x",
    "\x1b[31mred/_mapping/user_external.csv",
    "line\nbreak",
    "tab\there",
    "\u202eevil",
    "\x9b2J",
    "k" * 1000,
    GOOD + "\n",
    GOOD.replace("part", "../part"),
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "[red]x[/red]",
]


def stored(key: str) -> StoredObject:
    return StoredObject(key, 1, "e", datetime(2019, 1, 1, tzinfo=UTC))


@pytest.fixture
def feed(feed_of: MakeFeed) -> Feed:
    return feed_of("s3://offloads/acme", types=("segments",), cadence={"lifestyle": "weekly", "mapping": "daily"})


def test_odd_keys_are_unrecognised_and_can_be_shown(feed_of: MakeFeed) -> None:
    feed = feed_of("s3://offloads/acme", types=("segments",))
    found = discover(feed, [stored(GOOD), *map(stored, ODD)])
    assert [part.key for delivery in found.deliveries for part in delivery.parts] == [GOOD]
    assert len(found.unrecognised) == len(ODD)
    assert all(key.isprintable() for key in found.unrecognised)
    assert "\\x1b[31mred/_mapping/user_external.csv" in found.unrecognised


@pytest.mark.parametrize("key", [GOOD, "é/ü", "a b", "a%2e%2e/b", "\\x1b"])
def test_plain_keys_stay_what_they_are(key: str) -> None:
    assert is_plain(key)
    assert shown(key) == key


@pytest.mark.parametrize("key", [*ODD, GOOD])
def test_no_key_is_part_of_a_path(key: str) -> None:
    placement = Placement("folder", None, "mapping", None, "mapping", Role.PART)
    assert re.fullmatch(r"part-00000-000-[0-9a-f]{12}", staging._file_stem(Part(stored(key), placement)))


# S3


class Listing(BaseHTTPRequestHandler):
    """Answers every listing with all odd keys, as S3 would; no server at hand would take them all."""

    asked: list[str]

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        type(self).asked.append(query["prefix"][0])
        as_url = query.get("encoding-type") == ["url"]
        keys = [f"acme/{key}" for key in (GOOD, *ODD)]
        entries = "".join(
            f"<Contents><Key>{quote(key) if as_url else escaped(key)}</Key><LastModified>2019-01-01T00:00:00.000Z"
            '</LastModified><ETag>"e"</ETag><Size>1</Size></Contents>'
            for key in keys
        )
        folders = "".join(
            f"<CommonPrefixes><Prefix>{quote(key) if as_url else escaped(key)}</Prefix></CommonPrefixes>"
            for key in ("acme/good/", "acme/../", "acme//", "acme/\x1b[2J/")
        )
        listed = folders if "delimiter" in query else entries
        coding = "<EncodingType>url</EncodingType>" if as_url else ""
        body = f"<ListBucketResult>{coding}<IsTruncated>false</IsTruncated>{listed}</ListBucketResult>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def escaped(key: str) -> str:
    """What XML can say of a key; most control characters have no form in it."""
    return "".join(c if c.isprintable() and c not in "<&" else f"&#{ord(c)};" for c in key)


@pytest.fixture
def listing() -> Iterator[str]:
    Listing.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Listing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_listing_with_any_keys_is_read_whole(listing: str, feed_of: MakeFeed) -> None:
    feed = feed_of("s3://offloads/acme", endpoint_url=listing, region=REGION, types=("segments",))
    store = DeliveryStore(feed, boto3.Session("key", "secret", region_name=REGION))
    assert [one.key for one in store.list_objects()] == sorted([GOOD, *ODD])
    assert store.list_folders() == ["good"]
    assert set(Listing.asked) == {"acme/"}
    assert look(store, Memory(), datetime.now(UTC), lambda *_: None).memory.model_dump_json()


def test_one_odd_key_in_a_bucket_keeps_nothing_from_being_loaded(
    object_store: ObjectStoreServer, feed_of: MakeFeed, vendor_folder: VendorFolder, tmp_path: Path
) -> None:
    vendor_folder.part("2018-12-08", [f"{APP},,a"])
    object_store.upload_folder(vendor_folder.root, "acme/odd")
    admin = boto3.client(
        "s3",
        endpoint_url=object_store.url,
        region_name=REGION,
        aws_access_key_id=object_store.admin.access_key,
        aws_secret_access_key=object_store.admin.secret_key,
        config=Config(s3={"addressing_style": "path"}),
    )
    for key in ("acme/odd/line\nbreak", "acme/odd/tab\t/x", "acme/odd/\x1b[31mred"):
        admin.put_object(Bucket="offloads", Key=key, Body=b"x")
    feed = feed_of(
        "s3://offloads/acme/odd",
        endpoint_url=object_store.url,
        region=REGION,
        aws_profile=CLIENT_PROFILE,
        types=("segments",),
    )
    found = discover(feed, DeliveryStore(feed).list_objects())
    assert "line\\nbreak" in found.unrecognised
    assert len(found.unrecognised) == 3
    [delivery] = found.deliveries
    spool = tmp_path / "staged"
    spool.mkdir()
    assert stage(DeliveryStore(feed), delivery, contract_of("segments"), spool).loaded == 1


# Folders on disk


def test_one_odd_name_in_a_folder_keeps_nothing_from_being_loaded(
    vendor_folder: VendorFolder, feed_of: MakeFeed
) -> None:
    vendor_folder.part("2018-12-08", [f"{APP},,a"])
    for name in (b"line\nbreak", b"\x1b[31mred", b"no text \xff"):
        folder = os.fsencode(vendor_folder.root) + b"/" + name
        os.mkdir(folder)  # noqa: PTH102 (a path of bytes)
        Path(os.fsdecode(folder + b"/file")).write_bytes(b"x")
    feed = feed_of(vendor_folder.url, types=("segments",))
    store = DeliveryStore(feed)
    found = discover(feed, store.list_objects())
    assert len(found.deliveries) == 1
    assert found.unrecognised == ("\\x1b[31mred/file", "line\\nbreak/file", "no text \\udcff/file")
    assert len(store.list_folders()) == 1
    assert look(store, Memory(), datetime.now(UTC), lambda *_: None).memory.model_dump_json()


# Names of all vendors

PLACES = Places({"clicks": "clicks", "conversions": "in/conversions"}, UTC)
LAYOUTS = [vendor_named(name).layout.at(PLACES) for name in vendor_names()]
steps = st.sampled_from(
    [
        *("12_08_2018_15_05_54_499", "2018_12_07_9f01c2e1-1559-4f3f-af33-0551a754ba4d", "02_30_2019_15_05_54_499"),
        *(APP, f"segments.{APP}.csv", f"scores_realtime.{APP}.json", "part-00000.gz", "_SUCCESS", "part-99999.csv"),
        *("_mapping", "user_external.csv", "clicks", "in", "conversions", "2026", "12", "31", "2", "9" * 400),
        *(
            "2026-12-31-23-59.csv.gz",
            "2026-12-31-23-59_2.csv",
            f"2026-12-31-23-59-{'9' * 400}.csv.gz",
            "2026-02-30-1-1.gz",
        ),
        *(
            "2026-02-30-1-1.gz",
            "..",
            ".",
            "",
            "\n",
            "\x1b",
            "١٢_٠٨_٢٠١٨_١٥_٠٥_٥٤_٤٩٩",
            "2026-12-31-24-60.csv",
            "part-٠٠٠٠٠.gz",
            "MESSAGE",
            "202612",
            "MESSAGE_20261231T235959Z.txt.zip",
            "MESSAGE_20261231T235960Z.txt",
            "MESSAGE_٢٠٢٦١٢٣١.csv",
        ),
    ]
)
GOOD_KEYS = [
    GOOD,
    f"2018_12_07_9f01c2e1-1559-4f3f-af33-0551a754ba4d/{APP}/scores_realtime.{APP}.json/_SUCCESS",
    "x/_mapping/user_external.csv",
    "clicks/2026/12/31/2026-12-31-23-59.csv.gz",
    "in/conversions/2026/12/31/x/2026-12-31-23-59_2.csv",
    "MESSAGE/202612/MESSAGE_20261231T235959Z.txt.zip",
]


@st.composite
def nearly_good(draw: st.DrawFn) -> str:
    """A key as a vendor writes it, but for one step."""
    parts = draw(st.sampled_from(GOOD_KEYS)).split("/")
    parts[draw(st.integers(0, len(parts) - 1))] = draw(steps | st.text(max_size=5))
    return "/".join(parts)


# A folder below the day of an export is named as its owner likes.
_FREE_FOLDER = re.compile(r"(?<=/[0-9]{2}/[0-9]{2}/)[^/]+/(?=[^/]+$)")

keys = nearly_good() | st.lists(steps | st.text(max_size=5), max_size=6).map("/".join) | st.text()


@settings(max_examples=400, deadline=None)
@given(keys)
@example(GOOD.replace("12_08_2018_15_05_54_499", "١٢_٠٨_٢٠١٨_١٥_٠٥_٥٤_٤٩٩"))
@example(GOOD.replace("00000", "٠٠٠٠٠"))
@example("clicks/2026/12/31/2026-12-31-23-٥٩.csv")
@example("in/conversions/2026/12/31/ä/2026-12-31-23-59_2.csv")
@example(f"clicks/2026/12/31/2026-12-31-23-59_{'9' * 400}.csv")
def test_any_key_is_placed_or_not_and_a_placed_one_is_as_the_vendor_writes(key: str) -> None:
    for layout in LAYOUTS:
        layout.ignores(key)
        for name in key.split("/"):
            layout.folder(name)
        placement = layout.place(key)
        if placement is None or not is_plain(key):
            continue
        assert placement.stamp is None or 2000 <= placement.stamp.year <= 2100
        assert max(placement.position) < 10**9
        assert placement.family in layout.families
        assert _FREE_FOLDER.sub("", key).isascii() or placement.family == "mapping"


def test_a_name_with_a_number_that_is_none_has_a_file_to_be_fetched_into(feed_of: MakeFeed, tmp_path: Path) -> None:
    root = tmp_path / "delivered"
    file = root / "clicks/2026/12/31" / f"2026-12-31-23-59-{'9' * 230}.csv"
    file.parent.mkdir(parents=True)
    (root / "conversions").mkdir()
    file.write_bytes(b"")
    feed = feed_of(
        root.as_uri(),
        vendor="affise",
        app_id=None,
        cadence={"data_fusion": "intraday"},
        directories={"clicks": "clicks", "conversions": "conversions"},
        pseudonyms="dropped",
    )
    [delivery] = discover(feed, DeliveryStore(feed).list_objects()).deliveries
    spool = tmp_path / "staged"
    spool.mkdir()
    assert stage(DeliveryStore(feed), delivery, contract_of("clicks"), spool).rows_in == 0
