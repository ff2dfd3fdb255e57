"""Wires: what a client says over each transport, as bytes, for those who mean no good; and a bystander."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings

from .target import Target

WAYS = ("ws", "sse", "poll")
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
JSON = "Content-Type: application/json"


def request(target: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    """A sound request."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *headers, "", ""]).encode() + body


def opening(way: str, query: str = "channels=a") -> bytes:
    """What opens a transport."""
    return request(f"/live/{way}?{query}", *(UPGRADE if way == "ws" else ()))


def commands(*said: Any, body: bytes | None = None) -> bytes:
    """A POST of commands, or of any body."""
    sent = json.dumps(list(said)).encode() if body is None else body
    return request("/live/commands", JSON, f"Content-Length: {len(sent)}", method="POST", body=sent)


def frame(payload: bytes, first: int = 0x81, mask: bytes = b"\1\2\3\4") -> bytes:
    """A masked frame."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    long_mask = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return bytes((first,)) + length + mask + (int.from_bytes(payload, "big") ^ long_mask).to_bytes(size, "big")


def http2(*settings: tuple[int, int]) -> h2.connection.H2Connection:
    """A client of HTTP/2 that has said how it begins; what it says is in `data_to_send`."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    if settings:
        client.local_settings = h2.settings.Settings(client=True, initial_values=dict(settings))
    client.initiate_connection()
    return client


def asks(client: h2.connection.H2Connection, path: str, number: int | None = None, method: str = "GET", ends: bool = True) -> int:
    """Have it ask for `path`. The number of the stream."""
    stream = client.get_next_available_stream_id() if number is None else number
    client.send_headers(stream, [(":method", method), (":path", path), (":scheme", "http"), (":authority", "x")], end_stream=ends)
    return stream


async def connect(server: Target, room: int | None = None) -> socket.socket:
    """A connection; with so many bytes of room for what comes down, if few shall be."""
    line = socket.socket()
    if room is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    line.setblocking(False)
    await asyncio.get_running_loop().sock_connect(line, (server.host, server.port))
    return line


async def send(line: socket.socket, data: bytes) -> bool:
    """Send all of it; False, if the other side has hung up."""
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(line, data), 30)
    except OSError:
        return False
    return True


async def answered(line: socket.socket, most: int = 1 << 20, seconds: float = 40.0) -> bytes:
    """What comes up to the end of the connection. Raises: TimeoutError, it does not end."""
    loop, come = asyncio.get_running_loop(), bytearray()
    async with asyncio.timeout(seconds):
        try:
            while len(come) < most and (data := await loop.sock_recv(line, 65_536)):
                come += data
        except OSError:
            pass
    return bytes(come)


def cut(line: socket.socket) -> None:
    """End it with a RST."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()


class Bystander:
    """A reader who does nothing wrong, over SSE: it has to get every event, in order, whatever others do."""

    def __init__(self, server: Target, channel: str = "b") -> None:
        self._server, self._channel = server, channel
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self.seen: list[int] = []  # the offsets that came

    async def __aenter__(self) -> Bystander:
        reader, self._writer = await asyncio.open_connection(self._server.host, self._server.port)
        self._writer.write(opening("sse", f"channels={self._channel}"))
        await asyncio.wait_for(reader.readuntil(b'"hello"'), 30)
        self._reading = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        self._writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            if line.startswith(b"id:"):
                self.seen.append(int(line.rpartition(b".")[2]))

    async def has(self, offsets: Sequence[int], seconds: float = 30.0) -> None:
        """Wait until it has all of these. Raises: AssertionError, it lacks some, or they came twice or out of order."""
        wanted = set(offsets)
        async with asyncio.timeout(seconds):
            while not wanted <= set(self.seen) and not self._reading.done():  # noqa: ASYNC110 - another process publishes
                await asyncio.sleep(0.01)
        assert wanted <= set(self.seen), f"{sorted(wanted - set(self.seen))[:5]} did not come"
        assert self.seen == sorted(self.seen)
