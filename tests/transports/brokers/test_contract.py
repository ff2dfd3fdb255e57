"""What every broker promises, over each store of `tests/stores.py`; a new one is a line there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.stores import STORES, Followed, Store
from transports import ConfigError, Options, Refusal
from transports.brokers import Broker, Record, broker_from
from transports.position import Position
from transports.testing import until

LASTING = [name for name, store in STORES.items() if store.lasting]
SHARED = [name for name, store in STORES.items() if store.shared]
lasting = pytest.mark.parametrize("store", LASTING, indirect=True)
shared = pytest.mark.parametrize("store", SHARED, indirect=True)


@pytest.fixture(params=list(STORES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with STORES[request.param].fresh(tmp_path, request) as store:
        yield store


class Opened:
    """A broker that hands over to `followed`."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.followed = Followed()
        self.publish = broker.publish

    async def close(self) -> None:
        await self.broker.close()

    async def has(self, *offsets: int) -> None:
        """Wait until it has been handed these."""
        await until(lambda: {record.offset for record in self.followed.records} >= set(offsets))


@pytest.fixture
async def opened(store: Store) -> AsyncIterator[Callable[..., object]]:
    """Opens a broker over the store."""
    async with AsyncExitStack() as stack:

        async def open_(**settings: object) -> Opened:
            one = Opened(store.broker(**settings))
            await one.broker.tail(one.followed)
            stack.push_async_callback(one.close)
            return one

        yield open_


@pytest.fixture
async def one(opened: Callable[..., object]) -> Opened:
    return await opened(key_window=120.0, key_count=100)


async def test_offsets_grow_over_all_channels_and_are_handed_over_in_order(one: Opened) -> None:
    offsets = [await one.publish("ab"[n % 2], b"%d" % n, None) for n in range(10)]
    assert offsets == sorted(set(offsets))
    assert offsets[0] > 0
    await one.has(*offsets)
    assert [record.offset for record in one.followed.records] == offsets
    assert [record.data for record in one.followed.records] == [b"%d" % n for n in range(10)]


@shared
async def test_what_could_not_be_taken_is_told(one: Opened, opened: Callable[..., object], store: Store) -> None:
    """Whoever follows has a fault: it takes a part of what it was given, and fails."""
    take = one.followed.take

    def fail(records: Sequence[Record]) -> None:
        take(records[:1])
        if len(records) > 1:
            one.followed.take = take
            raise RuntimeError("a fault of its own")

    one.followed.take = fail
    other = await opened()
    published: list[int] = []
    while one.followed.take is not take:
        published += await asyncio.gather(*(other.publish("a", b"%d" % n, None) for n in range(20)))
    await until(lambda: one.followed.through >= max(published))
    assert not one.followed.lacks(dict.fromkeys(published, "a"))


async def test_a_key_within_the_window_publishes_once(one: Opened, store: Store) -> None:
    first = await one.publish("a", b"1", "k")
    await store.later(119)
    assert await one.publish("a", b"2", "k") == first
    other = await one.publish("b", b"3", "k")
    assert other != first
    await one.has(other)
    assert [record.data for record in one.followed.records] == [b"1", b"3"]


async def test_a_key_after_the_window_publishes_again(one: Opened, store: Store) -> None:
    first = await one.publish("a", b"1", "k")
    await store.later(121)
    second = await one.publish("a", b"2", "k")
    assert second != first
    await one.has(first, second)


async def test_a_key_that_many_publish_at_once_is_published_once(one: Opened) -> None:
    offsets = await asyncio.gather(*(one.publish("a", b"%d" % n, "k") for n in range(50)))
    assert len(set(offsets)) == 1
    end = await one.publish("a", b"end", None)
    await one.has(end)
    assert [record.offset for record in one.followed.records] == [offsets[0], end]


async def test_what_many_publish_at_once_is_handed_over_once_each_and_in_order(one: Opened) -> None:
    offsets = await asyncio.gather(*(one.publish("abc"[n % 3], b"%d" % n, None) for n in range(500)))
    await one.has(*offsets)
    records = one.followed.records
    assert [record.offset for record in records] == sorted(offsets)
    assert {record.offset: record.data for record in records} == {offset: b"%d" % n for n, offset in enumerate(offsets)}


async def test_the_head_is_the_last_that_was_published(one: Opened) -> None:
    offset = await one.publish("a", b"1", None)
    assert await one.broker.head() == Position(one.followed.epoch, offset)


async def test_what_it_is_about_is_kept(one: Opened) -> None:
    offset = await one.publish("a", b"1", None, "x")
    await one.has(offset)
    assert one.followed.records[0].about == "x"


@pytest.mark.parametrize(
    "data",
    [b'"\xe2\x80\xa8\\u0000 \'--"', bytes(range(256)), b"1e400", b"", b'"' + b"x" * (4 << 20) + b'"'],
    ids=["signs", "every byte", "no float", "nothing", "4 MB"],
)
async def test_data_is_handed_over_byte_for_byte(one: Opened, data: bytes) -> None:
    offset = await one.publish("a", data, "key: \"ü'\0", "about: \"ü'\0")
    await one.has(offset)
    assert [(each.data, each.about) for each in one.followed.records] == [(data, "about: \"ü'\0")]


