"""Make before break: whatever is switched, cut, delayed and repeated, the stream is complete, in order, once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.restrictions import Rewind
from tests.transports.conftest import BRISK
from transports import LADDER, Hub, Options
from transports.asgi import Endpoints
from transports.client import Stream, connect
from transports.testing import Cutter, serving, until

EVENTS = 100_000
SWITCHES = 60
NAMES = [transport.name for transport in LADDER]
PAIRS = {(old, new) for old in NAMES for new in NAMES if old != new}


@asynccontextmanager
async def troubled(seed: int) -> AsyncIterator[tuple[Hub, str]]:
    """A server behind a relay that cuts, and behind something that repeats and delays."""
    options = Options(channels=("a",), history_count=EVENTS)
    hub = Hub(options)
    await hub.open()
    app = Rewind(Endpoints(hub), seed, 500)
    async with serving(app, drain=hub.close, options=options) as url, Cutter(url, cuts(seed)).open() as through:
        yield hub, through


def cuts(seed: int) -> Iterator[int]:
    """About one connection in three is cut, after a few bytes or after many."""
    chance = random.Random(seed)
    while True:
        yield int(2 ** chance.uniform(8, 20)) if chance.random() < 0.3 else 1 << 40


def walk(seed: int) -> list[str]:
    """Transports to switch to, one after the other, so that every pair comes about equally often."""
    chance, left, at, steps = random.Random(seed), Counter(dict.fromkeys(PAIRS, SWITCHES // len(PAIRS))), NAMES[0], []
    while +left:
        to = max((new for old, new in left if old == at), key=lambda new: (left[at, new], chance.random()))
        left[at, to] -= 1
        steps.append(to)
        at = to
    return steps


async def switch(stream: Stream, to: str) -> None:
    """Ask for `to`, until another transport is in charge, or the wires are others."""
    before = stream.transport, stream.evidence.attempts
    stream.switch(to)
    await until(lambda: before != (stream.transport, stream.evidence.attempts))


async def publish(hub: Hub, numbers: range) -> None:
    for n in numbers:
        await hub.publish("a", n)
        if n % 20 == 19:
            await asyncio.sleep(0)


async def drive(hub: Hub, stream: Stream, seed: int) -> set[tuple[str, str]]:
    """Publish everything, and switch in the middle of it, again and again; the pairs that came about."""
    chance, steps, seen, sent = random.Random(seed), walk(seed), set(), 0
    for left, to in zip(range(len(steps), 0, -1), steps, strict=True):
        part = (EVENTS - sent) // left
        before, at = stream.transport, sent + chance.randrange(part)
        await publish(hub, range(sent, at))
        rest = asyncio.create_task(publish(hub, range(at, sent + part)))
        while stream.transport != to:  # a cut may come in between: say it again
            await switch(stream, to)
        await rest
        sent += part
        seen.add((before, to))
    return seen


@pytest.mark.parametrize("seed", range(2))
async def test_a_hundred_thousand_events_over_all_pairs_of_transports(seed: int) -> None:
    async with (
        troubled(seed) as (hub, url),
        connect(url, ["a"], since=f"{hub.log.epoch}.0", pace=BRISK, memory=None) as stream,
    ):
        driving = asyncio.create_task(drive(hub, stream, seed))
        got = [(await anext(stream)).data for _ in range(EVENTS)]
        seen = await driving
    assert got == list(range(EVENTS))
    assert seen == PAIRS
