"""Hypercorn's HTTP/1.1, as strict as the front: in the grammar of `front/heads.py`, and in nothing wider.

h11 reads more than RFC 9112 allows, and where two programs on the way of a request read it in two ways, one of them is fooled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import h11
from hypercorn.events import Closed, Event
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H2ProtocolAssumedError, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream

from .admission import JSON, refusal_body
from .errors import Refusal
from .frames import check_key
from .front.requests import Head, RequestError, Requests
from .transport import HEADERS
from .upgrades import Upgrade

_HTTP2: Final = b"PRI * HTTP/2.0\r\n"  # RFC 9113 3.4
_HELD_MOST: Final = 65_536  # bytes that may wait for the answer to the request before them


class Heads(h11.Connection):
    """h11, but each head is read by our grammar before it is read by its own: what the front would refuse is refused here, in the
    same words.
    """

    refused: RequestError | None = None
    first = True  # nothing has been answered yet: HTTP/2 may begin here

    def start_next_cycle(self) -> None:
        """See h11."""
        super().start_next_cycle()
        self.first = False

    def next_event(self) -> Any:
        """See h11. Raises: h11.RemoteProtocolError."""
        if self.their_state is h11.IDLE:
            beginning = self.trailing_data[0]
            if beginning and not (self.first and beginning.startswith(_HTTP2)):
                try:
                    Requests(_sound).feed(beginning)
                except RequestError as error:
                    self.refused = error
                    raise h11.RemoteProtocolError(error.reason, error_status_hint=error.status) from error
        return super().next_event()


def _sound(head: Head) -> bool:
    """Always False: others serve it. Raises: RequestError 400, an upgrade whose key is none (RFC 6455 4.2.1); 501, a tunnel."""
    if head.method == "CONNECT":
        raise RequestError(501, "there are no tunnels here")
    asked = head.headers.get("upgrade", "").lower()
    if asked == "websocket" and head.method == "GET" and not check_key(head.headers.get("sec-websocket-key", "")):
        raise RequestError(400, "a Sec-WebSocket-Key is 16 bytes in base64")
    return False


def _upgrades(request: h11.Request) -> bool:
    headers = {name: value.lower() for name, value in request.headers}
    connection = [token.strip() for token in headers.get(b"connection", b"").split(b",")]
    return b"upgrade" in connection and headers.get(b"upgrade") == b"websocket" and request.method == b"GET"


class _NotNowError(Exception):
    """A request is behind one that has not been answered."""


class Turn:
    """When the next request may be looked at. Hypercorn waits for that where it reads, and does not see that a client has gone.

    Args:
        held: how many bytes have come behind the request that is answered.
        go_on: looks at them.
    """

    def __init__(self, held: Callable[[], int], go_on: Callable[[], object]) -> None:
        self._held, self._go_on = held, go_on
        self._event = asyncio.Event()
        self._left = self._ended = False

    async def clear(self) -> None:
        """It is not yet."""
        if not self._ended:
            self._event.clear()

    async def wait(self) -> None:
        """Until then of much nothing more is read. Raises: _NotNowError, it is not much, or it will never be."""
        if not self._ended and self._held() < _HELD_MOST:
            self._left = True
            raise _NotNowError
        await self._event.wait()
        if self._ended:
            raise _NotNowError

    def end(self) -> None:
        """It will never be: the connection has ended. Who waits is not to wait for ever."""
        self._ended, self._left = True, False
        self._event.set()

    async def set(self) -> None:
        """It is now."""
        self._event.set()
        if self._left:
            self._left = False
            self._go_on()


class Http1(H11Protocol):
    """Hypercorn's HTTP/1.1, on `Heads`; it reads on while a request is answered."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connection = Heads(h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size)
        self.can_read: Any = Turn(self._held, self._go_on)
        self._one = asyncio.Lock()  # who looks at what came

    def _held(self) -> int:
        return len(self.connection.trailing_data[0])

    async def handle(self, event: Event) -> None:
        """See Hypercorn. What came before the end and has not been answered is asked in vain."""
        if isinstance(event, Closed):
            self.can_read.end()
        await super().handle(event)

    def _go_on(self) -> None:
        self.task_group.spawn(self._handle_events)

    async def _handle_events(self) -> None:
        async with self._one:
            with suppress(_NotNowError):
                await super()._handle_events()

    async def _create_stream(self, request: h11.Request) -> None:
        upgrades = _upgrades(request)
        kind = Upgrade if upgrades else HTTPStream
        common = (self.config, self.context, self.task_group, self.ssl, self.client, self.server, self.stream_send)
        self.stream = stream = kind(self.app, *common, STREAM_ID)
        if upgrades:
            self.connection = H11WSConnection(self.connection)  # type: ignore[arg-type]  # it is `Heads`
        method, target = request.method.decode().upper(), request.target
        version = request.http_version.decode()
        await stream.handle(Request(STREAM_ID, list(request.headers), version, method, target, self.connection_state))
        self.keep_alive_requests += 1
        await self.context.mark_request()

    async def _check_protocol(self, event: h11.Request) -> None:
        """HTTP/2 for those who know that we speak it. The upgrade to it is gone from HTTP (RFC 9113 3.1): where a proxy passes
        it on, whatever comes next goes past the rules of that proxy.
        """
        if (event.method, event.target, event.http_version) == (b"PRI", b"*", b"2.0"):
            raise H2ProtocolAssumedError(b"PRI * HTTP/2.0\r\n\r\n" + self.connection.trailing_data[0])

    async def _send_error_response(self, status_code: int) -> None:
        """As the front says it."""
        refused = getattr(self.connection, "refused", None)
        known = RequestError(status_code, "not an HTTP/1.1 request that is understood") if refused is None else refused
        body, ours = refusal_body(Refusal(known.code, known.reason))
        lines = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), (b"connection", b"close"), *HEADERS, *ours]
        lines += self.config.response_headers("h11")
        for event in (h11.Response(headers=lines, status_code=status_code), h11.Data(data=body), h11.EndOfMessage()):
            await self._send_h11_event(event)
