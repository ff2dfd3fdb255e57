"""MessagePack and compression at a running server: the same on both edges, and under the other servers what they can do."""

from __future__ import annotations

import asyncio
import importlib
import json
import shutil
import sys
import zlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeAlias

import aiohttp
import msgspec
import pytest

from transports.client import connect
from transports.deflate import blocks
from transports.frames import Frame
from transports.msgpack import write
from transports.servers import find_server
from transports.testing import serving, until

from .conftest import live
from .test_edge import Connection, Place, commands, request, served
from .test_websocket_frames import masked

PACKED = "everywire.v1.msgpack"
TEXT, BINARY, CLOSE, RSV1 = 0x1, 0x2, 0x8, 0x40
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
LONG = {"text": "many times the same, " * 50}
Edge: TypeAlias = Callable[..., AbstractAsyncContextManager[Place]]


@pytest.fixture(params=["front", "plain"])
def edge(request: pytest.FixtureRequest) -> Edge:
    return partial(served, request.param)


class Raw:
    """A WebSocket of which each frame is seen as it came, the reserved bits too."""

    def __init__(self, connection: Connection, headers: dict[str, str]) -> None:
        self.connection, self.headers = connection, headers
        self.protocol = headers.get("sec-websocket-protocol")

    def send(self, payload: bytes, first: int) -> None:
        self.connection.send(masked(payload, first))

    async def frame(self) -> Frame | None:
        """The next frame, its first byte without FIN; None at the end."""
        try:
            first, size = await asyncio.wait_for(self.connection.reader.readexactly(2), 10)
            if size > 125:
                size = int.from_bytes(await self.connection.reader.readexactly(2 if size == 126 else 8), "big")
            return Frame(first & 0x7F, await asyncio.wait_for(self.connection.reader.readexactly(size), 10))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return None

    async def items(self) -> list[dict[str, Any]]:
        """The items of the next message, whatever it is in."""
        frame = await self.frame()
        assert frame is not None
        return said(frame)

    async def last(self) -> tuple[list[dict[str, Any]], int]:
        """The last items, and the code with which the other side closes."""
        items: list[dict[str, Any]] = []
        while (frame := await self.frame()) is not None and frame.opcode != CLOSE:
            items = said(frame)
        return items, int.from_bytes(frame.payload[:2], "big") if frame else 0


def said(frame: Frame) -> list[dict[str, Any]]:
    payload = frame.payload
    if frame.opcode & RSV1:  # each by itself: nothing is remembered
        payload = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
    assert frame.opcode & 0xF in (TEXT, BINARY), frame
    return msgspec.msgpack.decode(payload) if frame.opcode & 0xF == BINARY else json.loads(payload)


async def opened(place: Place, query: str = "channels=a", *headers: str) -> Raw:
    connection = await place.connect()
    key = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    connection.send(request(f"/live/ws?{query}", *key, *headers))
    status, answered = await connection.head()
    assert status == 101
    return Raw(connection, answered)


async def spoken(place: Place, query: str = "channels=a", *, offered: str = PACKED) -> Raw:
    return await opened(place, query, f"Sec-WebSocket-Protocol: {offered}")


# --- MessagePack


async def test_items_and_commands_in_messagepack(edge: Edge) -> None:
    async with edge() as place:
        ws = await spoken(place)
        assert ws.protocol == PACKED
        frame = await ws.frame()
        assert frame is not None
        assert frame.opcode == BINARY
        assert msgspec.msgpack.decode(frame.payload)[0]["type"] == "hello"
        ws.send(write({"do": "ping", "ref": 1}), BINARY)
        assert [item["ref"] for item in await ws.items()] == [1]
        ws.send(
            write([{"do": "publish", "ref": 2, "channel": "a", "data": [2**70, 1.5, None, "é"]}, {"do": "x", "ref": 3}]), BINARY
        )
        seen = [*await ws.items(), *await ws.items()]
        assert {item["ref"]: item["ok"] for item in seen if item["type"] == "reply"} == {2: True, 3: False}
        [event] = [item for item in seen if item["type"] == "event"]
        assert event["data"] == [msgspec.msgpack.Ext(1, b"%d" % 2**70), 1.5, None, "é"]


