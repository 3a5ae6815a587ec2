"""The record of a simulation: what was planted in which line, and the rows of each part."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from offload_platform.simulator.faults import Planted
from offload_platform.simulator.simulation import DriftKind


class Manifest:
    """Writes `manifest.jsonl` and `parts.jsonl` in a folder, and `canaries.jsonl` where there are any."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._planted: TextIO = (self._folder / "manifest.jsonl").open("w", encoding="utf-8")
        self._parts: TextIO = (self._folder / "parts.jsonl").open("w", encoding="utf-8")
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._planted.close()
        self._parts.close()

    def add_drifts(self, object_key: str, offload_type: str, drifts: Iterable[DriftKind]) -> None:
        """Record the changes of a part that cost no row."""
        for drift in sorted(drifts):
            self._write(self._planted, **_where(object_key, offload_type), kind="drift", drift=drift)

    def add_planted(self, object_key: str, offload_type: str, first_line: int, rows: Iterable[Planted]) -> None:
        """Record broken rows of a part, whose first row stands on `first_line`."""
        for row in rows:
            self._write(
                self._planted,
                **_where(object_key, offload_type),
                line=first_line + row.row,
                kind=row.kind,
                raw=row.raw,
                reasons=[row.reason],
            )

    def add_part(self, object_key: str, offload_type: str, stamp: datetime, rows: int, faulty: int) -> None:
        """Record the totals of a part; `rows` counts the faulty ones too."""
        self._write(
            self._parts,
            object_key=object_key,
            offload_type=offload_type,
            stamp=stamp.isoformat(),
            rows=rows,
            faulty=faulty,
        )

    def add_canaries(self, values: Mapping[str, Iterable[str]]) -> None:
        """Record texts that must not be found in what is made of the deliveries for others, by kind."""
        with (self._folder / "canaries.jsonl").open("w", encoding="utf-8") as file:
            for kind, found in values.items():
                for value in found:
                    self._write(file, kind=kind, value=value)

    @staticmethod
    def _write(file: TextIO, **said: Any) -> None:
        file.write(json.dumps(said, ensure_ascii=False) + "\n")


def _where(object_key: str, offload_type: str) -> dict[str, str]:
    return {"folder": object_key.partition("/")[0], "offload_type": offload_type, "object_key": object_key}
