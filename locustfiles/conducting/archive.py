"""Archive: the directory of a run: `run.json`, `events.csv`, a `.hgrm` for each lane, and the page.

The run is written whenever a round is over, and each time as a whole, so that a crash costs one round at the most. What is not
of a comparison is never replaced.
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from ..histogram import merged
from ..reporting import hgrm, report
from ..samples import Lane, Run, SampleError, decode, encode, is_run

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
_NAMES: Final = ("run.json", "events.csv", _PAGE, "crash.txt")
_MADE_BY: Final = b'<meta name="generator" content="everywire">'  # in the page's template


class ArchiveError(Exception):
    """A directory cannot be written to, or has what is somebody else's; the message says which and why."""


class Archive:
    """Where a run is kept.

    Args:
        directory: made if it is not there. What an earlier run left in it is replaced when there is something to keep.

    Raises:
        ArchiveError: it cannot be written to, or has files of the same names that are not of a comparison. So do all methods
            that write.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._begun = False
        with _writing(directory):
            directory.mkdir(parents=True, exist_ok=True)
            _check(directory)
            tempfile.TemporaryFile(dir=directory).close()

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
        with _writing(self.directory):
            self._begin()
            part = self.directory / "run.json.part"
            part.write_bytes(encode(run))
            os.replace(part, self.run)

    def events(self, lane: Lane, repeat: int, rows: Iterable[str]) -> None:
        """Add what one round says of each event; `rows` are lines of CSV."""
        with _writing(self.directory):
            self._begin()
            self._add([*lane, repeat, *row] for row in csv.reader(rows))

    def discard(self) -> None:
        """Nothing was measured: leave what an earlier run and others have put there, and nothing else."""
        with contextlib.suppress(OSError):  # not empty
            self.directory.rmdir()

    def crash(self, said: str) -> Path:
        """Write what a child said that failed; where."""
        with _writing(self.directory):
            self._begin()
            (self.directory / "crash.txt").write_text(said, encoding="utf-8")
        return self.directory / "crash.txt"

    def show(self, run: Run) -> None:
        """Write what is made of the run: the page, and the percentiles of each lane."""
        show(run, self.directory)

    def _begin(self) -> None:
        """Now there is something to keep: an earlier run goes."""
        if not self._begun:
            self._begun = True
            for name in ("events.csv", *_written(self.run)):
                (self.directory / name).unlink(missing_ok=True)
            self._add([HEADER])

    def _add(self, rows: Iterable[Iterable[object]]) -> None:
        with (self.directory / "events.csv").open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


@contextlib.contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """What the system refuses is told in one line."""
    try:
        yield
    except OSError as error:
        raise ArchiveError(f"cannot write to {directory}: {error.strerror}") from error


def _check(directory: Path, names: Iterable[str] = _NAMES) -> None:
    """Raises: ArchiveError, it has what would be replaced and is not of a comparison."""
    if foreign := next((name for name in names if _is_foreign(directory / name)), None):
        raise ArchiveError(f"{directory / foreign} is not of a comparison, and would be replaced; say another --output")


def _is_foreign(file: Path) -> bool:
    if not file.exists():
        return False
    if not file.is_file():
        return True
    match file.name:
        case "run.json":
            return not is_run(file.read_bytes())
        case "events.csv":
            return not file.read_bytes().startswith(",".join(HEADER).encode())
        case "index.html":
            return _MADE_BY not in file.read_bytes()
    return _is_foreign(run := file.with_name("run.json")) or not run.exists()


def _written(file: Path) -> list[str]:
    """What else was written for the run in a file; nothing, if it is none."""
    try:
        lanes = recorded(file).lanes()
    except SampleError:
        return []
    return ["run.json", _PAGE, "crash.txt", *(f"{file_name(lane)}.hgrm" for lane in lanes)]


def show(run: Run, directory: Path) -> Path:
    """Write into a directory what is made of a run: the page, which is returned, and the percentiles of each lane.

    Raises:
        ArchiveError: it cannot be written to, or a page of somebody else's is there.
    """
    text, page = report.html(run), directory / _PAGE
    with _writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        _check(directory, [_PAGE])
        page.write_text(text, encoding="utf-8")
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
