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
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, NamedTuple, TypeAlias

from .pieces import Head, Piece, chunk

How: TypeAlias = Literal["close", "reset", "forget"]

_DAY: Final = 86_400.0
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

    def pieces(self) -> tuple[Piece, ...]:
        """As it goes over the wire."""
        start = (b"HTTP/1.1", str(self.status).encode(), self.reason.encode())
        head = Head(start, (*self.headers, (b"Content-Length", str(len(self.body)).encode())))
        return Piece("head", head.raw), Piece("data", self.body, self.body), Piece("end", b"")


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

    def admits(self, life: Life, now: float) -> bool:
        """Whether a new connection may be made."""
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
    def feed(self, piece: Piece, now: float) -> Iterable[Piece]:
        return () if piece.kind == "frame" else (piece,)


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
        self._most, self._held, self._size = most, list[Piece](), 0

    def feed(self, piece: Piece, now: float) -> Iterable[Piece]:
        if piece.kind not in ("data", "end"):
            return (*self._all(), piece)
        self._held.append(piece)
        self._size += len(piece.payload)
        return self._all() if piece.kind == "end" or self._size >= self._most else ()

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
    """Passes an answer's head, and holds its body back until there are `most` bytes of it, or until it ends."""

    most: float = float("inf")

    def stage(self, *, down: bool, luck: Callable[[], float]) -> Stage | None:
        """See `Behaviour`."""
        return _Holding(self.most) if down else None


class _Compressing(Stage):
    """Bodies in gzip, which come out when enough has gathered or when they end."""

    def __init__(self) -> None:
        self._gzip: zlib._Compress | None = None
        self._out, self._most = b"", _GZIP_BUFFER

    def feed(self, piece: Piece, now: float) -> Iterable[Piece]:
        match piece.kind:
            case "head":
                return (self._begun(piece),)
            case "data" if self._gzip is not None:
                self._out += self._gzip.compress(piece.payload)
                return self._written() if len(self._out) >= self._most else ()
            case "end" if self._gzip is not None:
                self._out += self._gzip.flush()
                self._gzip = None
                return (*self._written(), Piece("end", b"0\r\n\r\n"))
        return (piece,)

    def _begun(self, piece: Piece) -> Piece:
        head = Head.parse(piece.raw)
        if head.status < 200 or head.status in (204, 304) or head.get(b"content-encoding"):
            return piece
        self._gzip = zlib.compressobj(wbits=_GZIP)
        changed = head.without(b"content-length").having(
            (b"Content-Encoding", b"gzip"), (b"Transfer-Encoding", b"chunked"), (b"Vary", b"Accept-Encoding")
        )
        return Piece("head", changed.raw, came=piece.came)

    def _written(self) -> list[Piece]:
        out, self._out = self._out, b""
        return [Piece("data", chunk(out), out)] if out else []

    def release(self) -> Iterable[Piece]:
        if self._gzip is None:
            return ()
        self._most = 0
        self._out += self._gzip.flush(zlib.Z_SYNC_FLUSH)
        return self._written()

    @property
    def needed(self) -> bool:
        return self._gzip is not None


class Gzip(Behaviour):
    """Compresses every body, and passes it on when 8 KiB of it have gathered."""

    def request(self, head: Head) -> Head:
        """See `Behaviour`. Without HEAD requests: an answer to one has no body that could be compressed."""
        return head.starting(b"GET", *head.start[1:]) if head.start[0] == b"HEAD" else head

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


@dataclass(frozen=True)
class Narrow(Behaviour):
    """Lets `rate` bytes a second through, each way of each connection."""

    late = True

    rate: float

    def stage(self, *, down: bool, luck: Callable[[], float]) -> Stage:
        """See `Behaviour`."""
        free = 0.0

        def due(piece: Piece, now: float) -> float:
            nonlocal free
            free = max(free, now) + len(piece.raw) / self.rate
            return free

        return _Timing(due)


class _Crumbling(Stage):
    def feed(self, piece: Piece, now: float) -> Iterable[Piece]:
        raw = piece.raw
        return [Piece(piece.kind, raw[n : n + 1], came=piece.came, due=piece.due) for n in range(len(raw))] or (piece,)


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

    def admits(self, life: Life, now: float) -> bool:
        """See `Behaviour`."""
        gone = now - life.began - self.after
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
    def feed(self, piece: Piece, now: float) -> Iterable[Piece]:
        if piece.kind == "head":
            head = Head.parse(piece.raw)
            if head.status >= 200:
                head = head.starting(b"HTTP/1.0", *head.start[1:]).without(b"keep-alive").having((b"Connection", b"close"))
            piece.raw = head.raw
        return (piece,)


class Http10(Behaviour):
    """Speaks HTTP/1.0 both ways: no upgrade, no chunks, one request a connection."""

    def request(self, head: Head) -> Head:
        """See `Behaviour`."""
        return head.without(*_HOP).starting(*head.start[:2], b"HTTP/1.0")

    def stage(self, *, down: bool, luck: Callable[[], float]) -> Stage | None:
        """See `Behaviour`."""
        return _Old() if down else None
