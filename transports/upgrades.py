"""WebSockets of Hypercorn's, on either version of HTTP: what a client sends before it can know that it was let in is heard, and
messages are compressed only if that is wished.

Hypercorn refuses what comes early, and lets the application accept meanwhile. It agrees to whatever compression is offered, with
an extension that inflates without a bound.
"""

from __future__ import annotations

from typing import Any, Final

from hypercorn.protocol.events import Body, Data, Event
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from wsproto.connection import Connection, ConnectionType

from .deflate import agree
from .extension import Deflate

_EARLY_MOST: Final = 65_536  # bytes that may come before the application has decided


class Upgrade(WSStream):
    """See Hypercorn."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._early = b""
        self._hearing = False  # what came early; what comes now is behind it

    async def handle(self, event: Event) -> None:
        """See Hypercorn."""
        if not isinstance(event, Body | Data) or self.closed or (self.state is _TALKING and not self._hearing):
            await super().handle(event)
        elif self.state in (_ASKING, _TALKING):
            self._early += event.data
            if len(self._early) > _EARLY_MOST:
                self._early = b""
                self.closed = True  # before anything is awaited, or it is let in behind the refusal
                await self._send_error_response(400)

    async def _accept(self, message: Any) -> None:
        handshake, most = self.handshake, getattr(self.config, "deflate", 0)
        offers, handshake.extensions = handshake.extensions, None
        if most and (agreed := agree(offers or ())) is not None:
            headers = [*message.get("headers", ()), (b"sec-websocket-extensions", agreed.encode())]
            message, plainly = {**message, "headers": headers}, handshake.accept

            def accept(*said: Any) -> Any:
                status, answered, _ = plainly(*said)
                return status, answered, Connection(ConnectionType.SERVER, [Deflate(most)])

            handshake.accept = accept  # type: ignore[assignment, method-assign]
        await super()._accept(message)
        if self._early:
            self._hearing = True
            self.task_group.spawn(self._hear)  # not here: the application that is to hear it waits for this

    async def _hear(self) -> None:
        try:
            while self._early:
                early, self._early = self._early, b""
                await super().handle(Data(self.stream_id, early))
        finally:
            self._hearing = False


_ASKING, _TALKING = ASGIWebsocketState.HANDSHAKE, ASGIWebsocketState.CONNECTED
