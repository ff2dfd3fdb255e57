from __future__ import annotations

import asyncio

import msgspec
import pytest

from transports import Code, Hub, Options, Position, Refusal
from transports.items import decode_item
from transports.position import parse


def items(batch) -> list:
    return [decode_item(item.json) for item in batch.items]


@pytest.fixture
async def hub() -> Hub:
    hub = Hub(Options(channels=("*",), history_count=3, drain=0.01))
    await hub.open()
    return hub


async def test_what_is_there_comes_at_once(hub: Hub) -> None:
    with hub.feed(["a"]) as feed:
        await hub.publish("a", 1)
        (event,) = items(await feed.take(0))
        assert event.data == 1
        assert feed.position == event.id


async def test_waiting_ends_with_the_first_event(hub: Hub) -> None:
    with hub.feed(["a"]) as feed:
        taking = asyncio.create_task(feed.take(60))
        await asyncio.sleep(0)
        await hub.publish("b", 0)
        await hub.publish("a", 1)
        assert [event.data for event in items(await taking)] == [1]


async def test_waiting_in_vain_is_a_beat_that_moves_the_position(hub: Hub) -> None:
    with hub.feed(["a"]) as feed:
        await hub.publish("b", 0)
        (beat,) = items(await feed.take(0))
        assert beat.kind == "beat"
        assert beat.id == str(Position(hub.log.epoch, 1))


async def test_all_that_piled_up_comes_in_one_batch(hub: Hub) -> None:
    with hub.feed(["a", "b"]) as feed:
        for n in range(4):
            await hub.publish("ab"[n % 2], n)
        assert [event.data for event in items(await feed.take(0))] == [0, 1, 2, 3]


async def test_resuming_is_exact_while_everything_is_kept(hub: Hub) -> None:
    first = await hub.publish("a", 1)
    await hub.publish("a", 2)
    with hub.feed(["a"], Position(hub.log.epoch, 1)) as feed:
        assert feed.resumed == "exact"
        assert str(Position(hub.log.epoch, 1)) == first
        assert [event.data for event in items(await feed.take(0))] == [2]


async def test_what_was_evicted_is_declared_before_the_rest(hub: Hub) -> None:
    for n in range(6):
        await hub.publish("a", n)
    with hub.feed(["a"], Position(hub.log.epoch, 1)) as feed:
        assert feed.resumed == "lost"
        lost, *events = items(await feed.take(0))
        assert msgspec.to_builtins(lost) == {
            "type": "lost",
            "id": f"{hub.log.epoch}.1",
            "channel": "a",
            "after": f"{hub.log.epoch}.1",
            "through": f"{hub.log.epoch}.3",
            "reason": "evicted",
        }
        assert [event.data for event in events] == [3, 4, 5]


async def test_a_position_of_another_life_is_lost_for_each_channel_and_all_of_this_life_comes(hub: Hub) -> None:
    await hub.publish("a", 1)
    with hub.feed(["a", "b"], Position("gone", 99)) as feed:
        first, second, event = items(await feed.take(0))
        assert [(lost.channel, lost.after, lost.through, lost.reason) for lost in (first, second)] == [
            (name, "gone.99", f"{hub.log.epoch}.0", "epoch") for name in "ab"
        ]
        # A client that is cut between the two must come back with the old position, or the second would never be told.
        assert (first.id, second.id) == ("gone.99", f"{hub.log.epoch}.0")
        assert event.data == 1


async def test_a_position_of_another_life_covers_what_this_life_has_lost_already(hub: Hub) -> None:
    for n in range(5):
        await hub.publish("a", n)
    with hub.feed(["a"], Position("gone", 99)) as feed:
        lost, *events = items(await feed.take(0))
        assert lost.through == f"{hub.log.epoch}.2"
        assert [event.data for event in events] == [2, 3, 4]


async def test_a_position_ahead_of_the_log_goes_on_from_the_present(hub: Hub) -> None:
    await hub.publish("a", 1)
    with hub.feed(["a"], Position(hub.log.epoch, 50)) as feed:
        (lost,) = items(await feed.take(0))
        assert (lost.reason, lost.id, lost.through) == ("future", f"{hub.log.epoch}.1", f"{hub.log.epoch}.1")
        await hub.publish("a", 2)
        assert [event.data for event in items(await feed.take(0))] == [2]


