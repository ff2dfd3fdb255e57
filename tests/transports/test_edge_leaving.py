"""A process leaves while another serves the same: what those see who read from it, over raw sockets, at each edge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection

from tests.together import Together
from tests.transports.test_edge import Connection, Place, WebSocket, request, site
from transports import Hub, Options
from transports.asgi import Endpoints
from transports.front import Front
from transports.servers import find_server
from transports.testing import serving, until

EDGES = ["front", "plain", "uvicorn"]


class Leaving(Place):
    """One of two processes; it can be told to go while its connections are open."""

    def __init__(self, hub: Hub, url: str, front: Front | None, stop: asyncio.Event) -> None:
        super().__init__(hub, url, front)
        self.stop = stop
        self.left = asyncio.Event()


@asynccontextmanager
async def leaving(kind: str, **settings: object) -> AsyncIterator[Leaving]:
    """An edge, beside another hub that has the same events."""
    options = Options(**{"channels": ("*",), "reconnects": 1000, "stays": 60.0, "drain": 10.0, **settings})
    together = Together()
    hub, other = Hub(options, broker=together), Hub(options, broker=together)
    await hub.open()
    await other.open()
    endpoints = Endpoints(hub)
    front = Front(endpoints.admission, "/live") if kind == "front" else None
    ready: asyncio.Future[Leaving] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def serve() -> None:
        server = {"server": find_server("uvicorn")} if kind == "uvicorn" else {}
        async with serving(site(endpoints), drain=hub.drain, options=options, front=front, others=True, **server) as url:
            ready.set_result(place := Leaving(hub, url, front, stop))
            await stop.wait()
        place.left.set()

    serves = asyncio.create_task(serve())
    place = await ready
    try:
        yield place
    finally:
        stop.set()
        place.leave()
        await serves
        await other.close()


@pytest.fixture(params=EDGES)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


async def sse_items(connection: Connection, count: int) -> list[dict]:
    """So many items of a stream."""
    items = []
    while len(items) < count:
        line = await asyncio.wait_for(connection.reader.readline(), 10)
        assert line, "the stream has ended"
        if line.startswith(b"data: "):
            items.append(json.loads(line[6:]))
    return items


async def ws_items(socket: WebSocket, count: int) -> list[dict]:
    items: list[dict] = []
    while len(items) < count:
        items += await socket.items()
    return items


async def test_readers_are_told_each_another_time_and_read_on_until_they_go(kind: str) -> None:
    async with leaving(kind) as place:
        sockets = [await place.websocket() for _ in range(20)]
        streams = [await place.connect() for _ in range(20)]
        for each in streams:
            each.send(request("/live/sse?channels=a"))
            assert (await each.head())[0] == 200
            assert (await sse_items(each, 1))[0]["type"] == "hello"
        await until(lambda: place.hub.readers == 40)
        await place.hub.publish("a", 1)
        place.stop.set()
        await until(lambda: place.hub.leaving)
        await place.hub.publish("a", 2)
        await place.hub.publish("a", 3)
        told = [await ws_items(each, 4) for each in sockets] + [await sse_items(each, 4) for each in streams]
        byes = []
        for items in told:
            assert [item["data"] for item in items if item["type"] == "event"] == [1, 2, 3]
            (bye,) = (item for item in items if item["type"] == "bye")
            assert (bye["code"], bye["name"]) == (4503, "draining")
            assert 0 <= bye["retry"] < bye["stays"] <= 6.0
            byes.append(bye)
        assert len({bye["retry"] for bye in byes}) == 40
        sockets[0].say({"do": "publish", "ref": 1, "channel": "a", "data": 4})
        answered = await ws_items(sockets[0], 2)
        assert {item["type"] for item in answered} == {"reply", "event"}, "commands go on"
        assert place.hub.counts.as_dict()["moved"] == {"draining": 40}
        place.leave()
        await asyncio.wait_for(place.left.wait(), 10)


async def test_a_poll_that_waits_goes_with_a_beat_and_its_connection_ends(kind: str) -> None:
    async with leaving(kind) as place:
        connections = [await place.connect() for _ in range(3)]
        for each in connections:
            each.send(place.poll(wait="60"))
        await until(lambda: place.hub.readers == 3)
        place.stop.set()
        for each in connections:
            status, headers, body = await each.answer()
            assert (status, headers["connection"]) == (200, "close")
            assert [item["type"] for item in json.loads(body)] == ["beat"]
            assert await each.rest() == b""
        await asyncio.wait_for(place.left.wait(), 10)


async def test_a_connection_without_a_request_ends_at_once_and_nobody_comes_any_more(kind: str) -> None:
    async with leaving(kind) as place:
        reader, idle = await place.websocket(), await place.connect()
        idle.send(place.poll())
        assert (await idle.answer())[0] == 200
        place.stop.set()
        assert await idle.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await place.connect()
        assert (await ws_items(reader, 1))[0]["stays"] > 0


async def test_a_request_that_was_under_way_is_answered_and_is_the_last(kind: str) -> None:
    async with leaving(kind) as place:
        reader, connection = await place.websocket(), await place.connect()
        body = b'{"do":"publish","channel":"a","data":1}'
        connection.send(request("/live/commands", f"Content-Length: {len(body)}", method="POST"), body[:5])
        await place.works()
        place.stop.set()
        await until(lambda: place.hub.leaving)
        connection.send(body[5:])
        status, headers, _ = await connection.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await connection.rest() == b""
        assert [item["type"] for item in await ws_items(reader, 2)] == ["bye", "event"]


async def test_who_does_not_go_gets_the_last_word_in_the_end(kind: str) -> None:
    async with leaving(kind, stays=0.2) as place:
        socket, stream = await place.websocket(), await place.connect()
        stream.send(request("/live/sse?channels=a"))
        assert (await stream.head())[0] == 200
        place.stop.set()
        types = [item["type"] for item in await sse_items(stream, 3)]
        assert types == ["hello", "bye", "bye"]
        assert "stays" in (await ws_items(socket, 1))[0]
        assert "stays" not in (await ws_items(socket, 1))[0]
        assert await socket.close_code() == 4503
        await asyncio.wait_for(place.left.wait(), 10)


async def test_over_http2_the_client_is_told_to_make_no_more_requests_and_its_stream_goes_on() -> None:
    async with leaving("plain") as place:
        connection = await place.connect()
        h2 = H2Connection(H2Configuration(client_side=True))
        h2.initiate_connection()
        target = [(":method", "GET"), (":path", "/live/sse?channels=a"), (":scheme", "http"), (":authority", "x")]
        h2.send_headers(1, target, end_stream=True)
        connection.send(h2.data_to_send())
        body, goaway = b"", None

        async def until_body(has: bytes) -> None:
            nonlocal body, goaway
            while has not in body:
                data = await asyncio.wait_for(connection.reader.read(65536), 10)
                assert data
                for frame in _frames(data):
                    goaway = goaway or frame.get("goaway")
                    body += frame.get("data", b"")

        await until_body(b"hello")
        place.stop.set()
        await until_body(b'"stays"')
        await place.hub.publish("a", "after")
        await until_body(b'"after"')
        assert goaway == (2**31 - 1, 0)


def _frames(data: bytes) -> list[dict]:
    """The frames of a piece that holds whole ones (RFC 9113 4.1), as far as they matter."""
    found = []
    while data:
        length, kind = int.from_bytes(data[:3], "big"), data[3]
        payload, data = data[9 : 9 + length], data[9 + length :]
        if kind == 0:
            found.append({"data": payload})
        elif kind == 7:
            found.append({"goaway": (int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big"))})
    return found