async def test_what_is_published_in_one_is_read_in_the_other(edge: Edge) -> None:
    async with edge() as place:
        packed, plain = await spoken(place), await place.websocket()
        await packed.items()
        packed.send(write({"do": "publish", "channel": "a", "data": {"n": 2**64 - 1}}), BINARY)
        assert (await plain.items())[0]["data"] == {"n": 2**64 - 1}
        await until(lambda: place.hub.log.head == 1)
        plain.say({"do": "publish", "channel": "a", "data": {"n": -1}})
        seen: list[Any] = []
        while len(seen) < 2:
            seen += [item["data"]["n"] for item in await packed.items() if item["type"] == "event"]
        assert seen == [2**64 - 1, -1]


@pytest.mark.parametrize(
    ("offered", "protocol"),
    [
        ("everywire.v1.json, everywire.v1.msgpack", "everywire.v1.json"),
        ("everywire.v1.msgpack, everywire.v1.json", PACKED),
        ("mqtt, everywire.v1.msgpack, everywire.token.eA", PACKED),
    ],
)
async def test_the_first_that_a_client_offers_and_we_speak_is_spoken(edge: Edge, offered: str, protocol: str) -> None:
    async with edge() as place:
        ws = await spoken(place, offered=offered)
        assert ws.protocol == protocol
        assert (await ws.items())[0]["type"] == "hello"


async def test_a_refusal_is_said_in_messagepack_too(edge: Edge) -> None:
    async with edge() as place:
        ws = await spoken(place, "channels=a&since=garbage")
        assert ws.protocol == PACKED
        frame = await ws.frame()
        assert frame is not None
        assert frame.opcode == BINARY
        assert msgspec.msgpack.decode(frame.payload)[0]["code"] == 4400
        assert (await ws.last())[1] == 4400


@pytest.mark.parametrize(
    ("payload", "first", "code"),
    [
        (b'{"do":"ping"}', TEXT, 4400),
        (b"", BINARY, 4400),
        (b"\xc1", BINARY, 4400),
        (write(3), BINARY, 4400),
        (write([[]]), BINARY, 4400),
        (msgspec.msgpack.encode({"do": "publish", "channel": "a", "data": float("nan")}), BINARY, 4400),
        (msgspec.msgpack.encode({"do": "publish", "channel": "a", "data": b"bytes"}), BINARY, 4400),
        (msgspec.msgpack.encode({"do": "publish", "channel": "a", "data": {1: 2}}), BINARY, 4400),
        (b"\x91" * 5000 + b"\x90", BINARY, 4400),
        (b"\xdd\xff\xff\xff\xff", BINARY, 4400),
        (write({"do": "publish", "channel": "a", "data": "x" * 65_536}), BINARY, 4413),
        (write({"do": "publish", "channel": "a", "data": "\x01" * 20_000}), BINARY, 4413),  # its JSON has six times as many
    ],
    ids=lambda each: repr(each)[:30],
)
async def test_what_is_none_of_ours_ends_a_connection_in_messagepack(edge: Edge, payload: bytes, first: int, code: int) -> None:
    async with edge() as place:
        ws = await spoken(place)
        await ws.items()
        ws.send(payload, first)
        [bye], closed = await ws.last()
        assert (bye["type"], bye["code"], closed) == ("bye", code, code)
        assert place.hub.log.head == 0
        await until(lambda: place.hub.readers == 0)


async def test_a_binary_message_ends_a_connection_in_json(edge: Edge) -> None:
    async with edge() as place:
        ws = await opened(place)
        await ws.items()
        ws.send(write({"do": "ping"}), BINARY)
        [bye], closed = await ws.last()
        assert (bye["code"], closed) == (4400, 4400)


