"""Router: one origin for the lab, its lanes and the server under test. It reads where a request wants to go, and pipes bytes.

    /lab/lanes/sse/live/sse     the network of the lane `sse`, which is asked for /live/sse
    /lab/…  /docs/…  /          the lab's own application
    anything else               the server under test

Somebody else's name may lead here, to a loopback address as well (DNS rebinding): a request by a name that is not ours is refused
here, wherever it wants to go.

What an answer is made of comes through as it is, and so does how it ends: a reset stays one. Only the first line of a request is
changed, where a lane is named in it.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from transports.errors import Refusal
from transports.networks.pieces import FramingError, Head, Piece, Splitter
from transports.networks.sockets import reset
from transports.origins import check_host

Address: TypeAlias = tuple[str, int]

_READ: Final = 65_536  # bytes
_CONNECTIONS: Final = 1_000  # at the same time
_DIAL: Final = 5.0  # seconds
_PARTING: Final = 5.0  # seconds for answers to a client that has said all it wants to say
_LOOK: Final = 0.5  # seconds between two looks at whether who waits for an answer is still there
_GOODBYE: Final = 5.0  # seconds for what was written to leave
_HEAD: Final = 20.0  # seconds until a connection has asked for something, and from a later head's first bytes to its last
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_LANE: Final = re.compile(rb"/lab/lanes/([a-z]+)(/.*)")
_OURS: Final = re.compile(rb"/((lab|docs)(/.*)?)?")


def route(target: bytes, lanes: frozenset[str]) -> tuple[str, bytes]:
    """Where a request with that target goes (`lab`, `server` or a lane), and what it asks for there."""
    found = _LANE.fullmatch(target)
    if found is not None and (lane := found[1].decode()) in lanes:
        return lane, found[2]
    return "lab" if _OURS.fullmatch(target.partition(b"?")[0]) else "server", target


class NotHereError(Exception):
    """Somebody was asked for who is not here."""


class LateError(Exception):
    """The head of a request has begun, and does not end."""


class Router:
    """Takes connections, and leads them on.

    Args:
        places: where the lab, the server and each lane is; asked whenever a connection is made.
        lanes: the names of the lanes.
        hosts: by which it is asked; without any, every name will do.
        patience: seconds for the head of a request.
    """

    def __init__(
        self, places: Callable[[str], Address], lanes: frozenset[str], hosts: Sequence[str] = (), patience: float = _HEAD
    ) -> None:
        self.places, self.lanes, self.hosts, self.patience = places, lanes, hosts, patience
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
        self._slow: float | None = None  # when the head that is awaited must have ended

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
            try:
                await asyncio.gather(up, return_exceptions=True)
            finally:  # even if the router ends right now
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
        if there is not None:  # first of all: whoever waits may be cancelled
            there.transport.abort()
        if down is not None:
            down.remove_done_callback(self._ended)
            down.cancel()
            await asyncio.gather(down, return_exceptions=True)

    # ------------------------------------------------------------------------------------------------------------- upward

    async def _come_up(self) -> None:
        try:
            while data := await self._more():
                for piece in self._requests.feed(data):
                    self._slow = None
                    await self._pass(piece)
        except FramingError as error:
            await self._complain("400 Bad Request", error)
            return
        except NotHereError as error:
            await self._complain("421 Misdirected Request", error)
            return
        except LateError as error:
            await self._complain("408 Request Timeout", error)
            return
        except OSError:  # the client is gone, and rudely: so are we
            if self._there is not None:
                reset(self._there)
            return
        await self._part()

    async def _more(self) -> bytes:
        """What comes next; nothing, of who asks for nothing. Who waits for an answer may be quiet for ever. Raises: LateError."""
        clock, patience = asyncio.get_running_loop().time, self._router.patience
        while self._there is None or self._requests.heading:
            self._slow = self._slow or clock() + patience
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._slow):
                    return await self._reader.read(_READ)
            if not self._requests.heading:
                return b""
            if self._answers.settled.is_set():
                raise LateError(f"the head of a request takes {patience:g} seconds at the most")
            self._slow = None  # it is not this one that the client waits for
        return await self._reader.read(_READ)

    async def _complain(self, status: str, why: object) -> None:
        """Answer in place of whoever was asked, behind the answers to what was asked before."""
        await self._settle()
        self._writer.write(_complaint(status, why))

    async def _pass(self, piece: Piece) -> None:
        raw = piece.raw
        if piece.kind == "head":
            head = Head.parse(raw)
            _meant_here(head, self._router.hosts)
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


def names_of(host: str) -> Sequence[str]:
    """By which who listens at `host` is asked, if only this machine can: otherwise, by whatever its people call it."""
    literal = f"[{host}]" if ":" in host else host
    return (*_LOOPBACK, literal) if host == "::1" or host.startswith("127.") else ()


def _meant_here(head: Head, hosts: Sequence[str]) -> None:
    """Raises: NotHereError, it was asked for by another name. One without a name is from no browser."""
    host = head.get(b"host").decode("latin-1")
    try:
        if host:
            check_host({"host": host}, hosts)
    except Refusal as refusal:
        raise NotHereError(
            f"no lab is at {host[:80]!r}: a page of that name could break it. Ask for {' or '.join(hosts[:2])}, or start "
            "it with a --host that others reach, too: that one is asked by any name"
        ) from refusal


def _complaint(status: str, why: object) -> bytes:
    body = f"{why}\n".encode()
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
