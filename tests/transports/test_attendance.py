"""Who is there, over hubs that share a broker, one of which may be new, slow or gone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from transports import Code, Hub, Options, Position, Refusal
from transports.brokers import Follower, Record
from transports.position import parse
from transports.presence import PREFIX, Control, record_of
from transports.testing import until


class Shared:
    """A broker for any number of hubs; the time is that of the loop, which goes on by itself."""

    shared = True

    def __init__(self) -> None:
        self.epoch = "one"
        self.records: list[Record] = []
        self.keys: dict[tuple[str, str], int] = {}
        self.followers: list[Follower] = []
        self.kept_from = 0  # offsets through this one are not handed over any more
        self.down = False
        self.held: set[Follower] = set()  # who gets nothing at present

    def of(self) -> Seat:
        return Seat(self)

    def deliver(self, record: Record) -> None:
        self.records.append(record)
        for follower in self.followers:
            if follower not in self.held:
                follower.take([record])

    def catch_up(self, follower: Follower) -> None:
        self.held.discard(follower)
        follower.take([record for record in self.records if record.offset > follower.log.head])  # type: ignore[attr-defined]


class Seat:
    """The same broker, as one hub has it."""

    shared = True

    def __init__(self, broker: Shared) -> None:
        self.broker = broker
        self.follower: Follower | None = None

    async def tail(self, follower: Follower) -> None:
        broker, self.follower = self.broker, follower
        follower.begin(broker.epoch, broker.kept_from)
        follower.take([record for record in broker.records if record.offset > broker.kept_from])
        broker.followers.append(follower)

    async def publish(self, channel: str, data: bytes, key: str | None, about: str | None = None) -> int:
        await asyncio.sleep(0)
        broker = self.broker
        if broker.down:
            raise Refusal(Code.BROKER_DOWN, retry=0.02)
        if key is not None and (channel, key) in broker.keys:
            return broker.keys[channel, key]
        offset = len(broker.records) + 1
        if key is not None:
            broker.keys[channel, key] = offset
        broker.deliver(Record(offset, channel, asyncio.get_running_loop().time() + 1e9, data, about))
        return offset

    async def head(self) -> Position:
        return Position(self.broker.epoch, len(self.broker.records))

    async def close(self) -> None:
        if self.follower in self.broker.followers:
            self.broker.followers.remove(self.follower)


@pytest.fixture
def broker() -> Shared:
    return Shared()


@pytest.fixture
async def start(broker: Shared) -> AsyncIterator[Callable]:
    hubs: list[Hub] = []

    async def start(**settings: object) -> Hub:
        brisk = {"channels": ("room",), "presence_lease": 0.6, "presence_delay": 0.1, **settings}
        hub = Hub(Options(**brisk), broker=broker.of())
        hubs.append(hub)
        await hub.open()
        return hub

    yield start
    for hub in hubs:
        await hub.close()


@asynccontextmanager
async def killed(hub: Hub) -> AsyncIterator[None]:
    """What a process does that gets no chance to do anything."""
    await hub.presence.stop()
    yield


def told(broker: Shared, channel: str = "room") -> list[tuple[str, str]]:
    """What readers of all changes were told: (change, member)."""
    changes = [msgspec.json.decode(each.data) for each in broker.records if each.channel == PREFIX + channel]
    return [(each["change"], each["as"]) for each in changes]


async def names(hub: Hub) -> list[str]:
    return [member.name for member in (await hub.presence.members("room")).members]


async def test_any_process_knows_who_is_there_and_each_change_is_told_once(broker: Shared, start: Callable) -> None:
    hubs = [await start() for _ in range(3)]
    await hubs[0].presence.present("room", "ann", data={"mood": "fine"})
    await hubs[1].presence.present("room", "bob")
    await until(lambda: len(told(broker)) == 2)
    assert [await names(hub) for hub in hubs] == [["ann", "bob"]] * 3
    (ann, _) = (await hubs[2].presence.members("room")).members
    assert (ann.data, ann.visit) == ({"mood": "fine"}, "one.1")
    await hubs[2].presence.present("room", "ann", seconds=0)  # where she was not taken
    await until(lambda: len(told(broker)) == 4)  # bob dies
    assert told(broker)[2:] == [("left", "ann"), ("left", "bob")]
    assert [await names(hub) for hub in hubs] == [[]] * 3


async def test_the_members_of_a_killed_process_live_on_with_another_or_end(broker: Shared, start: Callable) -> None:
    first, second = await start(), await start()
    await first.presence.present("room", "ann")
    await first.presence.present("room", "bob")
    await until(lambda: len(told(broker)) == 2)
    async with killed(first):
        for _ in range(8):
            await asyncio.sleep(0.1)  # of her lease, six times as long: she renews
            await second.presence.present("room", "ann")
        await until(lambda: ("left", "bob") in told(broker))
        assert Counter(told(broker)) == Counter([("joined", "ann"), ("joined", "bob"), ("left", "bob")])
        assert await names(second) == ["ann"]


async def test_what_the_process_that_took_a_lease_did_not_tell_another_tells(broker: Shared, start: Callable) -> None:
    first, second = await start(presence_lease=60), await start(presence_lease=60)
    await first.presence.stop()
    await first.presence.present("room", "ann")  # and it dies before it tells
    assert told(broker) == []
    await until(lambda: told(broker) == [("joined", "ann")])
    assert await names(second) == ["ann"]


async def test_who_is_back_within_the_delay_never_left(broker: Shared, start: Callable) -> None:
    first, second = await start(presence_delay=60, presence_lease=120), await start(presence_delay=60, presence_lease=120)
    await first.presence.present("room", "ann", lease="before")
    await first.presence.present("room", "ann", lease="before", seconds=0)
    await second.presence.present("room", "ann", lease="after")
    await second.presence.present("room", "bob")  # with whom the rest has come
    await until(lambda: len(told(broker)) == 2)
    assert told(broker) == [("joined", "ann"), ("joined", "bob")]


async def test_who_starts_later_is_told_by_the_others(broker: Shared, start: Callable) -> None:
    first = await start(presence_lease=60)
    for number in range(3):
        await first.presence.present("room", f"m{number}", data="x" * 900)
    await until(lambda: len(told(broker)) == 3)
    broker.kept_from = len(broker.records)  # all of it has been let go of
    second = await start(presence_lease=60)
    page = await second.presence.members("room")
    assert page.members == (await first.presence.members("room")).members
    assert len(page.members) == 3
    await second.presence.present("room", "m1", data="x" * 900)
    await second.presence.present("room", "m3")
    await until(lambda: len(told(broker)) == 4)
    assert told(broker)[3:] == [("joined", "m3")]


async def test_who_starts_alone_goes_by_the_renewals_that_are_kept(broker: Shared, start: Callable) -> None:
    first = await start(presence_lease=20, presence_delay=0)
    await first.presence.present("room", "ann")
    await until(lambda: len(told(broker)) == 1)
    broker.kept_from = len(broker.records)
    await first.presence.present("room", "ann", data="renewed", seconds=3.5)
    async with killed(first):
        second = await start()
        page = await second.presence.members("room")
        assert [(member.name, member.visit) for member in page.members] == [("ann", "one.1")]
        await until(lambda: told(broker)[-1] == ("left", "ann"))
        assert Counter(told(broker))["joined", "ann"] == 1


async def test_after_a_hole_a_process_asks_and_says_nothing_false(broker: Shared, start: Callable) -> None:
    first, second = await start(presence_lease=60), await start(presence_lease=60)
    await first.presence.present("room", "ann")
    await until(lambda: len(told(broker)) == 1)
    broker.held.add(second)
    await first.presence.present("room", "bob")
    await until(lambda: len(told(broker)) == 2)
    broker.held.discard(second)
    second.begin("one", len(broker.records))
    assert await names(second) == ["ann", "bob"]
    assert told(broker) == [("joined", "ann"), ("joined", "bob")]


async def test_when_the_log_begins_anew_who_is_there_joins_anew(broker: Shared, start: Callable) -> None:
    first, second = await start(presence_lease=60), await start(presence_lease=60)
    await first.presence.present("room", "ann")
    await until(lambda: len(told(broker)) == 1)
    broker.epoch, broker.records[:] = "two", []
    broker.keys.clear()
    for hub in (first, second):
        hub.begin("two")
    await until(lambda: told(broker) == [("joined", "ann")])
    await until(lambda: second.log.head == len(broker.records))
    assert await names(second) == ["ann"]


async def test_what_the_broker_did_not_take_is_told_later(broker: Shared, start: Callable) -> None:
    first, second = await start(presence_lease=60), await start(presence_lease=60)
    broker.down = True
    with pytest.raises(Refusal, match="4504"):
        await first.presence.present("room", "ann")
    broker.down = False
    await until(lambda: told(broker) == [("joined", "ann")])  # it was not acknowledged, and not forgotten
    assert await names(second) == ["ann"]


async def test_many_renewals_are_one_record(broker: Shared, start: Callable) -> None:
    hub = await start(presence_lease=60)
    for number in range(100):
        await hub.presence.present("room", f"m{number}")
    await until(lambda: len(told(broker)) == 100)
    before = len(broker.records)
    for number in range(100):
        await hub.presence.present("room", f"m{number}")
    await until(lambda: len(broker.records) > before)
    assert len(broker.records) == before + 1


async def test_a_list_is_what_a_reader_of_all_changes_knows_there(broker: Shared, start: Callable) -> None:
    first, second = await start(presence_lease=0.3), await start(presence_lease=0.3)

    async def come_and_go(hub: Hub, name: str) -> None:
        for number in range(6):
            await hub.presence.present("room", name, data=number)
            await asyncio.sleep(0.01)
            await hub.presence.present("room", name, seconds=0)
            await asyncio.sleep(0.12 if number % 2 else 0.01)  # longer than the delay, and shorter

    going = [asyncio.create_task(come_and_go(hub, name)) for hub in (first, second) for name in (f"{id(hub)}a", f"{id(hub)}b")]
    lists = []
    while not all(task.done() for task in going):
        lists += [await hub.presence.members("room") for hub in (first, second)]
        await asyncio.sleep(0.005)
    await asyncio.gather(*going)
    await until(
        lambda: {Counter(told(broker))["joined", name] - Counter(told(broker))["left", name] for _, name in told(broker)} == {0}
    )
    assert len({page.id for page in lists}) > 10
    for page in lists:
        known: dict[str, object] = {}
        for record in broker.records[: parse(page.id).offset]:
            if record.channel == "presence:room":
                change = msgspec.json.decode(record.data)
                if change["change"] == "left":
                    del known[change["as"]]
                else:
                    known[change["as"]] = change["data"]
        assert {member.name: member.data for member in page.members} == known


async def test_who_asks_with_a_position_waits_until_it_has_come_here(broker: Shared, start: Callable) -> None:
    first, second = await start(presence_lease=60), await start(presence_lease=60)
    broker.held.add(second)
    await first.presence.present("room", "ann")
    await until(lambda: len(told(broker)) == 1)
    place = Position("one", first.log.head)
    assert await names(second) == []
    asking = asyncio.create_task(second.presence.members("room", since=place))
    await asyncio.sleep(0)
    broker.catch_up(second)
    page = await asking
    assert ([member.name for member in page.members], parse(page.id) >= place) == (["ann"], True)


async def test_who_asks_with_a_position_of_a_log_that_has_begun_elsewhere_waits_for_it(broker: Shared, start: Callable) -> None:
    first, second = await start(presence_lease=60), await start(presence_lease=60)
    await first.presence.present("room", "ann")
    await until(lambda: len(told(broker)) == 1)
    broker.held.add(second)
    broker.epoch, broker.records[:] = "two", []
    broker.keys.clear()
    first.begin("two")
    await until(lambda: told(broker) == [("joined", "ann")])
    place = Position("two", first.log.head)
    asking = asyncio.create_task(second.presence.members("room", since=place))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not asking.done()
    second.begin("two")
    broker.catch_up(second)
    page = await asking
    assert ([member.visit for member in page.members], parse(page.id) >= place) == (["two.1"], True)
    page = await second.presence.members("room", since=Position("one", 2))  # which is over: what is there is newer
    assert parse(page.id) >= place


async def test_leases_that_end_without_a_word_are_not_kept_for_ever(start: Callable) -> None:
    hub = await start(presence_lease=0.01, presence_delay=0)
    for number in range(3000):
        await hub.presence.present("room", "ann", lease=str(number))
        if number % 50 == 0:
            await until(lambda: not hub.presence._presence.holds("room", "ann"))
    assert len(hub.presence._held) <= 1100


async def test_members_bring_up_no_more_channels_than_there_may_be(start: Callable) -> None:
    hub = await start(channels=("*",), channels_max=3, presence_lease=0.01, presence_delay=0)
    for number in range(3):
        await hub.presence.present(f"c{number}", "ann")
        await until(lambda number=number: f"presence:c{number}" in hub.log)
    await until(lambda: not hub.presence._presence.channels)
    with pytest.raises(Refusal, match="4404"):
        await hub.presence.present("c3", "ann")
    await hub.presence.present("c2", "ann")
    assert (hub.log.channels, hub.limits.refused) == (3, {"channels_max": 1})


async def test_pages(start: Callable) -> None:
    hub = await start(presence_lease=60)
    for name in "edcba":
        await hub.presence.present("room", name)
    await until(lambda: hub.log.head == 10)
    pages = [await hub.presence.members("room", after=after, limit=2) for after in ("", "b", "d")]
    assert [[member.name for member in page.members] for page in pages] == [["a", "b"], ["c", "d"], ["e"]]
    assert [(page.next, page.count) for page in pages] == [("b", 5), ("d", 5), (None, 5)]
    page = await hub.presence.members("room", limit=0)
    assert (page.count, page.members, page.next) == (5, [], None)


async def test_what_is_refused(start: Callable) -> None:
    hub = await start(presence_members=2, presence_lease=60)
    presence = hub.presence
    await presence.present("room", "ann")
    await presence.present("room", "bob")
    for refused, code in [
        (presence.present("room", "cid"), 4429),
        (presence.present("hall", "ann"), 4404),
        (presence.present("presence:room", "ann"), 4404),
        (presence.present("$presence", "ann"), 4404),
        (presence.present("room", "ann", data="x" * 1023), 4413),
        (presence.present("room", "ann", data=object()), 4400),
        (presence.present("room", ""), 4400),
        (presence.present("room", "a" * 129), 4400),
        (presence.present("room", "\ud800"), 4400),
        (presence.present("room", "ann", lease="\udfff"), 4400),
        (presence.present("room", "ann", lease="a" * 65), 4400),
        (presence.present("room", "ann", seconds=float("nan")), 4400),
        (presence.present("room", "ann", seconds=-1), 4400),
        (presence.members("hall"), 4404),
        (hub.publish("presence:room", 1), 4403),
        (hub.publish("presence:hall", 1), 4404),
    ]:
        with pytest.raises(Refusal, match=str(code)):
            await refused
    await presence.present("room", "bob", lease="another")  # who is there is there
    for number in range(98):
        await presence.present("room", "ann", lease=str(number))
    await presence.present("room", "ann", lease="98")
    with pytest.raises(Refusal, match="4429"):
        await presence.present("room", "ann", lease="99")
    await hub.close()
    with pytest.raises(Refusal, match="4503"):
        await presence.present("room", "ann")


async def test_a_lease_is_no_longer_than_the_server_allows(start: Callable) -> None:
    hub = await start(presence_lease=30)
    lasts = [await hub.presence.present("room", "ann", lease=str(wish), seconds=wish) for wish in (None, 1000.0, 5.0, 0.1, 0)]
    assert lasts == [30, 30, 5, 1, 0]


@pytest.mark.parametrize("data", [b"{}", b"[", b'{"by":"x","leases":[[1]]}', record_of(Control("x"))[:-1]])
async def test_what_is_none_of_ours_changes_nothing(broker: Shared, start: Callable, data: bytes) -> None:
    hub = await start(presence_lease=60)
    await hub.presence.present("room", "ann")
    await until(lambda: told(broker) == [("joined", "ann")])
    for channel in ("$presence", "presence:room"):
        broker.deliver(Record(len(broker.records) + 1, channel, 1e10, data))
    assert await names(hub) == ["ann"]


def test_a_hub_that_is_opened_anew_knows_nobody_and_goes_on_in_another_event_loop() -> None:
    hub = Hub(Options(channels=("room",), presence_lease=0.3))

    async def live() -> list[list[str]]:
        await hub.open(anew=True)
        before = await names(hub)
        await hub.presence.present("room", "ann")
        await until(lambda: hub.log.head == 2)
        there = await names(hub)
        await until(lambda: hub.log.head == 4)  # the time, and that she left
        await hub.close()
        return [before, there]

    assert [asyncio.run(live()) for _ in range(2)] == [[[], ["ann"]]] * 2
