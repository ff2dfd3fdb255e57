"""Where the events of the lab come from: numbers without holes, also over a time in which the server is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from quart import Quart

from quart_app.lab.publisher import CHANNEL, Pace, Publisher
from transports.client import connect
from transports.quart import Live
from transports.testing import serving, until


@asynccontextmanager
async def publishing(url: str, pace: Pace, changed: Callable[[], None] = lambda: None) -> AsyncIterator[Publisher]:
    host, _, port = url.removeprefix("http://").partition(":")
    publisher = Publisher(lambda: (host, int(port)), changed)
    publisher.become(pace)
    task = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def live(port: int = 0) -> AsyncIterator[tuple[Live, str]]:
    live = Live(app := Quart(__name__), channels=[CHANNEL])
    async with serving(app, drain=live.hub.drain, port=port) as url:
        yield live, url


async def read(url: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(30), connect(f"{url}/live", channels=[CHANNEL]) as stream:
        async for event in stream:
            found.append(event.data)
            if len(found) == count:
                return found
    raise AssertionError("the stream ended")


async def test_events_have_the_size_that_was_asked_for_and_numbers_without_holes() -> None:
    async with live() as (_, url), publishing(url, Pace(rate=500, size=300, burst=5)):
        events = await read(url, 30)
    first = events[0]["n"]
    assert [event["n"] for event in events] == list(range(first, first + 30))
    assert {len(msgspec.json.encode(event)) for event in events} == {300}


async def test_a_burst_is_one_request() -> None:
    async with live() as (served, url), publishing(url, Pace(rate=400, burst=200)) as publisher:
        await until(lambda: publisher.published)
        assert publisher.published % 200 == 0
        assert served.hub.figures.published["ok"] >= 200


async def test_while_the_server_is_away_nothing_is_published_and_nothing_left_out() -> None:
    changes: list[bool] = []
    async with live() as (_, url):
        port = int(url.rpartition(":")[2])
    async with publishing(url, Pace(rate=500), lambda: changes.append(publisher.waiting)) as publisher:
        await until(lambda: changes)
        assert (publisher.waiting, publisher.published) == (True, 0)
        async with live(port) as (_, url):
            reading = asyncio.create_task(read(url, 20))
            events = await reading
        await until(lambda: len(changes) == 3)
        so_far = publisher.published
        async with live(port) as (served, url):
            await until(lambda: publisher.published >= so_far + 10)
            assert served.hub.figures.published["ok"] >= 10
    numbers = [event["n"] for event in events]
    assert numbers == list(range(numbers[0], numbers[0] + 20))
    assert changes[:4] == [True, False, True, False]


async def test_a_refusal_is_asked_again_until_it_is_none() -> None:
    async with live() as (served, url):
        allowed: list[bool] = []
        served.authorize(lambda who, action, channel: action == "subscribe" or bool(allowed))
        async with publishing(url, Pace(rate=500)) as publisher:
            await until(lambda: publisher.waiting)
            allowed.append(True)
            await until(lambda: publisher.published >= 3)
            assert not publisher.waiting


async def test_it_goes_on_at_once_when_it_is_told_to() -> None:
    async with live() as (_, url), publishing(url, Pace(running=False)) as publisher:
        publisher.become(Pace(rate=0.001))  # the next one in a quarter of an hour
        publisher.become(Pace(rate=500))
        await until(lambda: publisher.published >= 3)
