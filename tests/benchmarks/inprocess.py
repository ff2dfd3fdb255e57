"""What happens inside the process alone, without a wire: printed as one number, in microseconds.

    python -m tests.benchmarks.inprocess publish --channels 1000 --seconds 1     one publish, to each channel in turn
    python -m tests.benchmarks.inprocess resume --history 1000 --seconds 1       a reader comes back, one event behind

Nobody reads in the first. Memory is filled before it is measured: all channels have events, the history is full.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import cycle

from transports import Hub, Options
from transports.position import parse

from .subjects.publisher import event

_AT_ONCE = 200  # between two looks at the clock


async def _timed(act: Callable[[], Awaitable[object]], seconds: float) -> float:
    """Microseconds of CPU that `act` takes, over so many seconds."""
    began, until, count = time.process_time(), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        for _ in range(_AT_ONCE):
            await act()
        count += _AT_ONCE
    return (time.process_time() - began) / count * 1e6


async def publish(asked: argparse.Namespace) -> float:
    """One publish."""
    hub = Hub(Options(channels=("*",), channels_max=max(asked.channels, 1), history_count=asked.history))
    await hub.open()
    names = [f"c{number}" for number in range(asked.channels)]
    data, turns = event(17, 123456789012345, asked.size), cycle(names)
    for name in names:
        await hub.publish(name, data)
    return await _timed(lambda: hub.publish(next(turns), data), asked.seconds)


async def resume(asked: argparse.Namespace) -> float:
    """A reader that comes back to the one event that it missed, and goes."""
    hub = Hub(Options(channels=("*",), history_count=asked.history))
    await hub.open()
    data = event(17, 123456789012345, asked.size)
    ids = [await hub.publish("bench", data) for _ in range(asked.history + 1)]
    since = parse(ids[-2])

    async def once() -> None:
        with hub.feed(("bench",), since) as feed:
            batch = feed.ready()
            assert batch is not None
            assert len(batch.items) == 1

    return await _timed(once, asked.seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("publish", "resume"))
    for option, usual in (("channels", 1), ("history", 1000), ("size", 100)):
        parser.add_argument(f"--{option}", type=int, default=usual)
    parser.add_argument("--seconds", type=float, default=1.0)
    asked = parser.parse_args()
    print(f'{{"microseconds":{asyncio.run({"publish": publish, "resume": resume}[asked.what](asked))}}}')
