"""What a hundred readers who take little, or nothing, cost the others: how long an event takes to those who take all.

    python docs/explanation/experiments/slow_readers.py            # 7 minutes
    python docs/explanation/experiments/slow_readers.py --write    # keeps the figures in slow_readers.json, for back-pressure.md

In turns on one server: nobody else there, then a hundred slow ones who follow the same channel. An event of 2 KB comes 20 times a
second; a delay is from when the server took it to when one of ten prompt readers has read it, over SSE. The 99th percentile of
each turn; of the turns the median.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pages

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.hostile import wires
from tests.hostile.fuzz import OPTIONS
from tests.hostile.target import EDGES, Target, target
from tests.hostile.test_slow_readers import WAYS, come, sip

MEASURED = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parents[1] / "back-pressure.md"
SLOW = 100
PROMPT = 10
EVENTS = 60  # of a turn
EVERY = 0.05  # seconds
TURNS = 3
SETTINGS = OPTIONS | {"send_timeout": 60.0, "history_bytes": 400_000}
_AT = re.compile(rb'"at":([0-9.]+)')


class Prompt:
    """Somebody who reads everything at once, and looks at the clock."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    @asynccontextmanager
    async def reading(self, server: Target) -> AsyncIterator[None]:
        """Read until the end of the block."""
        reader, writer = await asyncio.open_connection(server.host, server.port, limit=1 << 20)
        writer.write(wires.opening("sse"))
        await asyncio.wait_for(reader.readuntil(b'"hello"'), 30)
        task = asyncio.create_task(self._read(reader))
        try:
            yield
        finally:
            task.cancel()
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            if line.startswith(b"data:") and (found := _AT.search(line)):
                self.delays.append(time.time() - float(found[1]))


async def turn(server: Target, readers: list[Prompt]) -> float:
    """The 99th percentile of the delays of one turn, in milliseconds."""
    for each in readers:
        each.delays.clear()
    loop = asyncio.get_running_loop()
    due = loop.time()
    for _ in range(EVENTS):
        await server.publish(size=2000)
        await asyncio.sleep(max(0.0, (due := due + EVERY) - loop.time()))
    async with asyncio.timeout(30):
        while any(len(each.delays) < EVENTS for each in readers):
            await asyncio.sleep(0.01)
    return statistics.quantiles([1000 * each for reader in readers for each in reader.delays], n=100)[98]


async def sipping(lines: list[socket.socket], rate: int) -> None:
    """So many bytes a second to each."""
    while rate:
        await asyncio.gather(*[sip(line, rate // 4) for line in lines], asyncio.sleep(0.25))


@asynccontextmanager
async def slow_ones(server: Target, way: str, rate: int) -> AsyncIterator[None]:
    """They are there, and have as much as fits in between, until the end of the block."""
    lines = [await come(server, way) for _ in range(SLOW)]
    await server.publish(60, 10_000)
    sips = asyncio.create_task(sipping(lines, rate))
    await asyncio.sleep(1.0)
    try:
        yield
    finally:
        sips.cancel()
        with suppress(asyncio.CancelledError):
            await sips
        for line in lines:
            wires.cut(line)


async def measure(edge: str, way: str, rate: int) -> dict[str, Any]:
    """One row."""
    async with target(edge, **SETTINGS) as server, AsyncExitStack() as stack:
        readers = [Prompt() for _ in range(PROMPT)]
        for each in readers:
            await stack.enter_async_context(each.reading(server))
        alone, beside = [], []
        for _ in range(TURNS):
            alone.append(await turn(server, readers))
            async with slow_ones(server, way, rate):
                beside.append(await turn(server, readers))
    ratios = [after / before for before, after in zip(alone, beside, strict=True)]
    return {
        "edge": edge,
        "slow": way,
        "bytes_per_second": rate,
        "alone_ms": round(statistics.median(alone), 2),
        "beside_ms": round(statistics.median(beside), 2),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(each, 2) for each in ratios],
    }


async def main() -> list[dict[str, Any]]:
    """All rows, one after the other."""
    rows = []
    print("edge   slow over  bytes/s  p99 alone  p99 beside  ratio")
    for edge in EDGES:
        for way in WAYS:
            for rate in (0, 1024):
                rows.append(row := await measure(edge, way, rate))
                print(
                    f"{edge:6} {way:9} {rate:8} {row['alone_ms']:7} ms {row['beside_ms']:8} ms {row['ratio']:6}",
                    row["ratios"],
                    flush=True,
                )
    return rows


def tables() -> dict[str, str]:
    """What the page shows of what is kept."""
    rows = json.loads(MEASURED.read_text("utf-8"))
    alone, beside, ratio = (statistics.median(row[name] for row in rows) for name in ("alone_ms", "beside_ms", "ratio"))
    ratios = [each for row in rows for each in row["ratios"]]
    came = f"99 of 100 events came within {alone:.1f} ms beside nobody and within {beside:.1f} ms beside the hundred"
    pairs = f"medians of {len(rows)} such pairs of {len(ratios) // len(rows)} turns each"
    times = f"The second was {ratio:.1f} times the first in the median"
    return {"hundred": f"{came}, {pairs}. {times}; single turns lay between {min(ratios):.1f} and {max(ratios):.1f}."}


def written(text: str) -> str:
    """`text` with what is kept."""
    return pages.put(text, tables())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep what is measured, and put it into back-pressure.md")
    asked = parser.parse_args()
    measured = asyncio.run(main())
    if asked.write:
        MEASURED.write_text(json.dumps(measured, indent=1) + "\n")
        PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
