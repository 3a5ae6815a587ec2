"""Files for Elasticsearch: documents with their ids as lines of the bulk API, and beside them what the index needs.

    handoff/es/<index>/bulk-<day>-<number>.ndjson.gz    at most 5,000 documents and 10 MB, unpacked
    handoff/es/<index>/index_template.json, kibana.ndjson, MANIFEST.json

The id of a document follows from the message alone, so sending a file twice changes nothing. A document that a file of
the day had before and has no more is deleted by a line at the end: so an erasure, or a message that came late, reaches
the index with the next push.
"""

import gzip
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from offload_platform.contracts.listening import Listening
from offload_platform.handoff.errors import HandoffError
from offload_platform.handoff.kibana import as_lines, saved_objects
from offload_platform.handoff.template import index_of, index_template
from offload_platform.listening.days import KEY_ID, Days, Tier, digest_of, replacing
from offload_platform.listening.raw import listening_of
from offload_platform.settings import Feed
from offload_platform.warehouse.files import WarehouseFiles

MANIFEST = "MANIFEST.json"
TEMPLATE = "index_template.json"
OBJECTS = "kibana.ndjson"
MOST_DOCUMENTS, MOST_BYTES = 5_000, 10_000_000
_ID_DIGITS = 20
_LEVEL = 6


@dataclass(frozen=True)
class HandedOff:
    """What the files of a day hold: documents to be indexed, documents to be deleted, and the files' names."""

    day: date
    documents: int
    deletions: int
    files: tuple[str, ...]


@dataclass(frozen=True)
class Action:
    """A line of the bulk API, and the document that follows on it; None for a deletion."""

    id: str
    document: str | None

    def lines(self, index: str) -> str:
        """Both, each with its line end."""
        verb = "delete" if self.document is None else "index"
        said = json.dumps({verb: {"_index": index, "_id": self.id}})
        return f"{said}\n" if self.document is None else f"{said}\n{self.document}\n"


def folder_of(files: WarehouseFiles, feed: Feed) -> Path:
    """Where the files of a feed's index are."""
    return files.root / "handoff" / "es" / index_of(feed)


def is_due(files: WarehouseFiles, feed: Feed, days: Days, day: date) -> bool:
    """Whether CLEAN of a day, or the form of the documents, has changed since its files were made."""
    entry = manifest_of(files, feed)["days"].get(str(day))
    return entry is None or entry["made_of"] != _made_of(feed, days, day)


def manifest_of(files: WarehouseFiles, feed: Feed) -> dict[str, Any]:
    """What was handed off, by day."""
    file = folder_of(files, feed) / MANIFEST
    if not file.exists():
        return {"index": index_of(feed), "days": {}}
    said: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return said


def make_handoff(files: WarehouseFiles, feed: Feed, days: Days, day: date) -> HandedOff:
    """Make the files of a day (UTC) anew.

    Raises:
        HandoffError: there is nothing clean of that day.
    """
    listening, folder, index = listening_of(feed), folder_of(files, feed), index_of(feed)
    assert feed.listening is not None
    if not days.has(Tier.CLEAN, listening.dataset, day):
        raise HandoffError(f"{feed.name} {day}: there is no {Tier.CLEAN} of that day. Next: offload listening run")
    with days.lock():
        documents = list(documents_of(days.read(Tier.CLEAN, listening.dataset, day), listening))
        before = list(actions_in(folder, day))
        gone = sorted({action.id for action in before} - {action.id for action in documents})
        actions = [*documents, *(Action(id, None) for id in gone)]
        template = index_template(feed)
        parts: dict[str, bytes] = {
            f"bulk-{day}-{number:03d}.ndjson.gz": gzip.compress(chunk, _LEVEL, mtime=0)
            for number, chunk in enumerate(_chunks(actions, index))
        }
        for name, content in parts.items():
            _replace(folder / name, content)
        for old in folder.glob(f"bulk-{day}-*.ndjson.gz"):
            if old.name not in parts:
                old.unlink()
        _replace(folder / TEMPLATE, _pretty(template))
        _replace(folder / OBJECTS, as_lines(saved_objects(feed)))
        manifest = manifest_of(files, feed) | {
            "template_version": template["_meta"]["version"],
            "kibana_sha256": sha256((folder / OBJECTS).read_bytes()).hexdigest(),
            "smallest_group_of_figures": feed.listening.smallest_group,
        }
        manifest["days"] = dict(
            sorted(
                (
                    manifest["days"]
                    | {
                        str(day): {
                            "documents": len(documents),
                            "deletions": len(gone),
                            "key_id": days.facts(Tier.CLEAN, listening.dataset, day)[KEY_ID],
                            "made_of": _made_of(feed, days, day),
                            "files": {name: sha256(content).hexdigest() for name, content in parts.items()},
                        }
                    }
                ).items()
            )
        )
        # Last of all: what it names is there.
        _replace(folder / MANIFEST, _pretty(manifest))
    return HandedOff(day, len(documents), len(gone), tuple(parts))


