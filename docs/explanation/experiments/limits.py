"""What limits cost: a connection opened and closed, and a command allowed, with limits and without, in turns on one core.

python docs/explanation/experiments/limits.py
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from itertools import count

from transports import Hub, Options
from transports.admission import Admission
from transports.commands import hear
from transports.ladder import LADDER
from transports.limits import Limits, Said
from transports.options import UNBOUNDED
from transports.request import Identity, Request

ROUNDS = 15
TIMES = 5_000
PUBLISH = b'{"do":"publish","ref":1,"channel":"a","data":{"text":"hi"}}'


class Free(Limits):
    """Limits that are never asked."""

    def connect(self, *_: object) -> None:
        """Everybody."""

    def disconnect(self, *_: object) -> None:
        """Nobody was counted."""

    def speak(self, said: Said | None, who: object, address: str, commands: int, size: int, now: float) -> tuple[int, None]:
        """Everything."""
        return commands, None


def admission(limits: type[Limits]) -> Admission:
    options = Options(channels=("a",), **UNBOUNDED)
    hub = Hub(options)
    hub.limits = hub.accounts.limits = limits(options)
    return Admission(hub)


async def opened(asked: Admission, numbers: count[int]) -> None:
    for number in (next(numbers) for _ in range(TIMES)):
        request = Request("GET", "sse", "channels=a", {}, f"10.0.{number % 250}.{number % 251}")
        request.found = Identity(f"who{number % 5000}")
        stream = asked.stream(LADDER[1], request)
        stream.account.close()
        stream.feed.leave()


async def said(asked: Admission, numbers: count[int]) -> None:
    request = Request("POST", "commands", "", {"content-type": "application/json"}, "10.0.0.7")
    request.found = Identity("ann")
    speaker = asked.commands(request)
    for _ in range(TIMES):
        await hear(PUBLISH, asked.hub, speaker)


async def main() -> None:
    """Measure, and print microseconds."""
    for name, work in (("connection", opened), ("command", said)):
        found: dict[str, list[float]] = {"with": [], "without": []}
        sides: dict[str, Admission] = {"with": admission(Limits), "without": admission(Free)}
        for each in sides.values():
            await each.hub.open()
        for _ in range(ROUNDS):
            for side, asked in sides.items():
                found[side].append(await timed(work, asked) / TIMES * 1e6)
        one, other = (statistics.median(found[side]) for side in ("with", "without"))
        print(f"{name}: {one:.2f} us with limits, {other:.2f} us without: {one / other:.3f} of it")
        for each in sides.values():
            await each.hub.close()


async def timed(work: Callable, asked: Admission) -> float:
    begin = time.process_time()
    await work(asked, count())
    return time.process_time() - begin


if __name__ == "__main__":
    asyncio.run(main())
