"""Somebody who types what a page says, and looks whether it prints what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.documents import ROOT, blocks, steps

_ALIKE = (
    (re.compile(r"\b[a-z0-9]{6}\.\d+"), "EPOCH.N"),
    (re.compile(r'"connection":"[^"]+"'), '"connection":"C"'),
    (re.compile(r"\d+(\.\d+)?"), "N"),
)


def alike(text: str) -> str:
    """What is the same whenever it is printed: without the numbers, and without names that are given by chance."""
    for pattern, instead in _ALIKE:
        text = pattern.sub(instead, text)
    return text.strip()


_USUAL = {"everywire serve": 8000, "everywire lab": 8000, "everywire proxy": 8100}  # where they listen unless told otherwise


class Shell:
    """Where commands are typed: a directory, and other ports than those that are written.

    Args:
        directory: where they are typed.
        **instead: what is typed for a port that is written, as `p8000="8123"`.
    """

    def __init__(self, directory: Path, **instead: str) -> None:
        self.directory = directory
        self.instead = {name.removeprefix("p"): text for name, text in instead.items()}
        (directory / ".curlrc").write_text("silent\n")  # as on a terminal, where an answer is shown instead of how far it is
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), "PATH": path, "CURL_HOME": str(directory)}
        self.within: list[str] = []  # what the shell itself is started with

    def here(self, text: str) -> str:
        """The text with the ports that are taken."""
        for program, port in _USUAL.items():
            text = re.sub(rf"^{program}(?!.*--port).*", rf"\g<0> --port {port}", text)
        return re.sub("|".join(self.instead), lambda found: self.instead[found[0]], text)

    @contextmanager
    def typed(self, command: str, *, seconds: float = 100.0) -> Iterator[subprocess.Popen[str]]:
        """Type a command, and go on while it runs. It is ended at the end, and after `seconds` in any case."""
        environment = {**os.environ, **self.environment}
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(
            [*self.within, "bash", "-c", command], cwd=self.directory, env=environment, text=True, **streams
        ) as running:
            bound = threading.Timer(seconds, end, [running])
            bound.start()
            try:
                yield running
            finally:
                bound.cancel()
                end(running)


def ended(shell: Shell, command: str, *, seconds: float = 280.0) -> tuple[int, str]:
    """Type it, wait for its end, and give its exit code and what it printed."""
    with shell.typed(command, seconds=seconds) as running:
        printed = running.communicate()[0]
    return running.returncode, printed


class Learner(Shell):
    """Types the commands of a page, found by how they begin.

    Args:
        page: where the commands stand.
        directory: where they are typed.
        **instead: what is typed for a port of the page.
    """

    def __init__(self, page: Path, directory: Path, **instead: str) -> None:
        super().__init__(directory, **instead)
        self.page = page
        self.did: list[str] = []  # the commands that were typed, as they stand in the page
        self.steps = [step for block in blocks(page, "console") for step in steps(block)]

    def command(self, beginning: str) -> tuple[str, str]:
        """The first command that begins so, and what the page shows of its output, both with the ports that are taken."""
        for command, shown in self.steps:
            if command.startswith(beginning):
                self.did.append(command)
                return self.here(command), self.here(shown)
        raise LookupError(f"{self.page.name}: no command that begins with {beginning!r}")

    def type(self, beginning: str, old: str = "", new: str = "") -> str:
        """Type it, wait for its end, and give what it printed; what the page shows must look alike."""
        command, shown = self.command(beginning)
        with self.start(beginning, old, new) as running:
            printed = running.communicate()[0]
        assert not shown or alike(printed) == alike(shown), f"{command}\n{printed}"
        return printed

    @contextmanager
    def start(self, beginning: str, old: str = "", new: str = "") -> Iterator[subprocess.Popen[str]]:
        """Type it, with `new` for what the learner finds at `old`, and go on while it runs. It is ended at the end."""
        command = self.command(beginning)[0]
        with self.typed(command.replace(old, new) if old else command) as running:
            yield running


def end(running: subprocess.Popen[str]) -> None:
    """End a command and all that it started."""
    if running.returncode is not None:  # its number may be another's by now
        return
    with suppress(psutil.NoSuchProcess):
        ours = psutil.Process(running.pid)
        for each in (ours, *ours.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                each.kill()


def line(running: subprocess.Popen[str], pattern: str) -> str:
    """Read on to the line in which `pattern` is found. Raises: LookupError, if it ends before."""
    seen = []
    for each in iter(running.stdout.readline, ""):
        if re.search(pattern, each):
            return each
        seen.append(each)
    raise LookupError(f"no {pattern!r} in\n{''.join(seen)}")
