"""Hypercorn's HTTP/2, with bounds: for memory behind a window that is never opened, for frames that cost us more than the client,
for requests that it takes back, and for heads that never end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import h2.events
import h2.exceptions
import h2.frame_buffer
from h2.errors import ErrorCodes
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Request
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, BufferCompleteError, H2Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.utils import filter_pseudo_headers
from priority.priority import MissingStreamError

from .front.heads import RequestError, parse_fields, parse_head
from .upgrades import Upgrade
from .watch import Watch

_PIECE: Final = 8192  # bytes that are dealt with in one turn of the event loop: some hundred frames of the shortest kind
_CALM: Final = 1000.0  # frames that carry nothing which a client may send at once, …
_CALMING: Final = 100.0  # … and each second: a ping, settings, a window, an empty part of a body
_RESET: Final = 5.0  # what a request that is taken back counts as: an application had begun to answer it
_LOOKS: Final = 4  # at a client that takes nothing, in the time that it has
_CONTINUATIONS: Final = 8  # frames of one head: 128 KB of what may unpack to 64 KB
_PREFIX: Final = 9  # bytes before the payload of a frame (RFC 9113 4.1), …
_KIND: Final = 3  # … of which this one tells the kind
_HEADS: Final = (0x1, 0x9)  # HEADERS, CONTINUATION
_Headers = list[tuple[bytes, bytes]]

h2.frame_buffer.CONTINUATION_BACKLOG = _CONTINUATIONS  # 64 would be a megabyte, for a head that never ends


class Times(Protocol):
    """What is wanted of the configuration, in seconds."""

    send_timeout: float  # for a client to take something
    body_timeout: float  # for a head to come


class Buffer:
    """What waits for a client to open its HTTP/2 window: bytes that readers share, not a copy of them.

    Hypercorn judges by what it took out whether there is room for more. Where the client opens no window it takes nothing, finds
    that little, and lets the application fill the memory. What counts here is what is left.
    """

    __slots__ = ("_complete", "_empty", "_pieces", "_room", "moved", "size")

    def __init__(self, now: float) -> None:
        self._pieces: deque[memoryview] = deque()
        self.size = 0  # bytes
        self.moved = now  # when the client last took something, or had nothing to take
        self._complete = False
        self._empty, self._room = asyncio.Event(), asyncio.Event()

    @property
    def complete(self) -> bool:
        """Whether all has been said and taken."""
        return self._complete and not self.size

    @property
    def left_open(self) -> bool:
        """Whether something is missing: what was not said, or what was not taken."""
        return not self._complete or self.size > 0

    def set_complete(self) -> None:
        """Nothing more will be said."""
        self._complete = True

    async def drain(self) -> None:
        """Wait until all of it has been taken."""
        await self._empty.wait()

    async def close(self) -> None:
        """Nobody will take it: let go of it, and of those who wait."""
        self._complete = True
        self._pieces.clear()
        self.size = 0
        self._empty.set()
        self._room.set()

    async def push(self, data: bytes) -> None:
        """Add `data`, and wait for room. Raises: BufferCompleteError, nobody will take it."""
        if self._complete:
            raise BufferCompleteError
        self._pieces.append(memoryview(data))
        self.size += len(data)
        self._empty.clear()
        if self.size >= BUFFER_HIGH_WATER:
            self._room.clear()
            await self._room.wait()

    async def pop(self, most: int) -> bytes:
        """Take up to `most` bytes that the flow control lets through."""
        taken: list[memoryview] = []
        while most and self._pieces:
            piece = self._pieces.popleft()
            if len(piece) > most:
                self._pieces.appendleft(piece[most:])
                piece = piece[:most]
            taken.append(piece)
            most -= len(piece)
        data = b"".join(taken)
        self.size -= len(data)
        if self.size < BUFFER_HIGH_WATER // 2:
            self._room.set()
        if not self.size:
            self._empty.set()
        return data


class Http2(H2Protocol):
    """Hypercorn's HTTP/2, but nothing is without end: neither a head that comes, nor what a client does not take, nor frames
    that carry nothing. Heads are read by the grammar of HTTP/1.1, and priorities, which RFC 9113 5.3.2 gave up, are not kept.

    Args:
        config: of the server.
        args: the others of Hypercorn's.
        abort: cuts the connection.
    """

    config: Any
    stream_buffers: dict[int, Any]

    def __init__(self, app: Any, config: Any, *args: Any, abort: Callable[[], object]) -> None:
        super().__init__(app, config, *args)
        self._times: Times = config
        self._loop = asyncio.get_running_loop()
        self._head = Watch(abort)  # over a head that has begun to come
        self._coming = False
        self._stall = Watch(self._look)  # over clients that take nothing
        self._waiting = False
        self._calm, self._counted = _CALM, self._loop.time()

    async def handle(self, event: Event) -> None:
        """What came, in pieces that keep nobody waiting; or the end."""
        if not isinstance(event, RawData):
            await self._end(event)
            return
        for start in range(0, len(event.data), _PIECE):
            if start:
                await asyncio.sleep(0)
            if self.closed:
                return
            await super().handle(RawData(event.data[start : start + _PIECE]))
        self._watch_head()

    async def _end(self, event: Event) -> None:
        await super().handle(event)
        if isinstance(event, Closed):
            self._head.stop()
            self._stall.stop()
            for buffer in self.stream_buffers.values():  # an application that waits for room would wait for ever
                await buffer.close()

    def _watch_head(self) -> None:
        coming = self._unfinished() and not self.closed
        if coming and not self._coming:
            self._head.begin(self._times.body_timeout)
        elif not coming:
            self._head.end()
        self._coming = coming

    def _unfinished(self) -> bool:
        """Whether a part of a head has come: frames without the last, or a part of one."""
        buffer = self.connection.incoming_buffer
        left = buffer._data
        return bool(buffer._headers_buffer or 0 < len(left) < _PREFIX or (left and left[_KIND] in _HEADS))

    async def _handle_events(self, events: Sequence[Any]) -> None:
        for event in events:
            if self._too_much(event):
                self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
                await self._flush()
                await self.send(Closed())
                return
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                self._pass_over(event)
            else:
                await super()._handle_events([event])
        await self._flush()

    def _too_much(self, event: Any) -> bool:
        """Whether this frame is one too many of those that carry nothing."""
        if isinstance(event, h2.events.StreamReset):
            cost = _RESET
        elif isinstance(event, _EMPTY) or (isinstance(event, h2.events.DataReceived) and not event.data):
            cost = 1.0
        else:
            return False
        now = self._loop.time()
        self._calm = min(_CALM, self._calm + (now - self._counted) * _CALMING) - cost
        self._counted = now
        return self._calm < 0

    def _pass_over(self, event: h2.events.DataReceived) -> None:
        """The rest of a body whose request has been answered already."""
        with suppress(h2.exceptions.ProtocolError):
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    async def _priority_updated(self, event: Any) -> None:
        """A client that names streams which it never opens would fill the memory."""

    async def _send_data(self, stream_id: int) -> None:
        buffer = self.stream_buffers.get(stream_id)
        if buffer is None:  # it was given up: whoever asks for the next stream is not to get it again and again
            with suppress(MissingStreamError):
                self.priority.remove_stream(stream_id)
            return
        before = buffer.size
        with suppress(KeyError, MissingStreamError):  # it is given up meanwhile
            await super()._send_data(stream_id)
        if buffer.size < before or not before:
            buffer.moved = self._loop.time()
            self._calm += 2.0  # a client may open two windows for it
        if buffer.size and not self._waiting:
            self._waiting = True
            self._stall.begin(self._times.send_timeout / _LOOKS)

    def _look(self) -> None:
        """Give up the streams of which nothing has been taken for too long."""
        late = self._loop.time() - self._times.send_timeout
        stuck = [stream_id for stream_id, buffer in self.stream_buffers.items() if buffer.size]
        for stream_id in stuck:
            if self.stream_buffers[stream_id].moved < late and not self.closed:
                self.task_group.spawn(self._give_up, stream_id)
        self._waiting = bool(stuck)
        if stuck:
            self._stall.begin(self._times.send_timeout / _LOOKS)

    async def _give_up(self, stream_id: int) -> None:
        await self._reset(stream_id, ErrorCodes.CANCEL)
        await self._close_stream(stream_id)

    async def _close_stream(self, stream_id: int) -> None:
        await super()._close_stream(stream_id)
        buffer = self.stream_buffers.get(stream_id)
        if buffer is not None and buffer.left_open and not self.closed:  # the client is to know that this was not all
            await self._reset(stream_id, ErrorCodes.CANCEL)
        if self.idle and not self.closed:  # Hypercorn does not say so when the client has taken back its last request
            await self.send(Updated(idle=True))

    async def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        if (buffer := self.stream_buffers.pop(stream_id, None)) is not None:
            await buffer.close()
            with suppress(MissingStreamError):
                self.priority.remove_stream(stream_id)
        with suppress(h2.exceptions.ProtocolError):
            self.connection.reset_stream(stream_id, code)
            await self._flush()

    async def _create_stream(self, request: h2.events.RequestReceived) -> None:
        """Begin to serve a request, if it is one."""
        stream_id = request.stream_id
        try:
            method, target, headers = _read(request.headers)
        except RequestError as error:
            self.connection.send_headers(stream_id, [(b":status", b"%d" % error.status)], end_stream=True)
            await self._flush()
            return
        kind = Upgrade if method == "CONNECT" else HTTPStream
        common = (self.config, self.context, self.task_group, self.ssl, self.client, self.server, self.stream_send)
        self.streams[stream_id] = stream = kind(self.app, *common, stream_id)
        self.stream_buffers[stream_id] = Buffer(self._loop.time())
        self.priority.insert_stream(stream_id)
        self.priority.block(stream_id)
        asked = Request(stream_id, headers, "2", method, target, self.connection_state)
        await stream.handle(asked)
        self.keep_alive_requests += 1
        await self.context.mark_request()


_EMPTY: Final = (
    h2.events.PingAckReceived,
    h2.events.PingReceived,
    h2.events.PriorityUpdated,
    h2.events.RemoteSettingsChanged,
    h2.events.UnknownFrameReceived,
    h2.events.WindowUpdated,
)


def _read(came: _Headers) -> tuple[str, bytes, _Headers]:
    """Method, target and headers of a request. Raises: RequestError."""
    pseudo = {name: value for name, value in came if name.startswith(b":")}
    headers = _with_one_cookie(filter_pseudo_headers(came))
    block = b"".join([b"%b: %b\r\n" % header for header in headers])
    if block.count(b"\n") != len(headers):
        raise RequestError(400, "a line end in a header")
    line = b"%b %b HTTP/1.1" % (pseudo.get(b":method", b""), pseudo.get(b":path", b""))
    head = parse_head(line, parse_fields(block))
    if head.method == "CONNECT" and pseudo.get(b":protocol") != b"websocket":
        raise RequestError(501, "CONNECT is for WebSockets (RFC 8441)")
    return head.method, head.target, headers


def _with_one_cookie(headers: _Headers) -> _Headers:
    """Cookies that came one by one, in one header, as every application expects them (RFC 9113 8.2.3)."""
    cookies = [value for name, value in headers if name == b"cookie"]
    if len(cookies) < 2:
        return headers
    return [*[header for header in headers if header[0] != b"cookie"], (b"cookie", b"; ".join(cookies))]
