"""Rounds for tests: a server in a process of its own, Locust in another."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from locustfiles.plan import Plan
from locustfiles.samples import Sample
from locustfiles.subjects import subject
from tests.ports import free_port

REPOSITORY = Path(__file__).parents[2]
FANOUT = "locustfiles/scenarios/fanout.py"
USERS = {"websocket": "WebSocketReader", "sse": "SSEReader", "longpoll": "LongPollReader"}
PATIENCE = 60.0  # seconds, for anything


def until(met: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not met():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come true within {PATIENCE:g} s")
        time.sleep(0.02)  # between two looks


class Server:
    """A subject on a free port, which can be killed and started again."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.subject, self.port = subject(name), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [*self.subject.argv("127.0.0.1", self.port), *arguments]

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers, "the server's answer")

    def stop(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait(PATIENCE)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", self.subject.ready)
            return connection.getresponse().status == 200
        return False


@contextmanager
def serving(name: str = "everywire", *arguments: str) -> Iterator[Server]:
    server = Server(name, *arguments)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "locust", "--headless", "--loglevel", "WARNING", *arguments]


class Round:
    """One round of a plan in a Locust of its own; `sample` when it is over."""

    def __init__(self, directory: Path, plan: Plan, url: str, *arguments: str, file: str = FANOUT) -> None:
        self._samples, self.events = directory / "sample.json", directory / "events.csv"
        kept = directory / "plan.json"
        kept.write_bytes(msgspec.json.encode(plan))
        self.lines: list[dict] = []
        reading, writing = os.pipe()
        self._progress = os.fdopen(reading)
        options = ["-f", file, "--plan", str(kept), "--host", url, "-u", str(plan.readers), "-r", str(plan.readers)]
        options += ["--samples", str(self._samples), "--events", str(self.events), "--progress", str(writing), *arguments]
        self.process = subprocess.Popen(
            command(*options),
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            pass_fds=[writing],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        os.close(writing)

    def line(self) -> dict | None:
        """The next line of its progress."""
        line = self._progress.readline()
        if line:
            self.lines.append(msgspec.json.decode(line))
        return self.lines[-1] if line else None

    def started(self) -> int:
        """When the first event is due, in microseconds; waits for it."""
        while (line := self.line()) is not None:
            if line["started"]:
                return line["started"]
        raise AssertionError(self.said())

    def said(self) -> str:
        while self.line() is not None:
            pass
        return self.process.communicate(timeout=60)[0]

    def sample(self) -> Sample:
        said = self.said()
        assert self._samples.exists(), said
        return msgspec.json.decode(self._samples.read_bytes(), type=Sample)


def play(directory: Path, plan: Plan, url: str, *arguments: str, file: str = FANOUT) -> Sample:
    """A round from its beginning to its end."""
    return Round(directory, plan, url, *arguments, file=file).sample()
