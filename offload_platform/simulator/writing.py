"""Writes deliveries below a root: their parts in it, and the record of what was planted beside it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from offload_platform.simulator.manifest import Manifest
from offload_platform.simulator.parts import Written


@dataclass(frozen=True)
class Summary:
    """What was written.

    `deliveries` counts folders times offload types, `rows` all rows by offload type, `planted` the broken ones among
    them; `size` is the bytes of all parts as stored.
    """

    deliveries: int
    parts: int
    rows: Mapping[str, int]
    planted: int
    size: int


class Source(Protocol):
    """Deliveries of one family that can be written."""

    @property
    def types(self) -> tuple[str, ...]:
        """Offload types that are delivered."""

    @property
    def deliveries(self) -> int:
        """Number of deliveries: folders times offload types."""

    def parts(self, out: Path, manifest: Manifest) -> Iterator[Written]:
        """Write all parts below `out`, and what was planted into the manifest; parts there are replaced."""


def write(
    sources: Sequence[Source],
    out: Path,
    manifest_dir: Path | None = None,
    on_progress: Callable[[str, int], None] | None = None,
) -> Summary:
    """Write all deliveries of the sources below `out`, which stands for a feed's root; parts there are replaced.

    Args:
        sources: What to write.
        out: The folder.
        manifest_dir: Where `manifest.jsonl` (what was planted) and `parts.jsonl` (rows of each part) go; they are
            replaced too. By default it is named like `out`, with `.manifest` at the end.
        on_progress: Told of each finished part: its key below `out` and its rows.
    """
    rows = {offload_type: 0 for source in sources for offload_type in source.types}
    parts = planted = size = 0
    with Manifest(manifest_dir or out.with_name(f"{out.name}.manifest")) as manifest:
        for source in sources:
            for part in source.parts(out, manifest):
                manifest.add_part(part.key, part.offload_type, part.stamp, part.rows, part.planted)
                rows[part.offload_type] += part.rows
                parts += 1
                planted += part.planted
                size += part.size
                if on_progress:
                    on_progress(part.key, part.rows)
    return Summary(sum(source.deliveries for source in sources), parts, rows, planted, size)
