"""Swarm: one round in a Locust of its own, which this process starts, listens to and reads the result of. Locust patches
whoever imports it, so nobody here does.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from .plan import Plan
from .samples import Sample
from .stage import Child, StageError, Stop, last_words

_TICK: Final = 0.05  # seconds between two looks at the time: faults come late by no more
_BEYOND: Final = 90.0  # seconds that a round may take beyond its readers' patience and its publishing


class Beat(msgspec.Struct):
    """What Locust says of itself, twice a second and at each change of phase."""

    phase: str = "starting"  # then: opening, publishing, draining, done
    readers: int = 0
    ready: int = 0
    started: int | None = None  # µs of CLOCK_MONOTONIC, when the first event is due
    sent: int = 0
    delivered: int = 0
    cpu: float = 0.0  # share of one core
    lag: int = 0  # µs at p99


class Target(msgspec.Struct, frozen=True):
    """Where readers and publisher go."""

    host: str  # URL for the readers
    publish_to: str  # URL for the publisher: the server itself
    subject: str
    environment: Mapping[str, str] = {}  # what else a client must know to get through


class Script(msgspec.Struct, frozen=True):
    """What Locust plays: a class of a file."""

    file: Path
    user: str


class Swarm:
    """A Locust that plays one round.

    Args:
        script: what it plays.
        plan: the numbers.
        target: where its readers go.
        scratch: an empty directory.
        stop: who wants it to end.
    """

    def __init__(self, script: Script, plan: Plan, target: Target, scratch: Path, stop: Stop) -> None:
        self._script, self._plan, self._target, self._scratch, self._stop = script, plan, target, scratch, stop

    def play(self, meanwhile: Callable[[Beat], None]) -> Sample:
        """Play it to its end; `meanwhile` is called several times a second.

        Raises:
            StageError: it left no sample; the message has its last words.
            StoppedError: somebody wants it to end.
        """
        (self._scratch / "plan.json").write_bytes(msgspec.json.encode(self._plan))
        reading, writing = os.pipe()
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, reading)
            environment = {**os.environ, **self._target.environment}
            try:
                command = self._command(writing)
                said = self._scratch / "locust.txt"
                child = stack.enter_context(Child(command, said, self._stop, pass_fds=(writing,), env=environment))
            finally:
                os.close(writing)
            self._listen(child, reading, meanwhile)
        return self._sample(child)

    def rows(self) -> list[str]:
        """Lines of CSV, one for each event."""
        file = self._scratch / "events.csv"
        return file.read_text("utf-8").splitlines() if file.exists() else []

    def said(self) -> str:
        """All that it said."""
        file = self._scratch / "locust.txt"
        return file.read_text("utf-8", "replace") if file.exists() else ""

    def _command(self, progress: int) -> list[str]:
        options = {
            "--loglevel": "WARNING",
            "-f": self._script.file,
            "--host": self._target.host,
            "-u": self._plan.readers,
            "-r": self._plan.readers,
            "--plan": self._scratch / "plan.json",
            "--subject": self._target.subject,
            "--publish-to": self._target.publish_to,
            "--samples": self._scratch / "sample.json",
            "--events": self._scratch / "events.csv",
            "--progress": progress,
        }
        if self._plan.processes > 1:
            options["--processes"] = self._plan.processes
        words = [str(word) for pair in options.items() for word in pair]
        return [sys.executable, "-m", "locust", "--headless", *words, self._script.user]

    def _listen(self, child: Child, pipe: int, meanwhile: Callable[[Beat], None]) -> None:
        """Until it has ended. A pipe that is closed stays readable, so then time passes by itself."""
        heard, beat, open_ = b"", Beat(), True
        patience = _BEYOND + self._plan.patience + self._plan.seconds
        end = time.monotonic() + patience
        while child.running:
            self._stop.check()
            if select.select([pipe] if open_ else [], [], [], _TICK)[0]:
                more = os.read(pipe, 65_536)
                open_, heard = bool(more), heard + more
                *lines, heard = heard.split(b"\n")
                beat = _beat(lines, beat)
            meanwhile(beat)
            if time.monotonic() > end:
                raise StageError(f"Locust did not end within {patience:g} s")

    def _sample(self, child: Child) -> Sample:
        file = self._scratch / "sample.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=Sample)
        except FileNotFoundError:
            raise StageError(f"Locust left no sample: {last_words(self.said()) or _ended(child)}") from None
        except msgspec.DecodeError as error:
            raise StageError(f"Locust left something that is no sample: {error}") from error


def _beat(lines: list[bytes], before: Beat) -> Beat:
    """The last of them that says something."""
    for line in reversed(lines):
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(line, type=Beat)
    return before


def _ended(child: Child) -> str:
    return f"it ended with {child.process.returncode}"
