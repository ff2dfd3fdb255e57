"""Readers: the three wires, read on gevent sockets at as nearly the same client cost as they allow.

All three count their bytes at the socket, take one time for each read and hand on what it completed as one `Batch`. What
differs is only what the wire itself asks for: frames, chunks, a new request.

A reader speaks with an everywire server unless it is told a `path`: then with any server, and `parse` says what its messages
mean.
"""

from __future__ import annotations

import base64
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, NamedTuple, TypeAlias
from urllib.parse import quote, urlsplit

import msgspec

from transports import longpoll, sse, websocket
from transports.errors import ErrorBody, NotEverywireError, Refusal, refusal_from
from transports.items import Bye, Hello, Lost, Reply
from transports.transport import Transport

from ..samples import Traffic
from . import frames, stamps
from .blocks import Blocks
from .frames import Frames
from .responses import Response
from .stamps import Arrived, Stamp
from .wire import Leisure, Wire

_BODY_MAX = 1 << 24  # bytes of an answer that is collected as a whole
_POLL_WAIT = 25.0  # seconds; as a browser would ask for

Read: TypeAlias = tuple[int, Sequence[bytes]]
"""When a read ended, in microseconds of CLOCK_MONOTONIC, and the messages that are complete with it."""


class Batch(NamedTuple):
    """What one read completed."""

    received: int  # microseconds of CLOCK_MONOTONIC
    stamps: Sequence[Stamp]
    lost: Sequence[Lost]  # as the server declared it, before the events of this batch


class Opening(NamedTuple):
    """How long the steps of opening a wire took, in microseconds."""

    connect: int | None  # None, here and below: it is not known
    tls: int | None  # None: plain HTTP
    answer: int | None  # from the request to the head of its answer
    hello: int  # from the beginning to the first item


