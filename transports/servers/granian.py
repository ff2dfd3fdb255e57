"""Running an ASGI application under granian: everything that we know of its insides is here.

Its threads of Rust accept, parse and write; the application runs in our event loop, which its embedded server allows.
What it does not do is to end a connection whose client takes nothing, and it would wait for it for ever when it stops.
It does not name its connections either, but the system does.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Container
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from granian.constants import Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server

from ..admission import FLUSH
from ..serve import GRACE, Settings, nothing, on_signals, taken_over

_AT_ONCE = 2**20  # requests under way; a stream is one, so granian's default would be a limit of readers
_LOG = {"incremental": True, "handlers": {}, "loggers": {"_granian": {"propagate": True}}}  # leave those of others alone
_LAST = 0.1  # seconds for its threads to do what they have begun: to write a close frame, to hand over a request
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: what the client does not take is thrown away
_GONE = {"type": "websocket.disconnect", "code": 1005}  # no code of the client is known


class _Server(Server):
    """granian, but it listens where we do."""

    def __init__(self, app: Any, config: Settings, listening: socket.socket) -> None:
        super().__init__(app, **_translated(config))
        self._listening = listening

    def _init_shared_socket(self) -> None:
        self._shd: Any = SocketHolder(self._listening.detach(), False, self.backlog)  # type: ignore[call-arg]


class _Watched:
    """The application, and an eye on what passes between it and granian.

    * A connection whose answer was given up in the middle is cut off; granian would keep it.
    * Who closes a WebSocket does not wait: granian writes the close frame and ends the connection, but may tell of neither.
    """

    def __init__(self, app: Any, port: int, ready: Callable[[], object]) -> None:
        self._app, self._port, self._ready = app, port, ready
        self._given_up: set[tuple[str, int]] = set()  # clients who have a moment to take the last bytes
        self._running: set[asyncio.Task[Any]] = set()  # one for each request

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        whole, last = True, ""  # whether all of an answer was sent, and the type of what was sent

        async def watched_send(message: Any) -> None:
            nonlocal whole, last
            whole, last = False, message["type"]
            if last == "websocket.close":
                whole = await _done(send(message))
            else:
                await send(message)
                whole = last != "http.response.start" and not message.get("more_body")

        async def watched_receive() -> Any:
            return _GONE if last == "websocket.close" else await receive()

        async def started(message: Any) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":  # it listens within the next turns, and tells of it nowhere
                self._ready()

        if scope["type"] == "lifespan":
            await self._app(scope, receive, started)
            return
        self._runs(asyncio.current_task())
        await self._app(scope, watched_receive, watched_send)
        if not whole and scope["http_version"] != "2":  # whose streams share a connection
            self._give_up(*scope["client"])

    def _runs(self, task: asyncio.Task[Any] | None) -> None:
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def end(self) -> None:
        """Wait for what is under way, but not long."""
        await asyncio.sleep(_LAST)
        if self._running:
            await asyncio.wait(self._running, timeout=GRACE)

    def _give_up(self, host: str, port: str | int) -> None:
        if not self._given_up:
            asyncio.get_running_loop().call_later(FLUSH, self._cut_off)
        self._given_up.add((host, int(port)))  # which is a text here, against the ASGI specification

    def _cut_off(self) -> None:
        cut_off(self._port, self._given_up)
        self._given_up.clear()


async def _done(sending: Awaitable[None]) -> bool:
    """Wait a moment for what granian is doing already; whether it told of its end."""
    try:
        await asyncio.wait_for(sending, _LAST)
    except TimeoutError:
        return False
    return True


def cut_off(port: int, clients: Container[object] | None = None) -> None:
    """Reset the connections of this process to its own `port`: those of `clients`, or all."""
    for each in psutil.Process().net_connections("tcp"):
        if each.laddr.port == port and each.raddr and (clients is None or tuple(each.raddr) in clients):
            with suppress(OSError), socket.socket(fileno=os.dup(each.fd)) as connection:  # it may have ended just now
                if connection.getpeername()[:2] == tuple(each.raddr):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    connection.shutdown(socket.SHUT_RDWR)


async def serve(
    app: Any,
    config: Settings,
    drain: Callable[[], Awaitable[None]],
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[], object] = nothing,
) -> None:
    """As `transports.serve.serve`, under granian. It takes connections to the very end: who comes is told to go elsewhere."""
    stop = stop or on_signals()
    listening = taken_over(config)
    port = listening.getsockname()[1]
    watched = _Watched(app, port, ready)
    server = _Server(watched, config, listening)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await drain()
    server.stop()  # type: ignore[no-untyped-call]
    asyncio.get_running_loop().call_later(GRACE, cut_off, port)
    await serving
    await watched.end()


def _translated(config: Settings) -> dict[str, Any]:
    return {
        "interface": Interfaces.ASGI,
        "backlog": config.backlog,
        "backpressure": _AT_ONCE,
        "http1_settings": HTTP1Settings(header_read_timeout=math.ceil(1000 * config.keep_alive_timeout)),
        "log_level": LogLevels.error,
        "log_dictconfig": _LOG,
        "ssl_cert": config.certfile and Path(config.certfile),
        "ssl_key": config.keyfile and Path(config.keyfile),
        "ssl_protocol_min": SSLProtocols.tls12,
    }
