"""The server of the subject `null`: takes a publish, and at once writes a ready-made message to every reader, in all three
framings.

One event loop, one protocol object for each connection, bytes joined once for all readers: as little as a server in Python can
do. It keeps no log. Only for polls it remembers the last events, because what comes between two polls of a reader has to be
handed over with the next.

`--plant longpoll=300` holds each message of that transport back for 300 µs, to prove that a comparison finds what is there.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from ..measuring.frames import accept_for

_KEPT: Final = 4096  # events, for polls
_BEAT: Final = 15.0  # seconds
_SWEEP: Final = 0.5  # seconds between two looks for polls that have waited long enough
_HEAD_MAX: Final = 1 << 16  # bytes
_TRANSPORTS: Final = ("websocket", "sse", "longpoll")
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"


class Command(msgspec.Struct):
    """A publish; other fields are not looked at."""

    channel: str
    data: msgspec.Raw
    ref: int | None = None


_commands = msgspec.json.Decoder(list[Command])


def websocket(items: list[bytes]) -> bytes:
    """A text frame (RFC 6455 section 5.2)."""
    body = b"[%b]" % b",".join(items)
    size = len(body)
    if size < 126:
        return b"\x81%c%b" % (size, body)
    return (
        b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), body) if size < 1 << 16 else b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), body)
    )


def sse(items: list[bytes]) -> bytes:
    """A chunk with a block for each item."""
    body = b"".join(b"data: %b\n\n" % item for item in items)
    return b"%x\r\n%b\r\n" % (len(body), body)


def answer(items: list[bytes]) -> bytes:
    """A whole answer."""
    return respond(b"[%b]" % b",".join(items))


def respond(body: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole answer with any body."""
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


FRAMES: Final[Mapping[str, Callable[[list[bytes]], bytes]]] = {"websocket": websocket, "sse": sse, "longpoll": answer}


class Fan:
    """Who reads what, and the last events.

    Args:
        plants: microseconds by which messages of a transport are held back.
    """

    def __init__(self, plants: Mapping[str, int]) -> None:
        self.plants = plants
        self.readers: dict[str, dict[str, set[Peer]]] = {name: {} for name in _TRANSPORTS}  # by transport and channel
        self.kept: deque[tuple[int, str, bytes]] = deque(maxlen=_KEPT)
        self.position = 0  # events so far

    def publish(self, commands: Iterable[Command]) -> None:
        """Write each event to whoever follows its channel; those of one channel that came together go out together."""
        found: dict[str, list[bytes]] = {}
        for command in commands:
            self.position += 1
            item = b'{"type":"event","id":"null.%d","channel":%b,"at":%.3f,"data":%b}' % (
                self.position,
                msgspec.json.encode(command.channel),
                time.time(),
                command.data,
            )
            found.setdefault(command.channel, []).append(item)
            self.kept.append((self.position, command.channel, item))
        for channel, items in found.items():
            self._write(channel, items)

    def missed(self, channels: Iterable[str], since: int) -> list[bytes]:
        """What was published since a poll's last answer."""
        if since >= self.position:
            return []
        wanted = set(channels)
        return [item for position, channel, item in self.kept if position > since and channel in wanted]

    def beat(self) -> bytes:
        """Nothing happened."""
        return b'{"type":"beat","id":"null.%d","at":%.3f}' % (self.position, time.time())

    def hello(self, channels: list[str]) -> bytes:
        """The first item."""
        return (
            b'{"type":"hello","v":1,"id":"null.%d","connection":"null","channels":%b,"resumed":"fresh","beat":%g}'
            % (self.position, msgspec.json.encode(channels), 2 * _BEAT)  # late beats are no fault here
        )

    def follow(self, peer: Peer, transport: str, channels: Iterable[str]) -> None:
        """`peer` waits for the events of `channels`."""
        for channel in channels:
            self.readers[transport].setdefault(channel, set()).add(peer)

    def leave(self, peer: Peer, transport: str, channels: Iterable[str]) -> None:
        """It waits no more."""
        for channel in channels:
            self.readers[transport].get(channel, set()).discard(peer)

    async def keep_awake(self) -> None:
        """Beats: to streams at their time, to polls that have waited long enough."""
        for look in itertools.count(1):
            await asyncio.sleep(_SWEEP)
            for peer in {peer for peers in self.readers["longpoll"].values() for peer in peers}:
                if time.monotonic() >= peer.until:
                    peer.write(answer([self.beat()]))
            if look % round(_BEAT / _SWEEP) == 0:
                for transport in ("websocket", "sse"):
                    frame = FRAMES[transport]([self.beat()])
                    for peer in {peer for peers in self.readers[transport].values() for peer in peers}:
                        peer.write(frame)

    def _write(self, channel: str, items: list[bytes]) -> None:
        for transport, by_channel in self.readers.items():
            if peers := by_channel.get(channel):
                message = FRAMES[transport](items)
                _spin(self.plants.get(transport, 0))
                for peer in list(peers):
                    peer.write(message)


def _spin(us: int) -> None:
    """Wait as exactly as can be: the event loop's timers know milliseconds only."""
    if us:
        end = time.monotonic_ns() + us * 1000
        while time.monotonic_ns() < end:
            pass


