"""The fault proxy: a relay in front of a server, which does to connections what bad networks do.

    async with Network("no-upgrade", upstream="http://127.0.0.1:8000") as url:
        ...

Each connection of a client has one of its own to the server. Two lanes lead from side to side; what comes in is taken apart
into pieces, and each piece goes through the stages of the network's behaviours. They can be exchanged while connections are
open.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import time
from collections import deque
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from ..errors import ConfigError
from .behaviours import Answer, Behaviour, Cut, How, Life, Stage
from .pieces import FramingError, Head, Piece, Splitter
from .profiles import Profile, network
from .record import Passage, Record

if TYPE_CHECKING:
    from .authority import Authority

_READ: Final = 65_536  # bytes
_QUEUED: Final = 65_536  # bytes on their way in one direction; then the sender waits, as it would for a router's queue
_HELD: Final = 8 << 20  # bytes that stages hold back; then the sender waits, too
_CONNECTIONS: Final = 2_000  # at the same time
_DIAL: Final = 5.0  # seconds to reach the server
_LINGERS: Final = 1.0  # seconds in which a client that was refused may read why
_GOODBYE: Final = 5.0  # seconds for what was written to leave, when a connection has ended
_LINGER: Final = struct.pack("ii", 1, 0)  # close with a reset
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_ABSOLUTE: Final = re.compile(rb"[a-z]+://[^/?]*", re.IGNORECASE)


class Network:
    """A named network in front of a server.

    Args:
        names: of `NETWORKS`, joined by `+`; or a `Profile` of your own.
        upstream: where the server is: `http://host:port`, `host:port` or `:port`. A path is kept for the URL that is given.
        host: the address to listen on.
        port: 0 takes any that is free.
        expose: allow a host that is not loopback. A network that answers to everybody must be asked for twice.
        seed: for what happens by chance.

    Raises:
        ConfigError: no such network, no such upstream, a host that is not loopback.
        OSError: the port is taken.
    """

    def __init__(
        self,
        names: str | Profile = "open",
        *,
        upstream: str,
        host: str = "127.0.0.1",
        port: int = 0,
        expose: bool = False,
        seed: int | None = None,
    ) -> None:
        if host not in _LOOPBACK and not expose:
            raise ConfigError(f"{host!r} can be reached by others: say expose, too, if that is meant")
        self.profile = network(names) if isinstance(names, str) else names
        self.upstream, self._path = _upstream(upstream)
        self.record = Record()
        self._host, self._port = host, port
        self._chance = random.Random(seed)
        self._began: float | None = None
        self._accepted: set[asyncio.Task[None]] = set()
        self._connections: dict[_Connection, None] = {}  # a set that keeps their order
        self._numbers = 0
        self._server: asyncio.Server | None = None
        self._authority = _authority() if self.profile.tls else None
        self._tls = self._authority.server() if self._authority else None

    # ------------------------------------------------------------------------------------------------------ from outside

    async def __aenter__(self) -> str:
        """Listen; gives the URL for clients. That of a forward proxy is the server's own: see `proxy`."""
        self._server = await asyncio.start_server(self._accept, self._host, self._port, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]
        return self.url

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End all connections, and listen no more."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        tasks = list(self._accepted)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(5):  # for what was just accepted to be refused, and for its socket to be closed
            await asyncio.sleep(0)

    @property
    def url(self) -> str:
        """Where clients go."""
        if self.profile.forward:
            return f"http://{_address(*self.upstream)}{self._path}"
        return f"{self._scheme}://{_address(self._host, self._port)}{self._path}"

    @property
    def proxy(self) -> str | None:
        """What clients must be told as their proxy; None if they need none."""
        return f"{self._scheme}://{_address(self._host, self._port)}" if self.profile.forward else None

    @property
    def _scheme(self) -> str:
        return "https" if self.profile.tls else "http"

    def save_authority(self, path: Path) -> Path:
        """Write the certificate of the authority that clients must trust to get through. Raises: ConfigError, it has none."""
        if self._authority is None:
            raise ConfigError(f"{self.profile.name} does not end TLS")
        return self._authority.save(path)

    def switch(self, names: str | Profile) -> None:
        """Become another network, for the connections that are open too. What was held back passes, if the new one lets it.

        Raises: ConfigError, no such network, or one that clients reach in another way (by TLS, as a forward proxy).
        """
        profile = network(names) if isinstance(names, str) else names
        if (profile.tls, profile.forward) != (self.profile.tls, self.profile.forward):
            raise ConfigError(f"from {self.profile.name} to {profile.name}: clients would have to come in another way")
        self.profile, self._began = profile, _now() if self._connections else None
        for connection in self._connections:
            connection.switch()

    def cut(self, how: How = "reset") -> int:
        """End all connections now; how many. `how`: `reset`, `close`, or `forget`: they stay open, and nothing passes."""
        if how not in ("reset", "close", "forget"):
            raise ConfigError(f"a connection is cut by reset, close or forget, not by {how!r}")
        open_now = list(self._connections)
        for connection in open_now:
            connection.end(Cut(0, how))
        return len(open_now)

    @property
    def connections(self) -> int:
        """That are open, those included that were forgotten."""
        return len(self._connections)

    # ------------------------------------------------------------------------------------------------------- from within

    def luck(self) -> float:
        """The next number from 0 to 1."""
        return self._chance.random()

    def life(self) -> Life:
        """Of a connection that begins now."""
        now = _now()
        if self._began is None:
            self._began = now
        return Life(self._began, now, now, self.luck())

    def _admits(self, life: Life) -> bool:
        return len(self._accepted) < _CONNECTIONS and all(
            behaviour.admits(life, life.opened) for behaviour in self.profile.behaviours
        )

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        life = self.life()
        if self._server is None or not self._admits(life):
            _reset(writer)
            return
        task = asyncio.create_task(self._serve(life, reader, writer))
        self._accepted.add(task)
        task.add_done_callback(self._accepted.discard)
        task.add_done_callback(lambda _: writer.transport.abort())  # even if it was cancelled before it began

    async def _serve(self, life: Life, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._tls is not None:
            try:  # here, so that a handshake that nobody goes on with ends with us
                await writer.start_tls(self._tls, ssl_handshake_timeout=_DIAL)
            except OSError:  # a client that does not trust us, most likely
                return
        self._numbers += 1
        connection = _Connection(self, self._numbers, life, reader, writer)
        self._connections[connection] = None
        try:
            await connection.run()
        finally:
            del self._connections[connection]


class _Lane:
    """One direction of a connection: from what comes in, through the stages, to the other side."""

    def __init__(self, connection: _Connection, *, down: bool) -> None:
        self.writer: asyncio.StreamWriter | None = None
        self._connection, self._down = connection, down
        self._luck = random.Random(connection.network.luck()).random  # its own: others do not disturb its sequence
        self._queue: deque[Piece] = deque()
        self._queued = 0
        self._stir = asyncio.Event()
        self._refitted = asyncio.Event()
        self._last = 0.0
        self._kept: list[Stage] = []  # of an earlier network, until the body that they have changed so far has ended
        self._stages = self._fresh()

    def _fresh(self) -> list[Stage]:
        behaviours: Iterable[Behaviour] = self._connection.network.profile.behaviours
        if self._down:  # they stand in order from the client's side
            behaviours = reversed(tuple(behaviours))
        stages = (each.stage(down=self._down, luck=self._luck) for each in sorted(behaviours, key=lambda each: each.late))
        return [stage for stage in stages if stage is not None]

    def refit(self) -> None:
        """Take the stages of the network as it is now. What the old ones held goes on, as far as the new ones let it."""
        held = self._released()
        self._kept = [stage for stage in (*self._kept, *self._stages) if stage.needed]
        self._stages = self._fresh()
        self._last = 0.0
        for piece in (*self._queue, *held):
            piece.due = 0.0
        for piece in held:
            self._send(piece, self._stages)
        self._refitted.set()
        self._stir.set()

    def release(self) -> None:
        """Nothing more will come: what is held goes on."""
        for piece in self._released():
            self._send(piece, ())

    def _released(self) -> list[Piece]:
        held: list[Piece] = []
        for stage in (*self._kept, *self._stages):
            held = [out for piece in held for out in stage.feed(piece, _now())]
            held += stage.release()
        return held

    async def put(self, piece: Piece) -> None:
        """Let a piece in; wait while too much is on its way."""
        piece.came = piece.came or _now()
        self._send(piece, (*self._kept, *self._stages))
        self._kept = [stage for stage in self._kept if stage.needed]
        while self._queued > _QUEUED or sum(stage.held for stage in self._stages) > _HELD:
            self._stir.clear()
            await self._stir.wait()

    def _send(self, piece: Piece, stages: Iterable[Stage]) -> None:
        if self._connection.forgotten:
            self._connection.note(piece, up=not self._down, lost=True)
            return
        pieces: list[Piece] = [piece]
        for stage in stages:
            pieces = [out for each in pieces for out in stage.feed(each, _now())]
        for out in pieces:
            out.came = out.came or piece.came
            out.due = self._last = max(self._last, out.due)  # nothing overtakes
            self._queue.append(out)
            self._queued += len(out.raw)
        self._stir.set()

    async def run(self) -> None:
        """Pass on what is due, until it is cancelled."""
        while True:
            while not self._queue:
                self._stir.clear()
                await self._stir.wait()
            if (wait := self._queue[0].due - _now()) > 0:
                self._refitted.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._refitted.wait()
                continue
            piece = self._queue.popleft()
            await self._pass(piece)
            self._queued -= len(piece.raw)
            self._stir.set()

    async def _pass(self, piece: Piece) -> None:
        lost = piece.lost or self._connection.forgotten or self.writer is None
        self._connection.note(piece, up=not self._down, lost=lost)
        if lost or self.writer is None:
            return
        try:
            await self._write(self.writer, piece)
        except OSError:
            if not self._connection.forgotten:  # or else nobody is told
                raise
        if self._down:
            self._connection.passed(piece)

    async def _write(self, writer: asyncio.StreamWriter, piece: Piece) -> None:
        if not piece.singly:
            writer.write(piece.raw)
            await writer.drain()
            return
        for byte in piece.raw:
            if self._connection.forgotten:
                return
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0)  # or it would all be there before anybody reads

    async def empty(self) -> None:
        """Wait until nothing is on its way. What a stage holds stays there."""
        while self._queue:
            self._stir.clear()
            await self._stir.wait()


