"""What every broker promises; a new one is a line in `BROKERS`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from transports import ConfigError, Options
from transports.brokers import Broker, Record, broker_from
from transports.brokers.memory import MemoryBroker


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


@pytest.fixture
async def tailed(broker: Broker) -> list[Record]:
    records: list[Record] = []
    await broker.tail(records.append)
    return records


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
    epoch = await broker.tail(lambda record: None)
    assert epoch.isalnum()
    assert len(epoch) <= 16
    assert epoch != await MemoryBroker().tail(lambda record: None)


async def test_an_unknown_broker_is_named() -> None:
    with pytest.raises(ConfigError, match="mongo"):
        broker_from(Options(broker="mongo://x"))
