"""The Python client behind the real programs that stand between it and its server."""

from __future__ import annotations

import asyncio

import pytest

from tests.middleboxes import BOXES, Middlebox
from tests.transports.conftest import live
from transports import LADDER, Hub
from transports.client import Stream, connect
from transports.testing import until

pytestmark = pytest.mark.real

COUNT, RATE = 60, 20.0  # events, and how many of them a second


async def publish_paced(hub: Hub, count: int = COUNT, rate: float = RATE) -> None:
    """Publish the numbers from 0, so many a second."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for n in range(count):
        await asyncio.sleep(began + n / rate - loop.time())
        await hub.publish("a", n)


async def read(stream: Stream, count: int = COUNT) -> list[int]:
    """The first `count` numbers that come."""
    async with asyncio.timeout(30):
        return [(await anext(stream)).data for _ in range(count)]


@pytest.mark.parametrize("box", BOXES.values(), ids=str)
async def test_every_event_comes_once_and_in_order_over_the_best_that_passes(
    box: Middlebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with live(LADDER) as (hub, url), box.running(url) as way:
        way.take(monkeypatch)
        async with connect(way.url, ["a"], ca=way.ca, memory={}) as stream:
            publishing = asyncio.create_task(publish_paced(hub))
            assert await read(stream) == list(range(COUNT))
            await publishing
            await until(lambda: (stream.state, stream.transport) == ("open", box.python))