class Peer(asyncio.Protocol):
    """One connection.

    Attributes:
        until: when a poll has waited long enough, in seconds of the monotonic clock.
    """

    def __init__(self, fan: Fan) -> None:
        self.fan = fan
        self.until = 0.0
        self._transport: asyncio.Transport | None = None
        self._reads: tuple[str, list[str]] | None = None  # transport and channels
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._leave()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._buffer += data
        while self._buffer and self._step():
            pass
        if len(self._buffer) > _HEAD_MAX and self._transport is not None:
            self._transport.abort()

    def write(self, message: bytes) -> None:
        """Write a message to a reader. One that polls has its answer by that."""
        if self._reads is not None and self._reads[0] == "longpoll":
            self._leave()
        if self._transport is not None:
            self._transport.write(message)

    def _leave(self) -> None:
        if self._reads is not None:
            self.fan.leave(self, *self._reads)
            self._reads = None

    def _step(self) -> bool:
        """Take one request or frame from the buffer; False: it is not all there."""
        if self._reads is not None:
            return self._heard()
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._buffer[:end]
        size = _length(head) if head.startswith(b"POST") else 0
        if len(self._buffer) < end + 4 + size:
            return False
        body, self._buffer = self._buffer[end + 4 : end + 4 + size], self._buffer[end + 4 + size :]
        self._request(head, body)
        return True

    def _heard(self) -> bool:
        """What a reader says: pings, whose answer nobody needs, and the end."""
        if (
            self._reads is not None
            and self._reads[0] == "websocket"
            and self._buffer[0] & 0x0F == 8
            and self._transport is not None
        ):
            self._transport.write(b"\x88\x00")
            self._transport.close()
        self._buffer = b""
        return False

    def _request(self, head: bytes, body: bytes) -> None:
        target = urlsplit(head.split(b" ", 2)[1].decode("latin-1"))
        match target.path.rpartition("/")[2]:
            case "commands":
                self._publish(body)
            case "ws" | "sse" | "poll" as path:
                self._read(path, head, {name: values[0] for name, values in parse_qs(target.query).items()})
            case "negotiate":
                self.write(respond(b'{"v":1,"transports":["websocket","sse","longpoll"]}'))
            case _:
                self.write(respond(b"{}", b"404 Not Found"))

    def _publish(self, body: bytes) -> None:
        try:
            commands = _commands.decode(body)
        except msgspec.DecodeError as error:
            self.write(
                respond(msgspec.json.encode({"code": 4400, "name": "bad_command", "reason": str(error)}), b"400 Bad Request")
            )
            return
        self.fan.publish(commands)
        replies = [
            b'{"type":"reply","ref":%d,"ok":true,"id":"null.%d"}' % (each.ref or 0, self.fan.position) for each in commands
        ]
        self.write(answer(replies))

    def _read(self, path: str, head: bytes, query: dict[str, str]) -> None:
        channels = [name for name in query.get("channels", "").split(",") if name]
        if path == "poll":
            self._poll(channels, query)
            return
        transport = "websocket" if path == "ws" else "sse"
        self.write((_upgrade(head) if path == "ws" else _STREAM) + FRAMES[transport]([self.fan.hello(channels)]))
        self._follow(transport, channels)

    def _poll(self, channels: list[str], query: dict[str, str]) -> None:
        """At once, if something was missed or this is the first; else when something comes."""
        since = query.get("since", "").partition(".")[2]
        if not since.isdecimal():
            self.write(answer([self.fan.hello(channels)]))
        elif items := self.fan.missed(channels, int(since)):
            self.write(answer(items))
        else:
            self.until = time.monotonic() + float(query.get("wait", "25"))
            self._follow("longpoll", channels)

    def _follow(self, transport: str, channels: list[str]) -> None:
        self._reads = transport, channels
        self.fan.follow(self, transport, channels)


def _length(head: bytes) -> int:
    """Of the body that a POST announces."""
    text = _header(head, b"content-length")
    return int(text) if text.isdigit() else 0


def _header(head: bytes, name: bytes) -> bytes:
    place = head.lower().find(b"\r\n" + name + b":")
    return b"" if place < 0 else head[place + len(name) + 3 :].split(b"\r\n", 1)[0].strip()


def _upgrade(head: bytes) -> bytes:
    """RFC 6455 section 4.2.2; whatever subprotocol is asked for."""
    protocol = _header(head, b"sec-websocket-protocol")
    spoken = b"Sec-WebSocket-Protocol: %b\r\n" % protocol if protocol else b""
    accept = accept_for(_header(head, b"sec-websocket-key")).encode()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n%b\r\n"
        % (
            accept,
            spoken,
        )
    )


def plants(texts: Iterable[str]) -> dict[str, int]:
    """Microseconds by transport, out of `longpoll=300`. Raises: ValueError, with what would do."""
    found = {}
    for text in texts:
        name, _, us = text.partition("=")
        if name not in _TRANSPORTS or not us.isdecimal():
            raise ValueError(f"--plant {text}: it is one of {', '.join(_TRANSPORTS)}, and microseconds: longpoll=300")
        found[name] = int(us)
    return found


async def serve(host: str, port: int, planted: Mapping[str, int]) -> None:
    """Serve until cancelled; print the address when it listens."""
    fan, loop = Fan(planted), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Peer(fan), host, port, backlog=2048)
    print(f"null serves http://{host}:{server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201 - for people, and for tests
    await fan.keep_awake()


def main() -> None:
    """Serve as the arguments say."""
    parser = argparse.ArgumentParser(description="A server that does nothing but pass on what it gets.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--plant", action="append", default=[], metavar="TRANSPORT=US", help="hold its messages back; repeatable")
    given = parser.parse_args()
    try:
        asyncio.run(serve(given.host, given.port, plants(given.plant)))
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
