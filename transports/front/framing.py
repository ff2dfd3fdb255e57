"""Items as they stand on a connection, whole answers and parts of them. What is framed for one is framed for all: these
functions are made once for each transport, so that they name what readers share (see `Batch.framed`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import cache, lru_cache
from typing import TypeAlias

from ..admission import JSON, Headers, refusal_body
from ..deflate import packed_frame
from ..errors import Code, Refusal
from ..frames import TEXT
from ..frames import frame as ws_frame
from ..items import Encoded
from ..transport import HEADERS, Frame
from .requests import answer, chunk

Framing: TypeAlias = Callable[[Sequence[Encoded]], bytes]


@cache
def framed(frame: Frame, opcode: int = TEXT, packed: bool = False) -> Framing:
    """A WebSocket message, of a transport's framing; `packed`: compressed, where that makes it smaller."""
    write = packed_frame if packed else ws_frame
    return lambda items: write(frame(items), opcode)


@cache
def chunked(frame: Frame) -> Framing:
    """A part of a body without a length (RFC 9112 7.1)."""
    return lambda items: chunk(frame(items))


class Whole:
    """Whole answers: a framing for those who wait for the same, and what stands around a body that is framed already.

    Args:
        frame: of a transport.
        kind: its content type.
        shared: more headers.
        keep_alive: whether the connection stays open.
        version: of HTTP.
    """

    __slots__ = ("_before", "_behind", "_frame", "_keep_alive", "_kind", "_second", "_shared", "_version")

    def __init__(self, frame: Frame, kind: str, shared: Headers, keep_alive: bool, version: str) -> None:
        self._frame, self._kind, self._shared = frame, kind, tuple(shared)
        self._keep_alive, self._version = keep_alive, version
        self._second = 0  # when the head was made, which says so
        self._before = self._behind = b""  # the length of the body

    def __call__(self, items: Sequence[Encoded]) -> bytes:
        """The answer that carries `items`."""
        return self.around(self._frame(items))

    def last(self) -> Whole:
        """The same, but the connection ends with it."""
        return whole(self._frame, self._kind, self._shared, False, self._version)

    def around(self, body: bytes) -> bytes:
        """The answer that carries `body`."""
        if (now := int(time.time())) != self._second:
            self._second = now
            lines = ((b"content-type", self._kind.encode()), *HEADERS, *self._shared, _date(now))
            head = answer(200, lines, b"", keep_alive=self._keep_alive, version=self._version)
            self._before, _, self._behind = head.rpartition(b"content-length: 0\r\n")
        return b"%bcontent-length: %d\r\n%b%b" % (self._before, len(body), self._behind, body)


@lru_cache(256)  # `origins` names few, and they come again and again
def whole(frame: Frame, kind: str, shared: Headers, keep_alive: bool, version: str) -> Whole:
    """The same for all with the same, so that who waits for the same is in one group."""
    return Whole(frame, kind, shared, keep_alive, version)


def stream_head(kind: str, shared: Headers, chunks: bool) -> bytes:
    """The head of a stream. Without chunks, as HTTP/1.0 has it, the body ends where the connection ends."""
    lines = ((b"content-type", kind.encode()), *HEADERS, *shared, date())
    return answer(200, lines, None, keep_alive=chunks, version="1.1" if chunks else "1.0")


def switch_head(lines: Headers) -> bytes:
    """The answer to a WebSocket handshake (RFC 6455 4.2.2)."""
    return answer(101, (*lines, date()), b"", keep_alive=True, version="1.1")


def date() -> tuple[bytes, bytes]:
    """The header that says when (RFC 9110 6.6.1)."""
    return _date(int(time.time()))


@lru_cache(1)
def _date(second: int) -> tuple[bytes, bytes]:
    return b"date", formatdate(second, usegmt=True).encode()


def turned_away() -> bytes:
    """The answer to whoever connects where there are too many connections, whatever was going to be asked."""
    body, headers = refusal_body(Refusal(Code.RATE_LIMITED, "too many connections"))
    return answer(429, ((b"content-type", JSON), *HEADERS, *headers, date()), body, keep_alive=False, version="1.1")