def drop_days(files: WarehouseFiles, feed: Feed, days: Days, dropped: Collection[date]) -> int:
    """Remove the files of days; returns how many. What an index holds of them is the client's to clear."""
    folder = folder_of(files, feed)
    removed = 0
    with days.lock():
        manifest = manifest_of(files, feed)
        for day in dropped:
            for file in folder.glob(f"bulk-{day}-*.ndjson.gz"):
                file.unlink()
                removed += 1
            manifest["days"].pop(str(day), None)
        if removed:
            _replace(folder / MANIFEST, _pretty(manifest))
    return removed


def documents_of(rows: pl.DataFrame, listening: Listening) -> Iterator[Action]:
    """A document for each message; what is null is left out. Messages that say the same are numbered."""
    own = listening.computed
    natural = [name for name in listening.columns if name not in (own.session, own.size, own.duration, own.user_type)]
    seen: Counter[str] = Counter()
    for row in rows.sort(listening.moment, *natural).iter_rows(named=True):
        said = json.dumps([_value(row[name]) for name in natural], ensure_ascii=False)
        seen[said] += 1
        document = {name: _value(value) for name, value in row.items() if value is not None}
        yield Action(
            sha256(f"{seen[said]} {said}".encode()).hexdigest()[:_ID_DIGITS], json.dumps(document, ensure_ascii=False)
        )


def actions_in(folder: Path, day: date) -> Iterator[Action]:
    """What the files of a day hold.

    Raises:
        HandoffError: a file is not one that was made here.
    """
    for file in sorted(folder.glob(f"bulk-{day}-*.ndjson.gz")):
        yield from actions_of(file)


def actions_of(file: Path) -> Iterator[Action]:
    """What a file holds.

    Raises:
        HandoffError: it is not one that was made here.
    """
    try:
        # Not `splitlines`: texts may hold other signs that end a line.
        lines = iter([line for line in gzip.decompress(file.read_bytes()).decode().split("\n") if line])
        for line in lines:
            [(verb, said)] = json.loads(line).items()
            yield Action(said["_id"], next(lines) if verb == "index" else None)
    except (OSError, EOFError, ValueError, KeyError, StopIteration) as error:
        raise HandoffError(f"{file} is damaged. Delete it, and make it anew: offload es export") from error


def _made_of(feed: Feed, days: Days, day: date) -> str:
    clean = days.digest(Tier.CLEAN, listening_of(feed).dataset, day)
    return digest_of(clean, json.dumps(index_template(feed)), as_lines(saved_objects(feed)))


def _chunks(actions: Iterable[Action], index: str) -> Iterator[bytes]:
    """The lines in chunks that a server takes at once; one of an empty day is empty."""
    held: list[bytes] = []
    size, is_first = 0, True
    for action in actions:
        lines = action.lines(index).encode()
        if held and (len(held) == MOST_DOCUMENTS or size + len(lines) > MOST_BYTES):
            yield b"".join(held)
            held, size, is_first = [], 0, False
        held.append(lines)
        size += len(lines)
    if held or is_first:
        yield b"".join(held)


def _value(value: Any) -> Any:
    return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z" if isinstance(value, datetime) else value


def _pretty(said: dict[str, Any]) -> bytes:
    return (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode()


def _replace(file: Path, content: bytes) -> None:
    with replacing(file) as aside:
        aside.write_bytes(content)
