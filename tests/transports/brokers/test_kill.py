"""A server with its log in a file, killed while it is published to and read from: everybody goes on as if nothing was."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.transports.conftest import BRISK
from transports import LADDER
from transports.client import Stream, connect
from transports.testing import until

pytestmark = pytest.mark.real
KILLS = 3
PAUSE = 40  # publishes that are acknowledged between two kills, at least


class Server:
    """`everywire serve` on one port, started again and again over the same file."""

    def __init__(self, path: Path, port: int) -> None:
        broker = ["--broker", f"sqlite:///{path}"]
        self.command = [sys.executable, "-m", "quart_app", "serve", "--port", str(port), "--channel", "a", *broker]
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(*self.command, stdout=asyncio.subprocess.PIPE)
        assert b"stream at " in await asyncio.wait_for(self.process.stdout.readline(), 60)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()

    @asynccontextmanager
    async def running(self):
        try:
            await self.start()
            yield self
        finally:
            await self.kill()


async def read(stream: Stream, got: list[tuple[str, str]]) -> None:
    async for event in stream:  # what is lost would raise here
        got.append((event.id, event.data))


async def publish(stream: Stream, name: str, acknowledged: dict[str, str], stop: asyncio.Event) -> None:
    number = 0
    while not stop.is_set():
        data = f"{name}.{number}"
        acknowledged[await stream.publish("a", data)] = data
        number += 1


async def test_nobody_loses_or_doubles_anything_when_the_server_is_killed(tmp_path: Path) -> None:
    port, chance = free_port(), random.Random(7)
    url = f"http://127.0.0.1:{port}/live"
    acknowledged: dict[str, str] = {}
    got: dict[str, list[tuple[str, str]]] = {}
    stop = asyncio.Event()
    async with Server(tmp_path / "events.db", port).running() as server, AsyncExitStack() as stack:
        tasks = []
        for transport in LADDER:
            stream = await stack.enter_async_context(connect(url, ["a"], transport=transport.name, memory=None, pace=BRISK))
            got[transport.name] = []
            tasks.append(asyncio.create_task(read(stream, got[transport.name])))
        publishers = []
        for n in range(3):
            stream = await stack.enter_async_context(connect(url, ["vitals"], memory=None, pace=BRISK))
            publishers.append(asyncio.create_task(publish(stream, f"p{n}", acknowledged, stop)))
        for _ in range(KILLS):
            aim = len(acknowledged) + PAUSE + chance.randrange(PAUSE)
            await until(lambda aim=aim: len(acknowledged) >= aim or any(each.done() for each in [*tasks, *publishers]))
            await server.kill()
            await server.start()
        stop.set()
        await asyncio.gather(*publishers)
        everything = sorted(acknowledged.items(), key=lambda item: int(item[0].split(".")[1]))
        assert len({id_.split(".")[0] for id_ in acknowledged}) == 1, "one epoch"
        await until(lambda: all(len(each) >= len(everything) for each in got.values()) or any(task.done() for task in tasks))
        for task in tasks:
            task.cancel()
        assert not [
            end for end in await asyncio.gather(*tasks, return_exceptions=True) if not isinstance(end, asyncio.CancelledError)
        ]
        for name, events in got.items():
            assert events == everything, name