class _Connection:
    """A client's connection, and the one to the server that belongs to it."""

    def __init__(
        self, network: Network, number: int, life: Life, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.network, self.number, self.life = network, number, life
        self.forgotten = False
        self._reader, self._writer = reader, writer
        self._server: asyncio.StreamWriter | None = None
        self._methods: list[bytes] = []
        self._up, self._down = _Lane(self, down=False), _Lane(self, down=True)
        self._down.writer = writer
        self._requests, self._answers = Splitter(), Splitter(self._methods)
        self._discard = False  # the body of a request that was answered here
        self._last = False  # the request that is under way is the last one
        self._unsent = self._unanswered = 0  # requests that have not ended; those whose answers have not passed
        self._free = asyncio.Event()  # no request is under way
        self._free.set()
        self._stir = asyncio.Event()  # what was known of the next cut may have changed
        self._over = asyncio.Event()
        self._ends = 0  # sides that have closed
        self._tasks: list[asyncio.Task[None]] = []

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
        now = self.life.began = self.life.opened = self.life.moved = _now()
        if self.life.asked is not None:
            self.life.asked = now
        if self.life.upgraded is not None:
            self.life.upgraded = now
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
                _reset(writer)
        self._over.set()

    def note(self, piece: Piece, *, up: bool, lost: bool) -> None:
        """Record a piece that passes, or that does not."""
        now = _now()
        if not lost:
            self.life.moved = now
        if piece.raw:
            wall = time.time() - now
            kind = "lost" if lost else piece.kind
            raw = piece.was if up and piece.was else piece.raw
            self.network.record.add(Passage(self.number, up, kind, raw, wall + (piece.came or now), wall + now))

    def passed(self, piece: Piece) -> None:
        """A piece has gone to the client: what follows from it?"""
        if piece.kind == "head":
            head = Head.parse(piece.raw)
            if head.status == 101:
                self.life.upgraded = _now()
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
        now = time.time()
        self.network.record.add(Passage(self.number, True, kind, b"", now, now))

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

    async def _side_ended(self, lane: _Lane) -> None:
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
            cuts = [cut for each in self.network.profile.behaviours if (cut := each.cut(self.life)) is not None]
            first = min(cuts, default=None)
            if first is not None and first.at <= _now():
                self.end(first)
                if not self.forgotten:
                    return
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if first is None else first.at - _now()):
                        await self._stir.wait()
        await asyncio.Event().wait()  # forgotten: until one side has enough

    # ------------------------------------------------------------------------------------------------------------- upward

    async def _come_up(self) -> None:
        while data := await _read(self._reader):
            if self.forgotten:
                self.note(Piece("bytes", data), up=True, lost=True)
                continue
            try:
                for piece in self._requests.feed(data):
                    await self._asked(piece)
            except FramingError as error:
                await self._refuse(error)
                return
        for piece in self._requests.eof():
            await self._asked(piece)
        await self._side_ended(self._up)

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

    async def _refuse(self, error: FramingError) -> None:
        """Say that this is no request, behind the answers to those before it. Then read on until the client leaves: closing
        with bytes unread would be a reset, and take the answer away.
        """
        if not self._requests.between or self.forgotten:  # within a body: the server has seen the half of it
            return
        await self._free.wait()
        self._unsent += 1
        for part in _bad_request(error).pieces():
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
        for behaviour in self.network.profile.behaviours:
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
                async with asyncio.timeout(_DIAL):
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
        self.life.asked = _now()
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


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """What came; empty when the other side has gone, in whichever way."""
    try:
        return await reader.read(_READ)
    except OSError:
        return b""


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close without a word but RST."""
    if (wire := writer.get_extra_info("socket")) is not None:
        with suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    writer.transport.abort()


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


def _upstream(text: str) -> tuple[tuple[str, int], str]:
    """Host and port, and the path behind them. Raises: ConfigError."""
    whole = text if "://" in text else f"http://{'127.0.0.1' if text.startswith(':') else ''}{text}"
    try:
        parts = urlsplit(whole)
        port = parts.port or 80
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme != "http" or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"{text!r} is no server to lead to, such as http://127.0.0.1:8000 or :8000")
    return (parts.hostname, port), parts.path.rstrip("/")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _authority() -> Authority:
    from .authority import Authority  # with what it needs only where it is needed

    return Authority(*_LOOPBACK)


def _bad_request(error: FramingError) -> Answer:
    return Answer(400, "Bad Request", ((b"Connection", b"close"), (b"Content-Type", b"text/plain")), f"{error}\n".encode())
