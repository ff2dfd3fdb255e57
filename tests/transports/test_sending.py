"""Readers whose server sends for them: in step as a loop over all of them, alone where a client does not take everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from transports import Code, Hub, Options, Refusal
from transports.accounts import Alone
from transports.admission import Stream
from transports.group import Groups
from transports.items import Encoded, Event, decode_batch, encode_batch
from transports.request import Request
from transports.sending import Sending, begun, in_time
from transports.testing import until


def stream_of(hub: Hub) -> Stream:
    """A stream that was let in."""
    feed = hub.feed(["a"])
    return Stream(feed, 60.0, hub.accounts.open("sse", Request("GET", "sse", "", {}), Alone(feed)))


# --- what is begun in one place and awaited in another


async def test_what_does_not_wait_is_done_at_once() -> None:
    done: list[int] = []

    async def work() -> None:
        await asyncio.sleep(0) if done else done.append(1)

    assert begun(work()) is None
    assert done == [1]


async def test_what_waits_is_finished_by_whoever_awaits_the_rest() -> None:
    gate, lock, seen = asyncio.Event(), asyncio.Lock(), list[str]()

    async def work() -> None:
        async with lock:
            seen.append("begun")
            await gate.wait()
            await asyncio.sleep(0)
            seen.append("done")

    rest = begun(work())
    assert rest is not None
    assert (seen, lock.locked()) == (["begun"], True)
    task = asyncio.ensure_future(rest)
    await asyncio.sleep(0)
    gate.set()
    await task
    assert (seen, lock.locked()) == (["begun", "done"], False)


async def test_what_goes_wrong_later_is_raised_where_it_is_awaited() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise ConnectionResetError

    rest = begun(work())
    assert rest is not None
    with pytest.raises(ConnectionResetError):
        await rest


async def test_a_cancellation_goes_in() -> None:
    lock = asyncio.Lock()

    async def work() -> None:
        async with lock:
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await in_time(work(), 0.01)
    assert not lock.locked()


async def test_what_nobody_awaits_is_closed() -> None:
    closed: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    rest = begun(work())
    assert rest is not None
    del rest
    await until(lambda: closed)


# --- readers


def as_message(items: Sequence[Encoded]) -> dict[str, bytes]:
    return {"data": encode_batch(items)}


class Wire:
    """What is sent to one client, which may stop taking, or be gone."""

    def __init__(self) -> None:
        self.came: list[bytes] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.breaks: Exception | None = None

    async def send(self, message: dict[str, bytes]) -> None:
        data = message["data"]
        if self.breaks is not None:
            raise self.breaks
        self.came.append(data)
        await self.takes.wait()

    @property
    def numbers(self) -> list[Any]:
        return [item.data for data in self.came for item in decode_batch(data) if isinstance(item, Event)]

    @property
    def last(self) -> str:
        return decode_batch(self.came[-1])[-1].kind


async def listen(reader: Sending) -> None:
    with reader:
        await asyncio.Event().wait()


Join = Callable[..., tuple[Wire, Sending]]


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub(Options(channels=("*",), batch_bytes=1000))
    await hub.open()
    yield hub
    await hub.close()


@pytest.fixture
def join(hub: Hub) -> Join:
    groups = Groups(hub)

    def join(patience: float = 60.0, at_once: bool = True):
        wire = Wire()
        stream = stream_of(hub)
        return wire, Sending(groups, stream, as_message, wire.send, patience=patience, at_once=at_once)

    return join


@pytest.mark.parametrize("at_once", [True, False])
async def test_who_does_not_take_everything_holds_up_nobody_and_misses_nothing(hub: Hub, join: Join, at_once: bool) -> None:
    (slow, one), (quick, other) = join(at_once=at_once), join(at_once=at_once)
    assert one.group is other.group is not None
    slow.takes.clear()
    for number in range(100):
        await hub.publish("a", number)
        await until(lambda number=number: quick.numbers[-1:] == [number])
    assert (slow.numbers, one.group) == ([0], None)
    slow.takes.set()
    await until(lambda: one.group is not None)
    assert slow.numbers == quick.numbers == [*range(100)]
    assert one.group is other.group
    assert len(slow.came) < 20, "what had piled up came in few batches"


@pytest.mark.parametrize("error", [OSError(), RuntimeError("the server is confused")])
async def test_one_that_breaks_disturbs_nobody(hub: Hub, join: Join, error: Exception) -> None:
    (_, first), (wire, second), (last, third) = join(), join(), join()
    wire.breaks = error
    await hub.publish("a", 1)
    await until(lambda: last.numbers and second.over)
    assert (second.over, second.broken, second.why) == (True, True, None)
    assert hub.readers == 2
    assert first.group is third.group is not None


async def test_who_takes_nothing_is_given_up(hub: Hub, join: Join) -> None:
    wire, reader = join(patience=0.01)
    wire.takes.clear()
    await hub.publish("a", 1)
    await until(lambda: reader.over)
    assert reader.broken
    assert reader.why is not None
    assert reader.why.code is Code.TOO_SLOW
    assert hub.readers == 0


async def test_the_listening_ends_with_the_reading(hub: Hub, join: Join) -> None:
    wire, reader = join()
    listening = asyncio.create_task(listen(reader))
    await asyncio.sleep(0)
    closing = asyncio.create_task(hub.close())
    await listening
    assert (wire.last, reader.over, reader.broken, reader.why and reader.why.code) == ("bye", True, False, Code.DRAINING)
    assert not closing.done(), "somebody is there until the server has been told too"
    reader.leave()
    await closing


async def test_what_is_heard_after_the_end_is_not_waited_for(hub: Hub, join: Join) -> None:
    _, reader = join()
    reader.give_up(None)
    await listen(reader)


async def test_a_cancellation_from_elsewhere_is_one(join: Join) -> None:
    _, reader = join()
    listening = asyncio.create_task(listen(reader))
    await asyncio.sleep(0)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    reader.leave()


async def test_who_is_sent_away_gets_what_is_left_and_the_reason(hub: Hub, join: Join) -> None:
    wire, reader = join()
    await hub.publish("a", 1)
    await reader.send_away(Refusal(Code.BAD_COMMAND))
    assert (wire.numbers, wire.last) == ([1], "bye")
    await reader.send_away(Refusal(Code.INTERNAL))
    assert reader.why is not None
    assert reader.why.code is Code.BAD_COMMAND
    reader.leave()


async def test_who_leaves_while_it_takes_nothing_leaves_nothing_behind(hub: Hub, join: Join) -> None:
    before = asyncio.all_tasks()  # the test, and what the hub has begun
    wire, reader = join()
    wire.takes.clear()
    await hub.publish("a", 1)
    await until(lambda: reader.blocked)
    reader.leave()
    await until(lambda: asyncio.all_tasks() <= before)
    assert hub.readers == 0


# --- what others put between us and the server


def between(hub: Hub, send: Callable[[Any], Any]) -> Sending:
    return Sending(Groups(hub), stream_of(hub), as_message, send, patience=60.0, at_once=True)


async def test_what_stands_between_may_want_to_be_in_a_task(hub: Hub) -> None:
    wire = Wire()

    async def send(message: Any) -> None:
        async with asyncio.timeout(60):
            await wire.send(message)

    reader = between(hub, send)
    for number in range(3):
        await hub.publish("a", number)
        await until(lambda number=number: wire.numbers[-1:] == [number])
    assert wire.numbers == [0, 1, 2]
    assert not reader.over
    reader.leave()


async def test_what_stands_between_may_change_what_it_is_given(hub: Hub) -> None:
    came: list[bytes] = []

    async def send(message: Any) -> None:
        message["data"] += b"!"
        came.append(message["data"])

    groups = Groups(hub)
    readers = [Sending(groups, stream_of(hub), as_message, send, patience=60.0, at_once=True) for _ in range(3)]
    await until(lambda: all(reader.group is not None for reader in readers))
    await hub.publish("a", 1)
    await until(lambda: len(came) == 3)
    assert len(set(came)) == 1, "each is given a message of its own"
    for reader in readers:
        reader.leave()