async def test_a_publish_that_is_cancelled_is_whole_or_not_there(one: Opened) -> None:
    tasks = [asyncio.create_task(one.publish("a", b"%d" % n, f"k{n}")) for n in range(100)]
    for turn in range(3):
        await asyncio.sleep(0)
        for task in tasks[turn::5]:
            task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    last = await one.publish("a", b"end", None)
    kept = {offset: b"%d" % n for n, offset in enumerate(ends) if isinstance(offset, int)}
    await one.has(*kept, last)
    datas = [record.data for record in one.followed.records]
    assert len(datas) == len(set(datas)), "none twice"
    assert kept.items() <= {record.offset: record.data for record in one.followed.records}.items()
    assert all(isinstance(end, int | asyncio.CancelledError) for end in ends)
    for n in range(100):  # those that were kept without a word have their key
        await one.publish("a", b"%d" % n, f"k{n}")
    last = await one.publish("a", b"end again", None)
    await one.has(last)
    assert sorted(record.data for record in one.followed.records) == sorted(
        [*(b"%d" % n for n in range(100)), b"end", b"end again"]
    )


async def test_what_is_published_while_it_closes_is_kept_or_refused(one: Opened, store: Store) -> None:
    tasks = [asyncio.create_task(one.publish("a", b"%d" % n, None)) for n in range(200)]
    await asyncio.sleep(0)
    await one.close()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, int) or (isinstance(end, Refusal) and end.code == 4504) for end in ends)
    if store.lasting:
        again = Opened(store.broker())
        await again.broker.tail(again.followed)
        assert {end for end in ends if isinstance(end, int)} <= {record.offset for record in again.followed.records}
        await again.close()


async def test_a_closed_broker_can_begin_another_life(one: Opened) -> None:
    await one.publish("a", b"1", None)
    await one.close()
    followed = Followed()
    await one.broker.tail(followed)
    offset = await one.publish("a", b"2", None)
    await until(lambda: followed.records and followed.records[-1].offset == offset)
    assert followed.epoch.isalnum()
    assert len(followed.epoch) <= 16


async def test_stores_have_epochs_of_their_own(store: Store, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "other").mkdir()
    epochs = set()
    async with type(store).fresh(tmp_path / "other", request) as other:
        for each in (store, other):
            broker, followed = each.broker(), Followed()
            await broker.tail(followed)
            epochs.add(followed.epoch)
            await broker.close()
    assert len(epochs) == 2


@lasting
async def test_what_is_kept_comes_before_anything_new(store: Store, opened: Callable[..., object]) -> None:
    before = await opened()
    kept = [await before.publish("ab"[n % 2], b"%d" % n, None) for n in range(5)]
    await before.close()
    after = await opened()
    assert [record.offset for record in after.followed.records] == kept, "when `tail` returns"
    assert after.followed.epoch == before.followed.epoch
    assert await after.publish("a", b"1", None) > kept[-1]


@lasting
async def test_keys_and_what_events_are_about_outlive_the_broker(store: Store, opened: Callable[..., object]) -> None:
    before = await opened()
    first = await before.publish("a", b"1", "k", "x")
    await before.close()
    after = await opened()
    assert after.followed.records == before.followed.records
    assert after.followed.records[0].about == "x"
    assert await after.publish("a", b"2", "k") == first


@lasting
@pytest.mark.parametrize("seed", range(3))
async def test_who_comes_late_has_everything_or_is_told_of_it(store: Store, opened: Callable[..., object], seed: int) -> None:
    """Over three lives: what one follows, and what it is told to be gone, is all that there was; and the newest is kept."""
    chance, published, settings = random.Random(seed), {}, {"history_count": 4, "history_bytes": 60, "history_age": 50}
    for _ in range(3):
        one = await opened(**settings)
        assert one.followed.lacks(published) == set()
        for _ in range(30):
            channel = chance.choice("abc")
            offset = await one.publish(channel, b"%0*d" % (chance.choice((1, 10, 100)), 7), None)
            published[offset] = channel
            await store.later(chance.choice((0, 0, 5)))
        await one.has(max(published))
        assert one.followed.lacks(published) == set()
        await one.close()
    late = await opened(**settings)
    assert late.followed.lacks(published) == set()
    assert max(published) in {record.offset for record in late.followed.records}
    assert all(record.offset > late.followed.forgotten.get(record.channel, 0) for record in late.followed.records)


@shared
async def test_a_key_is_known_to_all(store: Store, opened: Callable[..., object]) -> None:
    both = [await opened(), await opened()]
    first = await both[0].publish("a", b"1", "k")
    assert await both[1].publish("a", b"2", "k") == first
    at_once = await asyncio.gather(*(both[n % 2].publish("a", b"%d" % n, "other") for n in range(20)))
    assert len(set(at_once)) == 1
    for each in both:
        await each.has(at_once[0])
        assert [record.offset for record in each.followed.records] == [first, at_once[0]]


@shared
async def test_all_hand_over_the_same_in_the_same_order(store: Store, opened: Callable[..., object]) -> None:
    both = [await opened(), await opened()]
    offsets = await asyncio.gather(*(both[n % 2].publish("ab"[n % 2], b"%d" % n, None) for n in range(200)))
    for each in both:
        await each.has(*offsets)
    assert both[0].followed.records == both[1].followed.records
    assert await both[0].broker.head() == await both[1].broker.head() == Position(both[0].followed.epoch, max(offsets))


async def test_an_unknown_broker_is_named() -> None:
    with pytest.raises(ConfigError, match="mongo"):
        broker_from(Options(broker="mongo://x"))
