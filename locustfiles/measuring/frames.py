"""Frames: WebSocket (RFC 6455) as its client speaks it, on bytes alone: server frames in, masked client frames out."""

from __future__ import annotations

import base64
import hashlib
from typing import Final, NamedTuple

from transports.errors import NotEverywireError

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_CONTINUATION = 0x0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_MESSAGE_MAX = 1 << 24  # bytes


class Message(NamedTuple):
    """A whole text or binary message, or a control frame."""

    opcode: int
    data: bytes


def accept_for(key: bytes) -> str:
    """The `Sec-WebSocket-Accept` that proves that a server has understood the upgrade (section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()


def frame(opcode: int, data: bytes, mask: bytes) -> bytes:
    """A client's frame, masked with the 4 bytes of `mask` (section 5.3)."""
    size = len(data)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + mask + _masked(data, mask)


def _masked(data: bytes, mask: bytes) -> bytes:
    """XOR as one large number: a hundred times faster than byte by byte."""
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


class Frames:
    """Messages out of a stream that arrives in any pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._opcode = 0  # of the fragmented message being collected; 0: none is
        self._parts: list[bytes] = []
        self._size = 0  # of the parts, in bytes

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete with `data`; a ping may come between the fragments of another.

        Raises:
            NotEverywireError: the server breaks the protocol.
        """
        self._buffer += data
        messages = []
        while (parsed := self._frame()) is not None:
            if (message := self._assemble(*parsed)) is not None:
                messages.append(message)
        return messages

    def _frame(self) -> tuple[int, bool, bytes] | None:
        """Opcode, whether it is the last fragment, payload; None when it is not all there."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, final = buffer[0] & 0x0F, bool(buffer[0] & 0x80)
        _check(buffer[0], buffer[1])
        size, start = buffer[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        if size > _MESSAGE_MAX:
            raise NotEverywireError(f"a frame of {size} bytes; {_MESSAGE_MAX} is the most")
        if len(buffer) < start + size:
            return None
        payload = bytes(buffer[start : start + size])
        del buffer[: start + size]
        return opcode, final, payload

    def _assemble(self, opcode: int, final: bool, payload: bytes) -> Message | None:
        if opcode >= CLOSE:
            return Message(opcode, payload)
        if (opcode == _CONTINUATION) != bool(self._opcode):
            raise NotEverywireError("a fragment without a beginning, or a message within another")
        if final and not self._opcode:
            return Message(opcode, payload)
        self._opcode = self._opcode or opcode
        self._parts.append(payload)
        self._size += len(payload)
        if self._size > _MESSAGE_MAX:
            raise NotEverywireError(f"a message of more than {_MESSAGE_MAX} bytes")
        if not final:
            return None
        message = Message(self._opcode, b"".join(self._parts))
        self._opcode, self._parts, self._size = 0, [], 0
        return message


def _check(first: int, second: int) -> None:
    """Section 5.2, as far as the first two bytes tell."""
    if first & 0x70:
        raise NotEverywireError("a reserved bit is set, though no extension was agreed on")
    if second & 0x80:
        raise NotEverywireError("a server must not mask its frames")
    if first & 0x0F not in (_CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
        raise NotEverywireError(f"unknown opcode {first & 0x0F}")
    if first & 0x08 and (not first & 0x80 or second > 125):
        raise NotEverywireError("a control frame that is fragmented or longer than 125 bytes")
