"""A plain ASGI application without any library in it, on Hypercorn, uvicorn or granian.

    python -m tests.benchmarks.subjects.asgi hypercorn|hypercorn-uvloop|uvicorn|granian

A publish encodes once, and sends to each reader in turn: what such an application costs is what its server costs.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from .publisher import BACKLOG, encode, listen, obey, poll_body, port_of

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class App:
    """The application: who reads over which wire, and how a publish reaches them."""

    def __init__(self) -> None:
        self.sockets: dict[Send, None] = {}
        self.streams: dict[Send, None] = {}
        self._body = poll_body()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await _while_there(self.sockets, receive, send, "websocket.disconnect", {"type": "websocket.send", "text": "[]"})
        elif scope["path"] == "/sse":
            await _start(send, (b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"))
            hello = {"type": "http.response.body", "body": b":\n\n", "more_body": True}
            await _while_there(self.streams, receive, send, "http.disconnect", hello)
        elif scope["path"] == "/poll":
            length = b"%d" % len(self._body)
            await _start(
                send, (b"content-type", b"application/json"), (b"cache-control", b"no-store"), (b"content-length", length)
            )
            await send({"type": "http.response.body", "body": self._body})
        else:
            await _while_there({}, receive, send, "http.disconnect")

    async def publish(self, data: dict[str, Any]) -> None:
        """Send one event to all."""
        json = encode(data)
        if self.sockets:
            await _to_all(self.sockets, {"type": "websocket.send", "text": json.decode()})
        if self.streams:
            await _to_all(self.streams, {"type": "http.response.body", "body": b"data: %b\n\n" % json, "more_body": True})


async def _to_all(readers: dict[Send, None], message: dict[str, Any]) -> None:
    for send in list(readers):
        with suppress(OSError, RuntimeError):  # one that has just gone
            await send(message)


async def _start(send: Send, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(headers)})


async def _while_there(
    readers: dict[Send, None], receive: Receive, send: Send, end: str, hello: dict[str, Any] | None = None
) -> None:
    """Keep a reader among the others while it is there; `hello` tells it that it is."""
    readers[send] = None
    try:
        if hello is not None:
            await send(hello)
        while (await receive())["type"] != end:
            pass
    finally:
        del readers[send]


async def _lifespan(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})


def on_hypercorn(app: Any, listening: socket.socket) -> Coroutine[Any, Any, Any]:
    """Hypercorn; polls are cut after 1,000 requests otherwise, and a crowd that connects at once waits."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"fd://{listening.dup().detach()}"]
    config.backlog, config.keep_alive_max_requests, config.loglevel = BACKLOG, 2**31, "WARNING"
    return serve(app, config, shutdown_trigger=asyncio.Event().wait)  # type: ignore[arg-type]


def on_uvicorn(app: Any, listening: socket.socket, *, lifespan: str = "auto") -> Coroutine[Any, Any, Any]:
    """uvicorn with uvloop, httptools and the faster of its WebSocket protocols, without compression."""
    import uvicorn

    config = uvicorn.Config(
        app,
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
        lifespan=lifespan,  # type: ignore[arg-type]
        backlog=BACKLOG,
    )
    return uvicorn.Server(config).serve(sockets=[listening])


def on_granian(app: Any, listening: socket.socket) -> Coroutine[Any, Any, Any]:
    """Granian, embedded, with uvloop, one runtime thread and HTTP/1.1 alone: one core is all that there is."""
    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    port = port_of(listening)
    listening.close()  # it listens by itself
    return Server(
        app, port=port, interface=Interfaces.ASGI, http=HTTPModes.http1, backlog=BACKLOG, backpressure=20_000, log_enabled=False
    ).serve()


_SERVERS = {"hypercorn": on_hypercorn, "hypercorn-uvloop": on_hypercorn, "uvicorn": on_uvicorn, "granian": on_granian}


async def main(server: str) -> None:
    """Serve until standard input ends."""
    app, listening = App(), listen()
    port = port_of(listening)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_SERVERS[server](app, listening))
        await asyncio.sleep(0.3)  # Granian has no word for when it listens
        await obey(app.publish, port)


def run(main: Coroutine[Any, Any, None], *, fast: bool) -> None:
    """Run it to its end, on uvloop if it is `fast`."""
    if fast:
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)


if __name__ == "__main__":
    run(main(sys.argv[1]), fast=sys.argv[1] != "hypercorn")
