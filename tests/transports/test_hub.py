from __future__ import annotations

import asyncio

import pytest

from transports import Code, EverywireError, Hub, Options, Refusal
from transports.items import decode_item
from transports.position import Position
from transports.testing import until


def hub_of(**settings: object) -> Hub:
    return Hub(Options(**{"channels": ("a", "room.*"), "drain": 0.05, **settings}))


@pytest.mark.parametrize("channel", ["", "b", "A", "room", "a b", "a,b", "-a", "x" * 129, "ä", "a\n"])
async def test_a_channel_that_is_not_allowed_is_refused_and_nothing_is_published(channel: str) -> None:
    hub = hub_of()
    await hub.open()
    with pytest.raises(Refusal) as refused:
        await hub.publish(channel, 1)
    assert refused.value.code == Code.UNKNOWN_CHANNEL
    with pytest.raises(Refusal):
        hub.feed([channel])
    assert (hub.log.head, hub.readers) == (0, 0)


@pytest.mark.parametrize("channel", ["a", "room.1", "room.lobby:x-y_z"])
async def test_a_channel_is_allowed_by_its_name_or_its_beginning(channel: str) -> None:
    hub = hub_of()
    assert await hub.publish(channel, 1) == f"{hub.log.epoch}.1"


def nested(levels: int) -> object:
    data: object = 1
    for _ in range(levels):
        data = [data]
    return data


async def test_a_hundred_levels_are_deep_enough() -> None:
    hub = hub_of()
    await hub.publish("a", [nested(99), *([[]] * 300)])
    assert hub.log.head == 1


@pytest.mark.parametrize(
    "data",
    [object(), "\ud800", {(1, 2): 3}, nested(101), nested(3000)],
    ids=["object", "surrogate", "key", "101-levels", "3000-levels"],
)
async def test_data_that_json_cannot_say_is_refused(data: object) -> None:
    hub = hub_of()
    with pytest.raises(Refusal) as refused:
        await hub.publish("a", data)
    assert refused.value.code == Code.BAD_COMMAND
    assert hub.log.head == 0


async def test_data_over_the_limit_is_refused_and_at_the_limit_is_not() -> None:
    hub = hub_of(message_bytes=10)
    await hub.publish("a", "x" * 8)
    with pytest.raises(Refusal) as refused:
        await hub.publish("a", "x" * 9)
    assert refused.value.code == Code.TOO_LARGE


async def test_there_is_an_end_to_new_channels() -> None:
    hub = hub_of(channels_max=2)
    await hub.publish("room.1", 1)
    await hub.publish("room.2", 1)
    with pytest.raises(Refusal) as refused:
        await hub.publish("room.3", 1)
    assert refused.value.code == Code.UNKNOWN_CHANNEL
    await hub.publish("room.1", 2)


async def test_too_many_channels_for_one_reader() -> None:
    hub = hub_of(channels_per_reader=2)
    await hub.open()
    with hub.feed(["room.1", "room.2", "room.1"]) as feed:
        assert feed.channels == ("room.1", "room.2")
    with pytest.raises(Refusal) as refused:
        hub.feed(["room.1", "room.2", "room.3"])
    assert refused.value.code == Code.BAD_COMMAND


async def test_the_same_key_publishes_once_per_channel() -> None:
    hub = hub_of()
    first = await hub.publish("a", 1, key="k")
    assert await hub.publish("a", 1, key="k") == first
    assert await hub.publish("room.1", 1, key="k") != first


async def test_closing_says_bye_to_everybody_and_refuses_what_comes_after() -> None:
    hub = hub_of(drain=5.0)
    await hub.open()

    async def read() -> list[str]:
        with hub.feed(["a"]) as feed:
            kinds = []
            while (batch := await feed.take(60)) is not None:
                kinds += [decode_item(item.json) for item in batch.items]
            return kinds

    readers = [asyncio.create_task(read()) for _ in range(50)]
    await until(lambda: hub.readers == 50)
    await hub.close()
    byes = [items[-1] for items in await asyncio.gather(*readers)]
    assert {bye.code for bye in byes} == {4503}
    assert len({bye.retry for bye in byes}) > 10, "those who are sent away together must not come back together"
    with pytest.raises(Refusal) as refused:
        hub.feed(["a"])
    assert refused.value.code == Code.DRAINING
    with pytest.raises(Refusal):
        await hub.publish("a", 1)


async def test_an_end_for_good_says_so() -> None:
    hub = hub_of()
    await hub.open()
    with hub.feed(["a"]) as feed:
        await hub.close(Code.CLOSED)
        assert decode_item((await feed.take(0)).items[-1].json).retry is None