@pytest.mark.parametrize("server", [None, "uvicorn", "granian"])
@pytest.mark.parametrize("transport", ["websocket", "sse", "longpoll"])
async def test_the_python_client_gets_the_same_in_both(server: str | None, transport: str) -> None:
    """On SSE and long-polling there is JSON only; the server compresses those."""
    data = [LONG, 2**80, -1.5, {"é": [None, True]}]
    settings = {"encodings": ("gzip",), "deflate": True}
    came: list[bytes] = []
    async with (
        live(server=find_server(server) if server else None, **settings) as (_, url),
        connect(url, ["a"], transport=transport, codec="msgpack", tap=lambda _, body: came.append(body)) as one,
        connect(url, ["a"], transport=transport) as other,
    ):
        for each in data:
            await one.publish("a", each)
        for stream in (one, other):
            assert [(await anext(stream)).data for _ in data] == data
        assert (came[0][0] & 0xF0 == 0x90) == (transport == "websocket")


async def test_a_publish_goes_over_a_websocket_in_messagepack_where_post_does_not_get_through() -> None:
    async with live() as (_, url), connect(url, ["a"], transport="websocket", codec="msgpack") as stream:
        driver = stream._driver
        assert driver is not None
        await until(lambda: driver.in_charge)
        wire = driver.in_charge
        assert wire is not None
        reply = await wire.command({"do": "publish", "channel": "a", "data": 2**99})
        assert reply.ok
        assert (await anext(stream)).data == 2**99


async def test_a_server_that_speaks_json_only_is_understood() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert scope["subprotocols"] == [PACKED, "everywire.v1.json"]
        await send({"type": "websocket.accept", "subprotocol": "everywire.v1.json"})
        hello = b'[{"type":"hello","v":1,"id":"k.1","connection":"c","channels":["a"],"resumed":"fresh","beat":15.0}]'
        await send({"type": "websocket.send", "text": hello.decode()})
        ping = json.loads((await receive())["text"])
        await send({"type": "websocket.send", "text": json.dumps([{"type": "reply", "ref": ping["ref"], "ok": True}])})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with serving(app) as url, connect(url, ["a"], transport="websocket", codec="msgpack") as stream:
        assert stream.transport == "websocket"


def test_a_codec_that_there_is_not_is_told() -> None:
    with pytest.raises(ValueError, match="json, msgpack"):
        connect("http://127.0.0.1:1", ["a"], codec="xml")


# --- permessage-deflate


async def test_without_the_setting_no_compression_is_agreed_to(edge: Edge) -> None:
    async with edge() as place:
        ws = await opened(place, "channels=a", DEFLATE)
        assert "sec-websocket-extensions" not in ws.headers
        await ws.items()
        ws.send(blocks(b'{"do":"ping"}')[:-4], RSV1 | TEXT)
        assert (await ws.last())[1] == 1002


async def test_messages_are_compressed_one_by_one(edge: Edge) -> None:
    async with edge(deflate=True) as place:
        plain = await place.websocket()
        ws = await opened(place, "channels=a", DEFLATE)
        agreed = ws.headers["sec-websocket-extensions"]
        assert agreed == "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        assert (await ws.items())[0]["type"] == "hello"
        for _ in range(2):
            await place.hub.publish("a", LONG)
            frame = await ws.frame()
            assert frame is not None
            assert frame.opcode == RSV1 | TEXT
            assert len(frame.payload) < 300
            inflated = zlib.decompressobj(-15).decompress(frame.payload + b"\x00\x00\xff\xff")
            assert json.loads(inflated)[0]["data"] == LONG
            assert (await plain.items())[0]["data"] == LONG
        await place.hub.publish("a", 1)
        assert (await ws.items())[0]["data"] == 1


@pytest.mark.parametrize("offered", [PACKED, "everywire.v1.json"])
async def test_what_a_client_compressed_is_heard_in_one_frame_and_in_many(edge: Edge, offered: str) -> None:
    packed = offered == PACKED
    ping = write({"do": "ping", "ref": 1}) if packed else b'{"do":"ping","ref":1}'
    kind = BINARY if packed else TEXT
    async with edge(deflate=True) as place:
        ws = await opened(place, "channels=a", DEFLATE, f"Sec-WebSocket-Protocol: {offered}")
        await ws.items()
        message = blocks(ping)[:-4]
        for _ in range(2):
            ws.send(message, RSV1 | kind)
            assert (await ws.items())[0]["ref"] == 1
        pieces = [masked(message[:3], first=RSV1 | kind), masked(b"", 0x9), masked(message[3:], 0x0)]
        ws.connection.send(*pieces)
        pong = await ws.frame()
        assert pong is not None
        assert pong.opcode == 0xA
        assert (await ws.items())[0]["ref"] == 1
        ws.send(ping, kind)  # compressed or not, as a client likes
        assert (await ws.items())[0]["ref"] == 1


