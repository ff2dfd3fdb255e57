"""How long an event takes from one worker to another over Redis, and how many events one Redis hands out.

    python docs/explanation/experiments/redis_latency.py            # half a minute; prints the tables
    python docs/explanation/experiments/redis_latency.py always     # one part
    python docs/explanation/experiments/redis_latency.py --write    # keeps it in redis_latency.json, for reference/benchmarks.md

One event at a time: published at one hub, received by a reader at another; beside it, `XADD` on one connection and `XREAD
BLOCK` on another. Both in one process, at one Redis, which is started for it, in turns.

What it hands out: connections that wait with `XREAD BLOCK` for the same stream, as each worker does, while one writes to it as
fast as Redis takes it. They count the events without looking at them, on another core than that of Redis.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pages
import psutil
from redis.asyncio import Redis

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.benchmarks.stage import cores
from tests.benchmarks.subjects.publisher import event
from tests.redis_server import EVERY_WRITE, NOTHING_KEPT, RedisServer, redis_server
from transports import Hub, Options

ROUNDS, EVENTS, SIZE = 5, 500, 100  # events of a round, bytes of the data of one
WARM = 50  # events before those that count
READERS, AT_ONCE, AHEAD, SECONDS = 64, 50, 4, 2.0  # that it is handed out to; events of a write; writes under way; of a round

# --- how long it takes

Exchange: TypeAlias = Callable[[], Awaitable[None]]
"""Publish one event, and return when it was received."""


@asynccontextmanager
async def through_hubs(server: RedisServer) -> AsyncIterator[Exchange]:
    """From one hub to a reader of another."""
    here, there = (Hub(Options(channels=("a",), broker=f"{server.url}?name=latency")) for _ in range(2))
    await here.open()
    await there.open()
    data = event(0, time.time_ns(), SIZE)
    try:
        with there.feed(["a"]) as feed:

            async def exchange() -> None:
                taking = asyncio.create_task(feed.take(60))
                await here.publish("a", data)
                batch = await taking
                assert batch is not None
                assert len(batch.items) == 1

            yield exchange
    finally:
        await here.close()
        await there.close()


@asynccontextmanager
async def plain(server: RedisServer) -> AsyncIterator[Exchange]:
    """From one connection of redis-py to another."""
    async with Redis(port=server.port) as here, Redis(port=server.port) as there:
        data = event(0, time.time_ns(), SIZE)
        last = await here.xadd("plain", {"d": repr(data)})

        async def exchange() -> None:
            nonlocal last
            reading = asyncio.create_task(there.xread({"plain": last}, block=60_000))
            await here.xadd("plain", {"d": repr(data)}, maxlen=100_000, approximate=True)
            ((_, ((last, _),)),) = await reading

        yield exchange


async def timed(exchange: Exchange, events: int) -> list[float]:
    """Microseconds that each takes, sorted."""
    for _ in range(WARM):
        await exchange()
    taken = []
    for _ in range(events):
        began = time.perf_counter()
        await exchange()
        taken.append((time.perf_counter() - began) * 1e6)
    return sorted(taken)


WAYS = {"everywire": through_hubs, "redis-py": plain}
SHARES = {"p50": 0.5, "p99": 0.99}

Taken: TypeAlias = dict[str, dict[str, list[float]]]
"""Microseconds, round by round, of each percentile of each way."""


async def latency(options: str) -> Taken:
    """What each way takes, in turns."""
    found: Taken = {name: {share: [] for share in SHARES} for name in WAYS}
    with tempfile.TemporaryDirectory() as directory:
        async with redis_server(Path(directory), options) as server:
            for turn in range(ROUNDS):
                for name in list(WAYS)[:: 1 if turn % 2 else -1]:
                    async with WAYS[name](server) as exchange:
                        taken = await timed(exchange, EVENTS)
                    for share, part in SHARES.items():
                        found[name][share].append(round(taken[int(part * (len(taken) - 1))], 1))
    return found


# --- how many it hands out

STREAM, FIRST = b"handed", 1_000_000_000  # the number of the first event: all are as long


def command(*words: bytes) -> bytes:
    """A command, as Redis reads it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class Taker(asyncio.Protocol):
    """A connection that waits for events, and asks for more when it has been given some."""

    _HEAD = re.compile(rb"\*1\r\n\*2\r\n\$6\r\nhanded\r\n\*(\d+)\r\n")
    _ENTRY = len(b"*2\r\n$12\r\n1-%d\r\n*2\r\n$1\r\nd\r\n$%d\r\n%b\r\n" % (FIRST, SIZE, b"x" * SIZE))

    def __init__(self) -> None:
        self.taken = self.answers = 0
        self._begun, self._missing = b"", 0  # of an answer: what has come, until its head is whole; bytes that come still

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            self._begun += data
            if self._begun == b"*-1\r\n":  # nothing came for a second
                self._ask()
                return
            if (head := self._HEAD.match(self._begun)) is None:
                return
            self.taken, self.answers = self.taken + int(head[1]), self.answers + 1
            self._missing = head.end() + int(head[1]) * self._ENTRY
            data = self._begun
        self._missing -= len(data)
        if not self._missing:
            self._ask()

    def _ask(self) -> None:
        self._begun = b""
        since = b"1-%d" % (FIRST + self.taken - 1)
        self._transport.write(command(b"XREAD", b"COUNT", b"1000", b"BLOCK", b"1000", b"STREAMS", STREAM, since))


