"""Wires as they are: connections on which every byte is looked at, and nothing is put right, tried again or passed over.

HTTP/1.1 is read by h11 and WebSocket by wsproto, which take nothing that breaks the rules of RFC 9112 and RFC 6455; what is in
them, by this file.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Self

import h11
import msgspec
import wsproto
from wsproto import events as ws

from .verdicts import Unmet

PATIENCE: Final = 10.0  # seconds for whatever is to come at once
_READ: Final = 65_536  # bytes
_HEAD_MAX: Final = 65_536  # bytes of a head of an answer


class Place(NamedTuple):
    """Where to connect to."""

    host: str
    port: int
    authority: str  # as `Host` has it
    tls: ssl.SSLContext | None


class Head(NamedTuple):
    """An answer without its body; names in lower case."""

    status: int
    headers: Sequence[tuple[str, str]]

    def header(self, name: str) -> str:
        """What is said under a name; of several, all of it."""
        return ", ".join(value for each, value in self.headers if each == name)


class Answer(NamedTuple):
    """An answer."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    @property
    def head(self) -> Head:
        """See `Head`."""
        return Head(self.status, self.headers)

    def json(self) -> Any:
        """The body as JSON. Raises: Unmet."""
        return decoded(self.body, "a JSON body")


def decoded(body: bytes | str, expected: str) -> Any:
    """JSON. Raises: Unmet, it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unmet(expected, shown(body)) from error


def shown(what: Any) -> str:
    """`what`, for people, and not too long."""
    text = what if isinstance(what, str) else what.decode("utf-8", "replace") if isinstance(what, bytes) else repr(what)
    return text if len(text) <= 300 else f"{text[:300]}…"


class Line:
    """One connection. Use it in an `async with` block."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(PATIENCE):
            place = self._place
            self.reader, self.writer = await asyncio.open_connection(place.host, place.port, ssl=place.tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def read(self, seconds: float = PATIENCE) -> bytes:
        """What comes next, empty at the end. Raises: Unmet, nothing in time."""
        try:
            async with asyncio.timeout(seconds):
                return await self.reader.read(_READ)
        except TimeoutError:
            raise Unmet(f"something within {seconds:g} s", "nothing") from None
        except ConnectionResetError:
            return b""

    def write(self, data: bytes) -> None:
        """Send."""
        with suppress(OSError):
            self.writer.write(data)


class Exchange(Line):
    """One request and its answer, which may have no end."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_MAX)

    async def ask(self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | None = None) -> Head:
        """Send a request; gives the head of what it is answered with. Raises: Unmet."""
        wanted = [("host", self._place.authority), *headers]
        if body is not None:
            wanted.append(("content-length", str(len(body))))
        request = h11.Request(method=method, target=target, headers=wanted)
        sent = [self._http.send(request), self._http.send(h11.Data(data=body)) if body else b""]
        self.write(b"".join([each or b"" for each in [*sent, self._http.send(h11.EndOfMessage())]]))
        event = await self._next(PATIENCE)
        while isinstance(event, h11.InformationalResponse):
            event = await self._next(PATIENCE)
        if not isinstance(event, h11.Response):
            raise Unmet("an HTTP answer", type(event).__name__)
        return Head(event.status_code, [(name.decode(), value.decode("latin-1")) for name, value in event.headers])

    async def part(self, seconds: float = PATIENCE) -> bytes | None:
        """What comes next of the body; None at its end. Raises: Unmet."""
        event = await self._next(seconds)
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def rest(self) -> bytes:
        """All that comes until the body ends. Raises: Unmet."""
        parts = []
        while (part := await self.part()) is not None:
            parts.append(part)
        return b"".join(parts)

    async def _next(self, seconds: float) -> Any:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self.read(seconds))
        except h11.RemoteProtocolError as error:
            raise Unmet("HTTP/1.1 as RFC 9112 has it", str(error)) from error
        return event


class Socket(Line):
    """A WebSocket."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._ws = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._come: list[ws.Event] = []
        self.subprotocol: str | None = None

    async def open(self, target: str, headers: Sequence[tuple[str, str]], subprotocols: Sequence[str] = ()) -> Head | None:
        """Shake hands. None: it is open; else the answer that refuses it. Raises: Unmet."""
        extra = [(name.encode(), value.encode()) for name, value in headers]
        asked = ws.Request(host=self._place.authority, target=target, subprotocols=[*subprotocols], extra_headers=extra)
        self.write(self._ws.send(asked))
        event = await self.event()
        if isinstance(event, ws.AcceptConnection):
            self.subprotocol = event.subprotocol
            return None
        if isinstance(event, ws.RejectConnection):
            return Head(event.status_code, [(name.decode().lower(), value.decode("latin-1")) for name, value in event.headers])
        raise Unmet("an answer to the handshake", type(event).__name__)

    def say(self, text: str | bytes) -> None:
        """Send one message: text, or binary."""
        self.write(self._ws.send(ws.TextMessage(data=text) if isinstance(text, str) else ws.BytesMessage(data=text)))

    def say_parts(self, *parts: str) -> None:
        """Send one message in fragments."""
        for place, part in enumerate(parts):
            self.write(self._ws.send(ws.TextMessage(data=part, message_finished=place == len(parts) - 1)))

    def ping(self, payload: bytes) -> None:
        """Send a ping of RFC 6455."""
        self.write(self._ws.send(ws.Ping(payload=payload)))

    def close(self, code: int) -> None:
        """Begin to close."""
        self.write(self._ws.send(ws.CloseConnection(code=code)))

    async def event(self, seconds: float = PATIENCE) -> ws.Event:
        """What comes next: a whole message, a pong, a close. Pings are answered. Raises: Unmet."""
        text: list[str] = []
        binary: list[bytes] = []
        while True:
            event = await self._next(seconds)
            if isinstance(event, ws.Ping):
                self.write(self._ws.send(event.response()))
            elif isinstance(event, ws.TextMessage):
                text.append(event.data)
                if event.message_finished:
                    return ws.TextMessage(data="".join(text))
            elif isinstance(event, ws.BytesMessage):
                binary.append(bytes(event.data))
                if event.message_finished:
                    return ws.BytesMessage(data=b"".join(binary))
            else:
                return event

    async def _next(self, seconds: float) -> ws.Event:
        while not self._come:
            data = await self.read(seconds)
            try:
                self._ws.receive_data(data or None)
                self._come += self._ws.events()
            except wsproto.utilities.RemoteProtocolError as error:
                raise Unmet("a WebSocket as RFC 6455 has it", str(error)) from error
            if not data and not self._come:
                raise Unmet("a frame, or a close frame", "the end of the connection")
        return self._come.pop(0)
