"""The index of a data set: its name, and a template that lets in what the contract names and nothing else."""

import json
from hashlib import sha256
from typing import Any

import polars as pl

from offload_platform.contracts.columns import Column
from offload_platform.contracts.listening import Listening
from offload_platform.listening.raw import listening_of
from offload_platform.settings import Feed

MIRROR = "keyword"
_PRIORITY = 200
_LONGEST_KEYWORD = 1024
_TYPES = {pl.Float64: "double", pl.Int16: "short", pl.Int32: "integer", pl.Int64: "long", pl.Boolean: "boolean"}


def index_of(feed: Feed) -> str:
    """Name of the index of a feed's country, in lower case as Elasticsearch wants it."""
    listening = listening_of(feed)
    assert feed.listening is not None
    return f"{feed.vendor}-{listening.dataset}-{feed.listening.country}".lower()


def index_template(feed: Feed) -> dict[str, Any]:
    """The composable index template: `PUT _index_template/<name of the index>`.

    Numbers, dates, opaque words (keyword), and texts in which words are looked for, each with a mirror that can be
    counted. A document with any other field is refused.
    """
    listening = listening_of(feed)
    fields = {name: _field(column, listening) for name, column in listening.columns.items()}
    mappings = {"dynamic": "strict", "properties": fields}
    said = {
        "index_patterns": [index_of(feed)],
        "priority": _PRIORITY,
        "template": {"settings": {"index": {"number_of_shards": 1}}, "mappings": mappings},
    }
    version = sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]
    return said | {"_meta": {"version": version, "described_in": f"{feed.vendor}.{listening.dataset}"}}


def is_text(column: Column, listening: Listening) -> bool:
    """Whether words are looked for in a column."""
    return column.name in listening.texts


def _field(column: Column, listening: Listening) -> dict[str, Any]:
    keyword = {"type": "keyword", "ignore_above": _LONGEST_KEYWORD}
    if is_text(column, listening):
        return {"type": "text", "fields": {MIRROR: keyword}}
    if isinstance(column.dtype, pl.Datetime):
        return {"type": "date", "format": "strict_date_time"}
    if column.dtype in _TYPES:
        return {"type": _TYPES[column.dtype]}
    return keyword