class Reader(ABC):
    """A reader of some channels over one wire.

    Args:
        url: the mount, such as `http://127.0.0.1:8000/live`; of another server, its root.
        channels: their names.
        since: the position to read on from; None: the present.
        timeout: seconds for a connection, and for an answer to begin.
        beat: seconds of silence after which our server is to show that it is there; None: as it likes.
        leisure: of a slow reader.

    Attributes:
        path: what to ask for, of a server that is not ours.
        greeting: messages to send when a WebSocket is open.
        hello: the last one.
        ready: it is in place: what is published from now on has to come.
        opening: how the last wire was opened; None: not yet.
    """

    transport: ClassVar[Transport]
    path: str | None = None
    greeting: tuple[bytes, ...] = ()

    def __init__(
        self,
        url: str,
        channels: Sequence[str],
        *,
        since: str | None = None,
        timeout: float = 10.0,
        beat: float | None = None,
        leisure: Leisure | None = None,
    ) -> None:
        self.url = urlsplit(url.replace("ws", "http", 1) if url.startswith("ws") else url)
        if self.url.scheme not in ("http", "https") or not self.url.hostname:
            raise ValueError(f"{url!r} is not a URL like http://127.0.0.1:8000/live")
        self.channels = channels
        self.position = since
        self.timeout = timeout
        self.beat = beat
        self.leisure = leisure
        self.traffic = Traffic()
        self.ready = False
        self.opening: Opening | None = None
        self.hello: Hello | None = None
        self._lost: list[Lost] = []
        self._bye: Bye | None = None
        self._wire: Wire | None = None
        self._began = self._asked = self._answered = 0  # microseconds

    # ---------------------------------------------------------------------------- what a reader of another server overrides

    def target(self) -> str:
        """What the next request asks for."""
        if self.path is not None:
            return self.path
        names = quote(",".join(self.channels), safe=",:")
        since = "" if self.position is None else f"&since={self.position}"
        return f"{self.url.path.rstrip('/')}/{self.transport.path}?channels={names}{since}{self._asks()}"

    def opened(self, received: int) -> None:
        """The wire is open. One of another server is ready by that; ours says `hello`."""
        if self.path is not None:
            self.in_place(received)

    def parse(self, message: bytes) -> Iterable[Stamp]:
        """The events in a message: a WebSocket message, the data of a Server-Sent Event, or the body of a poll's answer."""
        found = []
        for item in stamps.items(message):
            if type(item) is Arrived:
                self.position = item.id
                if (stamp := stamps.stamp(item)) is not None:
                    found.append(stamp)
            else:
                self._control(item)
        return found

    def answer(self, message: bytes) -> bytes | None:
        """What to send back on a WebSocket: the pong of an application. None: nothing."""
        return None

    def next_path(self, body: bytes) -> str:
        """What a poll asks for after the answer with this body."""
        return self.path or ""

    # ------------------------------------------------------------------------------------------------------------------------

    def batches(self) -> Iterator[Batch]:
        """Open the wire at `position` and read until it is cut; call again to read on.

        Raises:
            OSError: no connection, a broken one, or silence.
            Refusal: the server said no, or `bye`; its `retry` says when to come back.
            NotEverywireError: what came is not ours.
        """
        try:
            for received, messages in self._read():
                found = [stamp for message in messages for stamp in self.parse(message)]
                lost, self._lost = self._lost, []
                if self._began and self.hello is not None:
                    self.in_place(received)
                for stamp in found:
                    self.traffic.payload += stamp.size or 0
                if found or lost:
                    yield Batch(received, found, lost)
                if self._bye is not None:
                    raise _refusal(self._bye)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connection, if there is one."""
        self._bye = None
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def hurry(self) -> None:
        """A slow reader takes no more pauses."""
        self.leisure = None
        if self._wire is not None:
            self._wire.leisure = None

    def in_place(self, received: int) -> None:
        """Whatever is published from now on has to come."""
        if self._wire is not None and self._began:
            tls = self._wire.secured if self.url.scheme == "https" else None
            answer, hello = max(0, self._answered - self._asked), max(0, received - self._began)
            self.opening = Opening(self._wire.connected, tls, answer, hello)
            self._began = 0
        self.ready = True

    @property
    def stamped(self) -> bool:
        """Times of batches are the kernel's."""
        return self._wire is not None and self._wire.stamped

    @abstractmethod
    def _read(self) -> Iterator[Read]:
        """What comes over one connection, until it ends."""

    def _asks(self) -> str:
        """What else our server is asked."""
        return "" if self.beat is None else f"&beat={self.beat:g}"

    def _control(self, item: stamps.Item) -> None:
        if isinstance(item, Hello):
            self.hello = item
        elif isinstance(item, Lost):
            self._lost.append(item)
        elif isinstance(item, Bye):
            self._bye = item
        if not isinstance(item, Reply | Bye):
            self.position = item.id

    @property
    def _silence(self) -> float | None:
        """Seconds without a byte after which a stream is dead: two beats. Another server promises nothing."""
        if self.hello is not None:
            return 2 * self.hello.beat
        return None if self.path is not None else 2 * self.timeout

    def _open(self) -> Wire:
        self._began = time.monotonic_ns() // 1000
        self._wire = Wire(self.url, self.traffic, self.timeout, self.leisure)
        return self._wire

    def _request(self, wire: Wire, *headers: str) -> None:
        """Send the request for `target`."""
        lines = (f"GET {self.target()} HTTP/1.1", f"Host: {self.url.netloc}", *headers, "", "")
        request = "\r\n".join(lines).encode()
        self._asked = time.monotonic_ns() // 1000
        wire.send(request)
        self.traffic.headers += len(request)
        self.traffic.requests += 1

    def _head(self, wire: Wire, status: int) -> tuple[Response, bytes, int]:
        """The answer when its head has come, with what came of its body and when. Raises: Refusal, when the status is another."""
        response, body, received = Response(), b"", 0
        while not response.status:
            data, received = wire.receive(self.timeout)
            body += response.feed(data)
        self._answered = received
        self.traffic.headers += response.head
        if response.status != status:
            raise _refused(response, body + self._body(wire, response)[0])
        return response, body, received

    def _body(self, wire: Wire, response: Response, timeout: float | None = None) -> tuple[bytes, int]:
        """The rest of an answer, and when its last byte came."""
        parts, size, received = [], 0, 0
        while not response.done:
            try:
                data, received = wire.receive(timeout or self.timeout)
            except ConnectionResetError:
                response.feed_eof()
                break
            parts.append(response.feed(data))
            size += len(parts[-1])
            if size > _BODY_MAX:
                raise NotEverywireError(f"an answer of more than {_BODY_MAX} bytes")
        return b"".join(parts), received


