"""Patterns and who may see what: in a hub, over two hubs with one broker, on every transport, at both edges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.transports.conftest import TRANSPORTS, live
from tests.transports.test_hub_shared import Late
from transports import Code, Hub, Options, Position, Refusal, Transport
from transports.asgi import Endpoints
from transports.client import connect
from transports.feed import Feed
from transports.front import Front
from transports.items import Bye, Event, Lost, Skipped, decode_batch, decode_item
from transports.subscriptions import policies_of
from transports.testing import serving, until


def told(feed: Feed) -> list[Any]:
    """All that there is to read."""
    found = []
    while (batch := feed.ready()) is not None:
        found += [decode_item(item.json) for item in batch.items]
    return found


def seen(feed: Feed) -> list[tuple[str, Any]]:
    return [(item.channel, item.data) for item in told(feed) if isinstance(item, Event)]


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub(Options(channels=("*",), history_count=5, matches_per_reader=3, drain=0.01))
    await hub.open()
    yield hub
    await hub.close()


async def test_a_channel_that_comes_up_is_followed_from_its_first_event_on(hub: Hub) -> None:
    await hub.publish("o.1", 1)
    with hub.feed(["o.*", "x"]) as feed:
        assert feed.channels == ("o.*", "x")
        await hub.publish("o.1", 2)
        await hub.publish("o.2", 3)
        await hub.publish("p", 4)
        await hub.publish("x", 5)
        assert seen(feed) == [("o.1", 2), ("o.2", 3), ("x", 5)]
        await hub.publish("o.2", 6)
        assert seen(feed) == [("o.2", 6)]


async def test_a_channel_that_comes_up_wakes_who_waits(hub: Hub) -> None:
    with hub.feed(["o.*"]) as feed:
        taking = asyncio.create_task(feed.take(60))
        await asyncio.sleep(0)
        await hub.publish("o.1", 1)
        batch = await taking
        assert batch is not None
        assert [item.channel for item in batch.items] == ["o.1"]


async def test_what_came_up_meanwhile_is_read_on_return(hub: Hub) -> None:
    await hub.publish("o.1", 1)
    since = Position(hub.log.epoch, 1)
    await hub.publish("o.2", 2)
    await hub.publish("p.2", 3)
    with hub.feed(["o.*"], since) as feed:
        assert (feed.resumed, seen(feed)) == ("exact", [("o.2", 2)])
    for number in range(7):
        await hub.publish("o.3", number)
    with hub.feed(["o.*"], since) as feed:
        assert feed.resumed == "lost"
        assert [(item.channel, item.through) for item in told(feed) if isinstance(item, Lost)] == [("o.3", f"{hub.log.epoch}.5")]


async def test_of_another_life_the_pattern_is_lost_and_not_what_it_may_have_matched(hub: Hub) -> None:
    await hub.publish("o.1", 1)
    with hub.feed(["o.*", "a"], Position("old", 9)) as feed:
        lost = [(item.channel, item.reason) for item in told(feed) if isinstance(item, Lost)]
        assert lost == [("o.*", "epoch"), ("a", "epoch")]


async def test_more_than_a_reader_may_match_is_refused_and_one_that_comes_to_it_is_told() -> None:
    hub = Hub(Options(channels=("*",), matches_per_reader=2, drain=0.01))
    await hub.open()
    await hub.publish("o.1", 1)
    with hub.feed(["o.*", "o.9"]) as feed:
        await hub.publish("o.9", 1)
        await hub.publish("o.2", 2)
        assert feed.open
        await hub.publish("o.3", 3)
        last = feed.last()
        assert last is not None
        items = [decode_item(item.json) for item in last.items]
        assert [item.channel for item in items[:-1]] == ["o.9", "o.2"]
        assert isinstance(items[-1], Bye)
        assert (items[-1].code, items[-1].retry) == (4413, None)
    with pytest.raises(Refusal, match="matches 4 channels"):
        hub.feed(["o.*"])
    with pytest.raises(Refusal, match="4413"):
        hub.glance(["o.*"], Position(hub.log.epoch, 0))
    await hub.close()


@pytest.mark.parametrize(
    ("allowed", "asked", "may"),
    [
        (("a.*",), "a.b.*", True),
        (("a.*",), "*", True),
        (("a.b",), "a.*", True),
        (("a.b",), "a.b.*", False),
        (("a.*",), "b*", False),
    ],
)
async def test_a_pattern_that_can_match_nothing_is_refused(allowed: tuple[str, ...], asked: str, may: bool) -> None:
    hub = Hub(Options(channels=allowed))
    await hub.open()
    if may:
        hub.feed([asked]).leave()
    else:
        with pytest.raises(Refusal, match="4404"):
            hub.feed([asked])
    await hub.close()


async def test_what_others_allow_and_we_do_not_no_pattern_matches() -> None:
    broker = Late()
    hub, other = Hub(Options(channels=("a.*",)), broker=broker), Hub(Options(channels=("*",)), broker=broker)
    for each in (hub, other):
        await each.open()
    with hub.feed(["*"]) as feed, other.feed(["*"]) as wide:
        await other.publish("b", 1)
        await other.publish("a.1", 2)
        await other.control("x", b"1")
        for each in (hub, other):
            broker.hand_over(each)
        assert seen(feed) == [("a.1", 2)]
        assert seen(wide) == [("b", 1), ("a.1", 2)]
    for each in (hub, other):
        await each.close()


async def test_over_two_hubs_a_pattern_reads_on_where_it_stood_at_the_other() -> None:
    broker = Late()
    one, other = Hub(Options(channels=("*",)), broker=broker), Hub(Options(channels=("*",)), broker=broker)
    for each in (one, other):
        await each.open()
    await one.publish("o.1", 1)
    broker.hand_over(one)
    with one.feed(["o.*"], Position("one", 0)) as feed:
        assert seen(feed) == [("o.1", 1)]
        place = feed.offset
    with other.feed(["o.*"], Position("one", place)) as feed:
        assert feed.resumed == "exact"
        await one.publish("o.2", 2)
        broker.hand_over(other)
        assert seen(feed) == [("o.2", 2)]
    for each in (one, other):
        await each.close()


async def test_a_hole_is_told_once_for_a_pattern() -> None:
    broker = Late()
    hub = Hub(Options(channels=("*",)), broker=broker)
    await hub.open()
    await hub.publish("o.1", 1)
    broker.hand_over(hub)
    with hub.feed(["o.*", "b"], Position("one", 0)) as feed:
        hub.begin("one", 5)
        assert [(item.kind, item.channel, item.through) for item in told(feed)] == [
            ("lost", "o.*", "one.5"),
            ("lost", "b", "one.5"),
        ]
        assert feed.position == "one.5"
    await hub.close()


# --- who may see what


def rule(who: Any, action: str, channel: str) -> bool:
    """`o.<name>` is for that name, `o.all` for all."""
    return channel in (f"o.{who}", "o.all")


async def test_each_channel_is_asked_about_and_what_is_refused_is_no_part_of_a_pattern(hub: Hub) -> None:
    asked: list[tuple[Any, str, str]] = []

    def authorize(who: Any, action: str, channel: str) -> bool:
        asked.append((who, action, channel))
        return rule(who, action, channel)

    hub.authorize = authorize
    await hub.publish("o.bob", 0)
    assert asked == [], "the application's own"
    with hub.feed(["o.*"], who="ann") as ann, hub.feed(["o.*"], who="bob") as bob, hub.feed(["o.*"], who="bob") as again:
        assert asked == [("ann", "subscribe", "o.bob"), *[("bob", "subscribe", "o.bob")] * 2]
        asked.clear()
        await hub.publish("o.ann", 1)
        assert sorted(asked) == [("ann", "subscribe", "o.ann"), ("bob", "subscribe", "o.ann")], "once for each who"
        await hub.publish("o.all", 2)
        await hub.publish("o.bob", 3)
        assert seen(ann) == [("o.ann", 1), ("o.all", 2)]
        assert seen(bob) == seen(again) == [("o.all", 2), ("o.bob", 3)]
    with hub.feed(["o.*"], Position(hub.log.epoch, 0), who="ann") as ann:
        assert seen(ann) == [("o.ann", 1), ("o.all", 2)]
    with pytest.raises(Refusal, match="4403"):
        hub.feed(["o.*", "o.bob"], who="ann")
    assert hub.glance(["o.bob"], Position(hub.log.epoch, 0), who="bob") is not None
    with pytest.raises(Refusal, match="4403"):
        hub.glance(["o.bob"], Position(hub.log.epoch, 0), who="ann")


@pytest.mark.parametrize(
    ("allowed", "pattern", "known"),
    [
        ("orders.*", "presence:orders.*", True),
        ("orders.*", "presence:*", True),
        ("orders.*", "presence:orders.e*", True),
        ("orders.*", "presence:chat.*", False),
        ("chat", "presence:ch*", True),
        ("chat", "presence:orders.*", False),
        ("chat", "pres*", False),
        ("*", "presence:presence:*", False),
    ],
)
async def test_a_pattern_may_match_who_is_there_in_the_channels_that_are_allowed(allowed: str, pattern: str, known: bool) -> None:
    hub = Hub(Options(channels=(allowed,)))
    await hub.open()
    if known:
        hub.feed([pattern]).leave()
    else:
        with pytest.raises(Refusal, match="4404"):
            hub.feed([pattern])
    await hub.close()


async def test_who_may_no_longer_is_asked_about_when_it_comes_back(hub: Hub) -> None:
    allowed = {"o.1", "o.2"}
    hub.authorize = lambda who, action, channel: channel in allowed
    await hub.publish("o.1", 1)
    await hub.publish("o.2", 2)
    with hub.feed(["o.*"], Position(hub.log.epoch, 0)) as feed:
        allowed.remove("o.1")
        with hub.feed(["o.*"], Position(hub.log.epoch, 0)) as later:
            assert seen(later) == [("o.2", 2)]
        assert seen(feed) == [("o.1", 1), ("o.2", 2)]
        with pytest.raises(Refusal, match="4403"):
            hub.follow(feed, ["o.*", "o.1"])
        hub.follow(feed, ["o.*"])
        assert feed.selection.channels == ("o.2",)


async def test_a_rule_that_fails_is_no_answer(hub: Hub) -> None:
    def broken(who: Any, action: str, channel: str) -> bool:
        raise LookupError(channel)

    hub.authorize = broken
    with pytest.raises(Refusal) as refused:
        hub.feed(["o.1"])
    assert (refused.value.code, refused.value.retry is None) == (Code.INTERNAL, False)
    with hub.feed(["o.*"]) as feed, hub.feed(["p.*"]) as other:
        await hub.publish("o.1", 1)
        assert (feed.open, other.open) == (False, True)
        assert feed.bye is not None
        assert feed.bye.code == Code.INTERNAL


@pytest.fixture(params=["front", "asgi"])
async def guarded(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Hub, str]]:
    """A hub with the rule, where a query says who asks."""
    options = Options(channels=("*",), drain=1.0)
    hub = Hub(options, authorize=rule)
    await hub.open()
    endpoints = Endpoints(hub, transports=TRANSPORTS)
    endpoints.admission.authenticate = lambda asked: asked.query.get("who")
    front = Front(endpoints.admission, "") if request.param == "front" else None
    async with serving(endpoints, drain=hub.close, options=options, front=front) as url:
        yield hub, url


async def poll(http: aiohttp.ClientSession, url: str, query: str) -> list[Any]:
    async with http.get(f"{url}/poll?{query}") as response:
        body = await response.read()
        assert response.status == 200, body
        return [item.data for item in decode_batch(body) if isinstance(item, Event)]


async def test_no_two_who_may_see_different_things_share_an_answer(guarded: tuple[Hub, str]) -> None:
    hub, url = guarded
    for number, name in enumerate(["ann", "bob", "all"]):
        await hub.publish(f"o.{name}", number)
    start = f"{hub.log.epoch}.0"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as http:  # polls after each other on one connection
        for _ in range(3):
            for who, wanted in (("ann", [0, 2]), ("bob", [1, 2]), ("eve", [2])):
                assert await poll(http, url, f"channels=o.*&since={start}&wait=0&who={who}") == wanted
                assert await poll(http, url, f"who={who}&channels=o.*&since={start}&wait=0&_=1") == wanted
    async with aiohttp.ClientSession() as http:
        waiting = [
            asyncio.create_task(poll(http, url, f"channels=o.*&since={hub.log.epoch}.3&who={who}")) for who in ("ann", "bob")
        ]
        await until(lambda: hub.readers == 2)
        await hub.publish("o.ann", 4)
        assert await waiting[0] == [4]
        assert not waiting[1].done()
        await hub.publish("o.bob", 5)
        assert await waiting[1] == [5]


async def test_who_is_in_a_channel_is_for_those_who_may_read_it(guarded: tuple[Hub, str]) -> None:
    hub, url = guarded
    hub.authorize = lambda who, action, channel: not channel.startswith("o.bob")
    await hub.presence.present("o.bob", "bob")
    await hub.presence.present("o.ann", "ann")
    await until(lambda: "presence:o.ann" in hub.log and "presence:o.bob" in hub.log)
    start = Position(hub.log.epoch, 0)
    with pytest.raises(Refusal, match="4403"):
        hub.feed(["presence:o.bob"])
    with hub.feed(["presence:o.*"], start) as feed:
        assert feed.selection.channels == ("presence:o.ann",)
    async with aiohttp.ClientSession() as http:
        for name, status in (("ann", 200), ("bob", 403)):
            async with http.get(f"{url}/presence/o.{name}") as response:
                assert response.status == status
            async with http.get(f"{url}/poll?channels=presence:o.{name}&since={start}&wait=0") as response:
                assert response.status == status


async def test_what_may_not_be_published_is_not_on_any_way(guarded: tuple[Hub, str]) -> None:
    hub, url = guarded
    command = {"do": "publish", "channel": "o.bob", "data": 1}
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{url}/commands?who=ann", json=command) as response:
            assert (await response.json())[0]["code"] == 4403
        async with http.post(f"{url}/commands?who=bob", json=command) as response:
            assert (await response.json())[0]["ok"]
        async with http.ws_connect(f"{url}/ws?who=ann&channels=o.all") as socket:
            await socket.receive()
            for sent in (command, {"do": "subscribe", "channels": ["o.bob"]}):
                await socket.send_json(sent)
                assert (await socket.receive_json())[0]["code"] == 4403
    assert hub.log.head == 1


# --- on the wire


async def test_streams_in_step_see_what_each_may_and_nothing_else(guarded: tuple[Hub, str]) -> None:
    hub, url = guarded
    got: dict[str, list[Any]] = {}

    async def read(transport: Transport, who: str, most: int) -> None:
        key = f"{transport.name}-{who}-{len(got)}"
        got[key] = []
        async with aiohttp.ClientSession() as http:
            query = f"channels=o.*&who={who}"
            if transport.commands_up:
                async with http.ws_connect(f"{url}/{transport.path}?{query}") as socket:
                    while len(got[key]) < most:
                        got[key] += [item.data for item in decode_batch(await socket.receive_str()) if isinstance(item, Event)]
            else:
                reader = transport.reader()
                async with http.get(f"{url}/{transport.path}?{query}") as response:
                    while len(got[key]) < most:
                        items = reader.feed(await response.content.readany())
                        got[key] += [item.data for item in items if isinstance(item, Event)]

    streams = [each for each in TRANSPORTS if each.many]
    readers = [asyncio.create_task(read(each, who, 20)) for each in streams for who in ("ann", "bob") for _ in range(2)]
    await until(lambda: hub.readers == len(readers))
    for number in range(20):
        for name in ("ann", "bob", "eve"):
            await hub.publish(f"o.{name}", f"{name}{number}")
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await asyncio.gather(*readers)
    for key, items in got.items():
        name = key.split("-")[1]
        assert items == [f"{name}{number}" for number in range(20)]


async def test_a_client_follows_a_pattern_over_any_transport_and_through_a_cut(transport: Transport) -> None:
    async with live() as (hub, url):
        await hub.publish("o.1", 0)
        async with connect(url, ["o.*", "a"], since=f"{hub.log.epoch}.0", transports=[transport]) as stream:
            assert (await anext(stream)).channel == "o.1"
            await hub.publish("o.2", 1)
            await hub.publish("p", 2)
            await hub.publish("a", 3)
            assert [(await anext(stream)).channel for _ in range(2)] == ["o.2", "a"]
            place = stream.position
        await hub.publish("o.3", 4)
        async with connect(url, ["o.*", "a"], since=place, transports=[transport]) as stream:
            assert (await anext(stream)).data == 4


async def test_a_client_that_comes_back_gets_the_latest_and_is_told_of_the_rest(transport: Transport) -> None:
    skipped: list[Skipped] = []
    async with live() as (hub, url):
        start = f"{hub.log.epoch}.0"
        for number in range(20):
            await hub.publish("p", number, about="xy"[number % 2])
            await hub.publish("q.1", number)
            await hub.publish("r", number)
        async with connect(
            url,
            ["p", "q.*", "r"],
            latest=["p"],
            lag={"q.*": 3},
            since=start,
            transports=[transport],
            on_skipped=skipped.append,
        ) as stream:
            got = [await anext(stream) for _ in range(25)]
            assert [(each.data, each.about) for each in got if each.channel == "p"] == [(18, "x"), (19, "y")]
            assert [each.data for each in got if each.channel == "q.1"] == [17, 18, 19]
            assert [each.data for each in got if each.channel == "r"] == list(range(20))
            assert [(each.channel, each.count, each.reason) for each in skipped] == [("p", 18, "latest"), ("q.1", 17, "lag")]
            await stream.publish("p", 20, about="z")
            event = await anext(stream)
            assert (event.data, event.about) == (20, "z")


async def test_a_websocket_subscribes_with_policies_and_changes_them() -> None:
    async with live() as (hub, url), aiohttp.ClientSession() as http, http.ws_connect(f"{url}/ws") as socket:
        await socket.receive()
        for number in range(5):
            await hub.publish("p.1", number)

        async def say(**command: Any) -> Any:
            await socket.send_json(command)
            return await socket.receive_json()

        (reply,) = await say(do="subscribe", channels=["p.*"], lag={"p.*": 0})
        assert reply["code"] == 4400
        (reply,) = await say(do="subscribe", channels=["a"], latest=["p.*"])
        assert reply["code"] == 4400
        (reply,) = await say(do="subscribe", channels=["p.*"], latest=["p.*"], since=f"{hub.log.epoch}.0")
        assert reply["ok"]
        items = await socket.receive_json()
        assert [(each["type"], each.get("count"), each.get("data")) for each in items] == [
            ("skipped", 4, None),
            ("event", None, 4),
        ]
        (reply,) = await say(do="unsubscribe", channels=["p.*"])
        assert reply["ok"]


@pytest.mark.parametrize(
    "query", ["channels=a&latest=b", "channels=a&lag=a", "channels=a&lag=a:0", "channels=a&latest=a&lag=a:1"]
)
async def test_a_policy_that_cannot_be_is_refused(query: str) -> None:
    async with live() as (_, url), aiohttp.ClientSession() as http, http.get(f"{url}/poll?{query}") as response:
        assert (response.status, (await response.json())["code"]) == (400, 4400)


async def test_polls_with_other_policies_are_not_answered_alike() -> None:
    async with live() as (hub, url), aiohttp.ClientSession() as http:
        for number in range(3):
            await hub.publish("a", number)
        start = f"channels=a&since={hub.log.epoch}.0&wait=0"
        for _ in range(3):
            assert await poll(http, url, start) == [0, 1, 2]
            assert await poll(http, url, f"{start}&latest=a") == [2]
            assert await poll(http, url, f"{start}&lag=a:2") == [1, 2]


async def test_what_an_event_is_about_is_checked_and_absent_when_it_is_about_nothing(hub: Hub) -> None:
    for wrong in ("", "x" * 129):
        with pytest.raises(Refusal, match="4400"):
            await hub.publish("a", 1, about=wrong)
    with hub.feed(["a"], policies=policies_of(["a"])) as feed:
        await hub.publish("a", None)
        await hub.publish("a", 1, about="x" * 128)
        batch = feed.ready()
        assert batch is not None
        plain, about = (item.json for item in batch.items)
        assert b'"data":null' in plain
        assert b"about" not in plain
        assert b'"about":"xxx' in about
