"""For tests, of this project and of yours: a real server on a free port, an in-process one without sockets, and a
wire that cuts.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from .front import Front
from .options import Options
from .serve import address, configuration, listen
from .serve import serve as run
from .servers import Serve

_TURNS = 100  # of the event loop: more than anything takes within it
_LOOK = 0.001  # seconds between two looks at what takes longer


async def _nothing() -> None:
    pass


async def until(condition: Callable[[], object], timeout: float = 30.0) -> None:
    """Let the event loop run until `condition()` holds. Raises: TimeoutError, when it does not within `timeout` seconds.

    What is near comes within a few turns of the loop. What takes longer is looked at a thousand times a second, so that those
    who make it come have the machine for themselves.
    """
    async with asyncio.timeout(timeout):
        for turn in itertools.count():
            if condition():
                return
            await asyncio.sleep(0 if turn < _TURNS else _LOOK)  # whatever it looks at rings no bell of ours


@asynccontextmanager
async def serving(
    app: Any,
    *,
    drain: Callable[[], Awaitable[None]] = _nothing,
    options: Options | None = None,
    certfile: str | None = None,
    keyfile: str | None = None,
    port: int = 0,
    front: Front | None = None,
    server: Serve = run,
    others: bool = False,
) -> AsyncIterator[str]:
    """Serve an ASGI application on a loopback port, within this event loop; gives its `http://host:port`.

    Args:
        app: the application.
        drain: called at the end while connections still work, as in production: `hub.drain`, or `hub.close`.
        options: sizes and times for the server.
        certfile: serve TLS with this certificate.
        keyfile: its key.
        port: to listen on; 0 takes any that is free.
        front: what takes the connections before Hypercorn; without it all go to `server`.
        server: Hypercorn, or another that `transports.servers` finds.
        others: whether other processes serve the same; `Hub.shared`.
    """
    stop = asyncio.Event()
    listening = listen("127.0.0.1", port)
    url = address(listening).replace("http:", "https:" if certfile else "http:")
    config = configuration(listening, options or Options(), certfile=certfile, keyfile=keyfile, others=others)
    serve = server if front is None else partial(run, front=front)
    task = asyncio.create_task(serve(app, config, drain, stop=stop))
    try:
        yield url
    finally:
        stop.set()
        await task


class Exchange:
    """One request to an ASGI application without a server: what it sent is in `sent`.

    Args:
        app: the application.
        scope: what the server would say of the request; `http`, `websocket` and `disconnect` make the usual ones.
    """

    def __init__(self, app: Any, scope: dict[str, Any]) -> None:
        self.sent: list[dict[str, Any]] = []
        self._up: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._came = asyncio.Condition()
        self._task = asyncio.create_task(app(scope, self._up.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        async with self._came:
            self.sent.append(message)
            self._came.notify_all()

    def say(self, message: dict[str, Any]) -> None:
        """Hand the application one message from the client."""
        self._up.put_nowait(message)

    async def came(self, wanted: Callable[[list[dict[str, Any]]], bool], timeout: float = 10.0) -> list[dict[str, Any]]:
        """Wait until what was sent is `wanted`. Raises: TimeoutError."""
        async with asyncio.timeout(timeout), self._came:
            await self._came.wait_for(lambda: wanted(self.sent))
        return self.sent

    async def end(self, timeout: float = 10.0) -> list[dict[str, Any]]:
        """Wait until the application has finished, and give what it sent. Raises: TimeoutError, or what it raised."""
        await asyncio.wait_for(self._task, timeout)
        return self.sent


class Cutter:
    """A TCP relay that cuts each connection after so many bytes from the server, at whichever byte that is.

    Args:
        upstream: `http://host:port`.
        cuts: how many bytes each connection may carry down, one number a connection; when they have run out, no
            more is cut.
    """

    def __init__(self, upstream: str, cuts: Iterator[int]) -> None:
        host, _, port = upstream.rpartition("//")[2].rpartition(":")
        self._host, self._port = host, int(port)
        self._cuts = cuts
        self._busy: set[asyncio.Task[None]] = set()
        self.made = 0  # cuts that were made

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Listen on a free loopback port; gives the `http://host:port` to connect to."""
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        try:
            yield f"http://{host}:{port}"
        finally:
            server.close()
            for task in list(self._busy):
                task.cancel()
            await asyncio.gather(*self._busy, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - the server made it
        self._busy.add(task)
        try:
            back_reader, back_writer = await asyncio.open_connection(self._host, self._port)
            down = asyncio.create_task(self._copy(back_reader, writer, next(self._cuts, None)))
            up = asyncio.create_task(self._copy(reader, back_writer, None))
            try:
                await asyncio.wait([down, up], return_when=asyncio.FIRST_COMPLETED)
            finally:
                up.cancel()
                down.cancel()
                for each in (writer, back_writer):
                    each.transport.abort()
        except OSError:
            writer.transport.abort()
        except asyncio.CancelledError:  # by `open`, at its end; nobody waits for more
            writer.transport.abort()
        finally:
            self._busy.discard(task)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, allowed: int | None) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if allowed is not None and len(data) >= allowed:
                    writer.write(data[:allowed])
                    self.made += 1
                    await writer.drain()
                    # Let the kernel pass on what was written before the connection is torn down.
                    writer.write_eof()
                    return
                allowed = None if allowed is None else allowed - len(data)
                writer.write(data)
                await writer.drain()
