"""Fuzz: malformed requests, frames and commands over real sockets, while a bystander reads. Nothing breaks, nothing stays.

    python -m tests.hostile.fuzz --count 100000                      # of it all, shared out among edges and transports
    python -m tests.hostile.fuzz --count 6000 --edge plain --seed 7

Says at the end, as JSON, what was sent, what the server held before and behind it, and what it had to say of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from transports.options import UNBOUNDED

from . import mutations, wires
from .target import EDGES, Held, Target, target

SIDE_BY_SIDE = 16  # connections
HASTE = {"body_timeout": 1.0, "send_timeout": 2.0, "first_command_timeout": 1.0, "beat": 1.0, "drain": 0.5}
BOUNDS = {
    "presence_lease": 2.0,
    "presence_delay": 0.0,
    "channels_max": 100,
    "history_count": 100,
    "key_count": 100,
}  # so that what is kept is soon full
OPTIONS = UNBOUNDED | HASTE | BOUNDS  # all of it comes from one address
LINGER = 0.2  # seconds at the most that somebody waits for what a server says to it, before it hangs up


class Came(NamedTuple):
    """What came of it."""

    edge: str
    way: str
    sent: int
    answers: int  # of them got one
    events: int  # that the bystander had to get, and got
    seconds: float
    before: Held
    warm: Held  # when a tenth had been sent
    after: Held


async def fuzz(edge: str, way: str, count: int, seed: int) -> Came:
    """Raises: AssertionError, the server broke, kept something, or disturbed somebody."""
    async with target(edge, **OPTIONS) as server:
        await server.publish(10)
        before = await server.held()
        begun = time.monotonic()
        async with wires.Bystander(server) as bystander:
            answers = await _say(server, way, count // 10, seed)
            warm, offsets = await server.held(), []
            for part in range(9):
                answers += await _say(server, way, count // 10, seed + 1 + part)
                offsets.append(await server.publish(channel="b"))
            await bystander.has(offsets)
        after = await server.back_to(before)
        assert not after.errors, after.errors
        return Came(edge, way, count // 10 * 10, answers, len(offsets), time.monotonic() - begun, before, warm, after)


async def _say(server: Target, way: str, count: int, seed: int) -> int:
    """Say so much, many at a time. How many were answered."""
    luck = random.Random(seed)
    makes = mutations.of(way)
    todo = iter([luck.choice(makes)(luck) for _ in range(count)])
    ends = random.Random(seed)

    async def one_after_the_other() -> int:
        return sum([await _said(server, sent, ends) for sent in todo])

    return sum(await asyncio.gather(*[one_after_the_other() for _ in range(SIDE_BY_SIDE)]))


async def _said(server: Target, sent: bytes, luck: random.Random) -> bool:
    """Say it in one piece or in two, wait a moment for an answer, and go: with a word, or without."""
    line = await wires.connect(server)
    place = luck.randrange(len(sent)) if luck.random() < 0.2 else len(sent)
    answer = b""
    if await wires.send(line, sent[:place]):
        if place < len(sent):
            await asyncio.sleep(0)
            await wires.send(line, sent[place:])
        with suppress(TimeoutError):
            answer = await wires.answered(line, most=1, seconds=LINGER)
    if luck.random() < 0.5:
        wires.cut(line)
    else:
        line.close()
    return bool(answer)


async def run(edges: Sequence[str], ways: Sequence[str], count: int, seed: int) -> list[Came]:
    """Share `count` out among edges and transports."""
    lanes = [(edge, way) for edge in edges for way in ways]
    each = -(-count // len(lanes) // 10) * 10
    return [await fuzz(edge, way, each, seed + number) for number, (edge, way) in enumerate(lanes)]


def report(came: Sequence[Came]) -> dict[str, Any]:
    """The figures of a run."""
    lanes = [
        {
            "edge": each.edge,
            "transport": each.way,
            "sent": each.sent,
            "answered": each.answers,
            "seconds": round(each.seconds, 1),
            "rss_mib": [round(held.rss / 2**20, 1) for held in (each.before, each.warm, each.after)],
            "left": {
                name: getattr(each.after, name) - getattr(each.before, name)
                for name in ("tasks", "accounts", "connections", "files")
            },
            "errors": len(each.after.errors),
            "bystander": each.events,
        }
        for each in came
    ]
    return {"sent": sum(each.sent for each in came), "lanes": lanes}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--edge", action="append", choices=[*EDGES, "uvicorn"])
    parser.add_argument("--way", action="append", choices=wires.WAYS)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    chosen = parser.parse_args()
    print("seed", chosen.seed, file=sys.stderr)
    came = asyncio.run(run(chosen.edge or EDGES, chosen.way or wires.WAYS, chosen.count, chosen.seed))
    print(json.dumps(report(came), indent=2))


if __name__ == "__main__":
    main()
