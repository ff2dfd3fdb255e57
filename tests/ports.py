"""Ports: where a test listens, or lets somebody listen, later than it looks."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import suppress

_FIRST, _END = 10_000, 32_000  # below those that the kernel gives to outgoing connections


def _mine() -> Iterator[int]:
    """All ports of this process in an order of chance: tests that run side by side, in processes of their own, share none."""
    place = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(_FIRST + place, _END, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    yield from random.sample(ports, len(ports))


_ports = _mine()


def free_port() -> int:
    """A loopback port that nobody listens on, that no outgoing connection will take, and that is not given twice."""
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")
