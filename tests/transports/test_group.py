"""Readers in step share a feed, and nobody gets less, more or anything else than alone."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from transports import Code, Hub, Options
from transports.feed import Feed
from transports.group import Group, Groups
from transports.items import Encoded, Event, decode_batch, encode_batch
from transports.testing import until


class Client:
    """A member that takes `room` batches and then no more until it is emptied."""

    account = None

    def __init__(self, groups: Groups, feed: Feed, room: int = 10**9, beat: float | None = 60.0) -> None:
        self.groups, self.room, self._beat = groups, room, beat
        self.group: Group | None = None
        self.feed: Feed | None = None
        self.came: list[bytes] = []
        self.gone = False
        self.alone(feed)

    def write(self, data: bytes) -> None:
        self.came.append(data)
        self.room -= 1
        if self.room <= 0 and self.group is not None:
            own = self.groups.hub.fork(self.group.feed)
            self.group.remove(self)
            self.alone(own)

    def beat(self, data: bytes) -> None:
        self.write(data)

    def alone(self, feed: Feed) -> None:
        self.feed = feed
        feed.bell = partial(asyncio.get_running_loop().call_soon, self.pump)
        feed.bell()

    def empty(self, room: int = 10**9) -> None:
        self.room = room
        self.pump()

    def pump(self) -> None:
        while (feed := self.feed) is not None and self.room > 0:
            if not feed.open:
                self.feed, self.gone = None, True
                self.came.append(encode_batch((feed.last() or feed.beat()).items))
                feed.leave()
            elif (batch := feed.ready()) is not None:
                self.write(encode_batch(batch.items))
            elif self.groups.join(self, feed, encode_batch, self._beat):
                self.feed = None
            else:
                asyncio.get_running_loop().call_soon(self.pump)
                return

    @property
    def items(self) -> list[object]:
        return [item for data in self.came for item in decode_batch(data)]

    @property
    def numbers(self) -> list[int]:
        return [item.data for item in self.items if isinstance(item, Event)]


async def a_hub(**options: object) -> tuple[Hub, Groups]:
    hub = Hub(Options(**{"channels": ("*",), "drain": 5.0, **options}))
    await hub.open()
    return hub, Groups(hub)


async def publish(hub: Hub, numbers: Iterable[int], channel: str = "a") -> None:
    for number in numbers:
        await hub.publish(channel, number)


async def test_what_is_framed_for_one_is_the_same_bytes_for_all() -> None:
    hub, groups = await a_hub()
    clients = [Client(groups, hub.feed(["a"])) for _ in range(3)]
    await until(lambda: all(client.group for client in clients))
    assert hub.readers == 3
    assert len({id(client.group) for client in clients}) == 1
    await publish(hub, range(5))
    await until(lambda: clients[2].numbers == [0, 1, 2, 3, 4])
    assert len(clients[0].came) == 1, "what came together goes together"
    assert clients[0].came[0] is clients[1].came[0] is clients[2].came[0]


async def test_who_reads_other_channels_or_otherwise_is_in_another_group() -> None:
    hub, groups = await a_hub()
    clients = [Client(groups, hub.feed(channels)) for channels in (["a"], ["b"], ["a", "b"])]
    await until(lambda: all(client.group for client in clients))
    assert len({id(client.group) for client in clients}) == 3
    await publish(hub, [1], "a")
    await publish(hub, [2], "b")
    await until(lambda: clients[2].numbers == [1, 2])
    assert [client.numbers for client in clients] == [[1], [2], [1, 2]]


async def test_who_cannot_take_more_leaves_and_joins_again_and_misses_nothing() -> None:
    hub, groups = await a_hub()
    fast, slow = Client(groups, hub.feed(["a"])), Client(groups, hub.feed(["a"]), room=1)
    await until(lambda: fast.group and slow.group)
    await publish(hub, [0])
    await until(lambda: fast.numbers == [0])
    assert slow.group is None
    await publish(hub, range(1, 10))
    await until(lambda: fast.numbers == list(range(10)))
    assert slow.numbers == [0]
    slow.empty()
    await until(lambda: slow.group is fast.group)
    assert slow.numbers == list(range(10))
    assert hub.readers == 2


async def test_a_group_that_falls_behind_tells_everybody_what_is_lost() -> None:
    hub, groups = await a_hub(history_count=3)
    clients = [Client(groups, hub.feed(["a"])) for _ in range(2)]
    await until(lambda: all(client.group for client in clients))
    await publish(hub, range(10))
    await until(lambda: clients[1].numbers == [7, 8, 9])
    lost = clients[0].items[0]
    assert (lost.after, lost.through, lost.reason) == (f"{hub.log.epoch}.0", f"{hub.log.epoch}.7", "evicted")
    assert clients[0].came == clients[1].came


async def test_an_empty_group_reads_no_more() -> None:
    hub, groups = await a_hub()
    client = Client(groups, hub.feed(["a"]))
    await until(lambda: client.group)
    client.group.remove(client)
    assert hub.readers == 0
    again = Client(groups, hub.feed(["a"]))
    await publish(hub, [1])
    await until(lambda: again.group)
    assert again.numbers == [1]


async def test_a_group_that_nobody_is_in_any_more_is_forgotten() -> None:
    hub, groups = await a_hub()
    slow = Client(groups, hub.feed(["a"]), room=1)
    await until(lambda: slow.group)
    await publish(hub, [1])
    await until(lambda: slow.numbers == [1])
    gc.collect()
    left = [each for each in gc.get_objects() if isinstance(each, Group) and each._hub is hub]
    assert not left, "not even a timer holds it"


async def test_everybody_is_told_that_the_server_stops_with_a_time_of_its_own() -> None:
    hub, groups = await a_hub()
    clients = [Client(groups, hub.feed(["a"])) for _ in range(20)]
    await until(lambda: all(client.group for client in clients))
    await hub.close()
    assert all(client.gone for client in clients)
    byes = [client.items[-1] for client in clients]
    assert {bye.code for bye in byes} == {int(Code.DRAINING)}
    assert len({bye.retry for bye in byes}) > 10, "who is sent away together does not come back together"
    assert hub.readers == 0


async def test_who_leaves_when_the_end_has_been_said_and_not_been_told_is_told_as_well() -> None:
    hub, groups = await a_hub()
    client = Client(groups, hub.feed(["a"]))
    await until(lambda: client.group)
    closing = asyncio.create_task(hub.close())
    await asyncio.sleep(0)  # the group is to tell it in the next turn
    assert client.group is not None
    own = hub.fork(client.group.feed)
    client.group.remove(client)
    client.alone(own)
    await until(lambda: client.gone)
    assert client.items[-1].code == int(Code.DRAINING)
    async with asyncio.timeout(1):  # of five to wait for those who are not told
        await closing


async def test_a_silence_is_filled_for_all() -> None:
    hub, groups = await a_hub()
    clients = [Client(groups, hub.feed(["a"]), beat=0.01) for _ in range(2)]
    await until(lambda: all(len(client.came) >= 2 for client in clients))
    await publish(hub, [1], "b")
    await until(lambda: clients[0].items[-1].id == f"{hub.log.epoch}.1")
    assert {item.kind for item in clients[1].items} == {"beat"}


STEPS = st.lists(st.one_of(st.integers(1, 8), st.sampled_from(["empty", "turn", "join", "leave"])), max_size=30)


@given(STEPS, st.integers(1, 4), st.integers(20, 400))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_everybody_gets_everything_once_and_in_order(steps: list[object], room: int, batch: int) -> None:
    asyncio.run(ride(steps, room, batch))


async def ride(steps: list[object], room: int, batch: int) -> None:
    hub, groups = await a_hub(batch_bytes=batch)
    clients = [Client(groups, hub.feed(["a"])), Client(groups, hub.feed(["a"]), room=room)]
    begins = {id(client): 0 for client in clients}
    sent = 0
    for step in steps:
        if isinstance(step, int):
            await publish(hub, range(sent, sent + step))
            sent += step
        elif step == "empty":
            clients[1].empty(room)
        elif step == "turn":
            await asyncio.sleep(0)
        elif step == "join":
            clients.append(Client(groups, hub.feed(["a"]), room=room))
            begins[id(clients[-1])] = sent
        elif len(clients) > 2 and clients[-1].group is not None:
            clients[-1].group.remove(clients.pop())
    for client in clients:
        client.room = 10**9
        client.pump()
    await until(lambda: all(client.group is not None for client in clients) and hub.log.head == sent)
    await publish(hub, [sent])
    await until(lambda: all(client.numbers[-1:] == [sent] for client in clients))
    for client in clients:
        assert client.numbers == list(range(begins[id(client)], sent + 1))
    assert hub.readers == len(clients)


def test_framing_is_what_names_a_group() -> None:
    def framing(items: Iterable[Encoded]) -> bytes:
        return encode_batch(list(items))

    async def two() -> None:
        hub, groups = await a_hub()
        client = Client(groups, hub.feed(["a"]))
        other = hub.feed(["a"])
        assert other.ready() is None
        await until(lambda: client.group)
        member = Client.__new__(Client)
        member.group, member.came, member.room = None, [], 1
        assert groups.join(member, other, framing, 60.0)
        assert member.group is not client.group

    asyncio.run(two())
