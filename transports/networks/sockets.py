"""Sockets: how long they may take to come about, and how they end rudely."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final

DIAL: Final = 5.0  # seconds to reach the server, or to shake hands
_LINGER: Final = struct.pack("ii", 1, 0)  # close with a reset


def reset(writer: asyncio.StreamWriter) -> None:
    """Close without a word but RST."""
    if (wire := writer.get_extra_info("socket")) is not None:
        with suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    writer.transport.abort()
