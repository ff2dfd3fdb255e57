"""What every broker promises; a new one is a line in `BROKERS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from transports import ConfigError, Options
from transports.brokers import Broker, Record, broker_from
from transports.brokers.memory import MemoryBroker
from transports.position import Position


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


BROKERS: dict[str, Callable[[Clock], Broker]] = {
    "memory": lambda clock: MemoryBroker(key_window=120.0, key_count=100, clock=clock),
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=BROKERS.values(), ids=BROKERS.keys())
async def broker(request: pytest.FixtureRequest, clock: Clock) -> Broker:
    return request.param(clock)


class Followed:
    """A follower that keeps what it was told."""

    def __init__(self) -> None:
        self.epoch = ""
        self.gone = 0
        self.forgotten: dict[str, int] = {}
        self.records: list[Record] = []

    def begin(self, epoch: str, gone: int = 0) -> None:
        self.epoch, self.gone = epoch, gone

    def forget(self, channel: str, through: int) -> None:
        self.forgotten[channel] = through

    def take(self, records: Sequence[Record]) -> None:
        self.records += records


@pytest.fixture
async def followed(broker: Broker) -> Followed:
    followed = Followed()
    await broker.tail(followed)
    return followed


@pytest.fixture
async def tailed(followed: Followed) -> list[Record]:
    return followed.records


async def test_offsets_grow_over_all_channels_and_are_handed_over_in_order(broker: Broker, tailed: list[Record]) -> None:
    offsets = [await broker.publish("ab"[n % 2], b"%d" % n, None) for n in range(10)]
    assert offsets == sorted(set(offsets))
    assert [record.offset for record in tailed] == offsets
    assert [record.data for record in tailed] == [b"%d" % n for n in range(10)]
    assert {record.at for record in tailed} == {1_000.0}


async def test_a_key_within_the_window_publishes_once(broker: Broker, tailed: list[Record], clock: Clock) -> None:
    first = await broker.publish("a", b"1", "k")
    clock.now += 119
    assert await broker.publish("a", b"2", "k") == first
    assert await broker.publish("b", b"3", "k") != first
    assert [record.data for record in tailed] == [b"1", b"3"]


async def test_a_key_after_the_window_publishes_again(broker: Broker, tailed: list[Record], clock: Clock) -> None:
    first = await broker.publish("a", b"1", "k")
    clock.now += 121
    assert await broker.publish("a", b"2", "k") != first
    assert len(tailed) == 2


async def test_keys_are_forgotten_rather_than_hoarded(broker: Broker, tailed: list[Record]) -> None:
    for n in range(200):
        await broker.publish("a", b"1", f"k{n}")
    for n in range(100, 200):
        await broker.publish("a", b"1", f"k{n}")
    assert len(tailed) == 200, "a key that is known drives out no other"
    await broker.publish("a", b"1", "k0")
    assert len(tailed) == 201


async def test_every_life_has_its_own_epoch(broker: Broker) -> None:
    first, second = Followed(), Followed()
    await broker.tail(first)
    await MemoryBroker().tail(second)
    assert first.epoch.isalnum()
    assert len(first.epoch) <= 16
    assert first.epoch != second.epoch


async def test_the_head_is_the_last_that_was_published(broker: Broker, followed: Followed) -> None:
    offset = await broker.publish("a", b"1", None)
    assert await broker.head() == Position(followed.epoch, offset)


async def test_what_it_is_about_is_kept(broker: Broker, tailed: list[Record]) -> None:
    await broker.publish("a", b"1", None, "x")
    assert tailed[0].about == "x"


async def test_an_unknown_broker_is_named() -> None:
    with pytest.raises(ConfigError, match="mongo"):
        broker_from(Options(broker="mongo://x"))
