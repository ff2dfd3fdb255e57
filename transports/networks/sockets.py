"""Sockets: how long they may take to come about, where they are, and how they end rudely."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from contextlib import suppress
from typing import Final

DIAL: Final = 5.0  # seconds to reach the server, or to shake hands
_ALL: Final = ("", "0.0.0.0", "::")  # noqa: S104 - to know them, not to listen there
_FAR: Final = "192.0.2.1"  # an address that nobody has (RFC 5737)
_NAME: Final = re.compile(r"[0-9A-Za-z]+(-[0-9A-Za-z]+)*(\.[0-9A-Za-z]+(-[0-9A-Za-z]+)*)*")
_LINGER: Final = struct.pack("ii", 1, 0)  # close with a reset


def reset(writer: asyncio.StreamWriter) -> None:
    """Close without a word but RST."""
    if (wire := writer.get_extra_info("socket")) is not None:
        with suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    writer.transport.abort()


async def here(host: str, listening: str) -> bool:
    """Whether who goes to `host` comes to whom is `listening` there, if the ports are the same."""
    there, ours = await _addresses(host), await _addresses(listening)
    return bool(there & ours) or (listening in _ALL and any(_own(address) for address in there))


async def _addresses(host: str) -> set[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {str(each[4][0]) for each in found}


def _own(address: str) -> bool:
    """Whether it is one of this machine's: nobody can listen at another's."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return False
    return True


def names_of(host: str) -> list[str]:
    """What others may call who listens there, as far as a certificate can say it: the host or, if that is all that there are,
    the machine's name and address.
    """
    return [name for name in ([host] if host not in _ALL else _machine()) if ":" in name or _NAME.fullmatch(name)]


def _machine() -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking, suppress(OSError):
        asking.connect((_FAR, 9))  # sends nothing, and chooses the address that others see
        return [socket.gethostname(), str(asking.getsockname()[0])]
    return [socket.gethostname()]
