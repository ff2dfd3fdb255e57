"""Heads: the start of an HTTP/1 request, in the grammar of RFC 9112 and RFC 9110, and in nothing wider.

Where two programs on the way of a request may read it in two ways, one of them can be fooled about where it ends
(request smuggling). So whatever is not plainly right is refused here: nobody has to agree with us about it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from ..errors import Code
from ..frames import check_key
from ..request import LINE_BYTES, fields

HEADERS_MAX: Final = 100

_TOKEN = r"!#$%&'*+\-.^_`|~0-9A-Za-z"  # noqa: S105 - RFC 9110 5.6.2
_LINE = re.compile(rf"([{_TOKEN}]{{1,20}}) ([!\"$-~]+) HTTP/([0-9]\.[0-9])".encode())  # RFC 9112 3; no fragment in it
_ABSOLUTE = re.compile(rb"https?://[^/?]", re.IGNORECASE)  # RFC 9112 3.2.2
_VERSIONS: Final = {b"1.1": "1.1", b"1.0": "1.0"}
_NOT_TOKEN = re.compile(f"[^{_TOKEN}]")
_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)
_HOST = re.compile(r"([A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{0,5})?", re.ASCII)  # RFC 3986 3.2.2
_TEXT: Final = bytes({*range(0x20, 0x7F), *range(0x80, 0x100), 0x09})  # what a line may hold (RFC 9110 5.5)


class RequestError(Exception):
    """What came is no HTTP/1 request that could be served: answer with `status`, then close the connection.

    Attributes:
        status: of the answer.
        code: that goes with it.
        reason: what was wrong.
        before: what came whole before it, with the same piece of bytes.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.code = Code.TOO_LARGE if status in (414, 431) else Code.BAD_COMMAND
        self.reason = reason
        self.before: list[object] = []


class Fields(msgspec.Struct, frozen=True, gc=False):
    """The header lines of a request, and what follows from them alone."""

    headers: dict[str, str]
    close: bool  # `Connection` says so, as in the next one
    keep_alive: bool
    websocket: bool  # an upgrade in the form of RFC 6455 section 4.2.1
    expect: bool
    length: int | None  # bytes of the body; None: it comes in chunks


class Head(msgspec.Struct, frozen=True, gc=False):
    """A request without its body."""

    method: str
    target: bytes  # as it was sent
    version: str  # "1.1" or "1.0"
    headers: dict[str, str]  # lower-case names; the last of two counts, lists are joined. Not to be changed: it is shared
    keep_alive: bool  # the connection may serve another request after this one
    upgrade: bool  # a well-formed WebSocket upgrade
    expect: bool  # the client waits for a `100 Continue` before it sends the body
    length: int | None  # bytes of the body, 0 without one; None: it comes in chunks

    @property
    def body(self) -> bool:
        """Whether there is a body."""
        return self.length != 0


def check_lines(data: bytes) -> None:
    """What may be wrong with any part of a head: characters, and lines that do not end in CRLF (RFC 9112 2.2).

    Raises: RequestError 400.
    """
    controls = len(data.translate(None, _TEXT)) - 2 * data.count(b"\r\n")
    if controls and not (controls == 1 and data.endswith(b"\r")):
        raise RequestError(400, "a control character, or a line that does not end in CRLF")


def parse_head(line: bytes, fields: Fields) -> Head:
    """The head of a request, out of its first line.

    Raises:
        RequestError: 400, malformed, or a `Host` is missing; 414, the line is too long; 505, a version.
    """
    method, target, version = _parse_line(line)
    later = version == "1.1"
    if later and "host" not in fields.headers:
        raise RequestError(400, "no Host")
    if not later and fields.length is None:
        raise RequestError(400, "HTTP/1.0 has no Transfer-Encoding")  # RFC 9112 6.1
    body = fields.length != 0
    return Head(
        method,
        target,
        version,
        fields.headers,
        not fields.close if later else fields.keep_alive and not fields.close,
        fields.websocket and later and method == "GET" and not body,
        fields.expect and later and body,
        fields.length,
    )


