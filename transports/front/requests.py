"""Requests: what one client asks for, one request after the other, out of the bytes of its connection (RFC 9112)."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, TypeAlias

from ..request import HEAD_BYTES, LINE_BYTES
from .answers import CONTINUE, LAST_CHUNK, answer, chunk
from .bodies import Body, Chunked, Sized
from .heads import Fields, Head, RequestError, check_lines, parse_fields, parse_head

__all__ = ["CONTINUE", "END", "LAST_CHUNK", "End", "Head", "RequestError", "Requests", "answer", "chunk"]


class End(enum.Enum):
    """The end of a request."""

    END = enum.auto()


END: Final = End.END
Part: TypeAlias = Head | bytes | End


def _all(head: Head) -> bool:
    return True


class Requests:
    """The requests of one connection, in whatever pieces they come.

    A head is read when it is whole, so that the place where it begins is known: behind an upgrade, and at a request
    that others shall serve, reading stops, and `rest` has all that was not read.

    Args:
        ours: whether a request is served here; `rest` begins with the head of the first that is not.
    """

    __slots__ = ("_block", "_body", "_fields", "_ours", "foreign", "rest", "stopped")

    def __init__(self, ours: Callable[[Head], bool] = _all) -> None:
        self._ours = ours
        self._body: Body | None = None
        # A poller sends the same headers again and again: those of its last request, as they came and as they were read.
        self._block: bytes | None = None
        self._fields: Fields | None = None
        self.rest = b""  # what was not read
        self.stopped = False  # by an upgrade, a foreign request or an error: feed no more
        self.foreign = False  # stopped at a request that is not ours

    @property
    def repeated(self) -> bytes | None:
        """The header lines that the last request had, if those before it had the same."""
        return self._block if self._fields is not None else None

    @property
    def under_way(self) -> bool:
        """Whether a part of a request has come, and not all of it."""
        return self._body is not None or bool(self.rest)

    def feed(self, data: bytes | memoryview) -> list[Part]:
        """What is complete with `data`: for each request its head, pieces of its body, and `END`; no `END` at an upgrade.

        Raises:
            RequestError: 400, malformed or ambiguous; 414, 431, too long; 417, 501, 505, not known here. What is
                sound before it is in its `before`.
        """
        held = self.rest + data if self.rest else bytes(data)
        come: list[Part] = []
        start = 0
        try:
            while start < len(held) and not self.stopped:
                end = self._read(held, start, come)
                if end == start:
                    break
                start = end
        except RequestError as error:
            self.stopped = True
            error.before = [*come]
            raise
        self.rest = held[start:]
        return come

    def _read(self, data: bytes, start: int, come: list[Part]) -> int:
        """Read one head or a piece of a body; gives the place behind it, the same when more has to come."""
        if self._body is None:
            return self._read_head(data, start, come)
        pieces = []
        while not self._body.ended:
            piece, start = self._body.read(data, start)
            if not piece:
                break
            pieces.append(piece)
        if pieces:
            come.append(b"".join(pieces))  # of many small chunks one piece
        if self._body.ended:
            self._body = None
            come.append(END)
        return start

    def _read_head(self, data: bytes, start: int, come: list[Part]) -> int:
        while data.startswith(b"\r\n", start):  # RFC 9112 2.2: empty lines before it are ignored
            start += 2
        end = data.find(b"\r\n\r\n", start, start + HEAD_BYTES) + 2
        if end == 1:
            _check_beginning(data[start : start + HEAD_BYTES + 1])
            return start
        head = self._parse(data, start, end)
        if not self._ours(head):
            self.stopped = self.foreign = True
            return start
        come.append(head)
        if head.upgrade:
            self.stopped = True
        elif head.body:
            self._body = Chunked() if head.length is None else Sized(head.length)
        else:
            come.append(END)
        return end + 2

    def _parse(self, data: bytes, start: int, end: int) -> Head:
        """The head from `start` to `end`, where the empty line begins."""
        line_end = data.find(b"\r\n", start)
        block = data[line_end + 2 : end]
        if self._fields is None or block != self._block:
            # The first request of a connection is often its last one, so what it came with is not worth keeping.
            fields = parse_fields(block)
            self._fields, self._block = (None, b"") if self._block is None else (fields, block)
        else:
            fields = self._fields
        return parse_head(data[start:line_end], fields)


def _check_beginning(data: bytes) -> None:
    """What may be said of a head before all of it has come. Raises: RequestError."""
    check_lines(data)
    if len(data) > HEAD_BYTES:
        raise RequestError(431, f"a head of more than {HEAD_BYTES} bytes")
    if len(data) > LINE_BYTES + 1 and data.find(b"\r\n", 0, LINE_BYTES + 2) < 0:
        raise RequestError(414, f"a request line of more than {LINE_BYTES} bytes")
