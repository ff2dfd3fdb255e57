"""The readers of the subject `python-socketio`: clients of Engine.IO 4 and Socket.IO 5, as far as it takes to follow a room.

    server: 0{"sid":…}         open, over polling with the session that later requests name
    client: 40                 connect to the default namespace
    server: 40{"sid":…}
    client: 420["join",[…]]    emit, with the number 0 to be acknowledged
    server: 430["joined"]      from here on nothing is missed
    server: 42["event",{…}]    an event
    server: 2   client: 3      ping and pong

See https://github.com/socketio/engine.io-protocol and https://github.com/socketio/socket.io-protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from transports.errors import NotEverywireError

from ..measuring import readers, stamps
from ..measuring.readers import Read
from ..measuring.responses import Response
from ..measuring.stamps import Arrived, Stamp
from ..measuring.wire import Wire

_PATH: Final = "/socket.io/?EIO=4&transport="
_BETWEEN: Final = b"\x1e"  # packets in the body of a poll's answer


class _Open(msgspec.Struct, rename="camel"):
    sid: str
    ping_interval: int  # ms
    ping_timeout: int  # ms


class _Event(msgspec.Struct):
    channel: str
    data: msgspec.Raw


_open = msgspec.json.Decoder(_Open)
_event = msgspec.json.Decoder(tuple[str, _Event])


class _Follower(readers.Reader):
    """What both transports share: what packets mean."""

    _patience = 45.0  # seconds; the server says how many

    def opened(self, received: int) -> None:
        """Not ready by that: the room has to be entered first."""

    def parse(self, message: bytes) -> Iterable[Stamp]:
        """The event in a packet."""
        if not message.startswith(b"42"):
            return ()
        event = _event.decode(message[2:])[1]
        stamp = stamps.stamp(Arrived("", event.channel, event.data))
        return () if stamp is None else (stamp,)

    def answer(self, message: bytes) -> bytes | None:
        """What a client says to a packet. Raises: ConnectionResetError, it was the last one."""
        if message == b"2":
            return b"3"
        if message.startswith(b"0"):
            return self._begin(message)
        if message.startswith(b"40"):
            return b'420["join",%b]' % msgspec.json.encode(self.channels)
        if message.startswith((b"1", b"41", b"44")):
            raise ConnectionResetError(f"the server has ended the session: {message[:80].decode('utf-8', 'replace')}")
        return None

    def _begin(self, message: bytes) -> bytes:
        found = _open.decode(message[1:])
        self._sid = found.sid
        self._patience = (found.ping_interval + found.ping_timeout) / 1000
        return b"40"

    @property
    def _silence(self) -> float:
        return self._patience

    def _read(self) -> Iterator[Read]:
        for received, packets in super()._read():  # type: ignore[safe-super]  # of the transport beside it
            if self._began and any(packet.startswith(b"43") for packet in packets):
                self.in_place(received)
            yield received, packets


class WebSocketReader(_Follower, readers.WebSocketReader):
    """Over WebSocket from the beginning, a packet a message."""

    path = f"{_PATH}websocket"


class _Polls(readers.LongPollReader):
    """A GET waits for packets, a POST takes some up, and both go over the one connection in turn."""

    path = f"{_PATH}polling"
    _sid = ""

    def target(self) -> str:
        """Of the session, when there is one."""
        return f"{self.path}&sid={self._sid}" if self._sid else f"{self.path}"

    def _read(self) -> Iterator[Read]:
        self._sid = ""  # a session ends with its connection, as clients have it
        wire = self._open()
        while True:
            response, body, received = self._poll(wire)
            if not response.headers.get("content-type", "").startswith("text/plain"):  # a login page or a captive portal
                raise NotEverywireError(f"no packets of Engine.IO: {body[:60]!r}")
            packets = body.split(_BETWEEN)
            yield received, packets
            for said in filter(None, map(self.answer, packets)):
                wire = self._kept(wire, response)
                response = self._post(wire, said)
            wire = self._kept(wire, response)

    def _kept(self, wire: Wire, response: Response) -> Wire:
        """The connection, or another one if the server has ended it with its last answer."""
        if response.keeps_alive:
            return wire
        wire.close()
        return self._open()

    def _post(self, wire: Wire, packet: bytes) -> Response:
        """Take a packet up."""
        head = f"POST {self.target()} HTTP/1.1\r\nHost: {self.url.netloc}\r\nContent-Type: text/plain;charset=UTF-8\r\n"
        request = f"{head}Content-Length: {len(packet)}\r\n\r\n".encode()
        wire.send(request + packet)
        self.traffic.headers += len(request)
        self.traffic.requests += 1
        response = Response()
        body, _ = self._body(wire, response)
        self.traffic.headers += response.head
        if response.status != 200:
            raise NotEverywireError(f"HTTP status {response.status} to a packet: {body[:60]!r}")
        return response


class LongPollReader(_Follower, _Polls):
    """By long-polling."""