async def test_a_server_that_starts_again_in_the_same_process_has_a_new_log() -> None:
    hub = hub_of()
    first = await hub.publish("a", 1, key="k")
    await asyncio.gather(hub.close(), hub.close())
    await hub.open()
    with pytest.raises(Refusal):
        await hub.publish("a", 1)
    await hub.open(anew=True)
    assert await hub.publish("a", 1, key="k") != first
    assert len(hub.log) == 1


async def test_closing_does_not_wait_for_ever_for_a_reader_that_does_not_take_its_bye() -> None:
    hub = hub_of()
    await hub.open()
    with hub.feed(["a"]):
        await hub.close()


async def test_nothing_is_left_of_readers_that_have_gone() -> None:
    hub = hub_of()
    await hub.open()
    with hub.feed(["a", "room.1"]) as feed:
        hub.follow(feed, ["room.2"])
    assert (hub.readers, len(hub._bells)) == (0, 0)


async def test_following_other_channels_goes_on_from_the_same_place() -> None:
    hub = hub_of()
    await hub.open()
    with hub.feed(["a"]) as feed:
        await hub.publish("room.1", "before")
        await feed.take(0)
        hub.follow(feed, ["a", "room.1"])
        await hub.publish("room.1", "after")
        (event,) = (await feed.take(0)).items
        assert decode_item(event.json).data == "after"


async def test_a_feed_wants_an_open_hub() -> None:
    with pytest.raises(EverywireError, match=r"hub\.open"):
        hub_of().feed(["a"])


async def test_opening_twice_at_once_is_opening_once() -> None:
    hub = hub_of()
    await asyncio.gather(*(hub.open() for _ in range(5)))
    epoch = hub.log.epoch
    await hub.open()
    assert hub.log.epoch == epoch != ""


# --- coalescing


class Bell:
    """Counts how often a reader is called."""

    def __init__(self, feed) -> None:
        self.rung = 0
        feed.bell = self.ring

    def ring(self) -> None:
        self.rung += 1


async def test_events_within_a_window_ring_once_at_its_end_and_the_first_rings_at_once() -> None:
    hub = hub_of(coalesce=1.0)
    await hub.open()
    bells = [Bell(hub.feed(channels)) for channels in (["a"], ["a", "room.1"], ["room.2"])]
    await hub.publish("a", 0)
    assert [bell.rung for bell in bells] == [1, 1, 0], "who comes after a pause does not wait"
    for number in range(10):
        await hub.publish("a", number)
        await hub.publish("room.1", number)
    assert [bell.rung for bell in bells] == [1, 1, 0]
    await until(lambda: bells[0].rung == 2)
    assert [bell.rung for bell in bells] == [2, 2, 0]


def test_a_window_ends_with_its_hub_and_not_in_another_life_on_another_loop() -> None:
    hub = hub_of(coalesce=0.05)

    async def one_life() -> None:
        await hub.open(anew=True)
        with hub.feed(["a"]) as feed:
            bell = Bell(feed)
            await hub.publish("a", 1)
            await hub.publish("a", 2)
            await until(lambda: bell.rung, timeout=5)
        await hub.publish("a", 3)  # it opens a window in which the hub is closed
        await hub.publish("a", 4)
        await hub.close()

    for _ in range(3):
        asyncio.run(one_life())


@pytest.mark.parametrize("said", [{"key": "\ud800"}, {"about": "\udfff"}], ids=["key", "about"])
async def test_half_a_character_is_refused(said: dict[str, str]) -> None:
    hub = hub_of()
    with pytest.raises(Refusal, match="4400"):
        await hub.publish("a", 1, **said)
    assert hub.log.head == 0


async def test_without_a_window_every_event_rings() -> None:
    hub = hub_of()
    await hub.open()
    bell = Bell(hub.feed(["a"]))
    for _ in range(5):
        await hub.publish("a", 0)
    assert bell.rung == 5


# --- a glance


async def test_a_glance_says_what_a_feed_would_unless_there_is_more_to_say() -> None:
    hub = hub_of(history_count=3)
    await hub.open()
    epoch = hub.log.epoch
    for number in range(5):
        await hub.publish("a", number)
    for offset in range(6):
        glance, feed = hub.glance(["a"], Position(epoch, offset)), hub.feed(["a"], Position(epoch, offset))
        batch = feed.ready()
        if offset < 2 or offset == 5:  # something is gone, or nothing is there
            assert glance is None
        else:
            assert [item.id for item in glance.items] == [item.id for item in batch.items]
    assert hub.glance(["a"], Position("other", 1)) is None
    with pytest.raises(Refusal):
        hub.glance(["nobody"], Position(epoch, 1))
