"""Limits where they are met: over both edges and all transports, by clients that hold the socket themselves."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeAlias

import pytest

from tests.transports.test_edge import EDGES, Connection, Place, WebSocket, commands, request, served
from transports import LADDER, Code, Options, Transport
from transports.client import connect
from transports.options import unacknowledged_seconds
from transports.serve import configuration, listen
from transports.testing import until

Edge: TypeAlias = Callable[..., AbstractAsyncContextManager[Place]]
TRANSPORTS = pytest.mark.parametrize("transport", LADDER, ids=lambda transport: transport.name)


@pytest.fixture(params=EDGES)
def edge(request: pytest.FixtureRequest) -> Edge:
    return partial(served, request.param)


class Reader:
    """Whoever opens a transport: let in, or refused with a code and the seconds to wait."""

    def __init__(self, place: Place, transport: Transport, *headers: str) -> None:
        self.place, self.transport, self.headers = place, transport, headers
        self.connection: Connection | None = None

    async def open(self) -> tuple[int, float] | None:
        before = self.place.hub.readers
        self.connection = connection = await self.place.connect()
        if self.transport.commands_up:
            websocket = await WebSocket(connection).open("channels=a", *self.headers)
            first = (await websocket.items())[0]
            if first["type"] == "hello":
                return None
            assert await websocket.close_code() == first["code"]
            return first["code"], first["retry"]
        query = "" if self.transport.many else f"&since={self.place.beginning}&wait=60"
        connection.send(request(f"/live/{self.transport.path}?channels=a{query}", *self.headers))
        if not self.transport.many:  # one that waits is not answered
            answer = asyncio.create_task(connection.head())
            await until(lambda: answer.done() or self.place.hub.readers > before)
            if not answer.done():
                answer.cancel()
                return None
            status, headers = await answer
        else:
            status, headers = await connection.head()
        if status == 200:
            return None
        body = json.loads(await connection.reader.readexactly(int(headers["content-length"])))
        assert (status, headers["retry-after"]) == (Code(body["code"]).status, str(int(body["retry"])))
        return body["code"], body["retry"]

    def leave(self) -> None:
        assert self.connection is not None
        self.connection.writer.transport.abort()


@TRANSPORTS
async def test_one_address_has_so_many_readers_and_when_one_goes_the_next_is_let_in(edge: Edge, transport: Transport) -> None:
    async with edge(connections_per_address=3) as place:
        readers = [Reader(place, transport) for _ in range(3)]
        assert [await each.open() for each in readers] == [None] * 3
        assert await Reader(place, transport).open() == (4429, 5.0)
        assert place.hub.limits.refused == {"connections_per_address": 1}
        readers[0].leave()
        await until(lambda: place.hub.readers == 2)
        assert await Reader(place, transport).open() is None


@TRANSPORTS
async def test_somebody_has_so_many_readers_wherever_from(edge: Edge, transport: Transport) -> None:
    async with edge(connections_per_who=1) as place:
        place.admission.authenticate = lambda asked: asked.headers.get("x-who")
        assert await Reader(place, transport, "X-Who: ann").open() is None
        assert await Reader(place, transport, "X-Who: ann").open() == (4429, 5.0)
        assert [await Reader(place, transport, "X-Who: bob").open(), await Reader(place, transport).open()] == [None, None]


@TRANSPORTS
async def test_a_process_has_so_many_readers(edge: Edge, transport: Transport) -> None:
    async with edge(connections_per_process=2) as place:
        assert [await Reader(place, transport).open() for _ in range(2)] == [None, None]
        assert await Reader(place, transport).open() == (4429, 5.0)


@TRANSPORTS
async def test_behind_a_proxy_each_client_is_counted_by_itself_whatever_it_says_of_itself(
    edge: Edge, transport: Transport
) -> None:
    async with edge(connections_per_address=1, trusted_hops=1) as place:
        assert await Reader(place, transport, "X-Forwarded-For: 1.1.1.1").open() is None
        assert await Reader(place, transport, "X-Forwarded-For: 1.1.1.2").open() is None
        for said in ("1.1.1.1", "6.6.6.6, 1.1.1.1", "1.1.1.3, 1.1.1.1"):
            assert await Reader(place, transport, f"X-Forwarded-For: {said}").open() == (4429, 5.0)
        two = ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 1.1.1.1")  # as some proxies add it
        assert await Reader(place, transport, *two).open() == (4429, 5.0)
        assert sorted(account.address for account in place.hub.accounts) == ["1.1.1.1", "1.1.1.2"]


@TRANSPORTS
async def test_where_no_proxy_was_told_of_nobody_chooses_an_address(edge: Edge, transport: Transport) -> None:
    async with edge(connections_per_address=1) as place:
        assert await Reader(place, transport).open() is None
        assert await Reader(place, transport, "X-Forwarded-For: 1.1.1.1", "Forwarded: for=1.1.1.1").open() == (4429, 5.0)


async def test_whoever_only_connects_is_bounded_too(edge: Edge) -> None:
    async with edge(connections_per_address=2) as place:
        silent = [await place.connect() for _ in range(4)]
        if place.front is not None:
            await until(lambda: len(place.front.connections) == 4)
        one_more = await place.connect()
        assert b"429" in (await one_more.rest())[:20]
        assert place.hub.limits.refused["connections_per_address"] == (1 if place.front else 0)  # a server alone counts by itself
        for each in silent:
            each.writer.transport.abort()
        await until_served(place)


async def until_served(place: Place) -> None:
    """Those who have gone are let go of when the server has seen it."""
    async with asyncio.timeout(10):
        while True:
            connection = await place.connect()
            connection.send(place.poll())
            try:
                status, _ = await connection.head()
            except (asyncio.IncompleteReadError, ConnectionError):
                continue
            if status == 200:
                return


# --- commands


def publishes(*numbers: int) -> list[dict]:
    return [{"do": "publish", "ref": n, "channel": "a", "data": n, "key": str(n)} for n in numbers]


async def said_by_websocket(place: Place, some: list[dict]) -> list[dict]:
    websocket = await place.websocket("")
    websocket.say(*some)
    return await websocket.items()


async def said_by_post(place: Place, some: list[dict]) -> list[dict]:
    connection = await place.connect()
    connection.send(commands(body=json.dumps(some).encode()))
    status, _, body = await connection.answer()
    assert status == 200
    return json.loads(body)


@pytest.mark.parametrize("say", [said_by_websocket, said_by_post])
@pytest.mark.parametrize("limit", ["commands_per_connection", "commands_per_address"])
async def test_commands_over_the_rate_are_told_when_to_come_again_and_nothing_of_them_is_done(
    edge: Edge, say: Callable, limit: str
) -> None:
    if (say, limit) == (said_by_post, "commands_per_connection"):
        limit = "commands_per_who"  # a request is a connection of its own: what counts is who says it
    async with edge(**{limit: 1.0, "burst_seconds": 5.0}) as place:
        place.admission.authenticate = lambda _: "ann"
        replies = await say(place, publishes(*range(9)))
        assert [reply["ok"] for reply in replies] == [True] * 5 + [False] * 4
        late = replies[-1]
        assert (late["ref"], late["code"], late["name"]) == (8, 4429, "rate_limited")
        assert 3.0 < late["retry"] <= 4.0
        assert place.hub.log.head == 5
        assert place.hub.limits.refused == {limit: 1}


@pytest.mark.parametrize("say", [said_by_websocket, said_by_post])
async def test_bytes_over_the_rate_hold_the_whole_message_back(edge: Edge, say: Callable) -> None:
    async with edge(bytes_per_address=1, burst_seconds=1.0, message_bytes=1000) as place:
        assert all(reply["ok"] for reply in await say(place, publishes(1)))
        replies = await say(place, [{**each, "data": "x" * 250} for each in publishes(2, 3, 4)])
        assert [reply["code"] for reply in replies] == [4429] * 3
        assert place.hub.log.head == 1


async def test_who_goes_on_without_waiting_is_sent_away(edge: Edge) -> None:
    async with edge(commands_per_connection=0.01, burst_seconds=1000.0) as place:
        hasty, other = await place.websocket(""), await place.websocket("")
        for number in range(40):
            hasty.say(*publishes(number))
        assert await hasty.close_code() == 4429
        other.say({"do": "ping", "ref": 1})
        assert (await other.items())[0]["ok"]
        assert place.hub.log.head == 10


async def test_requests_that_do_not_wait_are_refused_as_a_whole(edge: Edge) -> None:
    async with edge(commands_per_address=0.01, burst_seconds=500.0) as place:
        statuses = []
        for number in range(20):
            connection = await place.connect()
            connection.send(commands(body=json.dumps(publishes(number)).encode()))
            status, headers, body = await connection.answer()
            statuses.append(status)
            connection.writer.close()
        assert statuses[:5] == [200] * 5
        assert statuses[-1] == 429
        assert json.loads(body)["code"] == 4429
        assert int(headers["retry-after"]) >= 1
        assert place.hub.log.head == 5


async def test_tickets_count_as_commands(edge: Edge) -> None:
    async with edge(commands_per_address=0.01, burst_seconds=200.0, secret="x" * 32) as place:
        place.admission.authenticate = lambda _: "ann"
        asked = request("/live/ticket?for=sse", "Content-Type: application/json", "Content-Length: 0", method="POST")
        answers = []
        for _ in range(4):
            connection = await place.connect()
            connection.send(asked)
            answers.append((await connection.answer())[0])
        assert answers == [200, 200, 429, 429]


async def test_a_client_that_publishes_more_than_it_may_loses_nothing_and_doubles_nothing(edge: Edge) -> None:
    async with edge(commands_per_address=200.0, burst_seconds=0.1, message_bytes=65_536) as place:
        async with connect(f"{place.url}/live", ["a"], since=place.beginning) as stream:
            ids = await asyncio.gather(*[stream.publish("a", n) for n in range(90)])
            got = [(await anext(stream)).data for _ in range(90)]
        assert got == list(range(90))
        assert len(set(ids)) == 90
        assert place.hub.limits.refused["commands_per_address"] > 0


# --- times


async def test_a_websocket_that_wants_nothing_is_closed(edge: Edge) -> None:
    async with edge(first_command_timeout=0.3, beat=0.1) as place:
        mute, reads, says = await place.websocket(""), await place.websocket(), await place.websocket("")
        says.say({"do": "subscribe", "ref": 1, "channels": ["a"]})
        assert await mute.close_code() == 4408
        assert place.hub.limits.refused == {"first_command_timeout": 1}
        await place.hub.publish("a", 1)
        for each in (reads, says):
            while not any(item["type"] == "event" for item in await data(each)):
                pass


async def data(websocket: WebSocket) -> list[dict]:
    """The items of the next frame that has any."""
    while (frame := await websocket.frame()).opcode != 1:
        pass
    return json.loads(frame.payload)


async def test_pings_of_the_protocol_are_no_first_command(edge: Edge) -> None:
    async with edge(first_command_timeout=0.5) as place:
        websocket = await place.websocket("")
        websocket.connection.send(websocket.frames.ping(b"x"))
        assert await websocket.close_code() == 4408


def test_the_system_ends_connections_whose_other_side_is_gone_and_who_is_accepted_has_that_from_who_listens() -> None:
    options = Options(send_timeout=7.0)
    config = configuration(listening := listen("127.0.0.1", 0), options)
    assert listening.fileno() == -1, "it was taken over"
    with socket.socket(fileno=int(config.bind[0].removeprefix("fd://"))) as taken, socket.create_connection(taken.getsockname()):
        accepted, _ = taken.accept()
        with accepted:
            ms = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert ms == 1000 * unacknowledged_seconds(options) == 12_000
    assert config.ssl_handshake_timeout == options.handshake_timeout


# --- sizes


@pytest.mark.parametrize(("target", "header", "status"), [("x" * 9000, "", 414), ("", "x" * 17_000, 431)])
async def test_a_url_or_a_head_that_is_too_long_is_told_so(edge: Edge, target: str, header: str, status: int) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(request(f"/live/poll?channels=a&x={target}", f"X: {header}"))
        got, _, body = await connection.answer()
        assert (got, json.loads(body)["code"]) == (status, 4413)


# --- slow readers


@pytest.mark.parametrize("transport", [each for each in LADDER if each.many], ids=lambda transport: transport.name)
@pytest.mark.parametrize(("policy", "told"), [("skip", b'"type":"lost"'), ("close", b'"code":4430')])
async def test_a_reader_who_falls_behind_is_told_what_is_lost_or_sent_away_before(
    edge: Edge, transport: Transport, policy: str, told: bytes
) -> None:
    async with edge(slow_readers=policy, history_count=5, batch_bytes=65_536) as place:
        reader = Reader(place, transport)
        assert await reader.open() is None
        for number in range(400):  # 24 MB, more than the system takes for who takes nothing
            await place.hub.publish("a", [number, "x" * 60_000])
            await asyncio.sleep(0)
        came = b""
        async with asyncio.timeout(30):
            while told not in came:
                came = came[-1000:] + await reader.connection.reader.read(65536)
        await until(lambda: place.hub.limits.refused.get("slow_readers", 0) == (policy == "close"))


async def test_who_comes_back_behind_what_is_kept_is_told_so_and_not_sent_away(edge: Edge) -> None:
    async with edge(slow_readers="close", history_count=5) as place:
        for number in range(20):
            await place.hub.publish("a", number)
        websocket = await place.websocket(f"channels=a&since={place.beginning}")
        assert [item["type"] for item in await websocket.items()] == ["lost", *["event"] * 5]
        websocket.say({"do": "ping", "ref": 1})
        assert (await websocket.items())[0]["ok"]
