"""Clients of a server that goes: over two servers of one log, nothing is lost, doubled or out of order, and nobody is blamed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.restrictions import Receive, Restrictions, Scope, Send
from tests.transports.conftest import BRISK
from transports import Code, Hub, Options, sse, websocket
from transports.asgi import Endpoints
from transports.client import Stream, connect
from transports.front import Front
from transports.items import Bye, Encoded, encode
from transports.testing import serving, until

ENOUGH = 300  # events before, during and after the move


class Going:
    """A server in front of another: it tells the streams that it goes, whenever it is told to."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.streams: dict[int, tuple[str, Send]] = {}
        self._numbers = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        number, kind = next(self._numbers), scope["type"]
        goes_on = kind == "websocket" or scope.get("path", "").endswith("/sse")

        async def sending(message: dict[str, Any]) -> None:
            await send(message)
            if goes_on and message["type"] in ("websocket.send", "http.response.body"):
                self.streams.setdefault(number, (kind, send))

        try:
            await self.app(scope, receive, sending)
        finally:
            self.streams.pop(number, None)

    async def say(self, bye: Bye) -> None:
        """Say it to every stream there is."""
        item: Encoded = encode(bye)
        for kind, send in list(self.streams.values()):
            if kind == "websocket":
                await send({"type": "websocket.send", "text": websocket.TRANSPORT.frame([item]).decode()})
            else:
                await send({"type": "http.response.body", "body": sse.TRANSPORT.frame([item]), "more_body": True})


class Place:
    """Two servers of one log, and which of them a new connection gets to."""

    def __init__(self, hubs: list[Hub], apps: list[Going], networks: list[Restrictions], urls: list[str]) -> None:
        self.hubs, self.apps, self.networks, self.urls, self.at = hubs, apps, networks, urls, 0

    async def url(self) -> str:
        return self.urls[self.at]

    async def leave(self, retry: float = 0.02, stays: float | None = 30.0, code: Code = Code.DRAINING) -> None:
        """The first server says that it goes; who comes gets to the other from now on."""
        self.at = 1
        await self.apps[0].say(Bye(int(code), code.name.lower(), "the server is stopping", retry, stays))


@asynccontextmanager
async def two_servers(tmp_path: Path) -> AsyncIterator[Place]:
    options = Options(channels=("a",), broker=f"sqlite:///{tmp_path}/log.db")
    first, second = Hub(options), Hub(options)
    await first.open()
    await second.open()
    apps = [Going(Endpoints(first)), Going(Endpoints(second))]
    networks = [Restrictions(app) for app in apps]
    async with (
        serving(networks[0], drain=first.close, options=options) as one,
        serving(networks[1], drain=second.close, options=options) as other,
    ):
        yield Place([first, second], apps, networks, [one, other])


async def publish(hub: Hub, got: list[int], most: int) -> None:
    """0, 1, 2, …, never far ahead of what has come."""
    for number in range(most):
        await until(lambda number=number: len(got) > number - 10)
        await hub.publish("a", number)


async def follow(stream: Stream, got: list[int]) -> None:
    async for event in stream:
        got.append(event.data)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with two_servers(tmp_path) as place:
        yield place


@asynccontextmanager
async def served(hub: Hub, edge: str) -> AsyncIterator[str]:
    """A hub as it is served in production."""
    endpoints = Endpoints(hub)
    front = Front(endpoints.admission, "") if edge == "front" else None
    async with serving(endpoints, drain=hub.drain, options=hub.options, front=front, others=True) as url:
        yield url


