"""Router: one origin for the lab, its lanes and the server under test. It reads where a request wants to go, and pipes bytes.

    /lab/lanes/sse/live/sse     the network of the lane `sse`, which is asked for /live/sse
    /lab/…  /docs/…  /          the lab's own application
    anything else               the server under test

What an answer is made of comes through as it is, and so does how it ends: a reset stays one. Only the first line of a request is
changed, where a lane is named in it.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

from transports.networks.pieces import FramingError, Head, Piece, Splitter
from transports.networks.sockets import reset

Address: TypeAlias = tuple[str, int]

_READ: Final = 65_536  # bytes
_CONNECTIONS: Final = 1_000  # at the same time
_DIAL: Final = 5.0  # seconds
_PARTING: Final = 5.0  # seconds for answers to a client that has said all it wants to say
_LOOK: Final = 0.5  # seconds between two looks at whether who waits for an answer is still there
_GOODBYE: Final = 5.0  # seconds for what was written to leave
_LANE: Final = re.compile(rb"/lab/lanes/([a-z]+)(/.*)")
_OURS: Final = re.compile(rb"/((lab|docs)(/.*)?)?")


def route(target: bytes, lanes: frozenset[str]) -> tuple[str, bytes]:
    """Where a request with that target goes (`lab`, `server` or a lane), and what it asks for there."""
    found = _LANE.fullmatch(target)
    if found is not None and (lane := found[1].decode()) in lanes:
        return lane, found[2]
    return "lab" if _OURS.fullmatch(target.partition(b"?")[0]) else "server", target


class Router:
    """Takes connections, and leads them on.

    Args:
        places: where the lab, the server and each lane is; asked whenever a connection is made.
        lanes: the names of the lanes.
    """

    def __init__(self, places: Callable[[str], Address], lanes: frozenset[str]) -> None:
        self.places, self.lanes = places, lanes
        self._rides: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self, listening: socket.socket) -> None:
        """Begin to take connections."""
        self._server = await asyncio.start_server(self._accept, sock=listening)

    async def close(self) -> None:
        """End all connections, and take no more."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        rides = list(self._rides)
        for ride in rides:
            ride.cancel()
        await asyncio.gather(*rides, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or len(self._rides) >= _CONNECTIONS:
            reset(writer)
            return
        task = asyncio.create_task(Ride(self, reader, writer).run())
        self._rides.add(task)
        task.add_done_callback(self._rides.discard)
        task.add_done_callback(lambda _: writer.transport.abort())


class Ride:
    """A client's connection, and the one that it leads to now."""

    def __init__(self, router: Router, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._router, self._reader, self._writer = router, reader, writer
        self._requests = Splitter()
        self._place = ""
        self._there: asyncio.StreamWriter | None = None
        self._answers = Answers(self._requests)
        self._down: asyncio.Task[None] | None = None
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Pipe, until one side has enough."""
        up = asyncio.create_task(self._come_up())
        up.add_done_callback(self._ended)
        try:
            await self._over.wait()
            self._writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await self._writer.wait_closed()
        finally:
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)
            await self._leave()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A direction has ended: so has the connection. A defect of ours shows up in the log, as asyncio does with tasks."""
        if not task.cancelled():
            error = task.exception()
            if error is not None and not isinstance(error, OSError):
                asyncio.get_running_loop().call_exception_handler({"message": "the lab's router broke", "exception": error})
            self._over.set()

    async def _leave(self) -> None:
        """Close the connection that this one leads to."""
        there, down, self._there, self._down = self._there, self._down, None, None
        if down is not None:
            down.remove_done_callback(self._ended)
            down.cancel()
            await asyncio.gather(down, return_exceptions=True)
        if there is not None:
            there.transport.abort()

    # ------------------------------------------------------------------------------------------------------------- upward

    async def _come_up(self) -> None:
        try:
            while data := await self._reader.read(_READ):
                for piece in self._requests.feed(data):
                    await self._pass(piece)
        except FramingError as error:
            await self._settle()
            self._writer.write(_complaint(error))
            return
        except OSError:  # the client is gone, and rudely: so are we
            if self._there is not None:
                reset(self._there)
            return
        await self._part()

    async def _pass(self, piece: Piece) -> None:
        raw = piece.raw
        if piece.kind == "head":
            head = Head.parse(raw)
            place, target = route(head.start[1], self._router.lanes)
            await self._go(place)
            self._answers.expect(head)
            raw = raw.replace(b" %s " % head.start[1], b" %s " % target, 1)
        if self._there is None:
            raise ConnectionResetError("there is nobody to send it to")
        if raw:
            try:
                self._there.write(raw)
                await self._there.drain()
            except OSError:
                reset(self._writer)
                raise
        if piece.kind == "end" and self._answers.upgrade:  # what comes next may be no HTTP
            await self._settle()

    async def _go(self, place: str) -> None:
        """Lead to that place from now on, once that the answers from elsewhere are here."""
        if place == self._place and self._there is not None:
            return
        await self._settle()
        await self._leave()
        self._place = place
        try:
            async with asyncio.timeout(_DIAL):
                reader, self._there = await asyncio.open_connection(*self._router.places(place))
        except OSError:  # refused: nearest to that is a reset
            reset(self._writer)
            raise
        self._answers = Answers(self._requests)
        self._down = asyncio.create_task(self._come_down(reader, self._answers))
        self._down.add_done_callback(self._ended)

    async def _settle(self) -> None:
        """Wait for the answers that are under way. Raises: ConnectionResetError, nobody waits for them any more."""
        clock, patience = asyncio.get_running_loop().time, None
        while not self._answers.settled.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._answers.settled.wait()
            if self._reader.exception() is not None or self._writer.is_closing():
                raise ConnectionResetError("the client is gone")
            if self._reader.at_eof():
                patience = patience or clock() + _PARTING
                if clock() >= patience:
                    raise ConnectionResetError("the client seems to be gone")

    async def _part(self) -> None:
        """The client has said all it wants to: so it is told, and what the other side still says has a little time."""
        if self._there is None or self._down is None:
            return
        if self._there.can_write_eof():
            with suppress(OSError):
                self._there.write_eof()
        await asyncio.wait([self._down], timeout=_PARTING)

    # ----------------------------------------------------------------------------------------------------------- downward

    async def _come_down(self, reader: asyncio.StreamReader, answers: Answers) -> None:
        while True:
            try:
                data = await reader.read(_READ)
            except OSError:
                reset(self._writer)
                raise
            if not data:
                answers.settled.set()
                return
            self._writer.write(data)
            answers.feed(data)
            await self._writer.drain()


class Answers:
    """Watches the answers go by: which of them are still to come, and whether what is spoken is HTTP any longer.

    Args:
        requests: which become opaque, too, when a connection is upgraded.
    """

    def __init__(self, requests: Splitter) -> None:
        self.settled = asyncio.Event()  # no answer is under way
        self.settled.set()
        self.upgrade = False  # the last request wanted another protocol
        self._requests = requests
        self._methods: list[bytes] = []
        self._splitter: Splitter | None = Splitter(self._methods)
        self._open = 0

    def expect(self, head: Head) -> None:
        """A request goes up."""
        self._methods.append(head.start[0])
        self._open += 1
        self.upgrade = bool(head.get(b"upgrade"))
        if self._splitter is not None:
            self.settled.clear()

    def feed(self, data: bytes) -> None:
        """What comes down. If it is no HTTP, as a network may have it, nothing is known any more, and nothing waited for."""
        if self._splitter is None:
            return
        try:
            for piece in self._splitter.feed(data):
                self._see(piece)
        except FramingError:
            self._become_blind()

    def _see(self, piece: Piece) -> None:
        if piece.kind == "head" and Head.parse(piece.raw).status == 101:
            self._requests.become("bytes")
            self._become_blind()
        elif piece.kind == "end":
            self._open -= 1
            if self._open <= 0:
                self.settled.set()

    def _become_blind(self) -> None:
        self._splitter = None
        self.settled.set()


def _complaint(why: object) -> bytes:
    body = f"{why}\n".encode()
    return b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )
