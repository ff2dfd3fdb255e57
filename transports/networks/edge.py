"""The edge: HTTP/2 over TLS in front of a network's relay, and HTTP/1.1 behind it, as a CDN or a load balancer has it.

Each stream of a client becomes a connection of its own to the relay, and what happens to that happens to the stream: its
answer's end ends it, anything less resets it. A WebSocket over HTTP/2 (RFC 8441) becomes an upgrade, whose frames pass as they
are. What the client's window does not let through is not read from the relay, and what the relay does not take opens no window
for the client.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, TypeAlias

from ..errors import MissingExtraError
from .pieces import FramingError, Head, Headers, Piece, Splitter, chunk
from .sockets import DIAL, reset

try:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.errors import ErrorCodes
    from h2.events import (
        ConnectionTerminated,
        DataReceived,
        Event,
        RemoteSettingsChanged,
        RequestReceived,
        StreamEnded,
        StreamReset,
        WindowUpdated,
    )
    from h2.exceptions import ProtocolError
    from h2.settings import SettingCodes, Settings
except ImportError as error:  # the message is the line that installs it
    raise MissingExtraError("networks", "h2") from error

Address: TypeAlias = tuple[str, int]
Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]

_READ: Final = 65_536  # bytes
_STREAMS: Final = 100  # of a client at the same time; RFC 9113 6.5.2 wants no fewer
_WINDOW: Final = 65_535  # bytes of a request's body that may wait for the relay (RFC 9113 6.9.2)
_HOP: Final = (b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade")  # RFC 9110 7.6.1
_KEY: Final = (b"sec-websocket-key", b"sec-websocket-accept")  # HTTP/2 has none (RFC 8441 5)


class Edge:
    """Listens for the clients of a network.

    Args:
        relay: where it listens.
        plain: serves a client that does not speak HTTP/2.
        tls: what is shown to clients.
        most: clients at the same time, with or without streams.
    """

    def __init__(self, relay: Address, plain: Serve, tls: ssl.SSLContext, most: int) -> None:
        self._relay, self._plain, self._tls, self._most = relay, plain, tls, most
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[bool]] = set()

    async def open(self, host: str, port: int) -> int:
        """Listen; gives the port. Raises: OSError, it is taken."""
        self._server = await asyncio.start_server(self._accept, host, port, backlog=1024)
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    async def close(self) -> None:
        """Listen no more, and send everybody away, those too that still shake hands."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or len(self._tasks) >= self._most:
            reset(writer)
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._done(task, writer))

    def _done(self, task: asyncio.Task[bool], writer: asyncio.StreamWriter) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:  # a defect of ours
            asyncio.get_running_loop().call_exception_handler({"message": "an edge broke", "exception": error})
        if task.cancelled() or error is not None or not task.result():
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve a client; whether that is left to somebody else."""
        try:  # here and not by the listener, which would let nobody end a handshake
            await writer.start_tls(self._tls, ssl_handshake_timeout=DIAL)
        except OSError:  # a client that does not trust us, most likely
            return False
        if writer.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            self._plain(reader, writer)
            return True
        await _Client(self._relay, reader, writer).run()
        return False


class _Client:
    """A client's connection, and the streams in it."""

    def __init__(self, relay: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.relay = relay
        self._reader, self._writer = reader, writer
        self._streams: dict[int, _Stream] = {}
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: _STREAMS,
                SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
            },
        )

    async def run(self) -> None:
        """Serve it until it has gone."""
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(_STREAMS * _WINDOW)  # no stream waits for another's body
        try:
            await self.flush()
            while data := await self._reader.read(_READ):
                for event in self.h2.receive_data(data):
                    self._take(event)
                await self.flush()
        except (OSError, ProtocolError):
            pass  # it has gone rudely, or has been told what is wrong
        finally:
            await self._end()

    async def _end(self) -> None:
        tasks = [stream.task for stream in self._streams.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(ProtocolError):
            self.h2.close_connection()
        self.write()
        self._writer.transport.abort()  # a polite end of TLS would wait for the other side

    def write(self) -> None:
        """Send what there is to be sent."""
        if (data := self.h2.data_to_send()) and not self._writer.is_closing():
            self._writer.write(data)

    async def flush(self) -> None:
        """Send what there is to be sent, and wait while the client takes nothing. Raises: OSError, it has gone."""
        self.write()
        await self._writer.drain()

    def _take(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._begin(event)
            case DataReceived():
                self._take_data(event)
            case StreamEnded() if (stream := self._streams.get(event.stream_id)) is not None:
                stream.take(None)
            case StreamReset() if (stream := self._streams.get(event.stream_id)) is not None:
                stream.task.cancel()
            case WindowUpdated() | RemoteSettingsChanged():
                for stream in self._streams.values():
                    stream.room.set()
            case ConnectionTerminated():
                raise ConnectionResetError("the client has said that it goes")

    def _take_data(self, event: DataReceived) -> None:
        stream, size = self._streams.get(event.stream_id), event.flow_controlled_length
        if stream is not None:
            stream.take(event.data, size)
        else:
            self.taken(event.stream_id, size)

    def taken(self, number: int, size: int) -> None:
        """So much of a body is done with: the windows open again, the stream's and that of the whole connection."""
        with suppress(ProtocolError):
            self.h2.acknowledge_received_data(size, number)

    def _begin(self, event: RequestReceived) -> None:
        number, fields = event.stream_id, [(bytes(name), bytes(value)) for name, value in event.headers]
        try:
            head, tunnel = _request(fields, whole=event.stream_ended is not None)
        except FramingError:
            with suppress(ProtocolError):  # it has gone already, or has sent all
                self.h2.send_headers(number, [(b":status", b"400")], end_stream=True)
                self.h2.reset_stream(number, ErrorCodes.NO_ERROR)
            return
        stream = self._streams[number] = _Stream(self, number, head, tunnel=tunnel)
        stream.task.add_done_callback(lambda _: self._ended(number))

    def _ended(self, number: int) -> None:
        self._streams.pop(number).end()
        self.write()


class _Stream:
    """A request of a client's, and the connection to the relay that belongs to it."""

    def __init__(self, client: _Client, number: int, head: Head, *, tunnel: bool) -> None:
        self.room = asyncio.Event()  # the window may have opened
        self._client, self._number, self._head, self._tunnel = client, number, head, tunnel
        self._body: asyncio.Queue[tuple[bytes, int] | None] = asyncio.Queue()  # holds no more than a window
        self._waiting = 0  # bytes in it, as the window counts them
        self._due = 0 if tunnel else max(head.length() or 0, 0)  # bytes of the body that must still come
        self._whole = False  # the answer has come to its end
        self._ready = asyncio.Event()  # the relay may have the body
        if not tunnel:
            self._ready.set()
        self.task = asyncio.create_task(self._run())

    def take(self, data: bytes | None, size: int = 0) -> None:
        """A part of the body, and what it took of the window; or its end."""
        if data is None and self._due > 0:  # trailers in place of the rest, which h2 does not count
            self.task.cancel()
        elif data is None:
            self._body.put_nowait(None)
        elif size:
            self._due -= len(data)
            self._waiting += size
            self._body.put_nowait((data, size))

    async def _run(self) -> None:
        with suppress(OSError, FramingError, ProtocolError):  # one side has gone, or has sent what cannot be passed on
            reader, writer = await asyncio.open_connection(*self._client.relay)
            up = asyncio.create_task(self._go_up(writer))
            try:
                self._whole = await self._come_down(reader)
            finally:
                up.cancel()
                if self._whole:
                    writer.transport.abort()  # what was not taken by now is not wanted any more
                else:
                    reset(writer)  # a mere end could mean that the answer is still wanted

    def end(self) -> None:
        """Tell the client that it is over, unless it knows."""
        self._client.taken(self._number, self._waiting)
        with suppress(ProtocolError):  # it knows: it has reset the stream, or has sent all before the answer's end
            if self._whole:
                self._client.h2.end_stream(self._number)
            self._client.h2.reset_stream(self._number, ErrorCodes.NO_ERROR if self._whole else ErrorCodes.INTERNAL_ERROR)

    # ------------------------------------------------------------------------------------------------------------- upward

    async def _go_up(self, writer: asyncio.StreamWriter) -> None:
        """Pass the request on. That the relay has gone shows in its answer."""
        with suppress(OSError):
            writer.write(self._head.raw)
            await self._ready.wait()
            chunked = self._head.length() == -1
            while (part := await self._body.get()) is not None:
                data, size = part
                writer.write(chunk(data) if chunked and data else data)
                await writer.drain()
                self._waiting -= size
                self._client.taken(self._number, size)
                await self._client.flush()
            if chunked:
                writer.write(b"0\r\n\r\n")
            elif self._tunnel:
                writer.write_eof()

    # ----------------------------------------------------------------------------------------------------------- downward

    async def _come_down(self, reader: asyncio.StreamReader) -> bool:
        """Pass the answer on; whether it has come to its end."""
        splitter = Splitter([self._head.start[0]])
        while data := await reader.read(_READ):
            if await self._pass(splitter.feed(data), splitter):
                return True
        return await self._pass(splitter.eof(), splitter) or (self._tunnel and self._ready.is_set())

    async def _pass(self, pieces: Iterable[Piece], splitter: Splitter) -> bool:
        for piece in pieces:
            match piece.kind:
                case "head":
                    await self._answer(Head.parse(piece.raw), splitter)
                case "data":
                    await self._send(piece.payload)
                case "bytes" if self._tunnel and self._ready.is_set():
                    await self._send(piece.raw)
                case "end":
                    return True
        return False

    async def _answer(self, head: Head, splitter: Splitter) -> None:
        status = head.status
        if self._tunnel and status == 101:
            splitter.become("bytes")
            self._ready.set()
            status = 200
        elif self._tunnel and 200 <= status < 300:
            status = 502  # it would mean consent (RFC 8441 5)
        self._client.h2.send_headers(self._number, [(b":status", b"%d" % status), *_end_to_end(head, *_KEY)])
        await self._client.flush()

    async def _send(self, data: bytes) -> None:
        """Send a part of the body, as the window lets it through."""
        h2 = self._client.h2
        while data:
            self.room.clear()
            most = min(h2.local_flow_control_window(self._number), h2.max_outbound_frame_size)
            if most <= 0:
                await self.room.wait()
                continue
            h2.send_data(self._number, data[:most])
            data = data[most:]
            await self._client.flush()


def _end_to_end(head: Head, *others: bytes) -> Headers:
    """The headers that are not for the next hop only."""
    named = [name.strip() for name in head.get(b"connection").split(b",")]
    return head.without(*_HOP, *named, *others).headers


def _request(fields: Headers | list[tuple[bytes, bytes]], *, whole: bool) -> tuple[Head, bool]:
    """A request as HTTP/1.1 has it, and whether it is for a WebSocket. `whole`: it has no body.

    Raises: FramingError, if it is for another kind of tunnel, or could be read in two ways.
    """
    said = {name: value for name, value in fields if name.startswith(b":")}
    head = Head((said[b":method"], said.get(b":path", b""), b"HTTP/1.1"), tuple(each for each in fields if each[0] not in said))
    host = said.get(b":authority") or next((value for name, value in fields if name == b"host"), b"")
    head = Head(head.start, ((b"Host", host), *_end_to_end(head, b"host", *_KEY)))
    tunnel = head.start[0] == b"CONNECT"
    if tunnel:
        if said.get(b":protocol") != b"websocket":
            raise FramingError("only WebSockets have a tunnel here")
        key = base64.b64encode(secrets.token_bytes(16))
        upgrade = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Key", key))
        head = head.without(b"content-length").starting(b"GET", *head.start[1:]).having(*upgrade)
    elif whole and head.length():
        raise FramingError("a Content-Length, and no body (RFC 9113 8.1.1)")
    elif not whole and head.length() is None:
        head = head.having((b"Transfer-Encoding", b"chunked"))
    if Head.parse(head.raw) != head:
        raise FramingError("a head that says something else over HTTP/1.1")
    return head, tunnel
