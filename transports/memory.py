"""Memory: what clients of this process have learnt about networks, so that the next one need not find it out again.

A network is told by the address that this machine would use to reach the outside, and by the proxies that the environment
names: with another café comes another memory.
"""

from __future__ import annotations

import os
import socket
from typing import Final, Protocol

from .facts import Remember

PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
"""The variables that name proxies; upper case is read too."""

_OUTSIDE: Final = ("192.0.2.1", 9)  # a documentation address (RFC 5737): a datagram socket "connects" without sending


class Memory(Protocol):
    """Where a client keeps what it learnt. A `dict` will do. One that is empty, and so false, is not asked."""

    def get(self, network: str, /) -> Remember | None:
        """What was kept for `network`; None for nothing."""

    def __setitem__(self, network: str, learnt: Remember, /) -> None:
        """Keep it."""


SHARED: Final[dict[str, Remember]] = {}
"""For all clients of this process, unless they bring their own."""


def network_name(mount: str) -> str:
    """What the network between here and `mount` is called in a memory."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_OUTSIDE)
            address = str(probe.getsockname()[0])
        except OSError:  # no way to the outside
            address = ""
    return " ".join([mount, address, *proxies()])


def proxies() -> list[str]:
    """What the environment says of proxies, an empty text for what it does not mention."""
    return [os.environ.get(name) or os.environ.get(name.upper(), "") for name in PROXIES]
