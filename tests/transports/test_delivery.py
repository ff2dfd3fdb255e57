"""The promise, over every transport and real sockets: complete, in order, once; and what is gone is declared, exactly."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from tests.transports.conftest import BRISK, live
from transports import Transport
from transports.client import connect
from transports.position import parse
from transports.testing import Cutter, until

EVENTS = 10_000


def cuts(seed: int, *, number: int, most: int) -> Iterator[int]:
    chance = random.Random(seed)
    return iter([int(2 ** chance.uniform(8, most.bit_length())) for _ in range(number)])


async def publish_all(hub, number: int, channels: tuple[str, ...] = ("a",)) -> None:
    for n in range(number):
        await hub.publish(channels[n % len(channels)], {"n": n})
        if n % 50 == 49:
            await asyncio.sleep(0)  # let the readers keep up, or not


@pytest.mark.parametrize("seed", range(2))
async def test_ten_thousand_events_arrive_complete_in_order_and_once_whatever_is_cut(transport: Transport, seed: int) -> None:
    async with live(history_count=EVENTS, batch_bytes=2_000) as (hub, url):
        start = f"{hub.log.epoch}.0"
        cutter = Cutter(url, cuts(seed, number=40, most=60_000))
        async with cutter.open() as through, connect(through, ["a"], since=start, transports=[transport], pace=BRISK) as stream:
            publishing = asyncio.create_task(publish_all(hub, EVENTS))
            got = [(await anext(stream)).data["n"] for _ in range(EVENTS)]
            await publishing
        assert got == list(range(EVENTS))
        assert cutter.made >= 20


@pytest.mark.parametrize("history", [1, 7, 100, 2000])
async def test_with_a_history_that_is_too_short_exactly_the_missing_is_declared_lost(transport: Transport, history: int) -> None:
    lost: set[int] = set()
    got: list[int] = []
    async with live(history_count=history, batch_bytes=2_000) as (hub, url):
        start = f"{hub.log.epoch}.0"
        cutter = Cutter(url, cuts(history, number=30, most=20_000))

        def on_lost(item) -> None:
            lost.update(range(parse(item.after).offset + 1, parse(item.through).offset + 1))

        async with (
            cutter.open() as through,
            connect(through, ["a"], since=start, transports=[transport], on_lost=on_lost, pace=BRISK) as stream,
        ):
            publishing = asyncio.create_task(publish_all(hub, 3000))
            async for event in stream:
                got.append(parse(event.id).offset)
                if got[-1] == 3000:
                    break
            await publishing
    # The offsets of this broker are dense, so ranges can be counted: every event was delivered once or declared lost, never both.
    assert sorted([*got, *lost]) == list(range(1, 3001))
    assert got == sorted(got)
    if history < 100:
        assert lost


async def test_two_channels_come_merged_in_the_order_in_which_they_were_published(transport: Transport) -> None:
    async with (
        live(batch_bytes=1000) as (hub, url),
        connect(url, ["a", "b"], since=f"{hub.log.epoch}.0", transports=[transport]) as stream,
    ):
        await publish_all(hub, 500, ("a", "b", "c"))
        got = [(await anext(stream)) for _ in range(333)]
        assert [event.data["n"] for event in got] == [n for n in range(500) if n % 3 != 2][:333]
        assert {event.channel for event in got} == {"a", "b"}


async def test_a_quiet_channel_is_not_starved_by_a_busy_one(transport: Transport) -> None:
    async with (
        live(batch_bytes=1000, history_count=50) as (hub, url),
        connect(url, ["busy", "quiet"], transports=[transport], on_lost=lambda lost: None) as stream,
    ):
        flood = asyncio.create_task(publish_all(hub, 200_000, ("busy",)))
        await until(lambda: hub.log.head > 2_000)
        await hub.publish("quiet", "hello")
        async for event in stream:
            if event.channel == "quiet":
                break
        assert not flood.done(), "it came when all else was over"
        flood.cancel()


async def test_a_reader_that_drops_before_its_first_event_resumes(transport: Transport) -> None:
    async with live() as (hub, url):
        async with connect(url, ["a"], transports=[transport]) as stream:
            position = stream.position  # known from the `hello`
        await hub.publish("a", 1)
        async with connect(url, ["a"], since=position, transports=[transport]) as stream:
            assert (await anext(stream)).data == 1
