"""Hosts: servers with a broker that they share, each a parent with workers, as they would stand on machines of their own.

python tests/hosts.py PORT BROKER WORKERS OPENED      is one of them
async with hosts(broker, 3) as three: ...      starts several
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil

sys.path[:0] = [str(Path(__file__).parents[1])] if __name__ == "__main__" else []

from tests.ports import free_port  # noqa: E402
from transports.testing import until  # noqa: E402

KEPT = 50_000  # events: all that a run publishes
COALESCE = 0.05  # seconds: hundreds of readers of hundreds of events a second, beside their servers on two cores


class Host:
    """One parent and its workers."""

    def __init__(self, broker: str, log: Path, workers: int = 1) -> None:
        self.broker, self.workers, self.port, self._log = broker, workers, free_port(), log
        self.opened = log.with_suffix(".opened")  # when which transport was opened, a line for each
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Begin, and wait until all workers serve. Raises: AssertionError, they do not, with what was said."""
        command = [sys.executable, __file__, str(self.port), self.broker, str(self.workers), str(self.opened)]
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=Path(__file__).parents[1],
            )
        line = await asyncio.wait_for(self.process.stdout.readline(), 90)
        assert line.startswith(b"serving "), self.said()

    async def stop(self) -> None:
        """Let it leave. Raises: AssertionError, it ended with an error."""
        self.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(self.process.wait(), 90) == 0, self.said()

    async def restart(self) -> None:
        """Have all workers replaced, one after the other; returns when that is done."""
        before = self.said().count("restarted: ")
        self.process.send_signal(signal.SIGHUP)
        await until(lambda: self.said().count("restarted: ") > before, 90)

    def kill(self) -> None:
        """The end of everything, at once."""
        pids = self.pids()
        with suppress(ProcessLookupError):
            self.process.kill()
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()

    def pids(self) -> list[int]:
        """The worker processes."""
        with suppress(psutil.NoSuchProcess):
            return [each.pid for each in psutil.Process(self.process.pid).children() if each.status() != psutil.STATUS_ZOMBIE]
        return []

    def said(self) -> str:
        """All that was said on standard error."""
        return self._log.read_text()


@asynccontextmanager
async def hosts(broker: str, count: int, directory: Path, workers: int = 1) -> AsyncIterator[list[Host]]:
    """So many hosts; they are gone at the end, whatever happened."""
    all_of_them = [Host(broker, directory / f"host{number}.log", workers) for number in range(count)]
    try:
        await asyncio.gather(*[each.start() for each in all_of_them])
        yield all_of_them
    finally:
        for each in all_of_them:
            if each.process is not None:
                each.kill()
                await each.process.wait()


def main(port: str, broker: str, workers: str, opened: str) -> None:
    from quart import Quart

    from transports.counts import Counts
    from transports.options import UNBOUNDED
    from transports.quart import Live

    class Noted(Counts):
        """Also writes down when."""

        def opened(self, transport: str, why: str, tried: str) -> None:
            super().opened(transport, why, tried)
            os.write(lines, f"{time.time()} {transport}\n".encode())

    lines = os.open(opened, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    app = Quart(__name__)
    kept = {"history_count": KEPT, "history_bytes": 64 << 20}
    live = Live(app, channels=["a"], broker=broker, coalesce=COALESCE, **kept, **UNBOUNDED)
    live.hub.counts = Noted()
    live.run(port=int(port), workers=int(workers))


if __name__ == "__main__":
    main(*sys.argv[1:])
