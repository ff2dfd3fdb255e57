"""Restrictions: what networks do to a stream, played in front of an ASGI application and changed while it runs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]


class Restrictions:
    """An ASGI application in front of another.

    `how` says what happens to requests for the last part of a path (`ws`, `sse`, `poll`, `commands`; `*` for all others):
    `refuse` (403), `swallow` (opened, then nothing passes), `hold` (the whole body is kept back), `login` (200 and a page),
    `redirect` (302), `dies N` (cut after N milliseconds), `mute N` (N messages pass down, then none), `slow N` (N milliseconds).
    """

    def __init__(self, app: Any, how: dict[str, str] | None = None) -> None:
        self.app = app
        self.how = how or {}
        self.asked: list[str] = []  # the paths, in order

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").rpartition("/")[2]
        name, _, number = self.how.get(path, self.how.get("*", "pass") if scope["type"] != "lifespan" else "pass").partition(" ")
        self.asked.append(path)
        await getattr(self, f"_{name}")(scope, receive, send, float(number or 0))

    async def _pass(self, scope: Scope, receive: Receive, send: Send, _: float) -> None:
        await self.app(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, _: float) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        else:
            await answer(send, 403, b"text/plain", b"no")

    async def _login(self, scope: Scope, receive: Receive, send: Send, _: float) -> None:
        if scope["type"] == "websocket":
            await self._refuse(scope, receive, send, 0)
        else:
            await answer(send, 200, b"text/html", b"<h1>Welcome to the hotel</h1>")

    async def _redirect(self, scope: Scope, receive: Receive, send: Send, _: float) -> None:
        if scope["type"] == "websocket":
            await self._refuse(scope, receive, send, 0)
        else:
            await answer(send, 302, b"text/html", b"", (b"location", b"/login"))

    async def _swallow(self, scope: Scope, receive: Receive, send: Send, _: float) -> None:
        if scope["type"] == "websocket":
            await receive()
            protocols = scope.get("subprotocols") or [None]
            await send({"type": "websocket.accept", "subprotocol": protocols[0]})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        while (await receive())["type"] not in ("websocket.disconnect", "http.disconnect"):
            pass

    async def _hold(self, scope: Scope, receive: Receive, send: Send, _: float) -> None:
        held: list[dict[str, Any]] = []

        async def keep(message: dict[str, Any]) -> None:
            held.append(message)

        await self.app(scope, receive, keep)
        with suppress(OSError):
            for message in held:
                await send(message)

    async def _dies(self, scope: Scope, receive: Receive, send: Send, milliseconds: float) -> None:
        task = asyncio.create_task(self.app(scope, receive, send))
        await asyncio.wait([task], timeout=milliseconds / 1000)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1011})

    async def _mute(self, scope: Scope, receive: Receive, send: Send, most: float) -> None:
        passed = 0

        async def count(message: dict[str, Any]) -> None:
            nonlocal passed
            if message["type"].endswith((".send", ".body")):
                passed += 1
            if passed <= most:
                await send(message)

        await self.app(scope, receive, count)

    async def _slow(self, scope: Scope, receive: Receive, send: Send, milliseconds: float) -> None:
        await asyncio.sleep(milliseconds / 1000)
        await self.app(scope, receive, send)


class Rewind:
    """An ASGI application in front of another that has readers begin further back than they asked: everything that comes
    again must be dropped by them. It also lets each request wait a little, at random.
    """

    def __init__(self, app: Any, seed: int, most: int) -> None:
        self.app, self.most = app, most
        self.chance = random.Random(seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope.get("query_string", b"").decode()
        if "since=" in query:
            before, _, rest = query.partition("since=")
            position, _, after = rest.partition("&")
            epoch, _, offset = position.partition(".")
            back = max(0, int(offset) - self.chance.randrange(self.most))
            scope = {**scope, "query_string": f"{before}since={epoch}.{back}&{after}".encode()}
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
        await self.app(scope, receive, send)


async def answer(send: Send, status: int, kind: bytes, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *headers]})
    await send({"type": "http.response.body", "body": body})