def _parse_line(line: bytes) -> tuple[str, bytes, str]:
    """Method, target and version."""
    if len(line) > LINE_BYTES:
        raise RequestError(414, f"a request line of more than {LINE_BYTES} bytes")
    match = _LINE.fullmatch(line)
    if match is None:
        raise RequestError(400, f"not a request line: {line[:60]!r}")
    method, target, version = match.groups()
    if version not in _VERSIONS:
        raise RequestError(505, f"HTTP/{version.decode()} is not spoken here")
    if not target.startswith(b"/") and not _other_form(method, target):
        raise RequestError(400, f"not a request target: {target[:60]!r}")
    return method.decode(), target, _VERSIONS[version]


def _other_form(method: bytes, target: bytes) -> bool:
    """Whether a target that is no path is one of the other three forms (RFC 9112 3.2)."""
    return _ABSOLUTE.match(target) is not None or method == b"CONNECT" or (method, target) == (b"OPTIONS", b"*")


def parse_fields(data: bytes) -> Fields:
    """The header lines of a request, each with its CRLF.

    Raises:
        RequestError: 400, malformed or ambiguous; 417, an `Expect` that we do not know; 431, too many lines; 501, a
            transfer coding that we do not know.
    """
    check_lines(data)
    lines = data.decode("latin-1").split("\r\n")[:-1]
    if len(lines) > HEADERS_MAX:
        raise RequestError(431, f"more than {HEADERS_MAX} headers")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise RequestError(400, f"not a header: {line[:60]!r}")
        headers[name.lower()] = value.strip(" \t")
    if "" in headers or _NOT_TOKEN.search("".join(headers)):  # one look at all of them; obsolete folding ends here too
        raise RequestError(400, "not a header name")
    if len(headers) < len(lines):
        headers = _joined(lines)
    return _judged(headers)


def _joined(lines: Sequence[str]) -> dict[str, str]:
    """What is said twice, put right. Raises: RequestError 400, when it must not be."""
    parts = (line.partition(":") for line in lines)
    try:
        return fields((name.lower(), value.strip(" \t")) for name, _, value in parts)
    except ValueError as error:
        raise RequestError(400, f"two headers {error}") from None


def _judged(headers: dict[str, str]) -> Fields:
    """What follows from the headers."""
    if not _HOST.fullmatch(host := headers.get("host", "")):
        raise RequestError(400, f"not a Host: {host[:60]!r}")
    expect = headers.get("expect")
    if expect is not None and expect.lower() != "100-continue":
        raise RequestError(417, f"Expect: {expect[:60]}")
    connection = _tokens(headers.get("connection"))
    return Fields(
        headers,
        "close" in connection,
        "keep-alive" in connection,
        "upgrade" in connection and _asks_for_websocket(headers),
        expect is not None,
        _length(headers),
    )


def _length(headers: dict[str, str]) -> int | None:
    """The bytes of the body, None for chunks (RFC 9112 6.3)."""
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if coding is None:
        if length is None:
            return 0
        if not _LENGTH.fullmatch(length):
            raise RequestError(400, f"not a Content-Length: {length[:60]!r}")
        return int(length)
    if length is not None:
        raise RequestError(400, "both Content-Length and Transfer-Encoding")
    if coding.lower() != "chunked":
        raise RequestError(501, f"Transfer-Encoding: {coding[:60]}")
    return None


def _asks_for_websocket(headers: dict[str, str]) -> bool:
    """RFC 6455 section 4.2.1, points 3, 5 and 6."""
    return (
        "websocket" in _tokens(headers.get("upgrade"))
        and headers.get("sec-websocket-version") == "13"
        and check_key(headers.get("sec-websocket-key", ""))
    )


def _tokens(value: str | None) -> Sequence[str]:
    return [] if value is None else [each.strip(" \t") for each in value.lower().split(",")]
