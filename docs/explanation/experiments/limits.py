"""What limits cost: a connection opened and closed, and a command allowed, with limits and without, in turns on one core.

    python docs/explanation/experiments/limits.py            # half a minute; prints a table
    python docs/explanation/experiments/limits.py --write    # keeps it in limits.json, for the decision about limits

Without sockets: what is asked for is made here. CPU time of this process; of the rounds the median.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path

import pages

sys.path.insert(0, str(Path(__file__).parents[3]))

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


WORKS: dict[str, tuple[str, Callable[[Admission, count[int]], Awaitable[None]]]] = {
    "connection": ("a connection opened and closed", opened),
    "command": ("a publish, from the bytes of the command to those of the reply", said),
}


async def compared(name: str) -> dict[str, float]:
    """Microseconds, with limits and without."""
    _, work = WORKS[name]
    found: dict[str, list[float]] = {"with": [], "without": []}
    sides: dict[str, Admission] = {"with": admission(Limits), "without": admission(Free)}
    for each in sides.values():
        await each.hub.open()
    for _ in range(ROUNDS):
        for side, asked in sides.items():
            found[side].append(await timed(work, asked) / TIMES * 1e6)
    for each in sides.values():
        await each.hub.close()
    return {side: round(statistics.median(times), 3) for side, times in found.items()}


async def timed(work: Callable[[Admission, count[int]], Awaitable[None]], asked: Admission) -> float:
    begin = time.process_time()
    await work(asked, count())
    return time.process_time() - begin


def tables(found: pages.Found) -> dict[str, str]:
    """The table of the page."""
    rows = [
        [
            title,
            f"{found[name]['with']:.1f}",
            f"{found[name]['without']:.1f}",
            f"{found[name]['with'] / found[name]['without']:.2f}",
        ]
        for name, (title, _) in WORKS.items()
        if name in found
    ]
    return {"cost": pages.table([["µs of CPU", "with limits", "without", "times"], *rows])} if rows else {}


SHEET = pages.Sheet(__file__, "../decisions/0028-limits.md", tables)

if __name__ == "__main__":
    SHEET.run(pages.parser(__doc__).parse_args(), [(name, partial(compared, name)) for name in WORKS])
