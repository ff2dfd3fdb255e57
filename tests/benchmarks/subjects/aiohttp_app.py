"""aiohttp on uvloop: WebSocket, an event stream, polls."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from aiohttp import web

from .asgi import run
from .publisher import BACKLOG, encode, listen, obey, poll_body, port_of


class App:
    """Who reads, and how a publish reaches them."""

    def __init__(self) -> None:
        self.sockets: set[web.WebSocketResponse] = set()
        self.streams: set[web.StreamResponse] = set()
        self._body = poll_body()

    async def ws(self, request: web.Request) -> web.WebSocketResponse:
        """A reader over WebSocket."""
        response = web.WebSocketResponse(compress=False)
        await response.prepare(request)
        self.sockets.add(response)
        await response.send_str("[]")  # it is among the readers now
        async for _ in response:
            pass
        self.sockets.discard(response)
        return response

    async def sse(self, request: web.Request) -> web.StreamResponse:
        """A reader over an event stream."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        self.streams.add(response)
        try:
            await response.write(b":\n\n")  # it is among the readers now
            await asyncio.Event().wait()
        finally:
            self.streams.discard(response)
        return response

    async def poll(self, request: web.Request) -> web.Response:
        """A poll that is answered at once."""
        return web.Response(body=self._body, content_type="application/json", headers={"Cache-Control": "no-store"})

    async def wait(self, request: web.Request) -> web.Response:
        """A poll that waits."""
        await asyncio.Event().wait()
        raise web.HTTPNoContent

    async def publish(self, data: dict[str, Any]) -> None:
        """Send one event to all."""
        json = encode(data)
        text, block = json.decode(), b"data: %b\n\n" % json
        for socket in tuple(self.sockets):
            with suppress(ConnectionError):
                await socket.send_str(text)
        for stream in tuple(self.streams):
            with suppress(ConnectionError):
                await stream.write(block)


async def main() -> None:
    """Serve until standard input ends."""
    readers, app, listening = App(), web.Application(), listen()
    app.add_routes([web.get(f"/{wire}", getattr(readers, wire)) for wire in ("ws", "sse", "poll", "wait")])
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.SockSite(runner, listening, backlog=BACKLOG).start()
    await obey(readers.publish, port_of(listening))


if __name__ == "__main__":
    run(main(), fast=True)
