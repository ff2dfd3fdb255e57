"""What a connection of Hypercorn's speaks: `http1.py` or `http2.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypercorn.events import Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H2ProtocolAssumedError

from .http1 import Http1
from .http2 import Http2


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
