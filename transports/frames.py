"""Frames: the WebSocket framing of RFC 6455, server side: bytes to messages, and messages to bytes.

A reserved bit is an error, but for the one of a compressed message where compression was agreed on; what it holds is the
matter of `deflate.py`. Whatever breaks the rules ends the connection with the close code that section 7.4.1 has for it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final, NamedTuple, TypeAlias

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

PROTOCOL_ERROR: Final = 1002  # close codes of section 7.4.1
NO_CODE: Final = 1005  # never on the wire: says that a close frame had no code
BAD_TEXT: Final = 1007
TOO_BIG: Final = 1009

_Bytes: TypeAlias = bytes | bytearray

_FINAL: Final = 0x80
_RESERVED: Final = 0x70
_PACKED: Final = 0x40  # RSV1, of the first frame of a compressed message (RFC 7692 6)
_MASKED: Final = 0x80
_CONTROL_MAX: Final = 125  # bytes of a control frame's payload (5.5)
_MASK: Final = 4  # bytes
_PART: Final = 16_384  # bytes, a multiple of those of the mask
_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==", re.ASCII)
_BEGINS = frozenset({TEXT, BINARY, _FINAL | TEXT, _FINAL | BINARY})  # the first byte of frames that begin a message
_CONTINUES = frozenset({CONTINUATION, _FINAL | CONTINUATION})
_CONTROLS = frozenset({_FINAL | CLOSE, _FINAL | PING, _FINAL | PONG})
# Section 7.4.2 and IANA's registry: 1004 has no meaning, 1005, 1006 and 1015 must not be sent.
_CODES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})


class FrameError(Exception):
    """The other side breaks the rules: close the connection with `code`.

    Attributes:
        code: 1002, 1007 or 1009.
        reason: what was wrong.
        before: the frames that came whole before it, with the same piece of bytes.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.before: list[Frame] = []


class Frame(NamedTuple):
    """A whole message (TEXT, BINARY), or a control frame (CLOSE, PING, PONG)."""

    opcode: int
    payload: bytes


class Packed(Frame):
    """A message that is compressed. That text is text shows only when it has been inflated."""

    __slots__ = ()


def check_key(key: str) -> bool:
    """Whether a `Sec-WebSocket-Key` is 16 bytes in base64 (section 4.2.1)."""
    return _KEY.fullmatch(key) is not None


