"""Behaviours: what networks do. Each does one thing, is a value, and can be combined with others.

A behaviour is asked at four places, and lets everything pass unless it says otherwise:

* `admits`: may this connection be made now?
* `request`: does this request go on, changed or not, or is it answered right here?
* `stage`: what happens to the pieces of one direction of a connection?
* `cut`: when does a connection end, and how?

Time and chance are arguments: nothing here waits.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, Literal, NamedTuple, TypeAlias

from .pieces import Head, Piece, chunk

How: TypeAlias = Literal["close", "reset", "forget"]

_DAY: Final = 86_400.0
_HELD: Final = 8 << 20  # bytes that a network holds back of a body; even a virus scanner lets pass what is larger
_PIECES: Final = 20_000  # that it holds back: many small ones cost more than their bytes
_PACKET: Final = 1_400  # bytes
_GZIP: Final = 31  # zlib's window bits for gzip (RFC 1952)
_GZIP_BUFFER: Final = 8_192  # bytes that a compressing proxy gathers, as nginx does
_HOP: Final = (b"connection", b"keep-alive", b"proxy-connection", b"upgrade")  # for the next hop only (RFC 9110 7.6.1)


@dataclass(slots=True)
class Life:
    """A connection, as far as it matters to a network. Times are seconds of one clock."""

    began: float  # when the network saw its first connection in this condition
    opened: float  # when this connection was made, or the condition began
    moved: float  # when a byte last passed
    luck: float  # 0 to 1, of this connection
    asked: float | None = None  # when the request began that is under way
    upgraded: float | None = None  # when a 101 passed


class Cut(NamedTuple):
    """The end of a connection. `close`: both sides are told; `reset`: rudely; `forget`: nobody is told, and nothing passes any
    more.
    """

    at: float
    how: How


class Answer(NamedTuple):
    """An answer that does not come from the server."""

    status: int
    reason: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def pieces(self, method: bytes = b"GET") -> tuple[Piece, ...]:
        """As it goes over the wire, to a request of that method."""
        start = (b"HTTP/1.1", str(self.status).encode(), self.reason.encode())
        head = Head(start, (*self.headers, (b"Content-Length", str(len(self.body)).encode())))
        if method == b"HEAD" or not self.body:
            return Piece("head", head.raw), Piece("end", b"")
        return Piece("head", head.raw, bodied=True), Piece("data", self.body, self.body), Piece("end", b"")


class Stage:
    """What one behaviour does to one direction of one connection. This one lets everything pass."""

    def feed(self, piece: Piece, now: float) -> Iterable[Piece]:
        """What goes on of `piece`, now (or when it is `due`)."""
        return (piece,)

    def release(self) -> Iterable[Piece]:
        """The network has changed: whatever was held goes on, and nothing is held any more."""
        return ()

    @property
    def held(self) -> int:
        """Bytes that it holds back."""
        return 0

    @property
    def needed(self) -> bool:
        """Whether what comes would make no sense without this stage, even though the network has changed."""
        return False


@dataclass(frozen=True)
class Behaviour:
    """The usual: everything passes. `late`: its stage works on bytes, and comes behind those that understand what they are."""

    late: ClassVar[bool] = False

    def admits(self, life: Life) -> bool:
        """Whether a connection may begin."""
        return True

    def request(self, head: Head) -> Head | Answer:
        """What becomes of a request."""
        return head

    def stage(self, *, down: bool, luck: Callable[[], float]) -> Stage | None:
        """For a new connection's direction; None if nothing happens there."""
        return None

    def cut(self, life: Life) -> Cut | None:
        """When a connection ends, if nothing more happens."""
        return None


# ------------------------------------------------------------------------------------------------------------- upgrades


class StripUpgrade(Behaviour):
    """Takes out of requests what is for the next hop only, as a proxy must that does not know what it means."""

    def request(self, head: Head) -> Head:
        """See `Behaviour`."""
        return head.without(*_HOP)


