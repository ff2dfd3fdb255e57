"""Hubs that share a broker: what one has taken, another may not have got yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import Together
from tests.transports.test_group import Client
from transports import Code, ConfigError, EverywireError, Options, Refusal
from transports.brokers import Follower, Record
from transports.group import Groups
from transports.hub import Hub
from transports.items import Batch, Bye, decode_item
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


# --- leaving


@pytest.fixture
async def two() -> AsyncIterator[tuple[Hub, Hub]]:
    """Hubs of two processes, as it were."""
    options, broker = Options(channels=("*",), reconnects=1000, stays=60.0, drain=0.2), Together()
    hubs = Hub(options, broker=broker), Hub(options, broker=broker)
    for each in hubs:
        each._peers._patience = 0.1
        await each.open()
    yield hubs
    await asyncio.gather(*[each.close() for each in hubs])


def said(batch: Batch | None) -> list[Any]:
    return [] if batch is None else [decode_item(item.json) for item in batch.items]


async def test_who_leaves_serves_on_until_its_readers_have_gone(two: tuple[Hub, Hub]) -> None:
    hub, other = two
    with hub.feed(["a"]) as feed:
        draining = asyncio.create_task(hub.drain())
        (bye,) = said(await feed.take(60))
        assert (bye.code, 0 <= bye.retry < bye.stays) == (4503, True)
        await other.publish("a", 1)
        assert [item.data for item in said(await feed.take(60))] == [1]
        await hub.publish("a", 2)
        assert [item.data for item in said(await feed.take(60))] == [2]
        assert not draining.done()
    await asyncio.wait_for(draining, 10)
    with pytest.raises(Refusal, match="4503"):
        hub.feed(["a"])


async def test_whoever_comes_meanwhile_is_told_behind_what_there_is(two: tuple[Hub, Hub]) -> None:
    hub, _ = two
    await hub.publish("a", 1)
    with hub.feed(["a"]):
        draining = asyncio.create_task(hub.drain())
        await until(lambda: hub.leaving)
        with hub.feed(["a"], Position("one", 0)) as late:
            event, bye = said(late.ready())
            assert (event.data, bye.code, bye.stays > 0) == (1, 4503, True)
            assert late.ready() is None
    await asyncio.wait_for(draining, 10)


async def test_where_nobody_else_is_there_it_ends_as_one_process_does(two: tuple[Hub, Hub]) -> None:
    hub, other = two
    await other.drain()
    with hub.feed(["a"]) as feed:
        draining = asyncio.create_task(hub.drain())
        (bye,) = said(await feed.take(60))
        assert (bye.code, bye.stays) == (4503, None)
        assert await feed.take(60) is None
    await asyncio.wait_for(draining, 10)


async def test_when_the_last_of_the_others_leaves_too_there_is_nothing_to_wait_for(two: tuple[Hub, Hub]) -> None:
    hub, other = two
    with hub.feed(["a"]) as feed:
        draining = [asyncio.create_task(hub.drain())]
        assert said(await feed.take(60))[0].stays > 0
        draining.append(asyncio.create_task(other.drain()))
        assert said(await feed.take(60))[0].stays is None
    await asyncio.wait_for(asyncio.gather(*draining), 10)


async def test_a_poll_is_answered_at_once_and_a_word_is_not_for_it(two: tuple[Hub, Hub]) -> None:
    hub, _ = two
    with hub.feed(["a"]) as poll:
        poll.once = True
        draining = asyncio.create_task(hub.drain())
        assert [item.kind for item in said(await poll.take(60))] == ["beat"]
    await asyncio.wait_for(draining, 10)


async def test_in_one_process_the_last_word_spreads_its_readers_below_the_ceiling() -> None:
    hub = Hub(Options(channels=("*",), reconnects=10, drain=0.01))
    await hub.open()
    feeds = [hub.feed(["a"]) for _ in range(40)]
    await hub.drain()
    retries = sorted([said(await feed.take(0))[0].retry for feed in feeds])
    assert all(later - earlier >= 0.09 for earlier, later in pairwise(retries))
    assert 0.4 < retries[0] <= 0.7
    assert 4.2 < retries[-1] < 4.7


@given(st.lists(st.sampled_from(["join", "fork", "leave", "turn"]), max_size=12), st.integers(1, 30))
def test_each_reader_is_told_once_however_it_comes_and_goes_meanwhile(meanwhile: list[str], count: int) -> None:
    async def play() -> None:
        options = Options(channels=("*",), reconnects=1000, stays=60.0, drain=0.01)
        hub = Hub(options, broker=Together())
        await hub.open()
        groups = Groups(hub)
        clients = [Client(groups, hub.feed(["a"])) for _ in range(count)]
        await until(lambda: all(client.group for client in clients))
        hub._parting.send(count, 0.0)
        for each in meanwhile:
            match each:
                case "turn":
                    await asyncio.sleep(0)
                case "join":
                    Client(groups, hub.feed(["a"]))
                case "fork" if (member := next((each for each in clients if each.group), None)) is not None:
                    own = hub.fork(member.group.feed)
                    member.group.remove(member)
                    member.alone(own)
                case "leave":
                    await hub.publish("a", 1)
        await hub.publish("a", "end")
        await until(lambda: all(client.numbers[-1:] == ["end"] for client in clients))
        for client in clients:
            assert [type(item) for item in client.items].count(Bye) == 1
            assert client.numbers == [1] * meanwhile.count("leave") + ["end"]
        assert hub.counts.as_dict()["moved"] == {"rebalance": count}
        await hub.close()

    asyncio.run(play())


async def test_readers_are_evened_out(two: tuple[Hub, Hub]) -> None:
    crowded, empty = two
    groups = Groups(crowded)
    clients = [Client(groups, crowded.feed(["a"])) for _ in range(30)]
    poll = crowded.feed(["a"])
    poll.once = True
    await until(lambda: all(client.group for client in clients))
    shares = await empty.rebalance(over=2.0)
    assert sorted((share.readers, share.goes) for share in shares) == [(0, 0), (30, 15)]
    await until(lambda: sum(len(client.items) for client in clients) == 15)
    byes = [item for client in clients for item in client.items]
    assert {(bye.code, bye.name) for bye in byes} == {(4505, "rebalance")}
    assert len({bye.retry for bye in byes}) == 15
    assert max(bye.retry for bye in byes) > 1.5
    assert poll.ready() is None, "polls are left alone"
    poll.leave()
    with pytest.raises(EverywireError, match="under way"):
        await crowded.rebalance()


async def test_what_was_asked_before_a_process_came_is_not_for_it() -> None:
    broker = Together()
    await broker.publish("$peers", b'{"do":"ask","id":"x","over":0.0,"tolerance":0.0}', None)
    hub = Hub(Options(channels=("*",), drain=0.01), broker=broker)
    await hub.open()
    await asyncio.sleep(0)
    assert len(broker.records) == 1
    await hub.close()


async def test_one_process_has_nothing_to_balance() -> None:
    with pytest.raises(ConfigError, match="memory://"):
        await Hub(Options()).rebalance()
