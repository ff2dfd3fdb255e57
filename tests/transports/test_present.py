"""Who is there, seen by clients: over every transport, through reconnects, at servers that share a broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import msgspec
import pytest

from tests.redis_server import redis_server
from tests.transports.conftest import BRISK, live
from tests.transports.test_edge import EDGES, site
from transports import Code, ConnectionFailedError, Event, Hub, Lost, Options, Refusal
from transports.asgi import Endpoints
from transports.client import Stream, connect
from transports.front import Front
from transports.presence import Page
from transports.present import Members, Present
from transports.room import Room
from transports.testing import serving, until


async def changes(stream: Stream, number: int) -> list[tuple[str, str]]:
    async with asyncio.timeout(30):
        events = [await anext(stream) for _ in range(number)]
    return [(event.data["change"], event.data["as"]) for event in events]


@pytest.mark.parametrize("transport", ["websocket", "sse", "longpoll"])
async def test_who_is_there_over_every_transport(transport: str) -> None:
    async with (
        live(presence_delay=0.05) as (_, url),
        connect(url, ["room", "presence:room"], transport=transport) as stream,
    ):
        async with stream.present("room", as_="ann", data={"mood": "fine"}) as stay:
            assert await changes(stream, 1) == [("joined", "ann")]
            members = await stream.members("room")
            assert ([member.name for member in members], members["ann"].data) == (["ann"], {"mood": "fine"})
            await stay.say({"mood": "busy"})
            event = await anext(stream)
            assert (event.data["change"], members.take(event), members["ann"].data) == ("changed", True, {"mood": "busy"})
            assert "ann" in members
        event = await anext(stream)
        assert (event.data["change"], members.take(event), len(members)) == ("left", True, 0)


async def test_it_is_renewed_and_survives_what_the_connection_goes_through() -> None:
    async with (
        live(presence_lease=0.6, presence_delay=0.05) as (hub, url),
        connect(url, ["room"], pace=BRISK) as stream,
        connect(url, ["presence:room"]) as other,
        stream.present("room", as_="ann"),
    ):
        for transport in ("sse", "longpoll", "websocket"):
            stream.switch(transport)
            await until(lambda name=transport: stream.transport == name)
            place = hub.log.head
            await until(lambda at=place: hub.log.head >= at + 3)  # renewals, no changes
        assert await changes(other, 1) == [("joined", "ann")]
        asking = asyncio.create_task(anext(other))
        await hub.presence.present("room", "bob")
        assert (await asking).data["as"] == "bob"


@pytest.fixture(params=["sqlite", "redis"])
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[tuple[Hub, str]]]:
    """Two servers, with one broker: the front of one, the other without."""
    async with AsyncExitStack() as stack:
        broker = f"sqlite:///{tmp_path}/log.db"
        if request.param == "redis":
            broker = (await stack.enter_async_context(redis_server(tmp_path))).url
        servers = []
        for edge in EDGES:
            options = Options(channels=("room",), broker=broker, presence_lease=1.0, presence_delay=0.1)
            hub = Hub(options)
            await hub.open()
            endpoints = Endpoints(hub)
            front = Front(endpoints.admission, "/live") if edge == "front" else None
            url = await stack.enter_async_context(serving(site(endpoints), drain=hub.close, options=options, front=front))
            servers.append((hub, f"{url}/live"))
        yield servers


async def test_two_servers_know_the_same(two: list[tuple[Hub, str]]) -> None:
    (_, first), (_, second) = two
    async with (
        connect(first, ["room", "presence:room"]) as one,
        connect(second, ["presence:room"]) as other,
        one.present("room", as_="ann"),
    ):
        async with other.present("room", as_="bob", data=1):
            seen = [await changes(one, 2), await changes(other, 2)]
            assert seen == [[("joined", "ann"), ("joined", "bob")]] * 2
            for stream in (one, other):
                assert [member.name for member in await stream.members("room")] == ["ann", "bob"]
        assert [await changes(one, 1), await changes(other, 1)] == [[("left", "bob")]] * 2


async def test_list_and_stream_have_no_gap_whichever_server_is_asked(two: list[tuple[Hub, str]]) -> None:
    (first, _), (second, _) = two
    urls = [url for _, url in two]

    async def come_and_go(hub: Hub, name: str) -> None:
        for number in range(8):
            await hub.presence.present("room", name, data=number)
            await asyncio.sleep(0.02)
            await hub.presence.present("room", name, seconds=0)
            await asyncio.sleep(0.15 if number % 2 else 0)

    going = [
        asyncio.create_task(come_and_go(hub, f"{name}{number}"))
        for number, (hub, name) in enumerate([(first, "a"), (second, "b")] * 2)
    ]
    lists: list[Members] = []
    events: list[Event] = []
    async with connect(urls[0], ["presence:room"]) as stream, connect(urls[1], ["presence:room"]) as asker:

        async def read() -> None:
            async for event in stream:
                events.append(event)
                if event.data["as"] == "end":
                    return

        reading = asyncio.create_task(read())
        while not all(task.done() for task in going):
            lists += [await asker.members("room"), await stream.members("room")]
        await asyncio.gather(*going)
        await until(lambda: not first.presence._presence.told("room"))
        await first.presence.present("room", "end")
        await asyncio.wait_for(reading, 30)
    assert len(lists) > 5
    for members in lists:
        for event in events:
            if event.data["as"] in members and event.data["change"] == "joined":
                behind = int(event.id.partition(".")[2]) > int(members.id.partition(".")[2])
                assert not (behind and members[event.data["as"]].visit == event.data["visit"])  # not joined twice
            members.take(event)
        assert [member.name for member in members] == ["end"]


@pytest.mark.parametrize("edge", EDGES)
async def test_the_endpoint(edge: str) -> None:
    hub = Hub(Options(channels=("room",), origins=("https://shop.example",)))
    await hub.open()
    endpoints = Endpoints(hub)
    front = Front(endpoints.admission, "/live") if edge == "front" else None
    async with serving(site(endpoints), drain=hub.close, front=front) as url, aiohttp.ClientSession() as http:
        command = {"do": "present", "ref": 7, "channel": "room", "as": "ann", "data": {"a": [1]}}
        async with http.post(
            f"{url}/live/commands", json=[command, {**command, "as": ""}, {**command, "channel": "x"}]
        ) as answer:
            first, second, third = await answer.json()
        assert first == {"type": "reply", "ref": 7, "ok": True, "for": 45.0}
        assert (second["code"], third["code"]) == (4400, 4404)
        await until(lambda: hub.log.head == 2)
        for path, status, code in [
            ("presence/room", 200, None),
            ("presence/room?limit=0", 200, None),
            ("presence/hall", 404, 4404),
            ("presence/presence:room", 404, 4404),
            ("presence/", 404, 4400),
            ("presence", 404, 4400),
            ("presence/room?limit=-1", 400, 4400),
            ("presence/room?limit=x", 400, 4400),
            ("presence/room?since=x", 400, 4400),
            ("presence/room?v=2", 400, 4426),
        ]:
            async with http.get(f"{url}/live/{path}") as answer:
                said = await answer.json()
                assert (path, answer.status, said.get("code")) == (path, status, code)
                assert "no-store" in answer.headers["cache-control"]
        async with http.get(f"{url}/live/presence/room", headers={"origin": "https://shop.example"}) as answer:
            page = msgspec.json.decode(await answer.read(), type=Page)
            assert answer.headers["access-control-allow-origin"] == "https://shop.example"
            assert (page.id, page.count, page.members[0].name, page.members[0].data) == (
                f"{hub.log.epoch}.2",
                1,
                "ann",
                {"a": [1]},
            )
        async with http.get(f"{url}/live/presence/room", headers={"origin": "https://evil.example"}) as answer:
            assert answer.status == 403
        async with http.post(f"{url}/live/presence/room") as answer:
            assert (answer.status, answer.headers["allow"]) == (405, "GET")
        async with http.ws_connect(f"{url}/live/ws?channels=presence:room&since={hub.log.epoch}.0") as socket:
            await socket.send_json({"do": "present", "ref": 1, "channel": "room", "as": "bob", "lease": "x", "for": 5})
            await socket.send_json({"do": "publish", "ref": 2, "channel": "presence:room", "data": 1})
            got = [item for _ in range(4) for item in (await socket.receive_json())][1:]
            replies = {item["ref"]: item for item in got if item["type"] == "reply"}
            assert (replies[1]["for"], replies[2]["code"]) == (5.0, 4403)


async def test_a_channel_that_is_full_and_one_that_is_none() -> None:
    async with live(channels=("room",), presence_members=1) as (_, url), connect(url, ["room"]) as stream:
        with pytest.raises(Refusal, match="4404"):
            await stream.present("hall", as_="ann").__aenter__()
        with pytest.raises(Refusal, match="4404"):
            await stream.members("hall")
        with pytest.raises(Refusal, match="4400"):
            await stream.present("room", as_="").__aenter__()


async def test_a_room_is_a_channel_and_who_is_in_it() -> None:
    async with live(channels=("lobby",), presence_delay=0) as (hub, url):
        room = Room(hub, "lobby")
        with pytest.raises(Refusal, match="4404"):
            Room(hub, "hall")
        async with connect(url, room.channels) as stream:
            async with room.present(as_="bot", data="here"):
                await room.publish("hello")
                events = {event.channel: event.data for event in [await anext(stream) for _ in range(2)]}
                assert (events["lobby"], events["presence:lobby"]["as"]) == ("hello", "bot")
                assert [member.data for member in (await room.members()).members] == ["here"]
            assert await changes(stream, 1) == [("left", "bot")]


class Line:
    """A way up that can be cut."""

    def __init__(self) -> None:
        self.sent: list[dict] = []
        self.outcome: Exception | float = 0.15

    async def __call__(self, command: dict) -> float:
        self.sent.append(command)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


async def test_what_does_not_come_through_is_sent_again_and_the_lease_is_given_up_at_the_end() -> None:
    line = Line()
    async with Present(line, {"channel": "room", "as": "ann"}, 1, (OSError,)) as stay:
        await until(lambda: len(line.sent) > 2)
        line.outcome = OSError("cut")
        before = len(line.sent)
        await until(lambda: len(line.sent) > before + 1)
        line.outcome = 0.15
        await until(lambda: len(line.sent) > before + 3)
        assert stay.refusal is None
    assert len({command["lease"] for command in line.sent}) == 1
    assert [command.get("for") for command in line.sent[-2:]] == [None, 0]


async def test_who_is_refused_for_good_asks_no_more() -> None:
    line = Line()
    async with Present(line, {"channel": "room", "as": "ann"}, None) as stay:
        line.outcome = Refusal(Code.FORBIDDEN)
        await until(lambda: stay.refusal is not None)
        with pytest.raises(Refusal, match="4403"):
            await stay.say(2)


async def test_who_does_not_get_in_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transports.present._FIRST", 0.05)
    line = Line()
    line.outcome = OSError("cut")
    with pytest.raises(ConnectionFailedError, match="cut"):
        await Present(line, {"channel": "room", "as": "ann"}, None, (OSError,)).__aenter__()


def test_a_list_takes_what_is_behind_it() -> None:
    def event(offset: int, change: str, name: str, visit: str, channel: str = "presence:room", epoch: str = "e") -> Event:
        return Event(f"{epoch}.{offset}", channel, 0.0, {"change": change, "as": name, "at": 1.0, "data": None, "visit": visit})

    members = Members(Page("e.10", "room", 1, []))
    assert not members.take(event(10, "joined", "ann", "e.9"))
    assert not members.take(event(11, "joined", "ann", "e.11", "room"))
    assert members.take(event(12, "joined", "ann", "e.11"))
    assert (members.id, next(iter(members)).name) == ("e.12", "ann")
    assert not members.take(event(13, "left", "ann", "e.1"))
    assert members.take(event(1, "left", "ann", "e.11", epoch="f"))
    assert (len(members), members.id) == (0, "f.1")
    assert members.stale(Lost("f.2", "presence:room", "f.1", "f.2", "evicted"))
    assert not members.stale(Lost("f.2", "room", "f.1", "f.2", "evicted"))
