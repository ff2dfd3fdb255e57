"""Results: what a run of the benchmarks leaves, as it is kept in `bench.json`. The tables are made of it, later too."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path

import msgspec

NAME = "bench.json"


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement."""

    measure: str
    subject: str
    wire: str = ""
    at: float = 0.0  # the size that it was measured at: readers, channels, bytes; 0 if the measure has none
    repeat: int
    value: float | None  # in the unit of the measure; None: it could not do it
    why: str = ""  # it could not
    busy: float = 0.0  # share of the time that the load client was busy
    waited: float = 0.0  # share of the time for which others, or the host of a virtual machine, had its core
    details: dict[str, float] = {}


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured."""

    processor: str
    cores: int
    memory: int  # bytes
    kernel: str
    python: str
    load: float  # of the last minute, when it began: how many were running or wanted to
    loopback: str = "loopback, one core for the server, one for the load client"


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    began: str  # UTC
    seconds: float
    repeats: int
    quick: bool
    machine: Machine
    versions: dict[str, dict[str, str]]  # of each subject's packages
    missing: dict[str, str]  # subjects that were not measured, and what would install them
    samples: list[Sample]
    stopped: bool = False  # by Ctrl-C: not everything has as many repeats


class Middle(msgspec.Struct, frozen=True):
    """The median of repeats, and how far they lie apart."""

    value: float
    least: float
    most: float
    count: int
    busy: float
    waited: float

    @property
    def spread(self) -> float:
        """From the lowest to the highest, as a share of the median."""
        return (self.most - self.least) / self.value if self.value else 0.0


def middle(samples: Iterable[Sample]) -> Middle | None:
    """The median of samples of one thing; None if there are none that could be measured."""
    kept = [sample for sample in samples if sample.value is not None]
    if not kept:
        return None
    values = [sample.value for sample in kept if sample.value is not None]
    busy = statistics.median(sample.busy for sample in kept)
    waited = statistics.median(sample.waited for sample in kept)
    return Middle(statistics.median(values), min(values), max(values), len(values), busy, waited)


def write(directory: Path, results: Results) -> Path:
    """Keep `results` in `directory`; gives the file."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / NAME
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    return path


def read(directory: Path) -> Results:
    """What was kept in `directory`. Raises: OSError, msgspec.MsgspecError."""
    return msgspec.json.decode((directory / NAME).read_bytes(), type=Results)
