"""Sources: where events come from. This machine's own figures, and lines of text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
import psutil

from transports.errors import Refusal
from transports.items import encode_data

_INTERVAL = 0.5  # seconds between two samples of the machine


class Counters(NamedTuple):
    """What the machine has counted since it started, in bytes, and when it was read, in seconds."""

    at: float
    disk_read: int
    disk_written: int
    received: int
    sent: int


def counters() -> Counters:
    """Read the machine's counters. One without disks or network (some containers) counts nothing there."""
    disk, network = psutil.disk_io_counters(), psutil.net_io_counters()
    return Counters(
        time.monotonic(),
        disk.read_bytes if disk else 0,
        disk.write_bytes if disk else 0,
        network.bytes_recv if network else 0,
        network.bytes_sent if network else 0,
    )


def rates(before: Counters, after: Counters) -> dict[str, dict[str, int]]:
    """Bytes per second between two readings."""
    seconds = max(after.at - before.at, 1e-9)

    def rate(old: int, new: int) -> int:
        return max(0, round((new - old) / seconds))  # a counter that wrapped or was reset counts nothing

    return {
        "disk": {
            "read": rate(before.disk_read, after.disk_read),
            "written": rate(before.disk_written, after.disk_written),
        },
        "network": {"received": rate(before.received, after.received), "sent": rate(before.sent, after.sent)},
    }


async def vitals(interval: float = _INTERVAL) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    """This machine's figures, every `interval` seconds: percent, load averages, bytes per second. Before them the number of the
    moment, which is the same in all processes: the intervals since 1970.
    """
    before = counters()
    psutil.cpu_percent()  # the first call only begins to count
    moment = int(time.time() / interval)
    while True:
        moment = max(moment, int(time.time() / interval)) + 1  # also where the clock was set back
        await asyncio.sleep(max(0.0, min(interval, moment * interval - time.time())))
        after = counters()
        yield (
            moment,
            {
                "cpu": psutil.cpu_percent(),
                "memory": psutil.virtual_memory().percent,
                "load": [round(load, 2) for load in psutil.getloadavg()],
                **rates(before, after),
            },
        )
        before = after


def encode_line(line: bytes) -> bytes | None:
    """The JSON that one line of input publishes: its own value if it is JSON, else its text. None for an empty line.

    What JSON or UTF-8 does not allow is text too, with U+FFFD in the place of bytes that are none.
    """
    line = line.rstrip(b"\r\n")
    if not line.strip():
        return None
    try:
        return encode_data(msgspec.json.decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Refusal):
        return encode_data(line.decode(errors="replace"))
