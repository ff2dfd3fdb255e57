"""Archive: the directory of a run: `run.json`, `events.csv`, a `.hgrm` for each lane, and the page.

The run is written whenever a round is over, and each time as a whole, so that a crash costs one round at the most.
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ..histogram import merged
from ..reporting import hgrm, report
from ..samples import Lane, Run, SampleError, decode, encode

HEADER: Final = (
    "network",
    "subject",
    "transport",
    "repeat",
    "n",
    "source",
    "due_s",
    "expected",
    "delivered",
    "least_us",
    "mean_us",
    "most_us",
)
_PAGE: Final = "index.html"


class Archive:
    """Where a run is kept.

    Args:
        directory: made if it is not there. What an earlier run left in it is replaced.

    Raises:
        OSError: it cannot be written to.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        for name in _written(self.run):
            (directory / name).unlink(missing_ok=True)
        self._write("events.csv", "")
        self._add([HEADER])

    @property
    def run(self) -> Path:
        """The file of the run."""
        return self.directory / "run.json"

    @property
    def page(self) -> Path:
        """The file of the page."""
        return self.directory / _PAGE

    def keep(self, run: Run) -> None:
        """Write the run as it is by now."""
        part = self.directory / "run.json.part"
        part.write_bytes(encode(run))
        os.replace(part, self.run)

    def events(self, lane: Lane, repeat: int, rows: Iterable[str]) -> None:
        """Add what one round says of each event; `rows` are lines of CSV."""
        self._add([*lane, repeat, *row] for row in csv.reader(rows))

    def discard(self) -> None:
        """Nothing was measured: leave nothing behind but what others may have put there."""
        (self.directory / "events.csv").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            self.directory.rmdir()

    def crash(self, said: str) -> Path:
        """Write what a child said that failed; where."""
        self._write("crash.txt", said)
        return self.directory / "crash.txt"

    def show(self, run: Run) -> None:
        """Write what is made of the run: the page, and the percentiles of each lane."""
        show(run, self.directory)

    def _add(self, rows: Iterable[Iterable[object]]) -> None:
        with (self.directory / "events.csv").open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def _write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text, encoding="utf-8")


def _written(file: Path) -> list[str]:
    """What else was written for the run in a file; nothing, if it is none."""
    try:
        lanes = recorded(file).lanes()
    except SampleError:
        return []
    return ["run.json", _PAGE, "crash.txt", *(f"{file_name(lane)}.hgrm" for lane in lanes)]


def show(run: Run, directory: Path) -> Path:
    """Write into a directory what is made of a run: the page, which is returned, and the percentiles of each lane."""
    directory.mkdir(parents=True, exist_ok=True)
    page = directory / _PAGE
    page.write_text(report.html(run), encoding="utf-8")
    for lane in run.lanes():
        if len(whole := merged(each.sample.delays for each in run.of(lane))):
            (directory / f"{file_name(lane)}.hgrm").write_text(hgrm.hgrm(whole), encoding="utf-8")
    return page


def recorded(file: Path) -> Run:
    """The run in a file. Raises: SampleError, it is none, or cannot be read."""
    try:
        return decode(file.read_bytes())
    except OSError as error:
        raise SampleError(f"{file}: {error.strerror}") from error
    except SampleError as error:
        raise SampleError(f"{file}: {error}") from error


def file_name(lane: Lane) -> str:
    """What a lane is called as a file: a subject may be a path or a URL."""
    return "-".join(re.sub(r"[^\w.+]+", "_", part).strip("_") for part in lane)
