"""Answers: HTTP/1.1 responses as bytes (RFC 9112). Who sends one adds `date`: there is no clock here."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"

_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


def answer(
    status: int,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes | None,
    *,
    keep_alive: bool,
    version: str,
    method: str = "GET",
) -> bytes:
    """An answer, with the headers that say how it ends: the caller gives no `content-length`, and no `connection` but with 101.

    Args:
        status: of the answer.
        headers: names and values.
        body: the whole of it; None: it follows, in chunks or, over HTTP/1.0, up to the end of the connection.
        keep_alive: whether the connection stays open; over HTTP/1.0 it cannot with a body that follows.
        version: "1.1" or "1.0", that of the request.
        method: that of the request: HEAD gets no body (RFC 9110 9.3.2).

    Raises:
        ValueError: a header holds a line end or a NUL, and would be two.
    """
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if lines.count(b"\n") > len(headers) or lines.count(b"\r") > len(headers) or b"\0" in lines:
        raise ValueError(f"a header with a line end or a NUL in it: {headers!r}")
    return b"%b%b%b\r\n%b" % (
        _LINES[status],
        lines,
        _ending(status, body, keep_alive, version),
        b"" if body is None or method == "HEAD" else body,
    )


def _ending(status: int, body: bytes | None, keep_alive: bool, version: str) -> bytes:
    """The headers that say how the answer ends, and whether the connection does."""
    if status == 101:
        return b""
    later = version == "1.1"
    if body is not None:
        length = b"content-length: %d\r\n" % len(body)
    else:
        length, keep_alive = b"transfer-encoding: chunked\r\n" if later else b"", keep_alive and later
    if not keep_alive:
        return length + b"connection: close\r\n"
    return length if later else length + b"connection: keep-alive\r\n"  # what is usual need not be said


def chunk(data: bytes) -> bytes:
    """A chunk of a body that follows; nothing for nothing, since an empty chunk would be the last."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
