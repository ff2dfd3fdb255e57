"""Churn: readers that come and go, half of them without a word. Behind them is nothing.

    python -m tests.hostile.churn --cycles 10000         # of each transport, on each edge
    python -m tests.hostile.churn --minutes 10           # a soak: for so long, with events all the time

Says at the end, as JSON, what the server held before and behind it, and for a soak once a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from . import wires
from .fuzz import OPTIONS
from .target import EDGES, Held, Target, target

SIDE_BY_SIDE = 32  # connections
PRESENT = {"do": "present", "channel": "a", "as": "me", "for": 30}


async def cycle(server: Target, way: str, number: int) -> None:
    """Come over a transport, be present, read something, and go: every other time without a close. Raises: AssertionError."""
    line = await wires.connect(server)
    said = PRESENT | {"as": f"p{number % 500}"}
    sent = wires.opening(way, "channels=a,b" + ("&wait=0" if way == "poll" and number % 4 else ""))
    if way == "ws":
        sent += wires.frame(json.dumps(said).encode())
    elif number % 50 == 0:
        sent = wires.commands(said) + sent
    assert await wires.send(line, sent)
    come = b""
    while b'"hello"' not in come and (data := await _some(line)):
        come += data
    assert b'"hello"' in come, come
    if number % 2:
        wires.cut(line)
        return
    if way == "ws":
        await wires.send(line, wires.frame(b"\x03\xe8", first=0x88))
        with suppress(TimeoutError):
            await wires.answered(line, seconds=5)
    line.close()


async def _some(line: Any) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(line, 65_536), 30)


async def turn_over(server: Target, way: str, numbers: Iterator[int]) -> None:
    """So many cycles, many at a time."""

    async def one_after_the_other() -> None:
        for number in numbers:
            await cycle(server, way, number)

    await asyncio.gather(*[one_after_the_other() for _ in range(SIDE_BY_SIDE)])


async def churn(edge: str, way: str, cycles: int) -> tuple[Held, Held, Held]:
    """What the server held before, behind a tenth of it, and at the end. Raises: AssertionError, something stays."""
    async with target(edge, **OPTIONS) as server:
        await server.publish(10, 100)
        before = await server.held()
        await turn_over(server, way, iter(range(cycles // 10)))
        warm = await server.back_to(before)
        await turn_over(server, way, iter(range(cycles // 10, cycles)))
        after = await server.back_to(before)
        assert not after.errors, after.errors
        return before, warm, after


async def soak(edge: str, minutes: float) -> list[Held]:
    """Churn of all transports at once, with events all the time, beside a reader who stays. What was held now and then."""
    async with target(edge, **OPTIONS) as server:
        await server.publish(10, 100)
        before = await server.held()
        until = time.monotonic() + 60 * minutes
        seen, offsets = [before], []

        def numbers() -> Iterator[int]:
            number = 0
            while time.monotonic() < until:
                yield (number := number + 1)

        async with wires.Bystander(server) as bystander:

            async def look() -> None:
                while time.monotonic() < until:
                    offsets.append(await server.publish(channel="b", size=500))
                    if time.monotonic() > until - 60 * minutes + 60 * len(seen) * min(1.0, minutes / 5):
                        seen.append(await server.held())
                    await asyncio.sleep(0.05)

            await asyncio.gather(look(), *[turn_over(server, way, numbers()) for way in wires.WAYS])
            await bystander.has(offsets)
        seen.append(await server.back_to(before))
        assert not seen[-1].errors, seen[-1].errors
        return seen


def _row(held: Held) -> dict[str, Any]:
    return {"rss_mib": round(held.rss / 2**20, 1)} | {
        name: getattr(held, name) for name in ("tasks", "readers", "accounts", "connections", "files", "members")
    }


async def run(edges: Sequence[str], ways: Sequence[str], cycles: int, minutes: float) -> list[dict[str, Any]]:
    """The figures of a run."""
    if minutes:
        return [{"edge": edge, "minutes": minutes, "held": [_row(held) for held in await soak(edge, minutes)]} for edge in edges]
    lanes = []
    for edge in edges:
        for way in ways:
            begun = time.monotonic()
            held = await churn(edge, way, cycles)
            seconds = round(time.monotonic() - begun, 1)
            lanes.append(
                {"edge": edge, "transport": way, "cycles": cycles, "seconds": seconds, "held": [_row(each) for each in held]}
            )
            print(lanes[-1], file=sys.stderr)
    return lanes


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--edge", action="append", choices=[*EDGES, "uvicorn"])
    parser.add_argument("--way", action="append", choices=wires.WAYS)
    chosen = parser.parse_args()
    lanes = asyncio.run(run(chosen.edge or EDGES, chosen.way or wires.WAYS, chosen.cycles, chosen.minutes))
    print(json.dumps(lanes, indent=2))


if __name__ == "__main__":
    main()
