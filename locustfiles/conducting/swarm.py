"""Swarm: one round in a Locust of its own, which this process starts, listens to and reads the result of. Locust patches
whoever imports it, so nobody here does.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ..plan import Plan
from ..samples import Sample
from .stage import Child, StageError, Stop, free_port, last_words

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
    """A Locust that plays one round. It is started when this is entered, and imports what takes long while the server starts.

    Args:
        plan: the numbers.
        scratch: an empty directory.
        stop: who wants it to end.
    """

    def __init__(self, plan: Plan, scratch: Path, stop: Stop) -> None:
        self._plan, self._scratch, self._stop = plan, scratch, stop
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Swarm:
        self._pipe, self._progress = os.pipe()
        self._stack.callback(os.close, self._pipe)
        try:
            command, said = [sys.executable, "-m", "locustfiles.measuring.prelude"], self._scratch / "locust.txt"
            child = Child(command, said, self._stop, stdin=subprocess.PIPE, pass_fds=(self._progress,))
            self._child = self._stack.enter_context(child)
        finally:
            os.close(self._progress)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def play(self, script: Script, target: Target, meanwhile: Callable[[Beat], None]) -> Sample:
        """Have it play its round to the end; `meanwhile` is called several times a second.

        Args:
            script: what it plays.
            target: where its readers go.
            meanwhile: gets what it said of itself last.

        Raises:
            StageError: it left no sample; the message has its last words.
            StoppedError: somebody wants it to end.
        """
        (self._scratch / "plan.json").write_bytes(msgspec.json.encode(self._plan))
        told = {"words": self._words(script, target), "environment": target.environment}
        assert self._child.process.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(BrokenPipeError):  # it has ended; why, is told below
            self._child.process.stdin.write(msgspec.json.encode(told) + b"\n")
            self._child.process.stdin.close()
        self._listen(meanwhile)
        return self._sample()

    def rows(self) -> list[str]:
        """Lines of CSV, one for each event."""
        file = self._scratch / "events.csv"
        return file.read_text("utf-8").splitlines() if file.exists() else []

    def said(self) -> str:
        """All that it said."""
        file = self._scratch / "locust.txt"
        return file.read_text("utf-8", "replace") if file.exists() else ""

    def _words(self, script: Script, target: Target) -> list[str]:
        """Its command line."""
        options = {
            "--loglevel": "WARNING",
            "-f": script.file,
            "--host": target.host,
            "-u": self._plan.readers,
            "-r": self._plan.readers,
            "--plan": self._scratch / "plan.json",
            "--subject": target.subject,
            "--publish-to": target.publish_to,
            "--samples": self._scratch / "sample.json",
            "--events": self._scratch / "events.csv",
            "--progress": self._progress,
        }
        if self._plan.processes > 1:
            options |= _meeting(free_port()) | {"--processes": self._plan.processes}
        words = [str(word) for pair in options.items() for word in pair]
        return ["--headless", *words, script.user]

    def _listen(self, meanwhile: Callable[[Beat], None]) -> None:
        """Until it has ended. A pipe that is closed stays readable, so then time passes by itself."""
        heard, beat, open_ = b"", Beat(), True
        patience = _BEYOND + self._plan.patience + self._plan.seconds
        end = time.monotonic() + patience
        while self._child.running:
            self._stop.check()
            if select.select([self._pipe] if open_ else [], [], [], _TICK)[0]:
                more = os.read(self._pipe, 65_536)
                open_, heard = bool(more), heard + more
                *lines, heard = heard.split(b"\n")
                beat = _beat(lines, beat)
            meanwhile(beat)
            if time.monotonic() > end:
                raise StageError(f"Locust did not end within {patience:g} s")

    def _sample(self) -> Sample:
        file = self._scratch / "sample.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=Sample)
        except FileNotFoundError:
            raise StageError(f"Locust left no sample: {last_words(self.said()) or _ended(self._child)}") from None
        except msgspec.DecodeError as error:
            raise StageError(f"Locust left something that is no sample: {error}") from error


def _meeting(port: int) -> dict[str, object]:
    """Where Locust's processes meet. At its own port, on every address, they would meet those of another comparison."""
    return {"--master-bind-host": "127.0.0.1", "--master-bind-port": port, "--master-port": port}


def _beat(lines: list[bytes], before: Beat) -> Beat:
    """The last of them that says something."""
    for line in reversed(lines):
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(line, type=Beat)
    return before


def _ended(child: Child) -> str:
    return f"it ended with {child.process.returncode}"
