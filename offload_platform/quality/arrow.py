"""The bridge between polars and DuckDB: Arrow streams, without pyarrow and without a copy."""

from typing import Any, Protocol


class Streamable(Protocol):
    """Anything that speaks the Arrow PyCapsule interface."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The Arrow stream."""


class ArrowStream:
    """Passes on the Arrow stream of a polars frame or a DuckDB relation, and nothing else of it.

    DuckDB would convert a polars frame through pyarrow. polars keeps the classes that it has met in a cache, and a
    DuckDB class in there makes DuckDB complain of leaks at exit; so this module must not import DuckDB.
    """

    def __init__(self, source: Streamable) -> None:
        self._source = source

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._source.__arrow_c_stream__(requested_schema)