def accept(key: str) -> bytes:
    """The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _MAGIC, usedforsecurity=False).digest())


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One final frame, unmasked as section 5.1 wants it of a server."""
    size = len(payload)
    if size < 126:
        return bytes((_FINAL | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((_FINAL | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FINAL | opcode, 127)) + size.to_bytes(8, "big") + payload


def close(code: int, reason: str = "") -> bytes:
    """A close frame; a reason of more than 123 bytes is cut before the character that would not fit."""
    text = reason.encode()[: _CONTROL_MAX - 2].decode(errors="ignore")
    return frame(code.to_bytes(2, "big") + text.encode(), CLOSE)


def parse_close(payload: bytes) -> tuple[int, str]:
    """The code and the reason in the payload of a close frame; 1005 when it has none (section 7.1.5).

    Raises:
        FrameError: 1002, half a code or one that must not be sent; 1007, a reason that is not UTF-8.
    """
    if not payload:
        return NO_CODE, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or code not in _CODES:
        raise FrameError(PROTOCOL_ERROR, "a close frame without a code that may be sent")
    return code, check_text(payload[2:])


class Frames:
    """Messages out of the bytes of one client, in whatever pieces they come.

    What is kept between two calls is an unfinished frame and an unfinished message, and nothing where there is none.

    Args:
        limit: bytes that a message may have, over all its frames.
        packed: bytes that a compressed one may have; 0: compression was not agreed on.
    """

    __slots__ = ("_ended", "_limit", "_message", "_opcode", "_packed", "_rest")

    def __init__(self, limit: int, packed: int = 0) -> None:
        self._limit, self._packed = limit, packed
        self._rest: bytearray | None = None  # the beginning of a frame
        self._message: bytearray | None = None  # the beginning of a message
        self._opcode = 0  # of that message; with RSV1, if it is compressed
        self._ended = False

    def feed(self, data: bytes | memoryview) -> list[Frame]:
        """The messages and control frames that are complete with `data`.

        Behind a close frame or an error nothing is read any more (section 5.5.1).

        Raises:
            FrameError: 1002, against the rules; 1007, not UTF-8; 1009, over the limit, judged by the header alone.
        """
        if self._ended:
            return []
        come: list[Frame] = []
        if self._rest is not None:
            self._rest += data
        held = bytes(data) if self._rest is None else self._rest
        try:
            end = self._read(held, come)
        except FrameError as error:
            self._end()
            error.before = come
            raise
        if self._ended or end == len(held):
            self._rest = None
        elif self._rest is None:
            self._rest = bytearray(held[end:])
        else:  # not copied: it may be long, and come in small pieces
            del self._rest[:end]
        return come

    def _read(self, data: _Bytes, come: list[Frame]) -> int:
        """Add what is complete in `data` to `come`; gives where the first incomplete frame begins."""
        start = 0
        while len(data) - start >= 2 and not self._ended:
            first, second = data[start], data[start + 1]
            self._check(first, second)
            masked = start + 2  # where the length ends and the mask begins
            if (size := second & 0x7F) > _CONTROL_MAX:
                masked += 2 if size == 126 else 8
                if len(data) < masked:
                    break
                size = _long(data[start + 2 : masked])
            if not first & 0x8 and size + len(self._message or b"") > (most := self._most(first)):
                raise FrameError(TOO_BIG, f"a message of more than {most} bytes")
            body = masked + _MASK
            if len(data) < body + size:
                break
            start = body + size
            self._take(first, _unmasked(data[body:start], data[masked:body]), come)
        return start

    def _most(self, first: int) -> int:
        """Bytes that the message may have which begins or goes on with `first`."""
        return self._packed if (first if self._message is None else self._opcode) & _PACKED else self._limit

    def _check(self, first: int, second: int) -> None:
        """Raises: FrameError 1002, when a frame may not begin with these two bytes here."""
        if first in _CONTROLS:
            if second & 0x7F > _CONTROL_MAX:
                raise FrameError(PROTOCOL_ERROR, f"a control frame of more than {_CONTROL_MAX} bytes")
        elif first not in (_BEGINS if self._message is None else _CONTINUES) and not self._begins_packed(first):
            raise FrameError(PROTOCOL_ERROR, self._wrong(first))
        if not second & _MASKED:
            raise FrameError(PROTOCOL_ERROR, "a frame of a client that is not masked")

    def _begins_packed(self, first: int) -> bool:
        return bool(self._packed) and self._message is None and bool(first & _PACKED) and first ^ _PACKED in _BEGINS

    def _wrong(self, first: int) -> str:
        """What is wrong with the first byte of a frame."""
        if first & _RESERVED:
            return "a reserved bit is set, and nothing that was agreed on has it there"
        if first | _FINAL in _CONTROLS:
            return "a control frame in fragments"
        if first in _BEGINS:
            return "a message begins within another"
        return "nothing to continue" if first in _CONTINUES else f"unknown opcode {first & 0xF:#x}"

    def _take(self, first: int, payload: bytes, come: list[Frame]) -> None:
        """Add a whole frame to its message; what is complete with it goes to `come`."""
        opcode = first & 0xF
        if opcode == CLOSE:
            parse_close(payload)
            self._end()
        elif opcode < CLOSE:
            if self._message is not None:
                self._message += payload
            elif not first & _FINAL:
                self._opcode, self._message = first, bytearray(payload)
            if not first & _FINAL:
                return
            if self._message is not None:
                first, payload, self._message = self._opcode, bytes(self._message), None
                opcode = first & 0xF
            if first & _PACKED:
                come.append(Packed(opcode, payload))
                return
            if opcode == TEXT:
                check_text(payload)
        come.append(Frame(opcode, payload))

    def _end(self) -> None:
        self._ended, self._rest, self._message = True, None, None


def _long(length: _Bytes) -> int:
    """A length of 2 or 8 bytes. Raises: FrameError 1002, it fits into fewer, or has the first bit set (section 5.2)."""
    size = int.from_bytes(length, "big")
    if size < (126 if len(length) == 2 else 1 << 16) or size >> 63:
        raise FrameError(PROTOCOL_ERROR, "a length that must not be written so")
    return size


def _unmasked(payload: _Bytes, mask: _Bytes) -> bytes:
    """Section 5.3: the mask over and over, as a long number. Of much a part at a time: each is there several times meanwhile."""
    if len(payload) <= _PART:
        return _part(payload, mask)
    return b"".join([_part(payload[start : start + _PART], mask) for start in range(0, len(payload), _PART)])


def _part(payload: _Bytes, mask: _Bytes) -> bytes:
    size = len(payload)
    long_mask = (mask * (size // _MASK + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(long_mask, "little")).to_bytes(size, "little")


def check_text(payload: bytes) -> str:
    """The text. Raises: FrameError 1007, not UTF-8 (section 8.1)."""
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise FrameError(BAD_TEXT, f"not UTF-8: {error.reason}") from None
