"""Hubs of several processes that ask each other who is there, and who has too many readers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from transports import Code, EverywireError, Refusal
from transports.brokers import Record
from transports.peers import Peers, Share
from transports.testing import until


class Channel:
    """What one says, all hear, in the same order; in the next turn of the event loop."""

    def __init__(self) -> None:
        self.peers: list[Peers] = []
        self.said: list[bytes] = []
        self.down: BaseException | None = None
        self.away: dict[str, tuple[int, float]] = {}  # name -> what it was told to send away

    async def publish(self, data: bytes) -> None:
        if self.down is not None:
            raise self.down
        self.said.append(data)
        asyncio.get_running_loop().call_soon(self.hand_over, Record(len(self.said), "$peers", time.time(), data))

    def hand_over(self, record: Record) -> None:
        for each in self.peers:
            each.hear(record)

    def join(self, readers: Callable[[], int] | None, patience: float = 0.05) -> Peers:
        peers = Peers(
            self.publish, readers, lambda number, over: self.away.update({peers.name: (number, over)}), patience=patience
        )
        self.peers.append(peers)
        return peers


@pytest.fixture
def channel() -> Channel:
    return Channel()


async def test_who_leaves_knows_whether_another_is_there(channel: Channel) -> None:
    first = channel.join(lambda: 1)
    assert not await first.leave()
    second = channel.join(lambda: 2)
    third = channel.join(lambda: 3)
    assert await second.leave()
    assert await asyncio.wait_for(third.leave(), 10) is False, "who has left is not there"


async def test_when_all_who_were_there_have_left_as_well_it_is_said(channel: Channel) -> None:
    one, two, three = (channel.join(lambda: 1, patience=0.5) for _ in range(3))
    assert await one.leave()
    await until(lambda: len(one._others) == 2)
    leaving = [asyncio.create_task(two.leave())]
    await until(lambda: len(one._others) == 1)
    assert not one.nobody.is_set()
    leaving.append(asyncio.create_task(three.leave()))
    await asyncio.wait_for(one.nobody.wait(), 10)
    await asyncio.gather(*leaving)


@pytest.mark.parametrize("down", [Refusal(Code.BROKER_DOWN), TimeoutError()], ids=["refused", "silent"])
async def test_who_cannot_ask_takes_it_that_there_are_others(channel: Channel, down: BaseException) -> None:
    peers = channel.join(lambda: 1)
    channel.down = down
    assert await peers.leave()


async def test_who_has_nobody_to_send_away_tells_and_does_not_wait(channel: Channel) -> None:
    one, two = channel.join(lambda: 1), channel.join(lambda: 0)
    assert await one.leave()
    two._patience = 600.0
    assert not await two.leave(ask=False)
    await asyncio.wait_for(one.nobody.wait(), 10)


async def test_who_has_left_can_come_again(channel: Channel) -> None:
    one, two = channel.join(lambda: 1), channel.join(lambda: 2)
    assert await one.leave()
    one.come()
    assert await two.leave()


async def test_each_process_with_too_many_sends_the_excess_away(channel: Channel) -> None:
    processes = [channel.join(lambda number=number: number) for number in (300, 30, 60)]
    shares = await processes[1].rebalance(over=7.0, tolerance=0.1)
    assert shares == sorted(
        Share(each.name, *share) for each, share in zip(processes, [(300, 170), (30, 0), (60, 0)], strict=True)
    )
    await until(lambda: bool(channel.away))
    assert channel.away == {processes[0].name: (170, 7.0)}


async def test_one_who_only_asks_is_not_counted(channel: Channel) -> None:
    processes = [channel.join(lambda number=number: number) for number in (3, 1)]
    shares = await channel.join(None).rebalance(over=0.0, tolerance=0.0)
    assert {(share.name, share.goes) for share in shares} == {(processes[0].name, 1), (processes[1].name, 0)}


async def test_two_who_ask_at_once_have_it_done_once(channel: Channel) -> None:
    one = channel.join(lambda: 100)
    channel.join(lambda: 0)
    asking = [asyncio.create_task(channel.join(None).rebalance(over=1.0)) for _ in range(2)]
    done = await asyncio.gather(*asking, return_exceptions=True)
    assert sorted(isinstance(each, EverywireError) for each in done) == [False, True]
    await until(lambda: bool(channel.away))
    assert channel.away == {one.name: (50, 1.0)}
    channel.away.clear()
    with pytest.raises(EverywireError, match="under way"):
        await one.rebalance()
    assert not channel.away


async def test_where_nobody_answers_that_is_said(channel: Channel) -> None:
    with pytest.raises(EverywireError, match="no process answers"):
        await channel.join(None).rebalance()


async def test_who_leaves_meanwhile_sends_nobody_away_twice(channel: Channel) -> None:
    one, two = channel.join(lambda: 100), channel.join(lambda: 0)
    asking = asyncio.create_task(two.rebalance())
    await until(lambda: len(channel.said) == 3)
    leaving = asyncio.create_task(one.leave())
    await asking
    await leaving
    assert not channel.away


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{",
        b"[]",
        b'{"do":"dance"}',
        b'{"do":"ask"}',
        b'{"do":"ask","id":"x","over":-1}',
        b'{"do":"ask","id":"x","over":1e99}',
        b'{"do":"ask","id":"x","over":0,"tolerance":"much"}',
        b'{"do":"ask","id":"%s"}' % (b"x" * 1000),
        b'{"do":"here","id":"x","name":"y","readers":-5}',
    ],
)
async def test_what_is_none_of_ours_is_passed_over(channel: Channel, said: bytes) -> None:
    channel.join(lambda: 100)
    await channel.publish(said)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert channel.said == [said]


async def test_what_comes_much_later_than_it_was_said_is_of_another_situation(channel: Channel) -> None:
    peers = channel.join(lambda: 100)
    ask: dict[str, Any] = {"data": b'{"do":"ask","id":"x","over":0.0}', "channel": "$peers", "offset": 1}
    peers.hear(Record(at=time.time() - 60, **ask))
    await asyncio.sleep(0)
    assert not channel.said
    peers.hear(Record(at=time.time(), **ask))
    await until(lambda: bool(channel.said))