async def test_where_all_is_gone_the_last_loss_moves_the_reader_to_the_end(hub: Hub) -> None:
    for n in range(4):
        await hub.publish("ab"[n % 2], n)
    hub.log.evict(now=1e12)
    with hub.feed(["a", "b"], Position(hub.log.epoch, 0)) as feed:
        first, second = items(await feed.take(0))
        assert (first.id, second.id) == (f"{hub.log.epoch}.0", f"{hub.log.epoch}.4")
    with hub.feed(["a", "b"], Position(hub.log.epoch, 4)) as feed:
        assert feed.resumed == "exact"
    with hub.feed(["a", "b"], Position("gone", 99)) as feed:
        assert decode_item(feed.hello("c", 15.0).json).id == "gone.99", "cut off here, all must be told again"
        first, second = items(await feed.take(0))
        assert (first.id, second.id) == ("gone.99", f"{hub.log.epoch}.4")


async def test_a_slow_reader_is_told_each_range_once(hub: Hub) -> None:
    with hub.feed(["a", "b"]) as feed:
        feed._limit = 1  # an event at a time
        ranges, got = [], []
        for n in range(1, 21):
            await hub.publish("a" if n % 4 else "b", n)
            if n % 5 == 0:
                for item in items(await feed.take(0)):
                    if item.kind == "lost":
                        ranges.append((item.channel, item.after, item.through))
                    else:
                        got.append(item.data)
        while (batch := feed.ready()) is not None:
            got += [item.data for item in items(batch) if item.kind == "event"]
        assert len(set(ranges)) == len(ranges)
        told: dict[str, int] = {}
        for channel, after, through in ranges:
            after, through = int(after.split(".")[1]), int(through.split(".")[1])
            assert told.get(channel, 0) <= after < through
            told[channel] = through
        assert got == sorted(got)


async def test_bye_comes_last_and_after_what_was_there(hub: Hub) -> None:
    with hub.feed(["a"]) as feed:
        await hub.publish("a", 1)
        feed.end(Refusal(Code.TOO_SLOW))
        event, bye = items(await feed.take(60))
        assert (event.data, bye.code, bye.name) == (1, 4430, "too_slow")
        assert await feed.take(60) is None


async def test_a_reader_that_has_gone_gets_nothing_more(hub: Hub) -> None:
    with hub.feed(["a"]) as feed:
        taking = asyncio.create_task(feed.take(60))
        await asyncio.sleep(0)
        feed.end()
        assert await taking is None
        feed.end(Refusal(Code.DRAINING))
        assert await feed.take(60) is None


async def test_readers_at_the_same_place_share_the_bytes(hub: Hub) -> None:
    with hub.feed(["a"]) as one, hub.feed(["a"]) as other:
        await hub.publish("a", 1)
        assert await one.take(0) is await other.take(0)


async def strict(**settings: object) -> Hub:
    hub = Hub(Options(channels=("*",), history_count=3, slow_readers="close", **settings))
    await hub.open()
    return hub


async def test_who_falls_behind_while_it_reads_ends_where_it_stands_where_that_is_wanted() -> None:
    hub = await strict()
    with hub.feed(["a"]) as feed:
        await hub.publish("a", 0)
        assert [event.data for event in items(await feed.take(60))] == [0]
        before = feed.position
        for number in range(1, 5):
            await hub.publish("a", number)
        (bye,) = items(await feed.take(60))
        assert (bye.kind, bye.code) == ("bye", 4430)
        assert feed.position == before
        assert await feed.take(60) is None
    assert hub.limits.refused == {"slow_readers": 1}
    with hub.feed(["a"], parse(before)) as again:
        assert [item.kind for item in items(await again.take(60))] == ["lost", "event", "event", "event"]


async def test_who_follows_more_is_told_of_that_what_is_lost_and_goes_on() -> None:
    hub = await strict()
    for number in range(5):
        await hub.publish("b", number)
    with hub.feed(["a"], Position(hub.log.epoch, 0)) as feed:
        assert feed.ready() is None
    with hub.feed(["a"], Position(hub.log.epoch, 0)) as feed:
        feed.fresh = False
        hub.follow(feed, ["a", "b"])
        assert [item.kind for item in items(await feed.take(60))] == ["lost", "event", "event", "event"]
