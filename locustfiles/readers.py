"""Readers: the three wires, read on gevent sockets at as nearly the same client cost as they allow.

All three count their bytes at the socket, take one time for each read and hand on what it completed as one `Batch`. What
differs is only what the wire itself asks for: frames, chunks, a new request.

The time is the kernel's where it tells it (Linux: the moment the bytes arrived, whether or not Python was free to take
them), so a busy generator does not make a transport look slow.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket as constants
import struct
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

import gevent
import msgspec
from gevent import socket, ssl

from transports import longpoll, sse, websocket
from transports.errors import ErrorBody, NotEverywireError, refusal_from
from transports.items import Bye, Hello, Item, Reply
from transports.transport import Transport

from . import frames
from .frames import Frames
from .responses import Response
from .samples import Traffic

_READ = 65_536  # bytes taken at once
_BODY_MAX = 1 << 24  # bytes of an answer that is collected as a whole
_SEND_WAIT = 10.0  # seconds
_POLL_WAIT = 25.0  # seconds; as a browser would ask for
_STAMP: Final = getattr(constants, "SO_TIMESTAMPNS", 35)  # asm-generic/socket.h; Python has no name for it
_STAMPED = struct.Struct("qq")  # struct timespec
_STAMP_SPACE = constants.CMSG_SPACE(_STAMPED.size) if sys.platform == "linux" else 0


class Batch(NamedTuple):
    """What one read completed."""

    received: int  # microseconds of CLOCK_MONOTONIC
    items: list[Item]


class Wire:
    """A connected socket that counts its bytes and tells when they came.

    Raises:
        OSError: no connection within `timeout` seconds.
    """

    def __init__(self, url: SplitResult, traffic: Traffic, timeout: float) -> None:
        self.traffic = traffic
        self._socket = _connected(url, timeout)
        self._secure = url.scheme == "https"
        self.stamped = sys.platform == "linux" and not self._secure
        if self.stamped:
            self._socket.setsockopt(constants.SOL_SOCKET, _STAMP, 1)
        traffic.opened += 1

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._socket.settimeout(_SEND_WAIT)
        self._socket.sendall(data)
        self.traffic.up += len(data)

    def receive(self, timeout: float) -> tuple[bytes, int]:
        """What has come, at least a byte, and when, in microseconds of CLOCK_MONOTONIC.

        Raises:
            TimeoutError: nothing within `timeout` seconds.
            ConnectionResetError: the peer has closed.
        """
        try:
            data, received = self._receive(timeout)
        except TimeoutError:
            raise TimeoutError(f"nothing came for {timeout:g} s") from None
        self.traffic.down += len(data)
        if not data:
            raise ConnectionResetError("the server has closed the connection")
        return data, received

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def _receive(self, timeout: float) -> tuple[bytes, int]:
        if self._secure:  # what TLS has unpacked already makes no socket readable
            gevent.sleep(0)
            self._socket.settimeout(timeout)
            return _unstamped(self._socket)
        # Waiting first, even when something is there, gives every other reader its turn, and costs less than asking in vain.
        self._socket.settimeout(0)
        while True:
            socket.wait_read(self._socket.fileno(), timeout)
            with contextlib.suppress(BlockingIOError):
                return _stamped(self._socket) if self.stamped else _unstamped(self._socket)


def _connected(url: SplitResult, timeout: float) -> Any:
    secure = url.scheme == "https"
    raw = socket.create_connection((url.hostname, url.port or (443 if secure else 80)), timeout)
    raw.setsockopt(constants.IPPROTO_TCP, constants.TCP_NODELAY, 1)
    return ssl.create_default_context().wrap_socket(raw, server_hostname=url.hostname) if secure else raw


def _unstamped(sock: Any) -> tuple[bytes, int]:
    data = sock.recv(_READ)
    return data, time.monotonic_ns() // 1000


def _stamped(sock: Any) -> tuple[bytes, int]:
    data, notes, _, _ = sock.recvmsg(_READ, _STAMP_SPACE)
    now = time.monotonic_ns()
    for _, kind, stamp in notes:
        if kind == _STAMP and len(stamp) == _STAMPED.size:
            seconds, rest = _STAMPED.unpack(stamp)
            now = min(now, seconds * 1_000_000_000 + rest - _Offset.at(now))
    return data, now // 1000


class _Offset:
    """The kernel stamps with the clock that can be set; this is how far it is ahead of the monotonic one."""

    _value = 0
    _until = 0

    @classmethod
    def at(cls, now: int) -> int:
        """Nanoseconds, looked up again each second, since somebody may set the clock."""
        if now >= cls._until:
            cls._value, cls._until = min(cls._look() for _ in range(5))[1], now + 1_000_000_000
        return cls._value

    @staticmethod
    def _look() -> tuple[int, int]:
        """How long the look took, and the offset: this process may be set aside in the middle of it."""
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        return after - before, wall - (before + after) // 2


class Reader(ABC):
    """A reader of some channels over one wire.

    Args:
        url: the mount, such as `http://127.0.0.1:8000/live`.
        channels: their names.
        since: the position to read on from; None: the present.
        timeout: seconds for a connection, and for an answer to begin.
    """

    transport: ClassVar[Transport]

    def __init__(self, url: str, channels: Sequence[str], *, since: str | None = None, timeout: float = 10.0) -> None:
        self.url = urlsplit(url)
        if self.url.scheme not in ("http", "https") or not self.url.hostname:
            raise ValueError(f"{url!r} is not a URL like http://127.0.0.1:8000/live")
        self.channels = channels
        self.position = since
        self.timeout = timeout
        self.traffic = Traffic()
        self.hello: Hello | None = None  # the last one
        self._wire: Wire | None = None

    @property
    def stamped(self) -> bool:
        """Times of batches are the kernel's."""
        return self._wire is not None and self._wire.stamped

    def batches(self) -> Iterator[Batch]:
        """Open the wire at `position` and read until it is cut; call again to read on.

        Raises:
            OSError: no connection, a broken one, or silence.
            Refusal: the server said no, or `bye`; its `retry` says when to come back.
            NotEverywireError: what came is not ours.
        """
        try:
            for batch in self._read():
                if batch.items:
                    self._note(batch.items)
                    yield batch
                    _end_at_bye(batch.items[-1])
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connection, if there is one."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    @abstractmethod
    def _read(self) -> Iterator[Batch]:
        """What comes over one connection, until it ends."""

    def _note(self, items: list[Item]) -> None:
        """Remember the position after `items`, which is that of the last one that has one."""
        if isinstance(items[0], Hello):
            self.hello = items[0]
        for item in reversed(items):
            if not isinstance(item, Reply | Bye):
                self.position = item.id
                return

    @property
    def _silence(self) -> float:
        """Seconds without a byte after which a stream is dead: two beats."""
        return 2 * (self.hello.beat if self.hello else self.timeout)

    def _open(self) -> Wire:
        self._wire = Wire(self.url, self.traffic, self.timeout)
        return self._wire

    def _request(self, wire: Wire, *headers: str, **query: str) -> None:
        """Send the request for the next items."""
        if self.position is not None:
            query["since"] = self.position
        asked = "".join(f"&{name}={value}" for name, value in query.items())
        names = quote(",".join(self.channels), safe=",:")
        path = f"{self.url.path.rstrip('/')}/{self.transport.path}?channels={names}{asked}"
        lines = (f"GET {path} HTTP/1.1", f"Host: {self.url.netloc}", *headers, "", "")
        wire.send("\r\n".join(lines).encode())
        self.traffic.requests += 1

    def _head(self, wire: Wire, status: int) -> tuple[Response, bytes, int]:
        """The answer when its head has come, with what came of its body and when. Raises: Refusal, when the status is another."""
        response, body, received = Response(), b"", 0
        while not response.status:
            data, received = wire.receive(self.timeout)
            body += response.feed(data)
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

    def _read(self) -> Iterator[Batch]:
        wire = self._open()
        stream, take = Frames(), self.transport.reader()
        data, received = self._upgrade(wire)
        while True:
            messages = stream.feed(data)
            yield Batch(received, [item for each in messages for item in self._taken(wire, each, take.feed)])
            data, received = wire.receive(self._silence)

    def _upgrade(self, wire: Wire) -> tuple[bytes, int]:
        """The opening handshake (RFC 6455 section 4.1); what came behind it, and when."""
        key = base64.b64encode(os.urandom(16))
        self._request(
            wire,
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key.decode()}",
            f"Sec-WebSocket-Protocol: {self.transport.content_type}",
        )
        response, _, received = self._head(wire, 101)
        if response.headers.get("sec-websocket-accept") != frames.accept_for(key):
            raise NotEverywireError("101, but no WebSocket: Sec-WebSocket-Accept is wrong")
        return response.rest, received

    def _taken(self, wire: Wire, message: frames.Message, items: Callable[[bytes], list[Item]]) -> list[Item]:
        if message.opcode == frames.TEXT:
            return items(message.data)
        if message.opcode == frames.PING:
            wire.send(frames.frame(frames.PONG, message.data, os.urandom(4)))
        elif message.opcode == frames.CLOSE:
            wire.send(frames.frame(frames.CLOSE, message.data[:2], os.urandom(4)))
            code = int.from_bytes(message.data[:2], "big") or 1005
            raise ConnectionResetError(f"closed with {code} {message.data[2:].decode('utf-8', 'replace')}".rstrip())
        return []


