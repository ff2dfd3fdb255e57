"""Who may still read: asked about again, in small pieces, and taken away."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest

from tests.together import Together
from transports import ConfigError, Hub, Options, Refusal
from transports.admission import Admission, Stream
from transports.group import Groups, Reader
from transports.items import decode_batch, encode_batch
from transports.ladder import LADDER
from transports.request import Identity, Request
from transports.rights import Rights
from transports.testing import until

_, SSE, _ = LADDER


class Wire(Reader):
    """A reader that takes everything."""

    def __init__(self, groups: Groups, stream: Stream) -> None:
        super().__init__(groups, stream.feed, encode_batch, stream.beat, stream.account)
        self.items: list = []
        self.write = lambda data: self.items.extend(decode_batch(data))
        self.pump()

    stalled = False

    @property
    def blocked(self) -> bool:
        return self.stalled

    def ended(self, why: Refusal | None) -> None:
        self.leave()

    @property
    def told(self) -> list:
        """What came, in short."""
        return [item.code if item.kind == "bye" else item.channel for item in self.items]


def let_in(hub: Hub, who: object, channels: str) -> Stream:
    request = Request("GET", "sse", f"channels={channels}", {})
    request.found = Identity(who)
    return Admission(hub).stream(SSE, request)


async def a_hub(allowed: set, **settings: object) -> Hub:
    hub = Hub(Options(channels=("*",), **{"recheck": 3600, **settings}))
    hub.authorize = lambda who, action, channel: (who, channel) in allowed
    await hub.open()
    return hub


def test_what_is_set_by_default_is_soon_enough() -> None:
    assert Options().recheck <= 4.0  # and a second for all of it: a right that is gone ends within 5


async def test_each_pair_of_who_and_channel_is_asked_about_once() -> None:
    hub = await a_hub({(who, channel) for who in "uvw" for channel in "ab"})
    groups, may, asked = Groups(hub), hub.authorize, Counter()
    readers = [Wire(groups, let_in(hub, who, channels)) for who in "uvw" for channels in ("a", "a,b", "b") for _ in range(5)]
    hub.authorize = lambda who, action, channel: asked.update([(who, action, channel)]) or may(who, action, channel)
    await hub.rights.recheck()
    await until(lambda: len(asked) == 6)
    await until(lambda: not hub.rights._now)
    assert set(asked) == {(who, "subscribe", channel) for who in "uvw" for channel in "ab"}
    assert set(asked.values()) == {1}
    assert not any(reader.items for reader in readers)
    await hub.close()


async def test_those_who_read_the_same_share_a_place_whoever_they_are_and_lose_it_one_by_one() -> None:
    allowed = {(who, "a") for who in range(50)}
    hub = await a_hub(allowed)
    groups = Groups(hub)
    readers = [Wire(groups, let_in(hub, who, "a")) for who in range(50)]
    await until(lambda: all(reader.group is not None for reader in readers))
    assert len({reader.group for reader in readers}) == 1
    assert [reader.who for reader in readers] == list(range(50))
    allowed -= {(7, "a"), (0, "a")}  # it was the feed of the first that became that of all
    await hub.rights.recheck()
    await until(lambda: readers[0].told and readers[7].told)
    await hub.publish("a", 1)
    await until(lambda: all(reader.told for reader in readers))
    assert [reader.told for reader in readers] == [[4403] if who in (0, 7) else ["a"] for who in range(50)]
    assert (len(hub.accounts), hub.readers) == (48, 48)
    await hub.close()


async def test_who_may_not_read_any_more_gets_nothing_that_was_left_to_read() -> None:
    allowed = {("u", "a"), ("v", "a"), ("w", "a")}
    hub = await a_hub(allowed)
    groups = Groups(hub)
    readers = [Wire(groups, let_in(hub, who, channels)) for who, channels in [("u", "a"), ("v", "a"), ("w", "a*")]]
    await hub.publish("a", 0)
    await until(lambda: all(reader.told for reader in readers))
    for reader in readers:
        reader.stalled = True
        reader.step_out()
    await hub.publish("a", "before")
    allowed.clear()
    await hub.rights.revoke("v")
    await hub.rights.recheck()
    await until(lambda: not hub.rights._now)
    await hub.publish("a", "behind")
    for reader in readers:
        reader.stalled = False
        reader.pump()
    await until(lambda: len(readers[0].told) > 1 and len(readers[1].told) > 1)
    assert [reader.told for reader in readers] == [["a", 4403], ["a", 4401], ["a"]]
    await hub.close()


async def test_one_who_leaves_a_shared_place_is_still_who_it_was() -> None:
    hub = await a_hub({("u", "a"), ("v", "a"), ("v", "b")})
    groups = Groups(hub)
    u, v = (Wire(groups, let_in(hub, who, "a")) for who in "uv")
    await until(lambda: u.group is not None and u.group is v.group)
    with pytest.raises(Refusal, match="4403"):
        hub.follow(u.own(), ["a", "b"])
    hub.follow(v.own(), ["a", "b"])
    assert v.own().asked.who == "v"
    await hub.close()


async def test_what_a_pattern_matches_shrinks_and_grows_without_a_word() -> None:
    allowed = {("u", "a"), ("u", "b")}
    hub = await a_hub(allowed)
    for channel in "abc":
        await hub.publish(channel, 0)
    reader = Wire(Groups(hub), let_in(hub, "u", "*"))
    allowed ^= {("u", "b"), ("u", "c")}
    await hub.rights.recheck("u")
    await until(lambda: not hub.rights._now)
    for channel in "abcd":
        await hub.publish(channel, 1)
    await until(lambda: len(reader.items) == 2)
    assert reader.told == ["a", "c"]
    await hub.close()


async def test_a_right_that_is_not_known_is_none() -> None:
    hub = await a_hub({("u", "a"), ("v", "b")})
    groups = Groups(hub)
    readers = [Wire(groups, let_in(hub, "u", "a")), Wire(groups, let_in(hub, "v", "*"))]
    await hub.publish("b", 1)
    await until(lambda: readers[1].told == ["b"])

    def fails(who: object, action: str, channel: str) -> bool:
        raise RuntimeError

    hub.authorize = fails
    await hub.rights.recheck()
    await until(lambda: readers[0].told and len(readers[1].told) > 1)
    assert [reader.told for reader in readers] == [[4500], ["b", 4500]]
    assert all(reader.items[-1].retry > 0 for reader in readers)
    await hub.close()


async def test_asking_lets_others_have_their_turn() -> None:
    hub = await a_hub({(who, "a") for who in range(100)})
    readers = [Wire(Groups(hub), let_in(hub, who, "a")) for who in range(100)]
    ticks, asked, most = itertools.count(), [0], [0]
    rights = Rights(hub, 3600, clock=lambda: next(ticks) / 1000)  # each look at the clock, a millisecond
    hub.authorize = lambda who, action, channel: asked.append(asked.pop() + 1) or True

    async def others() -> None:
        while asked[0] < 100:
            before = asked[0]
            await asyncio.sleep(0)
            most[0] = max(most[0], asked[0] - before)

    await asyncio.gather(others(), rights._ask(None))
    assert 1 <= most[0] <= 3
    assert not any(reader.items for reader in readers)
    await hub.close()


async def test_many_who_are_asked_about_at_once_cost_no_look_at_each_for_each_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = await a_hub({(who, "a") for who in range(100)})
    readers = [Wire(Groups(hub), let_in(hub, who, "a")) for who in range(100)]
    whom, asked = {b"%d" % who for who in range(50, 150)}, Counter()
    monkeypatch.setattr("transports.rights.said", lambda who: asked.update([who]) or b"%d" % who)
    hub.authorize = lambda who, action, channel: who < 60
    await hub.rights._ask(whom)
    assert set(asked.values()) == {1}
    await until(lambda: readers[99].told)
    assert [reader.told for reader in readers] == [[4403] if who >= 60 else [] for who in range(100)]
    await hub.close()


async def test_passing_over_those_who_are_not_meant_lets_others_have_their_turn() -> None:
    hub = await a_hub({(who, "a") for who in range(100)})
    readers = [Wire(Groups(hub), let_in(hub, who, "a")) for who in range(100)]
    ticks, turns = itertools.count(), 0
    rights = Rights(hub, 3600, clock=lambda: next(ticks) / 1000)  # each look at the clock, a millisecond
    asking = asyncio.create_task(rights._ask({b'"nobody"'}))
    while not asking.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
    assert not any(reader.items for reader in readers)
    await hub.close()


@pytest.mark.parametrize("who", ["ann", 7, ("eu", 7), None, 'ä"b'])
async def test_who_is_revoked_is_the_same_in_all_processes(who: object) -> None:
    broker = Together()
    hubs = [Hub(Options(channels=("*",), recheck=3600), broker=broker) for _ in range(2)]
    for hub in hubs:
        await hub.open()
    ours, others = ([Wire(Groups(hub), let_in(hub, each, "a")) for hub in hubs] for each in (who, "somebody else"))
    await hubs[0].rights.revoke(who)
    await until(lambda: all(reader.told for reader in ours))
    assert [reader.told for reader in ours] == [[4401], [4401]]
    assert not any(reader.told for reader in others)
    for hub in hubs:
        await hub.close()


async def test_who_can_not_be_told_others_of_is_said_so() -> None:
    hub = await a_hub(set())
    for ask in (hub.rights.revoke, hub.rights.recheck):
        with pytest.raises(ConfigError, match=r"object.*JSON"):
            await ask(object())
    await hub.close()


async def test_who_cannot_be_said_in_json_was_not_revoked() -> None:
    hub = await a_hub(set())
    begun = hub.rights.now
    await hub.rights.revoke("ann")
    assert hub.rights.revoked_since("ann", begun)
    assert not hub.rights.revoked_since(object(), begun)
    assert not hub.rights.revoked_since("ann", hub.rights.now + 1)
    await hub.close()


async def test_nobody_is_asked_where_everybody_may_everything() -> None:
    hub = Hub(Options(channels=("*",), recheck=0.001))
    await hub.open()
    reader = Wire(Groups(hub), let_in(hub, "u", "a,b*"))
    await hub.rights.recheck()
    await until(lambda: not hub.rights._now)
    await hub.publish("a", 1)
    await until(lambda: reader.told == ["a"])
    await hub.close()


async def test_a_record_of_somebody_elses_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    hub = await a_hub({("u", "a")})
    reader = Wire(Groups(hub), let_in(hub, "u", "a"))
    for data in (b"7", b'{"do":"sing"}', b'{"who":"u"}', b'{"do":"revoke","who":"U"}'):
        await hub.control("rights", data)
    await hub.publish("a", 1)
    await until(lambda: reader.told == ["a"])
    assert caplog.text.count("none of ours") == 2
    await hub.close()