class Handed(NamedTuple):
    """What came of a round."""

    rate: float  # events a second that all connections took together
    together: float  # of them in an answer
    busy: float  # the share of the time for which Redis had its core
    version: str  # of Redis


async def handing() -> dict[str, list[float] | list[str]]:
    """What comes of each round."""
    rounds = [await handed() for _ in range(ROUNDS)]
    return {name: [getattr(each, name) for each in rounds] for name in Handed._fields}


async def handed() -> Handed:
    """One round, at a server of its own."""
    here = os.sched_getaffinity(0)
    server_core, client_core = cores()
    with tempfile.TemporaryDirectory() as directory:
        try:
            os.sched_setaffinity(0, {server_core})  # what is started is where its parent is
            async with redis_server(Path(directory), NOTHING_KEPT) as server:
                os.sched_setaffinity(0, {client_core})
                return await _handed(server)
        finally:
            os.sched_setaffinity(0, here)


async def _handed(server: RedisServer) -> Handed:
    said = dict(re.findall(r"(\w+):(\S*)", (await server.ask("INFO", "server")).decode()))
    redis = psutil.Process(int(said["process_id"]))
    loop = asyncio.get_running_loop()
    takers = [(await loop.create_connection(Taker, "127.0.0.1", server.port))[1] for _ in range(READERS)]
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    data, written = b"x" * SIZE, 0

    def write() -> None:
        nonlocal written
        numbers = range(FIRST + written, FIRST + written + AT_ONCE)
        writer.write(b"".join(command(b"XADD", STREAM, b"1-%d" % number, b"d", data) for number in numbers))
        written += AT_ONCE

    began, worked = time.monotonic(), sum(redis.cpu_times()[:2])
    for _ in range(AHEAD):
        write()
    while time.monotonic() - began < SECONDS:
        await reader.readexactly(AT_ONCE * len(b"$12\r\n1-%d\r\n" % FIRST))
        write()
    took = time.monotonic() - began
    taken, answers = sum(taker.taken for taker in takers), sum(taker.answers for taker in takers)
    busy = (sum(redis.cpu_times()[:2]) - worked) / took
    writer.close()
    return Handed(round(taken / took), round(taken / answers, 1), round(busy, 2), said["redis_version"])


def steps() -> Iterator[pages.Step]:
    """All parts."""
    for name, (_, options) in KEPT.items():
        yield name, partial(latency, options)
    yield "handing", handing


# --- what is shown

KEPT = {"nothing": ("nothing written down", NOTHING_KEPT), "always": ("`appendfsync always`", EVERY_WRITE)}


def tables(found: pages.Found) -> dict[str, str]:
    """The table: a row for each way."""
    rows = []
    for part in [name for name in KEPT if name in found]:
        beside = statistics.median(found[part]["redis-py"]["p50"])
        for way, taken in found[part].items():
            ratio = statistics.median(taken["p50"]) / beside
            rows.append([KEPT[part][0], way, *(spread(taken[share]) for share in SHARES), f"{ratio:.2f}"])
    return {"redis": pages.table([["", "", "p50, µs", "p99, µs", "p50, of redis-py's"], *rows])} if rows else {}


def spread(values: Sequence[float]) -> str:
    """The median, with the lowest and the highest."""
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def figures(found: pages.Found) -> dict[str, str]:
    """What stands in sentences."""
    if "nothing" not in found or "handing" not in found:
        return {}
    handing = found["handing"]
    return {
        "handed": f"{round(statistics.median(handing['rate']), -3):,.0f}",
        "together": f"{statistics.median(handing['together']):.0f}",
        "busy": pages.percent(statistics.median(handing["busy"])),
        "version": handing["version"][-1],
        "plain": f"{statistics.median(found['nothing']['redis-py']['p50']) / 1e3:.2f} ms",
    }


SHEET = pages.Sheet(__file__, "../../reference/benchmarks.md", tables, "redis", figures=figures, machine="asked")

if __name__ == "__main__":
    SHEET.run(pages.parser(__doc__).parse_args(), steps())