class SSEReader(Reader):
    """Blocks on one endless answer."""

    transport = sse.TRANSPORT

    def _read(self) -> Iterator[Batch]:
        wire = self._open()
        self._request(wire, "Accept: text/event-stream")
        response, body, received = self._head(wire, 200)
        _check_type(response, self.transport)
        take = self.transport.reader()
        while True:
            yield Batch(received, take.feed(body))
            if response.done:
                raise ConnectionResetError("the stream has ended")
            data, received = wire.receive(self._silence)
            body = response.feed(data)


class LongPollReader(Reader):
    """An answer after the other on a connection that is kept."""

    transport = longpoll.TRANSPORT

    def _read(self) -> Iterator[Batch]:
        wire, take = self._open(), self.transport.reader()
        while True:
            response, body, received = self._poll(wire)
            _check_type(response, self.transport)
            yield Batch(received, take.feed(body))
            if not response.keeps_alive:  # servers end a connection after so many requests; nothing is lost by that
                wire.close()
                wire = self._open()

    def _poll(self, wire: Wire) -> tuple[Response, bytes, int]:
        self._request(wire, wait=f"{_POLL_WAIT:g}")
        response = Response()
        body, received = self._body(wire, response, _POLL_WAIT + self.timeout)
        if response.status != 200:
            raise _refused(response, body)
        if response.rest:
            raise NotEverywireError("more came than the answer")
        return response, body, received


def _end_at_bye(item: Item) -> None:
    if isinstance(item, Bye):
        raise refusal_from(item.code, item.reason, item.retry)


def _check_type(response: Response, transport: Transport) -> None:
    """A 200 of another type is a login page or a captive portal."""
    found = response.headers.get("content-type", "").partition(";")[0].strip()
    if found != transport.content_type:
        raise NotEverywireError(f"{found or 'no content type'} where {transport.content_type} should be")


def _refused(response: Response, body: bytes) -> Exception:
    try:
        return msgspec.json.decode(body, type=ErrorBody).refusal()
    except msgspec.DecodeError:
        return NotEverywireError(f"HTTP status {response.status} and not a word of ours: {body[:60]!r}")
