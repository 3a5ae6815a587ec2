"""What a node of the cluster does: pure functions, from files of the shared place to files of the shared place.

A secret is never given to them: a node has those of its own environment and profiles, and refuses where they would
make something else than the control machine expects.
"""

import uuid
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import polars as pl

from offload_platform.contracts.deliveries import Part
from offload_platform.landing.errors import LandingError
from offload_platform.landing.pseudonyms import reading_of
from offload_platform.landing.staging import OWN_BENCH, StagedPart
from offload_platform.landing.store import DeliveryStore
from offload_platform.scale.errors import OtherNode
from offload_platform.scale.place import Place
from offload_platform.settings import Feed
from offload_platform.vendors import vendor_named

_ROOMS = ("contracts", "vendors", "landing", "quality", "warehouse", "scale")


@cache
def software() -> str:
    """What this machine would work with: another text where the same part could be staged or merged differently."""
    package = Path(__file__).parents[1]
    digest = sha256()
    for file in sorted(file for room in _ROOMS for file in (package / room).rglob("*.*") if file.suffix != ".pyc"):
        digest.update(f"{file.relative_to(package)} {file.stat().st_size}\n".encode() + file.read_bytes())
    return f"duckdb {duckdb.__version__}, polars {pl.__version__}, offload_platform {digest.hexdigest()[:12]}"


@dataclass(frozen=True)
class PartToStage:
    """A part, and where its staged files go. `reading` is the version of how the control machine would read it."""

    feed: Feed
    part: Part
    offload_type: str
    reading: str
    software: str
    place: Place


def stage_part(task: PartToStage) -> StagedPart | LandingError:
    """Stage a part, and put its files into the shared place; an error that is the part's own is the result.

    The paths of the files are their names there.
    """
    try:
        refuse_other_software(task.software)
        contract = vendor_named(task.feed.vendor).contracts[task.offload_type]
        reading = reading_of(task.feed, contract)
        if reading.version(contract) != task.reading:
            raise OtherNode(
                f"{task.feed.name} {task.offload_type}: this node would read the part in another way. Give each node "
                "the OFFLOAD_PSEUDONYM_KEY of the control machine, and start it again."
            )
        with TemporaryDirectory(prefix="offload-") as folder:
            staged = OWN_BENCH.stage_part(DeliveryStore(task.feed), task.part, contract, reading, Path(folder))
            return replace(
                staged,
                row_files=tuple(_kept(file, task.place) for file in staged.row_files),
                quarantine_files=tuple(_kept(file, task.place) for file in staged.quarantine_files),
            )
    except LandingError as error:
        return error


@dataclass(frozen=True)
class Probe:
    """A file of the shared place that a node is to copy beside itself."""

    software: str
    place: Place
    name: str


def probe(task: Probe) -> LandingError | None:
    """Read a file of the shared place and write it again; an error is the result."""
    try:
        refuse_other_software(task.software)
        with TemporaryDirectory(prefix="offload-") as folder:
            copy = Path(folder) / task.name
            task.place.fetch(task.name, copy)
            task.place.put(copy, f"{task.name} of a node")
    except LandingError as error:
        return error
    return None


def refuse_other_software(expected: str) -> None:
    """Raise OtherNode unless this machine has the software of the control machine."""
    if software() != expected:
        raise OtherNode(
            f"a node has {software()}, and the control machine {expected}. Install the same version on both, from "
            "requirements-scale.lock, and start the node again."
        )


def _kept(file: Path, place: Place) -> Path:
    """Put a staged file into the place, packed for the way; returns its name there, which no other attempt uses."""
    name = f"{file.stem}-{uuid.uuid4().hex}{file.suffix}"
    packed = file.with_name(name)
    pl.read_ipc(file).write_ipc(packed, compression="zstd")
    file.unlink()
    place.put(packed, name)
    packed.unlink()
    return Path(name)
