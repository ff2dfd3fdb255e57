"""What counting costs: the front serves real sockets in this process, in turns with what it counts and with all of that left out.

    python docs/explanation/experiments/counting.py                # all, a minute; prints a table
    python docs/explanation/experiments/counting.py --seconds 1    # the same, longer, for a busy machine
    python docs/explanation/experiments/counting.py --write        # keeps it in counting.json, for the decision about figures

CPU time of this process, which is server and clients: the share is of both, so that of the server alone is higher. The clients do
as little as can be done: they read bytes and look at nothing. Medians of the ratios of neighbouring turns.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pages

sys.path[:0] = [str(Path(__file__).parents[3])]

from transports import Hub, Options
from transports.asgi import Endpoints
from transports.figures import Outlet
from transports.front import Front
from transports.options import UNBOUNDED
from transports.testing import serving, until

TURNS = 15
POLLS = 50  # in a turn, one after the other
CROWDS = 1, 10, 200  # readers
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


async def compared(act: Callable[[], Awaitable[object]], seconds: float, number: int = 1) -> dict[str, float]:
    """Microseconds of CPU for one, and how many percent of that counting is; `act` does so many."""
    counted, shares = [], []
    for _ in range(TURNS):
        one = await timed(act, seconds)
        with uncounted():
            other = await timed(act, seconds)
        counted.append(one)
        shares.append((one / other - 1) * 100)
    return {"microseconds": round(statistics.median(counted) / number, 3), "percent": round(statistics.median(shares), 2)}


async def timed(act: Callable[[], Awaitable[object]], seconds: float) -> float:
    until_then, began, count = time.monotonic() + seconds, time.process_time(), 0
    while not count or time.monotonic() < until_then:
        await act()
        count += 1
    return (time.process_time() - began) / count * 1e6


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Hub, str]]:
    """The front, in this process."""
    options = Options(channels=("*",), **UNBOUNDED)
    hub = Hub(options)
    await hub.open()
    endpoints = Endpoints(hub)
    async with serving(endpoints, drain=hub.close, options=options, front=Front(endpoints.admission, "")) as url:
        yield hub, url
        await until(lambda: not len(hub.accounts))


async def fan_out(readers: int, seconds: float) -> dict[str, float]:
    """An event to so many SSE readers, each by itself: the next is published when all have it."""
    async with served() as (hub, url):
        found = await clients(url, "sse?channels=a", readers)
        await until(lambda: len(hub._feeds) == 1)  # in step

        async def act() -> None:
            before = [each.read for each in found]
            await hub.publish("a", DATA)
            while any(each.read == had for each, had in zip(found, before, strict=True)):
                await asyncio.sleep(0)

        cost = await compared(act, seconds)
        for each in found:
            each.transport.close()
        return cost


async def polls(seconds: float) -> dict[str, float]:
    """The same poll again and again, on one connection, which is answered from what is remembered."""
    async with served() as (hub, url):
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

        cost = await compared(act, seconds, POLLS)
        client.transport.close()
        return cost


def steps(seconds: float) -> Iterator[pages.Step]:
    """All that is measured."""
    for readers in CROWDS:
        yield f"readers: {readers}", partial(fan_out, readers, seconds)
    yield "polls", partial(polls, seconds)


def tables(found: pages.Found) -> dict[str, str]:
    """The table of the page."""
    titles = {f"readers: {each}": f"an event to {each} reader{'s' * (each > 1)}" for each in CROWDS}
    titles["polls"] = "a poll that is answered at once"
    rows = [
        [title, f"{found[name]['microseconds']:.1f} µs", f"{found[name]['percent']:z.1f} %"]
        for name, title in titles.items()
        if name in found
    ]
    return {"cost": pages.table([["", "CPU of server and clients", "of which counting"], *rows])} if rows else {}


SHEET = pages.Sheet(__file__, "../decisions/0029-seen-from-one-place.md", tables)

if __name__ == "__main__":
    arguments = pages.parser(__doc__)
    arguments.add_argument("--seconds", type=float, default=0.4, help="of each turn")
    asked = arguments.parse_args()
    SHEET.run(asked, steps(asked.seconds))
