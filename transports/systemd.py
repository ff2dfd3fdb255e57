"""What systemd and a service tell each other: the sockets it listens on for us, and how far we are.

Source: sd_listen_fds(3), sd_notify(3). Without systemd there are no variables, and nothing is done.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Final

from .errors import ConfigError

_FIRST: Final = 3  # descriptor of the first socket: SD_LISTEN_FDS_START


def inherited(environment: MutableMapping[str, str] = os.environ) -> socket.socket | None:
    """The socket that systemd listens on for this process, None if there is none; what says so is taken out of `environment`.

    Raises:
        ConfigError: there are several, or it is not one of TCP.
    """
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):  # it is another's
        return None
    if count != "1":
        raise ConfigError(f"systemd passes {count or 'no'} sockets: one ListenStream is what is served")
    try:
        listening = socket.socket(fileno=_FIRST)
    except OSError as error:
        raise ConfigError(f"systemd passes no socket: {error.strerror}") from error
    os.set_inheritable(_FIRST, False)
    if listening.family not in (socket.AF_INET, socket.AF_INET6) or listening.type != socket.SOCK_STREAM:
        raise ConfigError("systemd passes a socket that is not of TCP: ListenStream is a port, or an address and a port")
    return listening


def notify(state: str) -> None:
    """Tell systemd, such as `READY=1`, if it wants to be told (`Type=notify`)."""
    if not (path := os.environ.get("NOTIFY_SOCKET")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire, suppress(OSError):  # nobody to tell of it either
        wire.connect("\0" + path[1:] if path.startswith("@") else path)
        wire.send(state.encode())
