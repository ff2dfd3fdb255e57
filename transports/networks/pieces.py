"""Pieces: HTTP/1.1 and WebSocket bytes, taken apart where their framing says so, and not changed by it.

A relay that has to do something to a head, a chunk or a frame must know where it begins. What goes through `Splitter` comes
out as pieces whose `raw` bytes, one behind the other, are exactly what went in (RFC 9112, RFC 6455 5.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["head", "data", "end", "frame", "bytes"]
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

_HEAD_MOST: Final = 65_536  # bytes of a head, and of trailers
_LINE_MOST: Final = 1_024  # bytes of the line that begins a chunk
_PART: Final = 65_536  # bytes of one piece of a long chunk or frame
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")
_BARE: Final = frozenset({204, 304})  # statuses without a body (RFC 9112 6.3)
_VERSIONS: Final = (b"HTTP/1.1", b"HTTP/1.0")
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_HANDSHAKE: Final = b"\x16\x03"  # how TLS begins, in all its versions (RFC 8446 5.1)
_STRAY: Final = re.compile(rb"[\r\n\0]")  # where some would see the end of a line, and others not


class FramingError(ValueError):
    """Bytes that are no HTTP/1.1 or no WebSocket frames, or that could be read in two ways."""


@dataclass(slots=True)
class Piece:
    """A part of a stream of bytes.

    Args:
        kind: `head`; `data`, of a body; `end` of a body, perhaps without bytes; `frame`, of a WebSocket, or a part of a long
            one; `bytes`, of which nothing is known.
        raw: as they are on the wire.
        payload: of a body's `data`, without what frames it.
        came: when, in seconds.
        due: when it may be passed on.
        was: of a request's head that was changed, what it was.
        bodied: of an answer's head, whether a body follows it.
        singly: its bytes are to be sent one by one.
        lost: it goes on as far as the record, and no further.
    """

    kind: Kind
    raw: bytes
    payload: bytes = b""
    came: float = 0.0
    due: float = 0.0
    was: bytes = b""
    bodied: bool = False
    singly: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """A request's or an answer's head. `start`: its three words; `headers`: as they came, in order."""

    start: tuple[bytes, bytes, bytes]
    headers: Headers

    @classmethod
    def parse(cls, raw: bytes) -> Head:
        """Of the bytes through the empty line. Raises: FramingError."""
        first, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
        words = [*first.split(b" ", 2), b"", b""]  # an answer need not give a reason
        asks = _TOKEN.fullmatch(words[0]) and words[1] and words[2] in _VERSIONS
        if not (asks or (words[0] in _VERSIONS and words[1])) or _STRAY.search(first):
            raise FramingError(f"no HTTP/1.1 start line: {first[:80]!r}")
        return cls((words[0], words[1], words[2]), tuple(_header(line) for line in lines))

    @property
    def raw(self) -> bytes:
        """The bytes through the empty line."""
        lines = [b" ".join(self.start), *(name + b": " + value for name, value in self.headers)]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    @property
    def status(self) -> int:
        """Of an answer. Raises: FramingError."""
        if len(self.start[1]) != 3 or not self.start[1].isdigit():
            raise FramingError(f"no status: {self.start[1][:20]!r}")
        return int(self.start[1])

    def get(self, name: bytes) -> bytes:
        """The values of a header, in lower case and joined by commas; empty if there is none."""
        return b",".join(value.lower() for key, value in self.headers if key.lower() == name)

    @property
    def closes(self) -> bool:
        """Whether its sender wants the connection to end behind this request and its answer (RFC 9112 9.6)."""
        wishes = {each.strip() for each in self.get(b"connection").split(b",")}
        return b"close" in wishes or (b"HTTP/1.0" in self.start and b"keep-alive" not in wishes)

    def without(self, *names: bytes) -> Head:
        """One that does not have these headers (lower case)."""
        return Head(self.start, tuple(each for each in self.headers if each[0].lower() not in names))

    def having(self, *headers: tuple[bytes, bytes]) -> Head:
        """One that has these as well, in place of any of the same name."""
        return Head(self.start, (*self.without(*(name.lower() for name, _ in headers)).headers, *headers))

    def starting(self, *start: bytes) -> Head:
        """One with other first words."""
        return Head((start[0], start[1], start[2]), self.headers)

    def length(self) -> int | None:
        """Bytes of the body; -1 if it comes in chunks; None if nothing is said. Raises: FramingError, if too much is."""
        names = {name.lower() for name, _ in self.headers}
        if b"transfer-encoding" in names:
            if b"content-length" in names:
                raise FramingError("both Content-Length and Transfer-Encoding (RFC 9112 6.1)")
            if b"HTTP/1.0" in self.start:
                raise FramingError("Transfer-Encoding in HTTP/1.0, which knows none (RFC 9112 6.1)")
            if (coding := self.get(b"transfer-encoding")) != b"chunked":
                raise FramingError(f"a transfer coding that is not known: {coding[:40]!r}")
            return -1
        if b"content-length" not in names:
            return None
        length, *others = {each.strip(b" \t") for each in self.get(b"content-length").split(b",")}
        if others or not length.isdigit() or len(length) > 15:
            raise FramingError(f"no sensible Content-Length: {length[:40]!r}")
        return int(length)


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or not _TOKEN.fullmatch(name) or _STRAY.search(value):  # a folded line has no name (RFC 9112 5.2)
        raise FramingError(f"no header: {line[:80]!r}")
    return name, value.strip(b" \t")


class Splitter:
    """Takes one direction of a connection apart.

    Args:
        methods: for answers, those of the requests that they answer, in order: whoever sees the requests appends to it.
            None for requests.
    """

    def __init__(self, methods: list[bytes] | None = None) -> None:
        self._methods = methods
        self._buffer = bytearray()
        self._seen = 0  # bytes of the buffer in which an end was looked for already
        self._line = b""  # the line of a chunk of which nothing has gone on yet
        self._rest = 0  # bytes to come of a body, a chunk with its line end, or a frame
        self._part: Callable[[], Iterable[Piece] | None] = self._head

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The pieces that are complete with `data`; of a long body, what there is. Raises: FramingError."""
        self._buffer += data
        while self._buffer and (pieces := self._part()) is not None:
            yield from pieces

    def eof(self) -> Iterator[Piece]:
        """The last pieces, when the other side has closed."""
        if rest := self._line + self._cut(len(self._buffer)):  # cut off in the middle of something
            yield Piece("bytes", rest)
        if self._part == self._until_close:
            yield Piece("end", b"")

    def become(self, kind: Literal["frame", "bytes"]) -> None:
        """From now on it is something else than HTTP: after an upgrade, or after a CONNECT."""
        self._part = self._frame if kind == "frame" else self._opaque

    @property
    def between(self) -> bool:
        """Whether no body is under way."""
        return self._part == self._head

    @property
    def heading(self) -> bool:
        """Whether a head has begun, and has not ended."""
        return self.between and bool(self._buffer)

    def _cut(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _to(self, mark: bytes, most: int) -> bytes | None:
        """What comes through `mark`; None if it has not come yet."""
        place = self._buffer.find(mark, max(0, self._seen - len(mark)), most)
        self._seen = len(self._buffer) if place < 0 else 0
        if place < 0 and len(self._buffer) >= most:
            raise FramingError(f"more than {most} bytes without an end")
        return None if place < 0 else self._cut(place + len(mark))

    def _head(self) -> Iterable[Piece] | None:
        if self._methods is None and self._buffer.startswith(_HANDSHAKE):  # it would wait for an answer for ever
            raise FramingError("TLS, where plain HTTP is spoken: the URL begins with http://")
        if (raw := self._to(b"\r\n\r\n", _HEAD_MOST)) is None:
            return None
        head = Head.parse(raw)
        if (head.start[0] in _VERSIONS) != (self._methods is not None):
            raise FramingError(f"an answer in place of a request, or the other way round: {raw[:80]!r}")
        if self._methods is None and sum(name.lower() == b"host" for name, _ in head.headers) > 1:
            raise FramingError("more than one Host (RFC 9112 3.2)")
        length = 0 if self._bare(head) else head.length()
        pieces = [Piece("head", raw, bodied=length != 0 and self._methods is not None)]
        if length is None and self._methods is not None:
            self._part = self._until_close
        elif length == -1:
            self._part = self._chunk_line
        elif length:
            self._rest, self._part = length, self._body
        elif self._methods is None or head.status >= 200:
            pieces.append(Piece("end", b""))
        return pieces

    def _bare(self, head: Head) -> bool:
        """Whether an answer has no body whatever its head says. Takes the request that it answers off the list."""
        if self._methods is None:
            return False
        status = head.status
        interim = status < 200 and status != 101
        method = b"" if interim or not self._methods else self._methods.pop(0)
        return status < 200 or status in _BARE or method == b"HEAD" or (method == b"CONNECT" and status < 300)

    def _body(self) -> Iterable[Piece]:
        raw = self._cut(min(self._rest, _PART))
        self._rest -= len(raw)
        if self._rest:
            return [Piece("data", raw, raw)]
        self._part = self._head
        return [Piece("data", raw, raw), Piece("end", b"")]

    def _until_close(self) -> Iterable[Piece]:
        raw = self._cut(_PART)
        return [Piece("data", raw, raw)]

    def _chunk_line(self) -> Iterable[Piece] | None:
        if (line := self._to(b"\r\n", _LINE_MOST)) is None:
            return None
        size = line.removesuffix(b"\r\n").partition(b";")[0].rstrip(b" \t")
        if not size or len(size) > 15 or not _HEX.issuperset(size) or _STRAY.search(line, 0, len(line) - 2):
            raise FramingError(f"no chunk: {line[:40]!r}")
        self._line = line
        self._rest = int(size, 16) + 2
        if self._rest == 2:
            self._part = self._trailers
        else:
            self._part = self._chunk
        return []

    def _chunk(self) -> Iterable[Piece] | None:
        if len(self._buffer) < min(self._rest, _PART):
            return None
        size = min(self._rest, _PART)
        raw = self._cut(size - 1 if self._rest - size == 1 else size)  # its line end stays in one part
        self._rest -= len(raw)
        payload = raw
        if self._rest == 0:
            self._part = self._chunk_line
            payload = raw[:-2]
            if raw[-2:] != b"\r\n":
                raise FramingError("a chunk that does not end where it said")
        line, self._line = self._line, b""
        return [Piece("data", line + raw, payload)]

    def _trailers(self) -> Iterable[Piece] | None:
        if self._buffer[:2] == b"\r\n":
            raw: bytes | None = self._cut(2)
        elif self._buffer == b"\r":
            return None
        else:
            raw = self._to(b"\r\n\r\n", _HEAD_MOST)
        if raw is None:
            return None
        for line in raw.split(b"\r\n"):
            if line:
                _header(line)
        self._part = self._head
        line, self._line = self._line, b""
        return [Piece("end", line + raw)]

    def _frame(self) -> Iterable[Piece] | None:
        if self._rest == 0:
            self._rest = _frame_size(self._buffer)
        if self._rest == 0 or len(self._buffer) < min(self._rest, _PART):
            return None
        raw = self._cut(min(self._rest, _PART))
        self._rest -= len(raw)
        return [Piece("frame", raw)]

    def _opaque(self) -> Iterable[Piece]:
        return [Piece("bytes", self._cut(_PART))]


def _frame_size(data: bytearray) -> int:
    """Bytes of the frame that begins here; 0 as long as that cannot be told."""
    if len(data) < 2:
        return 0
    short = data[1] & 0x7F
    extra = {126: 2, 127: 8}.get(short, 0)
    if len(data) < 2 + extra:
        return 0
    length = int.from_bytes(data[2 : 2 + extra], "big") if extra else short
    return 2 + extra + (4 if data[1] & 0x80 else 0) + length


def chunk(payload: bytes) -> bytes:
    """`payload` as a chunk."""
    return b"%x\r\n%s\r\n" % (len(payload), payload)
