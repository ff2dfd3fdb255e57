"""Patience: an ASGI application whose clients have to get on with what they send. Servers wait for ever.

It is for what others serve behind us: our own endpoints have a time for all of a body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from .admission import JSON, refusal_body
from .errors import Code, Refusal
from .transport import HEADERS

_Message: TypeAlias = MutableMapping[str, Any]
PATIENCE: Final = 2.0  # times what our own endpoints have for a body: they give up first, with a word of their own
_RATE: Final = 500  # bytes that buy one more second: the slowest modem is ten times as fast
_NO_BODY: Final = ("GET", "HEAD", "OPTIONS")


class Patient:
    """The application `app`, whose clients may keep it waiting for `seconds`, and one more for every 500 bytes of a body.

    Who is slower is answered 408, and the application is told that the client has gone.
    """

    def __init__(self, app: Any, seconds: float) -> None:
        self._app, self._seconds = app, seconds

    async def __call__(self, scope: _Message, receive: Any, send: Any) -> None:
        """See ASGI. What has no body costs nothing."""
        if scope["type"] == "http" and scope["method"] not in _NO_BODY:
            waiting = _Waiting(receive, send, self._seconds)
            receive, send = waiting.receive, waiting.send
        await self._app(scope, receive, send)


class _Waiting:
    """For the body of one request."""

    def __init__(
        self, receive: Callable[[], Awaitable[_Message]], send: Callable[[_Message], Awaitable[None]], seconds: float
    ) -> None:
        self._receive, self._send = receive, send
        self._most = self._left = seconds
        self._coming = True
        self._answering = self._over = False

    async def receive(self) -> _Message:
        """What comes next; it is the end when it comes too late."""
        if self._over:
            return {"type": "http.disconnect"}
        if not self._coming:
            return await self._receive()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(self._left):
                message = await self._receive()
        except TimeoutError:
            await self._late()
            return {"type": "http.disconnect"}
        come = len(message.get("body", b"")) / _RATE
        self._left = min(self._most, self._left - (loop.time() - begun) + come)
        self._coming = message.get("more_body", False)
        return message

    async def _late(self) -> None:
        if not self._answering:
            body, ours = refusal_body(Refusal(Code.SILENT, "the body did not arrive in time"))
            headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), *HEADERS, *ours]
            await self._send({"type": "http.response.start", "status": Code.SILENT.status, "headers": headers})
            await self._send({"type": "http.response.body", "body": body})
        self._over = True

    async def send(self, message: _Message) -> None:
        """Send, unless it has been answered here."""
        self._answering = True
        if not self._over:
            await self._send(message)