class _Swallowing(Stage):
    def __init__(self) -> None:
        self._swallowed = False

    def feed(self, piece: Piece, now: float) -> Iterable[Piece]:
        piece.lost |= piece.kind == "frame"
        self._swallowed |= piece.lost
        return (piece,)

    @property
    def needed(self) -> bool:
        """See `Stage`. TCP has no holes: what comes behind bytes that are gone never arrives, whatever the network becomes."""
        return self._swallowed


class SwallowFrames(Behaviour):
    """Lets an upgrade through, and none of the frames behind it."""

    def stage(self, *, down: bool, luck: Callable[[], float]) -> Stage:
        """See `Behaviour`."""
        return _Swallowing()


@dataclass(frozen=True)
class CutUpgraded(Behaviour):
    """Resets a WebSocket `after` so many seconds."""

    after: float

    def cut(self, life: Life) -> Cut | None:
        """See `Behaviour`."""
        return None if life.upgraded is None else Cut(life.upgraded + self.after, "reset")


# ------------------------------------------------------------------------------------------------------ bodies held back


class _Holding(Stage):
    def __init__(self, most: float) -> None:
        self._most, self._held, self._size = min(most, _HELD), list[Piece](), 0

    def feed(self, piece: Piece, now: float) -> Iterable[Piece]:
        if piece.kind not in ("data", "end"):
            return (*self._all(), piece)
        self._held.append(piece)
        self._size += len(piece.payload)
        enough = self._size >= self._most or len(self._held) >= _PIECES
        return self._all() if piece.kind == "end" or enough else ()

    def _all(self) -> list[Piece]:
        held, self._held, self._size = self._held, [], 0
        return held

    def release(self) -> Iterable[Piece]:
        self._most = 0
        return self._all()

    @property
    def held(self) -> int:
        return self._size


@dataclass(frozen=True)
class Hold(Behaviour):
    """Passes an answer's head, and holds its body back until there are `most` bytes of it, no more than 8 MiB, or it ends."""

    most: float = _HELD

    def stage(self, *, down: bool, luck: Callable[[], float]) -> Stage | None:
        """See `Behaviour`."""
        return _Holding(self.most) if down else None


class _Compressing(Stage):
    """Bodies in gzip, which come out when enough has gathered or when they end."""

    def __init__(self) -> None:
        self._gzip: zlib._Compress | None = None
        self._out, self._released = b"", False

    def feed(self, piece: Piece, now: float) -> Iterable[Piece]:
        match piece.kind:
            case "head" if piece.bodied:
                return (self._begun(piece),)
            case "data" if self._gzip is not None:
                self._out += self._gzip.compress(piece.payload)
                return self.release() if self._released else self._written(_GZIP_BUFFER)
            case "end" if self._gzip is not None:
                self._out += self._gzip.flush()
                self._gzip = None
                return (*self._written(), Piece("end", b"0\r\n\r\n"))
            case "bytes" if self._gzip is not None:  # cut off within a chunk: it makes no sense among these
                return self.release()
        return (piece,)

    def _begun(self, piece: Piece) -> Piece:
        head = Head.parse(piece.raw)
        if head.get(b"content-encoding"):
            return piece
        self._gzip = zlib.compressobj(wbits=_GZIP)
        head = head.starting(b"HTTP/1.1", *head.start[1:]).without(b"content-length")
        head = head.having((b"Content-Encoding", b"gzip"), (b"Transfer-Encoding", b"chunked"))
        return replace(piece, raw=Head(head.start, (*head.headers, (b"Vary", b"Accept-Encoding"))).raw)

    def _written(self, least: int = 1) -> list[Piece]:
        if len(self._out) < least:
            return []
        out, self._out = self._out, b""
        return [Piece("data", chunk(out), out)]

    def release(self) -> Iterable[Piece]:
        """See `Stage`. zlib holds bytes back, too."""
        if self._gzip is None:
            return ()
        self._released = True
        self._out += self._gzip.flush(zlib.Z_SYNC_FLUSH)
        return self._written()

    @property
    def needed(self) -> bool:
        return self._gzip is not None


