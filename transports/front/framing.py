"""Items as they stand on a connection, whole answers and parts of them. What is framed for one is framed for all: these
functions are made once for each transport, so that they name what readers share (see `Batch.framed`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import cache, lru_cache
from typing import TypeAlias

from ..admission import Headers
from ..frames import frame as ws_frame
from ..items import Encoded
from ..transport import HEADERS, Frame
from .requests import answer, chunk

Framing: TypeAlias = Callable[[Sequence[Encoded]], bytes]


@cache
def framed(frame: Frame) -> Framing:
    """A WebSocket message, of a transport's framing."""
    return lambda items: ws_frame(frame(items))


@cache
def chunked(frame: Frame) -> Framing:
    """A part of a body without a length (RFC 9112 7.1)."""
    return lambda items: chunk(frame(items))


@lru_cache(256)  # origins are of many kinds where "*" may connect
def whole(frame: Frame, kind: str, shared: Headers, keep_alive: bool, version: str) -> Framing:
    """A whole answer that carries the items."""
    mark = b"content-length: 0\r\n"

    @lru_cache(1)
    def head(second: int) -> tuple[bytes, bytes]:
        """Of an answer in that second, what is before the length of its body, and behind it."""
        lines = ((b"content-type", kind.encode()), *HEADERS, *shared, _date(second))
        before, _, behind = answer(200, lines, b"", keep_alive=keep_alive, version=version).rpartition(mark)
        return before, behind

    def framing(items: Sequence[Encoded]) -> bytes:
        body = frame(items)
        before, behind = head(int(time.time()))
        return b"%bcontent-length: %d\r\n%b%b" % (before, len(body), behind, body)

    return framing


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
