"""What a connection of Hypercorn's speaks: `http1.py` or `http2.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.config import Config
from hypercorn.events import Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H2ProtocolAssumedError

from .http1 import Http1
from .http2 import Http2


class Tasks(TaskGroup):
    """The tasks of one connection. Nobody waits for an application that has ended to take what came for it: of what it has not
    asked for Hypercorn keeps ten parts, and whoever has an eleventh would wait for ever.
    """

    async def spawn_app(
        self, app: Any, config: Config, scope: Any, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        """See Hypercorn."""
        ended = False

        async def served(*asked: Any) -> None:
            nonlocal ended
            try:
                await app(*asked)
            finally:
                ended = True
                while not queue.empty():
                    queue.get_nowait()  # lets go of those who wait

        async def tell(message: Any) -> None:
            if message["type"] == "http.disconnect" and queue.full():
                queue.get_nowait()  # it may be said within the application's own `send`, and it takes nothing meanwhile
                queue.put_nowait(message)
            elif not ended:
                await queue.put(message)

        to_its_end: Any = served
        put: Any = await super().spawn_app(to_its_end, config, scope, send)
        queue: asyncio.Queue[Any] = put.__self__  # the application begins later
        return tell


class Speaking(ProtocolWrapper):
    """What one connection speaks. See `hypercorn.protocol.ProtocolWrapper`.

    Args:
        args: Hypercorn's, up to `alpn_protocol`.
        alpn: what was agreed on in the TLS handshake.
        abort: cuts the connection.
    """

    def __init__(self, *args: Any, alpn: str | None, abort: Callable[[], object]) -> None:
        super().__init__(*args)
        self._args, self._abort = args, abort
        self.protocol = self._http2() if alpn == "h2" else Http1(*args)

    def _http2(self) -> Http2:
        app, config, context, tasks, state, ssl, client, server, send = self._args
        return Http2(app, config, context, tasks, state, ssl, client, server, send, abort=self._abort)

    async def handle(self, event: Event) -> None:
        """See Hypercorn."""
        try:
            await self.protocol.handle(event)
        except H2ProtocolAssumedError as assumed:
            self.protocol = self._http2()
            await self.protocol.initiate()
            await self.protocol.handle(RawData(assumed.data))
            if self.protocol.idle and not self.protocol.closed:  # it was told that a request had come
                await self.send(Updated(idle=True))