class Gzip(Behaviour):
    """Compresses every body, and passes it on when 8 KiB of it have gathered."""

    def stage(self, *, down: bool, luck: Callable[[], float]) -> Stage | None:
        """See `Behaviour`."""
        return _Compressing() if down else None


# ----------------------------------------------------------------------------------------------------------------- time


class _Timing(Stage):
    def __init__(self, due: Callable[[Piece, float], float]) -> None:
        self._due = due

    def feed(self, piece: Piece, now: float) -> Iterable[Piece]:
        piece.due = self._due(piece, max(now, piece.due))
        return (piece,)


@dataclass(frozen=True)
class Delay(Behaviour):
    """Lets every piece travel half of `round_trip` seconds, and at random up to `jitter` seconds longer, each way."""

    late = True

    round_trip: float = 0.0
    jitter: float = 0.0

    def stage(self, *, down: bool, luck: Callable[[], float]) -> Stage:
        """See `Behaviour`."""
        return _Timing(lambda _, now: now + self.round_trip / 2 + luck() * self.jitter)


class _Narrowing(Stage):
    """Packets, one behind the other: what is long trickles, and does not come at once after a long silence."""

    def __init__(self, rate: float) -> None:
        self._rate, self._free = rate, 0.0
        self._packet = max(1, min(_PACKET, int(rate / 20)))

    def feed(self, piece: Piece, now: float) -> Iterable[Piece]:
        size = len(piece.raw) if piece.kind == "head" else self._packet  # a head is known as one by being whole
        parts = [replace(piece, raw=piece.raw[at : at + size], payload=b"") for at in range(0, len(piece.raw), size or 1)]
        for part in parts or [piece]:
            self._free = part.due = max(self._free, now, piece.due) + len(part.raw) / self._rate
        return parts or [piece]


@dataclass(frozen=True)
class Narrow(Behaviour):
    """Lets `rate` bytes a second through, each way of each connection."""

    late = True

    rate: float

    def stage(self, *, down: bool, luck: Callable[[], float]) -> Stage:
        """See `Behaviour`."""
        return _Narrowing(self.rate)


class _Crumbling(Stage):
    def feed(self, piece: Piece, now: float) -> Iterable[Piece]:
        piece.singly = True
        return (piece,)


class OneByte(Behaviour):
    """Sends each byte by itself."""

    late = True

    def stage(self, *, down: bool, luck: Callable[[], float]) -> Stage:
        """See `Behaviour`."""
        return _Crumbling()


# ------------------------------------------------------------------------------------------------------- ends and absence


@dataclass(frozen=True)
class CutIdle(Behaviour):
    """Closes a connection on which nothing moves for `after` seconds."""

    after: float

    def cut(self, life: Life) -> Cut:
        """See `Behaviour`."""
        return Cut(life.moved + self.after, "close")


@dataclass(frozen=True)
class CutRequest(Behaviour):
    """Closes a connection when a request on it, a WebSocket too, has taken `after` seconds."""

    after: float

    def cut(self, life: Life) -> Cut | None:
        """See `Behaviour`."""
        return None if life.asked is None else Cut(life.asked + self.after, "close")


@dataclass(frozen=True)
class CutOld(Behaviour):
    """Resets a connection that is `after` seconds old."""

    after: float

    def cut(self, life: Life) -> Cut:
        """See `Behaviour`."""
        return Cut(life.opened + self.after, "reset")


@dataclass(frozen=True)
class Forget(Behaviour):
    """Once, `after` seconds from the first connection, forgets all that there are: nothing passes on them any more, and nobody
    is told.
    """

    after: float

    def cut(self, life: Life) -> Cut | None:
        """See `Behaviour`."""
        at = life.began + self.after
        return Cut(at, "forget") if life.opened < at else None


