"""How long an event takes from one worker to another over Redis, beside the same with redis-py and nothing else.

    python -m tests.benchmarks.redis_latency --rounds 5 --events 500

One event at a time: published at one hub, received by a reader at another; beside it, `XADD` on one connection and `XREAD
BLOCK` on another. Both in one process, at one Redis, which it starts, in turns. Prints percentiles of the events of a round, as
the median of all rounds with the lowest and the highest, and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from redis.asyncio import Redis

from tests.redis_server import EVERY_WRITE, NOTHING_KEPT, RedisServer, redis_server
from transports import Hub, Options

from .machine import describe, unquiet
from .subjects.publisher import event

_WARM = 50  # events before those that count

Exchange: TypeAlias = Callable[[], Awaitable[None]]
"""Publish one event, and return when it was received."""


@asynccontextmanager
async def through_hubs(server: RedisServer, size: int) -> AsyncIterator[Exchange]:
    """From one hub to a reader of another."""
    here, there = (Hub(Options(channels=("a",), broker=f"{server.url}?name=latency")) for _ in range(2))
    await here.open()
    await there.open()
    data = event(0, time.time_ns(), size)
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
async def plain(server: RedisServer, size: int) -> AsyncIterator[Exchange]:
    """From one connection of redis-py to another."""
    async with Redis(port=server.port) as here, Redis(port=server.port) as there:
        data = event(0, time.time_ns(), size)
        last = await here.xadd("plain", {"d": repr(data)})

        async def exchange() -> None:
            nonlocal last
            reading = asyncio.create_task(there.xread({"plain": last}, block=60_000))
            await here.xadd("plain", {"d": repr(data)}, maxlen=100_000, approximate=True)
            ((_, ((last, _),)),) = await reading

        yield exchange


async def timed(exchange: Exchange, events: int) -> list[float]:
    """Microseconds that each takes, sorted."""
    for _ in range(_WARM):
        await exchange()
    taken = []
    for _ in range(events):
        began = time.perf_counter()
        await exchange()
        taken.append((time.perf_counter() - began) * 1e6)
    return sorted(taken)


WAYS = {"everywire": through_hubs, "redis-py": plain}


async def rounds(server: RedisServer, asked: argparse.Namespace) -> dict[str, list[list[float]]]:
    """What each way took, round by round, in turns."""
    found: dict[str, list[list[float]]] = {name: [] for name in WAYS}
    for turn in range(asked.rounds):
        for name in list(WAYS)[:: 1 if turn % 2 else -1]:
            async with WAYS[name](server, asked.size) as exchange:
                found[name].append(await timed(exchange, asked.events))
    return found


def table(found: dict[str, list[list[float]]]) -> str:
    """Rows: the median of all rounds, with the lowest and the highest."""
    lines = [f"{'':10}  {'p50, µs':>22}  {'p99, µs':>22}"]
    for name, taken in found.items():
        lines.append(f"{name:10}  {_spread(_at(taken, 0.5)):>22}  {_spread(_at(taken, 0.99)):>22}")
    ours, peer = (statistics.median(_at(found[name], 0.5)) for name in WAYS)
    return "\n".join([*lines, f"ratio of the medians: {ours / peer:.2f}"])


def _at(taken: Sequence[Sequence[float]], share: float) -> list[float]:
    return [each[int(share * (len(each) - 1))] for each in taken]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


async def main(asked: argparse.Namespace) -> None:
    machine = describe()
    print(f"{machine.processor}, {machine.cores} cores, Linux {machine.kernel}, Python {machine.python}")
    if (why := unquiet()) is not None:
        print(f"not worth much: {why}")
    for durability, options in (("nothing written down", NOTHING_KEPT), ("appendfsync always", EVERY_WRITE)):
        with tempfile.TemporaryDirectory() as name:
            async with redis_server(Path(name), options) as server:
                found = await rounds(server, asked)
        print(f"\n{durability}\n{table(found)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=500, help="in each round")
    parser.add_argument("--size", type=int, default=100, help="bytes of the data of one")
    asyncio.run(main(parser.parse_args()))
