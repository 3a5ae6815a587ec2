"""A connection of DuckDB that reaches a place, with signed extensions from their wheels: nothing is downloaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import duckdb

from offload_platform.scale.errors import ScaleUnusable
from offload_platform.scale.place import Place
from offload_platform.warehouse.files import CONNECTION_CONFIG, prepare
from offload_platform.warehouse.sql import literal


@contextmanager
def connected_to(place: Place, spill: Path, extensions: tuple[str, ...]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that reads and writes files of a place; what memory does not hold is spilled to a folder.

    Raises:
        ScaleUnusable: an extension is missing, or there are no credentials for the place.
    """
    with duckdb.connect(config={**CONNECTION_CONFIG, "temp_directory": str(spill)}) as connection:
        prepare(connection)
        for name in extensions:
            connection.execute(f"LOAD {literal(str(extension(name)))}")
        if place.is_bucket:
            connection.execute(_secret(place))
        yield connection


def extension(name: str) -> Path:
    """The signed file of an extension, in its wheel.

    Raises:
        ScaleUnusable: the wheel is not installed.
    """
    package = f"duckdb_extension_{name}"
    if find_spec(package) is None:
        raise not_installed(package)
    [found] = Path(str(files(package))).glob("extensions/*/*.duckdb_extension")
    return found


def not_installed(package: str) -> ScaleUnusable:
    """What is said where a package of the extra is missing."""
    return ScaleUnusable(
        f"scale.warehouse needs {package}, which is not installed here: set the environment up from "
        "requirements-scale.lock (make scale), or write warehouse: duckdb."
    )


def _secret(place: Place) -> str:
    """SQL of what DuckDB reaches a bucket with; it is kept in this connection's memory alone."""
    keys = place.keys()
    said = {"KEY_ID": keys.access_key, "SECRET": keys.secret_key, "REGION": place.region, "SCOPE": place.url}
    if keys.token:
        said["SESSION_TOKEN"] = keys.token
    words = [f"{name} {literal(value or '')}" for name, value in said.items()]
    if place.endpoint_url:
        address = urlsplit(place.endpoint_url)
        words += [f"ENDPOINT {literal(address.netloc)}", f"USE_SSL {address.scheme == 'https'}", "URL_STYLE 'path'"]
    return f"CREATE OR REPLACE TEMPORARY SECRET offload_lake (TYPE s3, {', '.join(words)})"