async def test_a_bomb_is_refused_with_a_word(edge: Edge) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    message = (bomb.compress(b" " * 50_000_000) + bomb.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(message) < 65_536
    async with edge(deflate=True) as place:
        ws = await opened(place, "channels=a", DEFLATE)
        await ws.items()
        ws.send(message, RSV1 | TEXT)
        [bye], closed = await ws.last()
        assert (bye["code"], closed) == (4413, 4413)
        await until(lambda: place.hub.readers == 0)
        await place.works()


@pytest.mark.parametrize(
    ("message", "first", "code"),
    [
        (b"\xff\xff\xff\xff", RSV1 | TEXT, 1007),
        (blocks(b"\xff\xfe" * 20)[:-4], RSV1 | TEXT, 1007),
        (b"\x00" * 80_000, RSV1 | TEXT, 4413),
        (b"x", RSV1 | 0x9, 1002),
        (b"x", 0x20 | TEXT, 1002),
    ],
    ids=["no deflate", "no text", "far too long", "a ping", "RSV2"],
)
async def test_what_breaks_the_rules_of_compression_ends_the_connection(
    edge: Edge, message: bytes, first: int, code: int
) -> None:
    async with edge(deflate=True) as place:
        ws = await opened(place, "channels=a", DEFLATE)
        await ws.items()
        ws.send(message, first)
        closed = (await ws.last())[1]
        assert closed == (code if place.front or code != 4413 else 1009)  # there nobody is asked before it ends
        await until(lambda: place.hub.readers == 0)


@pytest.mark.parametrize(
    ("extensions", "agreed"),
    [
        (["permessage-deflate; server_max_window_bits=10, permessage-deflate"], True),
        (["permessage-deflate; server_max_window_bits=10"], False),
        (["permessage-deflate; mode=fast"], False),
        (["x-custom"], False),
    ],
)
async def test_offers_that_cannot_be_met_are_declined(edge: Edge, extensions: list[str], agreed: bool) -> None:
    async with edge(deflate=True) as place:
        ws = await opened(place, "channels=a", *[f"Sec-WebSocket-Extensions: {each}" for each in extensions])
        assert ("sec-websocket-extensions" in ws.headers) is agreed
        assert (await ws.items())[0]["type"] == "hello"


async def test_aiohttp_compresses_both_ways(edge: Edge) -> None:
    async with (
        edge(deflate=True) as place,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{place.url}/live/ws?channels=a", compress=15) as ws,
    ):
        assert ws.compress
        assert (await ws.receive_json())[0]["type"] == "hello"
        for ref in range(3):
            await ws.send_json([{"do": "publish", "ref": ref, "channel": "a", "data": LONG}])
        seen: list[dict[str, Any]] = []
        while len(seen) < 6:
            seen += await ws.receive_json()
        assert sorted(item["type"] for item in seen) == ["event"] * 3 + ["reply"] * 3
        assert all(item["data"] == LONG for item in seen if item["type"] == "event")


# --- gzip and zstd


def undone(coding: str, body: bytes) -> bytes:
    if coding == "gzip":
        return zlib.decompressobj(31).decompress(body)
    return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd").decompress(body)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_polls_are_compressed_for_who_accepts_it(edge: Edge, coding: str) -> None:
    async with edge(encodings=("zstd", "gzip")) as place:
        await place.hub.publish("a", LONG)
        connection = await place.connect()
        for _ in range(3):  # what is asked again and again is answered with what is known
            connection.send(place.poll(f"Accept-Encoding: {coding}"))
            status, headers, body = await connection.answer()
            assert (status, headers["content-encoding"], headers["vary"]) == (200, coding, "accept-encoding")
            assert len(body) < 300
            assert json.loads(undone(coding, body))[0]["data"] == LONG
        connection.send(place.poll())
        _, headers, body = await connection.answer()
        assert "content-encoding" not in headers
        assert headers["vary"] == "accept-encoding"
        assert json.loads(body)[0]["data"] == LONG


async def test_a_poll_that_waits_is_compressed_too(edge: Edge) -> None:
    async with edge(encodings=("gzip",)) as place:
        connection = await place.connect()
        connection.send(place.poll("Accept-Encoding: br, gzip", wait="20"))
        await until(lambda: place.hub.readers == 1)
        await place.hub.publish("a", LONG)
        _, headers, body = await connection.answer()
        assert headers["content-encoding"] == "gzip"
        assert json.loads(undone("gzip", body))[0]["data"] == LONG


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_no_event_is_held_back_on_a_stream_that_is_compressed(edge: Edge, coding: str) -> None:
    module = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    async with edge(encodings=("gzip", "zstd")) as place:
        connection = await place.connect()
        connection.send(request("/live/sse?channels=a", f"Accept-Encoding: {coding}"))
        status, headers = await connection.head()
        assert (status, headers["content-encoding"], headers["vary"]) == (200, coding, "accept-encoding")
        assert headers["cache-control"] == "no-store, no-transform"
        inflater = zlib.decompressobj(31)

        async def text() -> bytes:
            while True:
                part = await connection.chunk()
                found = inflater.decompress(part) if coding == "gzip" else module.decompress(part)
                if found:
                    return found

        assert b"hello" in await text()
        for n in range(3):
            await place.hub.publish("a", n)
            assert b'"data":%d' % n in await text()


async def test_a_stream_of_http_1_0_is_compressed_too(edge: Edge) -> None:
    async with edge(encodings=("gzip",)) as place:
        connection = await place.connect()
        connection.send(request("/live/sse?channels=a", "Accept-Encoding: gzip", version="1.0"))
        _, headers = await connection.head()
        assert headers["content-encoding"] == "gzip"
        await until(lambda: place.hub.readers == 1)
        await place.hub.close()
        body = await connection.rest()
        if headers.get("transfer-encoding") != "chunked":  # which some say to HTTP/1.0 as well
            assert b"event: bye" in undone("gzip", body)


async def test_without_the_setting_nothing_is_compressed(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(place.poll("Accept-Encoding: gzip, zstd"))
        _, headers, body = await connection.answer()
        assert not {"content-encoding", "vary"} & set(headers)
        assert json.loads(body)


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "zstd", "br", "identity, gzip", "x"])
async def test_a_body_that_is_compressed_is_refused(edge: Edge, coding: str) -> None:
    async with edge(encodings=("gzip",)) as place:
        connection = await place.connect()
        connection.send(commands(f"Content-Encoding: {coding}"))
        status, headers, body = await connection.answer()
        assert (status, json.loads(body)["code"], headers["accept-encoding"]) == (415, 4400, "identity")
        assert place.hub.log.head == 0
        connection = await place.connect()
        connection.send(commands("Content-Encoding: identity"))
        assert (await connection.answer())[0] == 200


async def test_curl_reads_what_is_compressed(edge: Edge) -> None:
    if (curl := shutil.which("curl")) is None:
        pytest.skip("there is no curl")
    async with edge(encodings=("gzip",)) as place:
        process = await asyncio.create_subprocess_exec(
            curl, "-sSN", "--compressed", f"{place.url}/live/sse?channels=a", stdout=-1, stderr=-1
        )
        assert process.stdout is not None
        await until(lambda: place.hub.readers == 1)
        await place.hub.publish("a", LONG)
        while b"many times" not in await asyncio.wait_for(process.stdout.readline(), 10):
            pass
        await place.hub.close()
        _, errors = await asyncio.wait_for(process.communicate(), 10)
        assert (process.returncode, errors) == (0, b"")