@dataclass(frozen=True)
class Away(Behaviour):
    """From `after` seconds behind the first connection on, for `lasts` seconds, there is nobody: what is open is reset, and
    nothing can be opened. Again `every` so many seconds, if that is given.
    """

    after: float
    lasts: float
    every: float = _DAY

    def admits(self, life: Life) -> bool:
        """See `Behaviour`."""
        gone = life.opened - life.began - self.after
        return gone < 0 or gone % self.every >= self.lasts

    def cut(self, life: Life) -> Cut:
        """See `Behaviour`."""
        times = max(0, -(-(life.opened - life.began - self.after) // self.every))
        return Cut(life.began + self.after + times * self.every, "reset")


# ------------------------------------------------------------------------------------------------------ other answers


@dataclass(frozen=True)
class Portal(Behaviour):
    """Answers every request itself: with a page or, if `leads_to` is given, by sending the client there."""

    leads_to: str = ""

    def request(self, head: Head) -> Answer:
        """See `Behaviour`."""
        page = b'<!doctype html><html lang="en"><title>Log in</title><h1>Welcome. Please log in to use this network.</h1>'
        if self.leads_to:
            return Answer(302, "Found", ((b"Location", self.leads_to.encode()), (b"Content-Type", b"text/html")), b"")
        return Answer(200, "OK", ((b"Content-Type", b"text/html"),), page)


@dataclass(frozen=True)
class AskWho(Behaviour):
    """A forward proxy that wants to know who asks (RFC 9110 11.7)."""

    user: str = "user"
    password: str = field(default="secret", repr=False)

    def request(self, head: Head) -> Head | Answer:
        """See `Behaviour`."""
        wanted = b"basic " + base64.b64encode(f"{self.user}:{self.password}".encode())
        shown = next((value for name, value in head.headers if name.lower() == b"proxy-authorization"), b"")
        scheme, _, credentials = shown.partition(b" ")
        if scheme.lower() + b" " + credentials.strip() == wanted:
            return head.without(b"proxy-authorization")
        ask = ((b"Proxy-Authenticate", b'Basic realm="company"'), (b"Content-Type", b"text/html"))
        return Answer(407, "Proxy Authentication Required", ask, b"<h1>Who are you?</h1>")


class _Old(Stage):
    """Answers in HTTP/1.0, which knows neither interim answers nor chunks."""

    def __init__(self) -> None:
        self._chunked = False  # the body that passes came in chunks

    def feed(self, piece: Piece, now: float) -> Iterable[Piece]:
        if piece.kind == "head":
            return self._begun(piece)
        if self._chunked:
            self._chunked = piece.kind != "end"
            piece.raw = piece.payload
        return (piece,)

    def _begun(self, piece: Piece) -> Iterable[Piece]:
        head = Head.parse(piece.raw)
        if head.status < 200:
            return (piece,) if head.status == 101 else ()
        self._chunked = piece.bodied and head.length() == -1
        head = head.starting(b"HTTP/1.0", *head.start[1:]).without(b"keep-alive", b"transfer-encoding")
        piece.raw = head.having((b"Connection", b"close")).raw
        return (piece,)

    @property
    def needed(self) -> bool:
        return self._chunked


class Http10(Behaviour):
    """Speaks HTTP/1.0 both ways: no upgrade, no chunks, one request a connection."""

    def request(self, head: Head) -> Head | Answer:
        """See `Behaviour`. The length of what is sent must be known."""
        if head.length() == -1:
            return Answer(411, "Length Required", ((b"Content-Type", b"text/html"),), b"<h1>No chunks, please.</h1>")
        return head.without(*_HOP, b"expect").starting(*head.start[:2], b"HTTP/1.0")

    def stage(self, *, down: bool, luck: Callable[[], float]) -> Stage | None:
        """See `Behaviour`."""
        return _Old() if down else None