class WebSocketReader(Reader):
    """Frames on an upgraded connection."""

    transport = websocket.TRANSPORT

    def _read(self) -> Iterator[Read]:
        wire, stream = self._open(), Frames()
        data, received = self._upgrade(wire)
        for message in self.greeting:
            self.say(message)
        self.opened(received)
        while True:
            yield received, [each.data for each in stream.feed(data) if self._is_message(wire, each)]
            data, received = wire.receive(self._silence)

    def say(self, message: bytes) -> None:
        """Send a text message. Raises: OSError."""
        if self._wire is not None:
            self._wire.send(frames.frame(frames.TEXT, message, os.urandom(4)))

    def _upgrade(self, wire: Wire) -> tuple[bytes, int]:
        """The opening handshake (RFC 6455 section 4.1); what came behind it, and when."""
        key = base64.b64encode(os.urandom(16))
        ours = () if self.path is not None else (f"Sec-WebSocket-Protocol: {self.transport.content_type}",)
        self._request(
            wire,
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key.decode()}",
            *ours,
        )
        response, _, received = self._head(wire, 101)
        if response.headers.get("sec-websocket-accept") != frames.accept_for(key):
            raise NotEverywireError("101, but no WebSocket: Sec-WebSocket-Accept is wrong")
        return response.rest, received

    def _is_message(self, wire: Wire, message: frames.Message) -> bool:
        """Whether it is one of the application's. The others are answered, and so is an application's ping."""
        if message.opcode in (frames.TEXT, frames.BINARY):
            if (answer := self.answer(message.data)) is not None:
                self.say(answer)
            return True
        if message.opcode == frames.PING:
            wire.send(frames.frame(frames.PONG, message.data, os.urandom(4)))
        elif message.opcode == frames.CLOSE:
            wire.send(frames.frame(frames.CLOSE, message.data[:2], os.urandom(4)))
            code = int.from_bytes(message.data[:2], "big") or 1005
            raise ConnectionResetError(f"closed with {code} {message.data[2:].decode('utf-8', 'replace')}".rstrip())
        return False


class SSEReader(Reader):
    """Blocks on one endless answer."""

    transport = sse.TRANSPORT

    def _read(self) -> Iterator[Read]:
        wire = self._open()
        self._request(wire, "Accept: text/event-stream")
        response, body, received = self._head(wire, 200)
        _check_type(response, self.transport.content_type)
        self.opened(received)
        take = Blocks()
        while True:
            yield received, take.feed(body)
            if response.done:
                raise ConnectionResetError("the stream has ended")
            data, received = wire.receive(self._silence)
            body = response.feed(data)


class LongPollReader(Reader):
    """An answer after the other on a connection that is kept."""

    transport = longpoll.TRANSPORT

    def _read(self) -> Iterator[Read]:
        wire = self._open()
        while True:
            response, body, received = self._poll(wire)
            if self.path is None:
                _check_type(response, self.transport.content_type)
            self.opened(received)
            yield received, [body]
            if self.path is not None:
                self.path = self.next_path(body)
            if not response.keeps_alive:  # servers end a connection after so many requests; nothing is lost by that
                wire.close()
                wire = self._open()

    def _asks(self) -> str:
        return f"&wait={self._longest:g}"

    @property
    def _longest(self) -> float:
        """Seconds that an answer may take. Another server knows nothing of beats, and answers when it likes."""
        return _POLL_WAIT if self.beat is None or self.path is not None else self.beat

    def _poll(self, wire: Wire) -> tuple[Response, bytes, int]:
        self._request(wire)
        response = Response()
        body, received = self._body(wire, response, 2 * self._longest)
        self._answered = received
        self.traffic.headers += response.head
        if response.status not in (200, 204):
            raise _refused(response, body)
        if response.rest:
            raise NotEverywireError("more came than the answer")
        return response, body, received


def _refusal(bye: Bye) -> Refusal:
    return refusal_from(bye.code, bye.reason, bye.retry)


def _check_type(response: Response, wanted: str) -> None:
    """A 200 of another type is a login page or a captive portal."""
    found = response.headers.get("content-type", "").partition(";")[0].strip()
    if found != wanted:
        raise NotEverywireError(f"{found or 'no content type'} where {wanted} should be")


def _refused(response: Response, body: bytes) -> Exception:
    try:
        return msgspec.json.decode(body, type=ErrorBody).refusal()
    except msgspec.DecodeError:
        return NotEverywireError(f"HTTP status {response.status} and not a word of ours: {body[:60]!r}")
