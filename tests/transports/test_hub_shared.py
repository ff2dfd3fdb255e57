"""Hubs that share a broker: what one has taken, another may not have got yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from transports import Code, Options, Refusal
from transports.brokers import Follower, Record
from transports.hub import Hub
from transports.position import Position, parse
from transports.testing import until


class Late:
    """A broker that is shared, and hands over when it is told to."""

    shared = True

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.epoch = "one"
        self.down = False
        self.followers: dict[Follower, int] = {}

    async def tail(self, follower: Follower) -> None:
        follower.begin(self.epoch)
        self.followers[follower] = 0
        self.hand_over(follower)

    def hand_over(self, follower: Follower) -> None:
        new: Sequence[Record] = self.records[self.followers[follower] :]
        self.followers[follower] += len(new)
        follower.take(new)

    async def publish(self, channel: str, data: bytes, key: str | None, about: str | None = None) -> int:
        self.records.append(Record(len(self.records) + 1, channel, 1e10, data, about))
        return len(self.records)

    async def head(self) -> Position:
        if self.down:
            raise Refusal(Code.BROKER_DOWN, retry=0.01)
        return Position(self.epoch, len(self.records))

    async def close(self) -> None:
        self.followers.clear()


@pytest.fixture
def broker() -> Late:
    return Late()


@pytest.fixture
async def hub(broker: Late) -> AsyncIterator[Hub]:
    hub = Hub(Options(channels=("*",)), broker=broker)
    await hub.open()
    yield hub
    await hub.close()


async def test_who_has_read_more_elsewhere_waits_until_it_has_come_here(hub: Hub, broker: Late) -> None:
    for number in range(3):
        await hub.publish("a", number)
    with hub.feed(["a"], Position("one", 2)) as feed:
        assert (feed.resumed, feed.position, feed.ready()) == ("exact", "one.2", None)
        taking = asyncio.create_task(feed.take(60))
        broker.hand_over(hub)
        batch = await taking
        assert batch is not None
        assert [item.id for item in batch.items] == ["one.3"]


@pytest.mark.parametrize("down", [False, True])
async def test_who_claims_to_have_read_what_there_is_not_is_told(hub: Hub, broker: Late, down: bool) -> None:
    await hub.publish("a", 1)
    broker.hand_over(hub)
    broker.down = down
    with hub.feed(["a"], Position("one", 2)) as feed:
        taking = asyncio.create_task(feed.take(60))
        if down:
            await asyncio.sleep(0)
            assert not taking.done()
            broker.down = False
        batch = await taking
        assert batch is not None
        assert (batch.items[0].kind, b'"future"' in batch.items[0].json, feed.position) == ("lost", True, "one.1")


async def test_what_was_kept_from_before_is_there_at_the_beginning(broker: Late) -> None:
    await broker.publish("a", b"1", None)
    hub = Hub(Options(channels=("*",)), broker=broker)
    await hub.open()
    with hub.feed(["a"], Position("one", 0)) as feed:
        batch = feed.ready()
        assert batch is not None
        assert [item.id for item in batch.items] == ["one.1"]
    await hub.close()


async def test_a_hole_is_lost_for_whoever_had_not_read_it(hub: Hub, broker: Late) -> None:
    for number in range(2):
        await hub.publish("a", number)
    broker.hand_over(hub)
    with hub.feed(["a", "b"], Position("one", 1)) as feed:
        hub.begin("one", 5)
        batch = feed.ready()
        assert batch is not None
        assert [item.kind for item in batch.items] == ["lost", "lost"]
        assert all(b'"after":"one.1","through":"one.5","reason":"evicted"' in item.json for item in batch.items)
        assert feed.position == "one.5"


async def test_of_one_channel_only_that_is_lost(hub: Hub) -> None:
    with hub.feed(["a", "b"], Position("one", 0)) as feed:
        hub.forget("b", 4)
        batch = feed.ready()
        assert batch is not None
        assert [item.kind for item in batch.items] == ["lost"]
        assert b'"channel":"b","after":"one.0","through":"one.4"' in batch.items[0].json


async def test_another_life_of_the_log_is_told_to_everybody(hub: Hub, broker: Late) -> None:
    await hub.publish("a", 1)
    broker.hand_over(hub)
    with hub.feed(["a"]) as feed:
        assert feed.position == "one.1"
        hub.begin("two")
        hub.take([Record(1, "a", 1e10, b"2")])
        batch = feed.ready()
        assert batch is not None
        assert [item.kind for item in batch.items] == ["lost", "event"]
        assert b'"after":"one.1","through":"two.0","reason":"epoch"' in batch.items[0].json
        assert parse(feed.position) == ("two", 1)


async def test_what_hubs_say_to_each_other_no_reader_hears(hub: Hub, broker: Late) -> None:
    heard: list[Record] = []
    hub.on_control("test", heard.append)
    await hub.control("test", b"{}")
    with hub.feed(["a"]) as feed:
        broker.hand_over(hub)
        await until(lambda: bool(heard))
        assert [record.data for record in heard] == [b"{}"]
        assert feed.ready() is None
        assert feed.position == "one.1"
    with pytest.raises(Refusal, match="4404"):
        await hub.publish("$test", 1)
