"""Connections: a client's, and the one to the server that belongs to it. Requests go up and answers come down, piece by piece."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, Literal, Protocol

from .behaviours import Answer, Cut, Life
from .lane import Lane, now
from .pieces import FramingError, Head, Piece, Splitter
from .profiles import Profile
from .record import Passage, Record
from .sockets import DIAL, reset

_HEAD: Final = 20.0  # seconds from the first byte of a request's head to its last
_READ: Final = 65_536  # bytes
_PARTING: Final = 5.0  # seconds for the answer to a client that has said all it wants to say
_LINGERS: Final = 1.0  # seconds in which a client that was refused may read why
_GOODBYE: Final = 5.0  # seconds for what was written to leave, when a connection has ended
_ABSOLUTE: Final = re.compile(rb"[a-z]+://[^/?]*", re.IGNORECASE)


class Network(Protocol):
    """What a connection wants to know of the network that it is in."""

    profile: Profile
    record: Record
    upstream: tuple[str, int]

    def luck(self) -> float:
        """A number from 0 to 1."""


class Connection:
    """A client's connection, and the one to the server that belongs to it."""

    def __init__(
        self, network: Network, number: int, life: Life, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.network, self.number, self.life = network, number, life
        self.forgotten = False
        self._reader, self._writer = reader, writer
        self._server: asyncio.StreamWriter | None = None
        self._methods: list[bytes] = []
        self._up, self._down = Lane(self, down=False), Lane(self, down=True)
        self._down.writer = writer
        self._requests, self._answers = Splitter(), Splitter(self._methods)
        self._discard = False  # the body of a request that was answered here
        self._slow: float | None = None  # when the head that has begun must have ended
        self._last = False  # the request that is under way is the last one
        self._unsent = self._unanswered = 0  # requests that have not ended; those whose answers have not passed
        self._free = asyncio.Event()  # no request is under way
        self._free.set()
        self._stir = asyncio.Event()  # what was known of the next cut may have changed
        self._over = asyncio.Event()
        self._ends = 0  # sides that have closed
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def profile(self) -> Profile:
        """The network, as it is now."""
        return self.network.profile

    def luck(self) -> float:
        """A number from 0 to 1."""
        return self.network.luck()

    async def run(self) -> None:
        """Relay until one side has closed or the network has cut."""
        self._note("open")
        self._begin(self._up.run(), self._down.run(), self._come_up(), self._watch())
        try:
            await self._over.wait()
            await self._stop()
            await self._goodbye()
        finally:
            await self._stop()
            self._note("close")
            for writer in self._writers:
                writer.transport.abort()

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _goodbye(self) -> None:
        """Close, once that what was written has left. Somebody who does not read shall not keep it open for ever."""
        for writer in self._writers:
            writer.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    @property
    def _writers(self) -> list[asyncio.StreamWriter]:
        return [writer for writer in (self._writer, self._server) if writer is not None]

    def switch(self) -> None:
        """The network is another one now."""
        at = self.life.began = self.life.opened = self.life.moved = now()
        if self.life.asked is not None:
            self.life.asked = at
        if self.life.upgraded is not None:
            self.life.upgraded = at
        self._up.refit()
        self._down.refit()
        self._stir.set()

    def end(self, cut: Cut) -> None:
        """Cut it."""
        if cut.how == "forget":
            self.forgotten = True
            self._stir.set()
            return
        if cut.how == "reset":
            for writer in self._writers:
                reset(writer)
        self._over.set()

    def note(self, piece: Piece, *, up: bool, lost: bool) -> None:
        """Record a piece that passes, or that does not."""
        at = now()
        if not lost:
            self.life.moved = at
        if piece.raw:
            wall = time.time() - at
            kind = "lost" if lost else piece.kind
            raw = piece.was if up and piece.was else piece.raw
            writes = len(piece.raw) if piece.singly and not lost else 1
            self.network.record.add(Passage(self.number, up, kind, raw, wall + (piece.came or at), wall + at, writes))

    def passed(self, piece: Piece) -> None:
        """A piece has gone to the client: what follows from it?"""
        if piece.kind == "head":
            head = Head.parse(piece.raw)
            if head.status == 101:
                self.life.upgraded = now()
                self._stir.set()
            elif head.status >= 200:
                self._last |= head.closes
        elif piece.kind == "end":
            self._unanswered = max(0, self._unanswered - 1)
            self._perhaps_over()

    def _perhaps_over(self) -> None:
        """Close behind the last answer, even if the server does not: it may not have been told that it is the last."""
        if self._last and not self._unsent and not self._unanswered and not self.forgotten:
            self._over.set()

    def _note(self, kind: str) -> None:
        at = time.time()
        self.network.record.add(Passage(self.number, True, kind, b"", at, at))

    def _begin(self, *work: Coroutine[Any, Any, None]) -> None:
        for each in work:
            task = asyncio.create_task(each)
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A part has ended: so has the connection. A defect of ours shows up in the log, as asyncio does with tasks."""
        if not task.cancelled():
            error = task.exception()
            if error is not None and not isinstance(error, OSError | FramingError):
                asyncio.get_running_loop().call_exception_handler({"message": "a network broke", "exception": error})
            self._over.set()

    async def _side_ended(self, lane: Lane) -> None:
        """One side has closed. Nobody tells the other if the network has forgotten the connection."""
        self._ends += 1
        if not self.forgotten:
            await lane.empty()
        elif self._ends < 2 and self._server is not None:
            await asyncio.Event().wait()

    async def _watch(self) -> None:
        """End the connection when the network says so."""
        while not self.forgotten:
            self._stir.clear()
            cuts = [cut for each in self.profile.behaviours if (cut := each.cut(self.life)) is not None]
            first = min(cuts, default=None)
            if first is not None and first.at <= now():
                self.end(first)
                if not self.forgotten:
                    return
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if first is None else first.at - now()):
                        await self._stir.wait()
        await asyncio.Event().wait()  # forgotten: until one side has enough

    # ------------------------------------------------------------------------------------------------------------- upward

    async def _come_up(self) -> None:
        try:
            while data := await self._more():
                if self.forgotten:
                    self.note(Piece("bytes", data), up=True, lost=True)
                    continue
                for piece in self._requests.feed(data):
                    self._slow = None
                    await self._asked(piece)
        except FramingError as error:
            await self._refuse(_complaint(400, "Bad Request", error))
            return
        except TimeoutError:
            await self._refuse(_complaint(408, "Request Timeout", f"a head takes {_HEAD:g} seconds at the most"))
            return
        for piece in self._requests.eof():
            await self._asked(piece)
        await self._part()
        await self._side_ended(self._up)

    async def _part(self) -> None:
        """Let a client that has only stopped to talk have its answer: the end of that ends the connection. One that has gone
        looks the same until something is written to it, and shall not keep the server busy for long.
        """
        asking = self._requests.between and self._unanswered
        if asking and not self.forgotten and not self._writer.is_closing():  # that one was reset, or spoke TLS
            self._last = True
            await asyncio.sleep(_PARTING)

    async def _more(self) -> bytes:
        """What comes next. Raises: TimeoutError, a head has begun and does not end; an idle client may wait for ever."""
        if not self._requests.heading or self.forgotten:
            self._slow = None
            return await _read(self._reader)
        self._slow = self._slow or now() + _HEAD
        while True:
            try:
                async with asyncio.timeout_at(self._slow):
                    return await _read(self._reader)
            except TimeoutError:
                if self._free.is_set() and not self.forgotten:  # or else it has a right to be here
                    raise
                self._slow = now() + _HEAD

    async def _asked(self, piece: Piece) -> None:
        if self._last and not self._unsent:  # nothing that counts can come behind the last request (RFC 9112 9.6)
            return
        if piece.kind == "head" and not self.forgotten:
            await self._request(piece)
        elif self._discard:
            self.note(piece, up=True, lost=False)
        else:
            await self._up.put(piece)
        if piece.kind == "end":
            self._discard = False
            self._unsent -= 1
            self._perhaps_over()

    async def _refuse(self, answer: Answer) -> None:
        """Say why this is no request, behind the answers to those before it. Then read on until the client leaves: closing
        with bytes unread would be a reset, and take the answer away.
        """
        if not self._requests.between or self.forgotten:  # within a body: the server has seen the half of it
            return
        await self._free.wait()
        self._unsent += 1
        for part in answer.pieces():
            await self._down.put(part)
        await self._down.empty()
        if self._writer.can_write_eof():
            self._writer.write_eof()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGERS):
                    while await _read(self._reader):
                        pass

    async def _request(self, piece: Piece) -> None:
        """A request goes on to the server, or is answered here. One at a time."""
        await self._free.wait()
        self._free.clear()
        self._unsent += 1
        self._unanswered += 1
        head: Head | Answer = (asked := Head.parse(piece.raw))
        self._last |= asked.closes
        for behaviour in self.profile.behaviours:
            if isinstance(head, Head):
                head = behaviour.request(head)
                self._last |= isinstance(head, Head) and b"HTTP/1.0" in head.start
        if isinstance(head, Head):
            head = _to_origin(head)
            head = await self._forward(head, piece.raw, changed=head is not asked)
        if isinstance(head, Answer):
            self._discard = True
            self.note(piece, up=True, lost=False)
            for part in head.pieces(asked.start[0]):
                await self._down.put(part)
            self._free.set()

    async def _forward(self, head: Head, was: bytes, *, changed: bool) -> Head | Answer:
        """Send a request on, byte for byte if nothing changed it. An answer, if there is no server."""
        if self._server is None:
            try:
                async with asyncio.timeout(DIAL):
                    reader, self._server = await asyncio.open_connection(*self.network.upstream)
            except OSError as error:  # a TimeoutError is one
                return Answer(502, "Bad Gateway", ((b"Content-Type", b"text/plain"),), f"no server: {error}\n".encode())
            self._up.writer = self._server
            self._begin(self._come_down(reader))
        if head.start[0] == b"CONNECT":
            self.note(Piece("head", was), up=True, lost=False)
            self._last = False
            self._requests.become("bytes")
            self._answers.become("bytes")
            await self._down.put(Piece("head", b"HTTP/1.1 200 Connection established\r\n\r\n"))
            return head
        self._methods.append(head.start[0])
        self.life.asked = now()
        self._stir.set()
        await self._up.put(Piece("head", head.raw if changed else was, was=was))
        return head

    # ----------------------------------------------------------------------------------------------------------- downward

    async def _come_down(self, reader: asyncio.StreamReader) -> None:
        while data := await _read(reader):
            if self.forgotten:
                self.note(Piece("bytes", data), up=False, lost=True)
                continue
            for piece in self._answers.feed(data):
                await self._answered(piece)
        for piece in self._answers.eof():
            await self._answered(piece)
        self._down.release()
        await self._side_ended(self._down)

    async def _answered(self, piece: Piece) -> None:
        head = Head.parse(piece.raw) if piece.kind == "head" else None
        if head is not None and head.status == 101:
            self._last = False
            kind: Literal["frame", "bytes"] = "frame" if head.get(b"upgrade") == b"websocket" else "bytes"
            self._answers.become(kind)
            self._requests.become(kind)
            for early in self._requests.feed(b""):  # from a client that could not wait
                await self._up.put(early)
        await self._down.put(piece)
        if piece.kind == "end":
            self.life.asked = None
            self._free.set()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """What came; empty when the other side has gone, in whichever way."""
    try:
        return await reader.read(_READ)
    except OSError:
        return b""


def _to_origin(head: Head) -> Head:
    """A request as a server wants it: a forward proxy is asked for a whole URL (RFC 9112 3.2.2). Only its path counts here: no
    request ever leads to another server.
    """
    method, target, version = head.start
    if (found := _ABSOLUTE.match(target)) is None:
        return head
    path = target[found.end() :]
    path = path if path.startswith(b"/") else b"/" + path
    return head.starting(method, path, version).without(b"proxy-connection", b"proxy-authorization")


def _complaint(status: int, reason: str, why: object) -> Answer:
    headers = ((b"Connection", b"close"), (b"Content-Type", b"text/plain"))
    return Answer(status, reason, headers, f"{why}\n".encode())
