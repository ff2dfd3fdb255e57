"""Extension: permessage-deflate as wsproto wants it, which reads and writes WebSockets within Hypercorn.

Its own remembers a window for each side of each connection, and inflates whatever comes without a bound. The rules here are
those of `deflate.py`.
"""

from __future__ import annotations

from typing import Any

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from .deflate import SLACK, inflate, packed
from .frames import FrameError

_PLAIN = RsvBits(False, False, False)
_PACKED = RsvBits(True, False, False)
_CONTROLS = (Opcode.CLOSE, Opcode.PING, Opcode.PONG)


class Deflate(Extension):
    """Compression that was agreed on, for one connection.

    Args:
        most: bytes that a message may have when it is inflated. In the place of a longer one, something that is too long is
            handed on: whoever reads it tells the client so.
    """

    name = "permessage-deflate"

    def __init__(self, most: int) -> None:
        self._most = most
        self._message: bytearray | None = None  # a compressed one, as far as it has come
        self._control = False  # the frame that comes belongs to no message

    def enabled(self) -> bool:
        """See wsproto."""
        return True

    def offer(self) -> bool:
        """See wsproto. We are the server."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """See wsproto. Gives the bits that may be set."""
        self._control = opcode in _CONTROLS
        begins = opcode in (Opcode.TEXT, Opcode.BINARY)
        if begins and rsv.rsv1:
            self._message = bytearray()
        if not self._control and self._message is not None and len(self._message) + payload_length > self._most + SLACK:
            return CloseReason.MESSAGE_TOO_BIG
        return _PACKED if begins else _PLAIN

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes:
        """See wsproto."""
        if self._message is None or self._control:
            return data
        self._message += data
        return b""

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        """See wsproto."""
        if self._message is None or self._control or not fin:
            return None
        message, self._message = self._message, None
        try:
            inflated = inflate(message, self._most)
        except FrameError as error:
            return CloseReason(error.code)
        return b" " * (self._most + 1) if inflated is None else inflated

    def frame_outbound(self, proto: Any, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool) -> tuple[RsvBits, bytes]:
        """See wsproto. Hypercorn sends each message in one frame."""
        if opcode not in _CONTROLS and (body := packed(data)) is not None:
            return RsvBits(True, rsv.rsv2, rsv.rsv3), body
        return rsv, data
