"""What counting costs: the front serves real sockets in this process, in turns with what it counts and with all of that left out.

    python docs/explanation/experiments/counting.py                 all, a minute
    python docs/explanation/experiments/counting.py --seconds 1     the same, longer, for a busy machine

CPU time of this process, which is server and clients: the share is of both, so that of the server alone is higher. The clients do
as little as can be done: they read bytes and look at nothing. Medians of the ratios of neighbouring turns.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

sys.path[:0] = [str(Path(__file__).parents[3])]

from transports import Hub, Options
from transports.asgi import Endpoints
from transports.figures import Outlet
from transports.front import Front
from transports.options import UNBOUNDED
from transports.testing import serving, until

TURNS = 15
POLLS = 50  # in a turn, one after the other
DATA = {"load": 0.42, "at": 1763850000.123}


@contextmanager
def uncounted() -> Iterator[None]:
    """Nothing that goes down is counted."""
    with patch.object(Outlet, "wrote", lambda *_: None), patch.object(Outlet, "again", lambda *_: None):
        yield


class Client(asyncio.Protocol):
    """Reads, and counts bytes."""

    def __init__(self) -> None:
        self.read = 0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.read += len(data)


async def clients(url: str, query: str, number: int) -> list[Client]:
    """So many that have sent a request."""
    port, found = int(url.rpartition(":")[2]), []
    for _ in range(number):
        _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port, family=socket.AF_INET)
        client.transport.write(f"GET /{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        found.append(client)
    await until(lambda: all(each.read for each in found))
    return found


async def compared(act: Callable[[], Awaitable[object]], seconds: float) -> tuple[float, float]:
    """Microseconds of CPU for one, and how many percent of that counting is."""
    counted, shares = [], []
    for _ in range(TURNS):
        one = await timed(act, seconds)
        with uncounted():
            other = await timed(act, seconds)
        counted.append(one)
        shares.append((one / other - 1) * 100)
    return statistics.median(counted), statistics.median(shares)


async def timed(act: Callable[[], Awaitable[object]], seconds: float) -> float:
    until_then, began, count = time.monotonic() + seconds, time.process_time(), 0
    while time.monotonic() < until_then:
        await act()
        count += 1
    return (time.process_time() - began) / count * 1e6


async def fan_out(hub: Hub, url: str, readers: int, seconds: float) -> None:
    """An event to so many SSE readers, each by itself: the next is published when all have it."""
    found = await clients(url, "sse?channels=a", readers)
    await until(lambda: len(hub._feeds) == 1)  # in step

    async def act() -> None:
        before = [each.read for each in found]
        await hub.publish("a", DATA)
        while any(each.read == had for each, had in zip(found, before, strict=True)):
            await asyncio.sleep(0)

    spent, share = await compared(act, seconds)
    print(f"an event to {readers:4} readers: {spent:8.1f} us, of which counting {share:+5.1f} %", flush=True)
    for each in found:
        each.transport.close()


async def polls(hub: Hub, url: str, seconds: float) -> None:
    """The same poll again and again, on one connection, which is answered from what is remembered."""
    since = await hub.publish("a", DATA)
    await hub.publish("a", DATA)
    (client,) = await clients(url, f"poll?channels=a&since={since}", 1)
    request = f"GET /poll?channels=a&since={since} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    async def act() -> None:
        for _ in range(POLLS):
            before = client.read
            client.transport.write(request)
            while client.read == before:
                await asyncio.sleep(0)

    spent, share = await compared(act, seconds)
    print(f"a poll that is answered at once: {spent / POLLS:5.1f} us, of which counting {share:+5.1f} %", flush=True)
    client.transport.close()


async def main(seconds: float) -> None:
    options = Options(channels=("*",), **UNBOUNDED)
    hub = Hub(options)
    await hub.open()
    endpoints = Endpoints(hub)
    async with serving(endpoints, drain=hub.close, options=options, front=Front(endpoints.admission, "")) as url:
        for readers in (1, 10, 200):
            await fan_out(hub, url, readers, seconds)
            await until(lambda: not len(hub.accounts))
        await polls(hub, url, seconds)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seconds", type=float, default=0.4, help="of each turn")
    asyncio.run(main(asked.parse_args().seconds))