@pytest.mark.parametrize("transport", ["websocket", "sse", "longpoll"])
@pytest.mark.parametrize("edge", ["front", "asgi"])
async def test_nothing_is_missed_while_a_server_drains_and_ends(tmp_path: Path, edge: str, transport: str) -> None:
    options = Options(channels=("a",), broker=f"sqlite:///{tmp_path}/log.db")
    first, second = Hub(options), Hub(options)
    await first.open()
    await second.open()
    got: list[int] = []
    states: list[str] = []
    urls: list[str] = []

    async def url() -> str:
        return urls[-1]

    async with served(second, edge) as other:
        async with served(first, edge) as one:
            urls.append(one)
            stream = await connect(url, ["a"], transport=transport, on_state=states.append, memory=None).__aenter__()
            await until(lambda: stream.state == "open")
            tasks = [asyncio.create_task(follow(stream, got)), asyncio.create_task(publish(second, got, ENOUGH))]
            await until(lambda: len(got) > ENOUGH / 3)
            urls.append(other)
        if transport != "longpoll":  # a poll may have been on its way to a server that had just ended
            assert (stream.state, second.readers) == ("open", 1), "it is here before the other server has ended"
            assert set(states) <= {"connecting", "open"}
        await tasks[1]
        await until(lambda: len(got) == ENOUGH)
        tasks[0].cancel()
        assert stream.evidence.bad == {}
        await stream.close()
    assert got == list(range(ENOUGH))


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_events_flow_through_a_move_once_and_in_order(place: Place, transport: str) -> None:
    got: list[int] = []
    states: list[str] = []
    async with connect(place.url, ["a"], transport=transport, on_state=states.append, memory=None) as stream:
        await until(lambda: stream.state == "open")
        tasks = [asyncio.create_task(follow(stream, got)), asyncio.create_task(publish(place.hubs[1], got, ENOUGH))]
        await until(lambda: len(got) > ENOUGH / 3)
        await place.leave()
        await until(lambda: stream.sentence.endswith("; moving to another connection."))
        await until(lambda: not place.apps[0].streams)
        assert len(got) < ENOUGH
        assert len(place.apps[1].streams) == 1
        await tasks[1]
        await until(lambda: len(got) == ENOUGH)
        tasks[0].cancel()
        assert set(states) <= {"connecting", "open"}
        assert [(each.why, each.verdict) for each in stream.evidence.attempts] == [("race", "ok"), ("move", "ok")]
    assert got == list(range(ENOUGH))
    assert place.hubs[1].counts.as_dict()["why"] == {"move": 1}


async def test_while_the_other_does_not_work_the_old_one_goes_on(place: Place) -> None:
    got: list[int] = []
    place.networks[1].how = {"ws": "swallow"}
    pace = msgspec.structs.replace(BRISK, proof=0.05)
    async with connect(place.url, ["a"], transport="websocket", pace=pace, memory=None) as stream:
        await until(lambda: stream.state == "open")
        following = asyncio.create_task(follow(stream, got))
        await place.leave()
        await until(lambda: [each.why for each in stream.evidence.attempts].count("move") == 3)
        await place.hubs[1].publish("a", 0)
        await until(lambda: got == [0])
        assert stream.state == "open"
        place.networks[1].how = {}
        await until(lambda: not place.apps[0].streams)
        await place.hubs[1].publish("a", 1)
        await until(lambda: got == [0, 1])
        following.cancel()
        assert stream.evidence.bad == {}


async def test_a_crash_before_the_time_has_come_is_an_ordinary_reconnect(place: Place) -> None:
    async with connect(place.url, ["a"], transport="websocket", pace=BRISK, memory=None) as stream:
        await until(lambda: stream.state == "open")
        await place.leave(retry=600.0, stays=700.0)
        await until(lambda: stream.sentence.endswith("; moving to another connection."))
        stays = asyncio.create_task(place.hubs[0].close())
        await until(lambda: len(place.apps[1].streams) == 1)
        await stays
        await place.hubs[1].publish("a", 0)
        assert (await anext(stream)).data == 0


@pytest.mark.parametrize("stays", [None, 0.0, -1.0])
async def test_a_bye_that_does_not_stay_is_the_last_item(place: Place, stays: float | None) -> None:
    async with connect(place.url, ["a"], transport="websocket", pace=BRISK, memory=None) as stream:
        await until(lambda: stream.state == "open")
        await place.leave(stays=stays)
        await until(lambda: len(place.apps[1].streams) == 1)
        assert [each.why for each in stream.evidence.attempts] == ["race", "race"]


@pytest.mark.parametrize("code", [Code.DRAINING, Code.REBALANCE])
async def test_what_is_published_meanwhile_is_published_once(place: Place, code: Code) -> None:
    got: list[int] = []
    async with connect(place.url, ["a"], transport="websocket", memory=None) as stream:
        await until(lambda: stream.state == "open")
        following = asyncio.create_task(follow(stream, got))
        for number in range(60):
            if number == 20:
                await place.leave(code=code)
            await stream.publish("a", number)
        await until(lambda: not place.apps[0].streams)
        await until(lambda: len(got) == 60)
        following.cancel()
    assert got == list(range(60))
    assert place.hubs[1].log.head == 60


async def test_who_moves_to_a_server_that_goes_moves_on(place: Place) -> None:
    async with connect(place.url, ["a"], transport="websocket", memory=None) as stream:
        await until(lambda: stream.state == "open")
        await place.leave()
        await until(lambda: not place.apps[0].streams)
        place.at = 0
        await place.apps[1].say(Bye(4503, "draining", "the server is stopping", 0.0, 30.0))
        await until(lambda: not place.apps[1].streams)
        await until(lambda: len(place.apps[0].streams) == 1)
        await until(lambda: stream.sentence == "Live over WebSocket.")
        assert [each.why for each in stream.evidence.attempts] == ["race", "move", "move"]
