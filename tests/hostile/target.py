"""Target: a server in a process of its own, that tells what it holds. What it costs to be attacked is measured from outside.

python -m tests.hostile.target EDGE OPTIONS      is one of them; it obeys lines on its standard input
async with target("front") as server: ...        starts one
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import logging
import os
import signal
import sys
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from transports import Hub, Options
from transports.asgi import Endpoints
from transports.front import Front
from transports.serve import address, configuration, listen
from transports.serve import serve as hypercorn
from transports.servers import find_server

EDGES = ("front", "plain")  # and "uvicorn"
ROOT = Path(__file__).parents[2]
PAGE = b"page"


class Held(NamedTuple):
    """What a server holds, and what happened to it."""

    rss: int  # bytes
    tasks: int
    readers: int
    accounts: int
    connections: int
    files: int  # that are open, sockets among them
    members: int  # of the channel `a`
    peak: int  # bytes that Python has asked for since `trace`, at the most, beyond what it had then
    head: int  # events that were published
    errors: list[str]  # what an operator reads, at the level of errors and above


class Target:
    """A server that was started. See `target`."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process, self.url = process, url
        host, port = url.split("//")[1].rsplit(":", 1)
        self.host, self.port = host, int(port)
        self.pid = process.pid

    async def _ask(self, **order: Any) -> Any:
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        try:
            return json.loads(await asyncio.wait_for(self._process.stdout.readline(), 60))
        except TimeoutError:
            self._process.send_signal(signal.SIGUSR1)  # what it does instead is told on its standard error
            await asyncio.sleep(1.0)
            raise

    async def held(self) -> Held:
        """What it holds now, without what is there to be collected."""
        return Held(**await self._ask(do="tell"))

    async def trace(self) -> None:
        """Begin to look at what Python asks for."""
        await self._ask(do="trace")

    async def publish(self, count: int = 1, size: int = 0, channel: str = "a") -> int:
        """Publish so many events of so many bytes. The number of the last."""
        return await self._ask(do="publish", count=count, size=size, channel=channel)

    async def back_to(self, before: Held, seconds: float = 30.0) -> Held:
        """Wait until no more is there than before. Raises: AssertionError, it stays."""
        held = await self.held()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while _more(held, before):
                    await asyncio.sleep(0.02)  # it is another process: it rings no bell of ours
                    held = await self.held()
        assert not _more(held, before), f"{_more(held, before)} stay: {held} after {before}"
        return held

    async def stop(self) -> None:
        """Let it end. Raises: AssertionError, it did not end well."""
        self._process.stdin.close()
        assert await asyncio.wait_for(self._process.wait(), 60) == 0


def _more(held: Held, before: Held) -> dict[str, int]:
    """What there is more of."""
    names = ("tasks", "readers", "accounts", "connections", "files", "members")
    return {name: more for name in names if (more := getattr(held, name) - getattr(before, name)) > 0}


@asynccontextmanager
async def target(edge: str = "front", *, pem: Path | None = None, **options: Any) -> AsyncIterator[Target]:
    """A server behind an edge, with options; over TLS with the certificate and key in `pem`."""
    command = [sys.executable, "-m", __spec__.name, edge, json.dumps(options), str(pem or "")]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT, limit=1 << 24)
    try:
        url = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
        server = Target(process, url)
        yield server
        await server.stop()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# --- within the process


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record)[-2000:])


class _Inside:
    """The server's own end of the talk."""

    def __init__(self, hub: Hub, config: Any, front: Front | None) -> None:
        self.hub, self.config, self.front = hub, config, front
        self.errors = _Errors()
        logging.getLogger().addHandler(self.errors)
        self._process = psutil.Process()
        self._base = 0

    async def obey(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            order = json.loads(line)
            print(json.dumps(await getattr(self, order.pop("do"))(**order)), flush=True)

    async def tell(self) -> dict[str, Any]:
        gc.collect()
        _, peak = tracemalloc.get_traced_memory()
        presence = [each async for each in self._members()]
        return {
            "rss": self._process.memory_info().rss,
            "tasks": len(asyncio.all_tasks()),
            "readers": self.hub.readers,
            "accounts": len(self.hub.accounts),
            "connections": len(self.config.connections) + (0 if self.front is None else len(self.front.connections)),
            "files": len(os.listdir("/proc/self/fd")),
            "members": len(presence),
            "peak": max(0, peak - self._base),
            "head": self.hub.log.head,
            "errors": self.errors.seen[:5],
        }

    async def _members(self) -> AsyncIterator[Any]:
        for member in (await self.hub.presence.members("a")).members:
            yield member

    async def trace(self) -> None:
        gc.collect()
        if not tracemalloc.is_tracing():
            tracemalloc.start()
        tracemalloc.reset_peak()
        self._base = tracemalloc.get_traced_memory()[0]

    async def publish(self, count: int, size: int, channel: str) -> int:
        for _ in range(count):
            await self.hub.publish(channel, "x" * size)
        return self.hub.log.head


def _site(endpoints: Any) -> Any:
    """A page, a place that reads what is sent to it, and the endpoints below `/live`."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/live/"):
            await endpoints({**scope, "root_path": "/live"}, receive, send)
            return
        while scope["method"] == "POST" and (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(PAGE))]})
        await send({"type": "http.response.body", "body": PAGE})

    return app


async def _serve(edge: str, settings: dict[str, Any], pem: str) -> None:
    options = Options(**{"channels": ("*",), **settings})
    hub = Hub(options)
    await hub.open()
    endpoints = Endpoints(hub)
    front = Front(endpoints.admission, "/live") if edge == "front" else None
    listening = listen("127.0.0.1", 0)
    url = address(listening).replace("http:", "https:" if pem else "http:")
    config = configuration(listening, options, certfile=pem or None, keyfile=pem or None)
    inside, stop = _Inside(hub, config, front), asyncio.Event()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    obeying = asyncio.create_task(inside.obey(reader))
    obeying.add_done_callback(lambda _: stop.set())
    ready = {"ready": lambda: print(json.dumps(url), flush=True), "stop": stop}
    if front is None and edge != "plain":
        await find_server(edge)(_site(endpoints), config, hub.close, **ready)
    else:
        await hypercorn(_site(endpoints), config, hub.close, front=front, **ready)
    await obeying


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)
    asyncio.run(_serve(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]))
