"""Bodies: where the body of an HTTP/1 request ends, by its length or by its chunks (RFC 9112 sections 6 and 7)."""

from __future__ import annotations

import re
from typing import Final, Protocol

from .heads import RequestError

_LINE_MAX: Final = 1024  # bytes of the line before a chunk, or of a trailer
_ASIDE_MAX: Final = 16_384  # bytes of extensions and trailers in one body: nobody reads them
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t -~\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*")


class Body(Protocol):
    """A body that is being read."""

    ended: bool

    def read(self, data: bytes, start: int) -> tuple[bytes, int]:
        """The next piece of the body from `start` on, and the place behind it; no piece and the same place: wait for more.

        Raises: RequestError 400.
        """


class Sized:
    """A body of so many bytes."""

    __slots__ = ("_left", "ended")

    def __init__(self, length: int) -> None:
        self._left = length
        self.ended = False

    def read(self, data: bytes, start: int) -> tuple[bytes, int]:
        """As `Body.read`."""
        piece = data[start : start + self._left]
        self._left -= len(piece)
        self.ended = not self._left
        return piece, start + len(piece)


class Chunked:
    """A body in chunks; extensions and trailers are bounded and dropped."""

    __slots__ = ("_aside", "_in_trailers", "_left", "_open", "ended")

    def __init__(self) -> None:
        self._left = 0  # bytes of the chunk that are still to come
        self._open = False  # the CRLF behind a chunk is still to come
        self._in_trailers = False
        self._aside = 0  # bytes of extensions and trailers
        self.ended = False

    def read(self, data: bytes, start: int) -> tuple[bytes, int]:
        """As `Body.read`."""
        while not self._left and not self.ended:
            if (end := self._line_end(data, start)) < 0:
                return b"", start
            self._take(data[start : end - 1])
            start = end + 1
        piece = data[start : start + self._left]
        self._left -= len(piece)
        return piece, start + len(piece)

    def _line_end(self, data: bytes, start: int) -> int:
        """Where the LF of the line at `start` is; -1 when it has not come."""
        most = 1 if self._open else _LINE_MAX
        end = data.find(b"\n", start, start + most + 1)
        if end < 0:
            if len(data) - start > most or (self._open and data[start : start + 1] not in (b"", b"\r")):
                raise RequestError(400, "a chunk longer than it said, or a line between chunks that does not end")
        elif end == start or data[end - 1] != 0x0D:
            raise RequestError(400, "a line between chunks that does not end in CRLF")
        return end

    def _take(self, line: bytes) -> None:
        """Judge a line: what is behind a chunk, the size of the next, or a trailer."""
        if self._open:
            self._open = False
        elif self._in_trailers:
            self._take_trailer(line)
        else:
            self._take_size(line)
        if self._aside > _ASIDE_MAX:
            raise RequestError(400, f"more than {_ASIDE_MAX} bytes of chunk extensions and trailers")

    def _take_size(self, line: bytes) -> None:
        if not (match := _SIZE.fullmatch(line)):
            raise RequestError(400, f"not a chunk size: {line[:20]!r}")
        self._left = int(match[1], 16)
        self._aside += len(line) - len(match[1])
        self._open = bool(self._left)
        self._in_trailers = not self._left

    def _take_trailer(self, line: bytes) -> None:
        self.ended = not line
        self._aside += len(line)
        if line and not _TRAILER.fullmatch(line):
            raise RequestError(400, f"not a trailer: {line[:60]!r}")
