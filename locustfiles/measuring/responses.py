"""Response: one HTTP/1.1 answer (RFC 9112), read from bytes in whatever pieces they arrive.

Only what a reader of ours needs, and cheap, because a load generator's parser is part of what it measures: one answer at a time,
bodies handed on as they come, nothing decoded but chunks.
"""

from __future__ import annotations

from collections.abc import Callable

from transports.errors import NotEverywireError

_HEAD_MAX = 65_536  # bytes
_LINE_MAX = 1_024  # bytes of a chunk's size line or of one trailer


class Response:
    """One answer. Feed it until `done`; what it returns is the body.

    Attributes:
        status: 0 until the head has arrived.
        headers: names in lower case; of a repeated one, the last.
        head: bytes of the head, and of interim ones before it.
        done: the answer is complete, and `rest` is what came behind it.
    """

    def __init__(self) -> None:
        self.status = self.head = 0
        self.headers: dict[str, str] = {}
        self.done = False
        self._buffer = bytearray()
        self._left = 0  # bytes of the body or of the chunk that are still to come
        self._step: Callable[[], bytes | None] = self._head

    def feed(self, data: bytes) -> bytes:
        """The part of the body that comes with `data`.

        Raises:
            NotEverywireError: it is not HTTP/1.1, or beyond the limits.
        """
        self._buffer += data
        body = []
        while not self.done and (part := self._step()) is not None:
            body.append(part)
        return b"".join(body)

    def feed_eof(self) -> None:
        """The peer has closed: the end of an answer that has no length, else a broken one. Raises: ConnectionResetError."""
        if self._step != self._endless and not self.done:
            raise ConnectionResetError("the connection ended in the middle of an answer")
        self.done = True

    @property
    def rest(self) -> bytes:
        """What came behind the answer: the first frames after an upgrade."""
        return bytes(self._buffer)

    @property
    def keeps_alive(self) -> bool:
        """Another request may follow on the same connection."""
        return self.done and self._step != self._endless and self.headers.get("connection", "").lower() != "close"

    # Each step takes what it can from the buffer and returns it, or None to wait for more.

    def _head(self) -> bytes | None:
        head = self._until(b"\r\n\r\n", _HEAD_MAX)
        if head is None:
            return None
        self.head += len(head) + 4
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = _status(first)
        self.headers = dict(_field(line) for line in lines)
        if 100 <= self.status < 200 and self.status != 101:
            return b""  # 100 Continue, 103 Early Hints: the answer proper follows
        self._begin_body()
        return b""

    def _begin_body(self) -> None:
        """RFC 9112 section 6.3: how long the body is."""
        coding, length = self.headers.get("transfer-encoding"), self.headers.get("content-length")
        if self.status in (101, 204, 304):
            self.done = True
        elif coding is not None:
            if coding.lower() != "chunked":
                raise NotEverywireError(f"transfer-encoding {coding[:40]!r}")
            self._step = self._chunk_size
        elif length is not None:
            self._left, self._step = _number(length, 10), self._counted
            self.done = self._left == 0
        else:
            self._step = self._endless

    def _counted(self) -> bytes | None:
        part = self._take(self._left)
        self._left -= len(part)
        self.done = self._left == 0
        return part or None

    def _endless(self) -> bytes | None:
        return self._take(len(self._buffer)) or None

    def _chunk_size(self) -> bytes | None:
        line = self._until(b"\r\n", _LINE_MAX)
        if line is None:
            return None
        self._left = _number(line.partition(b";")[0].decode("latin-1").strip(), 16)
        self._step = self._chunk if self._left else self._trailer
        return b""

    def _chunk(self) -> bytes | None:
        part = self._take(self._left)
        self._left -= len(part)
        if not self._left:
            self._step = self._chunk_end
        return part or None

    def _chunk_end(self) -> bytes | None:
        if len(self._buffer) < 2:
            return None
        if self._take(2) != b"\r\n":
            raise NotEverywireError("a chunk is longer than it said")
        self._step = self._chunk_size
        return b""

    def _trailer(self) -> bytes | None:
        line = self._until(b"\r\n", _LINE_MAX)
        self.done = line == b""
        return None if line is None else b""

    def _take(self, count: int) -> bytes:
        part = bytes(self._buffer[:count])
        del self._buffer[:count]
        return part

    def _until(self, end: bytes, most: int) -> bytes | None:
        """What stands before `end`, taken with it; None when it has not come."""
        place = self._buffer.find(end, 0, most)
        if place < 0:
            if len(self._buffer) >= most:
                raise NotEverywireError(f"no end of the line or head within {most} bytes")
            return None
        part = self._take(place + len(end))
        return part[:place]


def _status(line: str) -> int:
    version, _, rest = line.partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
        raise NotEverywireError(f"not an answer in HTTP/1.1: {line[:60]!r}")
    return int(code)


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise NotEverywireError(f"not a header: {line[:60]!r}")
    return name.lower(), value.strip()


def _number(text: str, base: int) -> int:
    if not text.isalnum() or not text.isascii():  # int() would take signs, spaces and underscores
        raise NotEverywireError(f"not a length: {text[:20]!r}")
    try:
        return int(text, base)
    except ValueError:
        raise NotEverywireError(f"not a length: {text[:20]!r}") from None
