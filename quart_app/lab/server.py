"""Server: the one under test, a process of its own, which can be stopped, killed and started again on the same port."""

from __future__ import annotations

import asyncio
import os
import signal
import site
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from transports.errors import EverywireError

State: TypeAlias = Literal["running", "starting", "stopped"]

_START: Final = 60.0  # seconds until it serves, on a busy machine
_LEAVE: Final = 10.0  # seconds that it has to say goodbye to its readers; it needs three at the most
_HERE: Final = str(Path(__file__).parents[2])  # where our packages are, installed or not


class NotServingError(EverywireError):
    """The server under test did not begin to serve; the message is the last that it said."""


class Server:
    """`everywire serve` on a loopback port that it keeps.

    Args:
        changed: called whenever the state is another.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.state: State = "stopped"
        self.starts = 0
        self._changed = changed
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()  # one thing after the other
        self._doing: set[asyncio.Task[None]] = set()
        self._closing = False
        self._kept = _keep()
        self.address: tuple[str, int] = self._kept.getsockname()
        if not sys.platform.startswith("linux"):  # elsewhere nobody else may listen there, either
            self._kept.close()

    @property
    def pid(self) -> int | None:
        """Of the process, if there is one."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Begin to serve, unless it does. Raises: NotServingError."""
        await self._do(self._start)

    async def stop(self) -> None:
        """Let it say goodbye and end."""
        await self._do(partial(self._end, signal.SIGTERM))

    async def kill(self) -> None:
        """The end at once, as of a machine whose power is gone."""
        await self._do(partial(self._end, signal.SIGKILL))

    async def restart(self) -> None:
        """Stop, and start again: another life of the log. Raises: NotServingError."""
        await self._do(partial(self._end, signal.SIGTERM), self._start)

    async def close(self) -> None:
        """Be gone, for ever: what waits for its turn finds nothing to do."""
        self._closing = True
        await self.stop()
        self._kept.close()

    async def _do(self, *steps: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """All of it, even if who asked does not wait: a page that is closed leaves no server that is half started."""
        task = asyncio.create_task(self._in_turn(*steps))
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)
        await asyncio.shield(task)

    async def _in_turn(self, *steps: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with self._turn:
            for step in steps:
                await step()

    async def _start(self) -> None:
        if self._process is not None or self._closing:
            return
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "quart_app.lab.child", "serve", "--limits", "off", "--port", str(self.address[1])),
            stdin=PIPE,
            stdout=PIPE,
            stderr=None,
            env=_environment(),
            process_group=0,  # Ctrl-C is for the lab, which says goodbye for both
        )
        self.starts += 1
        self._become("starting")
        self._watch = asyncio.create_task(self._watched(process))
        line = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(_START):
                line = await _line(process)
        if b" serves " not in line:
            await self._end(signal.SIGKILL)
            raise NotServingError("the server under test did not start: see what it said on standard error")
        if self._process is process:  # it may have ended at once
            self._become("running")

    async def _end(self, how: signal.Signals) -> None:
        process, watch = self._process, self._watch
        if process is None or watch is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(how)
        done, _ = await asyncio.wait([watch], timeout=_LEAVE)
        if not done:
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.wait([watch])

    async def _watched(self, process: Process) -> None:
        """See its end, whoever wanted it."""
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()
        self._process = None
        self._become("stopped")

    def _become(self, state: State) -> None:
        self.state = state
        self._changed()


async def _line(process: Process) -> bytes:
    return b"" if process.stdout is None else await process.stdout.readline()


def _environment() -> dict[str, str]:
    """Ours, without what it says to `everywire`: a broker that others use is none to play with. And where our packages are if
    they are not installed: `-P` keeps Python from looking where it was started.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith("EVERYWIRE_")}
    paths = [] if _HERE in site.getsitepackages() else [_HERE]
    return {**ours, "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])}


def _keep() -> socket.socket:
    """A socket that has a port and does not listen: while the server is away connections to it are refused, and no other program
    takes its place, nor a connection that leaves from here.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    return kept
