"""WebSockets of Hypercorn's, on either version of HTTP.

What a client sends before it can know that it was let in is heard: Hypercorn refuses it, and lets the application accept
meanwhile. An application may say how long a message may be, so that nothing longer is ever put together, and is told of one:
Hypercorn would keep as much as it does for anybody, and hang up without a word. Messages are compressed only if that is wished:
Hypercorn agrees to whatever compression is offered, with an extension that inflates without a bound.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from hypercorn.protocol.events import Body, Data, Event, Request, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WebsocketBuffer, WSStream
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Message
from wsproto.events import Event as WSEvent
from wsproto.extensions import Extension

from .deflate import agree
from .extension import Deflate
from .websocket import LIMIT, TOO_LONG

_EARLY_MOST: Final = 65_536  # bytes that may come before the application has decided


class _TooLongError(Exception):
    """A message is longer than the application wants it."""


class _Message(WebsocketBuffer):
    """A message that is put together, as far as the application wants it."""

    wanted: dict[str, int]

    def extend(self, event: Message[Any]) -> None:
        """See Hypercorn. Raises: _TooLongError."""
        if self.length + len(event.data) > self.wanted.get("most", self.max_length):
            self.clear()
            raise _TooLongError if "most" in self.wanted else FrameTooLargeError
        super().extend(event)


class _Connection(Connection):
    """One that is ended with a word when the client breaks a rule (RFC 6455 section 7.1.7): Hypercorn answers the end that a
    client announces, and hangs up where wsproto announces one in its name.
    """

    def events(self) -> Generator[WSEvent, None, None]:
        """See wsproto."""
        for event in super().events():
            if isinstance(event, CloseConnection) and self.state is ConnectionState.OPEN:
                self._state = ConnectionState.REMOTE_CLOSING
            yield event


class Upgrade(WSStream):
    """See Hypercorn."""

    buffer: _Message

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.buffer = _Message(self.config.websocket_max_message_size)
        self.buffer.wanted = {}
        self._deaf = False  # a message was too long: what is behind it is no message
        self._early = b""
        self._hearing = False  # what came early; what comes now is behind it

    async def handle(self, event: Event) -> None:
        """See Hypercorn."""
        if self._deaf and isinstance(event, Body | Data):
            return
        if not isinstance(event, Body | Data) or self.closed or not (self.state is _ASKING or self._hearing):
            await self._handle(event)
        else:
            self._early += event.data
            if len(self._early) > _EARLY_MOST:
                self._early = b""
                self.closed = True  # before anything is awaited, or it is let in behind the refusal
                await self._send_error_response(400)
                await self.app_put({"type": "websocket.disconnect", "code": 1006})  # type: ignore[misc]  # there is one
                await self.send(StreamClosed(self.stream_id))

    async def _handle(self, event: Event) -> None:
        try:
            await super().handle(event)
            if isinstance(event, Request):
                self.scope["extensions"][LIMIT] = self.buffer.wanted  # the application begins later
                if self.closed:  # refused: Hypercorn says that the connection ends, and does not end it
                    await self.send(StreamClosed(self.stream_id))
        except _TooLongError:
            self._deaf = True
            await self.app_put({"type": "websocket.receive", "bytes": b"", "text": None, TOO_LONG: True})  # type: ignore[misc]

    async def _accept(self, message: Any) -> None:
        handshake, most = self.handshake, getattr(self.config, "deflate", 0)
        offers, handshake.extensions = handshake.extensions, None
        extensions: list[Extension] = []
        if most and (agreed := agree(offers or ())) is not None:
            message = {**message, "headers": [*message.get("headers", ()), (b"sec-websocket-extensions", agreed.encode())]}
            extensions.append(Deflate(most))
        plainly = handshake.accept

        def accept(*said: Any) -> Any:
            status, answered, _ = plainly(*said)
            return status, answered, _Connection(ConnectionType.SERVER, extensions)

        handshake.accept = accept  # type: ignore[assignment, method-assign]
        await super()._accept(message)
        if self._early:
            self._hearing = True
            self.task_group.spawn(self._hear)  # not here: the application that is to hear it waits for this

    async def _hear(self) -> None:
        try:
            while self._early:
                early, self._early = self._early, b""
                await self._handle(Data(self.stream_id, early))
        finally:
            self._hearing = False


_ASKING = ASGIWebsocketState.HANDSHAKE
