"""A running edge, attacked and used oddly over raw sockets: the same cases for each edge that can serve the endpoints.

`plain` is Hypercorn with the ASGI endpoints. What it cannot do is marked `front_only`, with the reason.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trustme
from wsproto.frame_protocol import FrameProtocol, Opcode

from transports import Code, Hub, Options, Refusal
from transports.admission import Admission
from transports.asgi import Endpoints
from transports.front import Front
from transports.options import UNBOUNDED
from transports.testing import serving, until

EDGES = ["front", "plain"]
front_only = pytest.mark.front_only
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
JSON = "Content-Type: application/json"
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}")


def site(endpoints: Any) -> Any:
    """An application with a page of its own and the endpoints below `/live`."""

    async def app(scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" or scope["path"].startswith("/live/"):
            await endpoints({**scope, "root_path": "/live"}, receive, send)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
            await send({"type": "http.response.body", "body": b"page"})

    return app


class Connection:
    """A client that sends what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *requests: bytes) -> None:
        self.writer.write(b"".join(requests))

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 10)

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers of the next answer."""
        version, status, *_ = (await self.line()).split(b" ", 2)
        assert version == b"HTTP/1.1"
        headers = {}
        while (line := await self.line()) != b"\r\n":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return int(status), headers

    async def answer(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """The next answer, whole."""
        status, headers = await self.head()
        if method == "HEAD" or status < 200:
            return status, headers, b""
        if "content-length" in headers:
            return status, headers, await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), 10)
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while piece := await self.chunk():
                body += piece
        else:
            body = await self.rest()
        return status, headers, body

    async def chunk(self) -> bytes:
        """The next chunk of a body; empty, the last one."""
        size = int((await self.line()).split(b";")[0], 16)
        return (await asyncio.wait_for(self.reader.readexactly(size + 2), 10))[:-2]

    async def rest(self) -> bytes:
        """All that still comes up to the end of the connection, which has to come."""
        try:
            return await asyncio.wait_for(self.reader.read(), 10)
        except ConnectionResetError:
            return b""

    def reset(self) -> None:
        """End it with a RST."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class WebSocket:
    """A WebSocket on a connection: frames as wsproto makes and reads them, or bytes."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.frames = connection, FrameProtocol(client=True, extensions=[])
        self.extensions: str | None = None
        self._come: list[Any] = []

    async def open(self, query: str = "channels=a", *headers: str, eager: bytes = b"") -> WebSocket:
        self.connection.send(request(f"/live/ws?{query}", *UPGRADE, *headers), eager)
        status, answered = await self.connection.head()
        assert status == 101
        assert answered["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        self.extensions = answered.get("sec-websocket-extensions")
        return self

    def say(self, *commands: dict) -> None:
        self.connection.send(self.frames.send_data(json.dumps(list(commands))))

    async def frame(self) -> Any:
        """The next frame; None when the connection has ended."""
        while not self._come:
            data = await asyncio.wait_for(self.connection.reader.read(65536), 10)
            if not data:
                return None
            self.frames.receive_bytes(data)
            self._come += self.frames.received_frames()
        return self._come.pop(0)

    async def items(self) -> list[dict]:
        frame = await self.frame()
        assert frame.opcode == Opcode.TEXT
        return json.loads(frame.payload)

    async def close_code(self) -> int | None:
        """The code with which the other side closes, whatever comes before; None when it ends without a word."""
        while (frame := await self.frame()) is not None:
            if frame.opcode == Opcode.CLOSE:
                return frame.payload[0]
        return None


class Place:
    """Where an edge serves, and the hub behind it."""

    def __init__(self, hub: Hub, url: str, front: Front | None, admission: Admission | None = None) -> None:
        self.hub, self.url, self.front, self.admission = hub, url, front, admission
        self._open: list[Connection] = []

    async def connect(self) -> Connection:
        scheme, host, port = self.url.split(":")
        tls = ssl._create_unverified_context() if scheme == "https" else None
        self._open.append(Connection(*await asyncio.open_connection(host.removeprefix("//"), int(port), ssl=tls)))
        return self._open[-1]

    async def websocket(self, query: str = "channels=a", *headers: str) -> WebSocket:
        """One that has said hello."""
        opened = await WebSocket(await self.connect()).open(query, *headers)
        assert (await opened.items())[0]["type"] == "hello"
        return opened

    @property
    def beginning(self) -> str:
        return f"{self.hub.log.epoch}.0"

    def poll(self, *headers: str, wait: str = "0", version: str = "1.1") -> bytes:
        """A poll that is answered at once, unless it is told to wait."""
        return request(f"/live/poll?channels=a&since={self.beginning}&wait={wait}", *headers, version=version)

    async def works(self) -> None:
        """Whoever comes next is served."""
        connection = await self.connect()
        connection.send(self.poll())
        assert (await connection.answer())[0] == 200
        connection.writer.close()

    def leave(self) -> None:
        for each in self._open:
            each.writer.transport.abort()


Edge: TypeAlias = Callable[..., AbstractAsyncContextManager[Place]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "edge" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("front_only")
        metafunc.parametrize("edge", [each for each in EDGES if each == "front" or not only], indirect=True)


@asynccontextmanager
async def served(kind: str, *, pem: Path | None = None, **settings: object) -> AsyncIterator[Place]:
    """An edge of a kind; over TLS with the certificate and key in `pem`."""
    options = Options(**{"channels": ("*",), **settings})
    hub = Hub(options)
    await hub.open()
    endpoints = Endpoints(hub)
    front = Front(endpoints.admission, "/live") if kind == "front" else None
    tls = {"certfile": str(pem), "keyfile": str(pem)} if pem else {}
    async with serving(site(endpoints), drain=hub.close, options=options, front=front, **tls) as url:
        place = Place(hub, url, front, endpoints.admission)
        try:
            yield place
        finally:
            place.leave()


@pytest.fixture
def edge(request: pytest.FixtureRequest) -> Edge:
    return partial(served, request.param)


def request(target: str, *headers: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    kind = [JSON] if method == "POST" and not any(line.startswith("Content-Type:") for line in headers) else []
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: x", *headers, *kind, "", ""]).encode() + body


def commands(*headers: str, body: bytes = b'{"do":"publish","channel":"a","data":1}', counted: bool = True) -> bytes:
    length = [f"Content-Length: {len(body)}"] if counted else []
    return request("/live/commands", *length, *headers, method="POST", body=body)


PAGE = request("/")


async def turns() -> None:
    """Let the event loop look at its sockets a few times: what was sent over loopback has then been read."""
    for _ in range(10):
        await asyncio.sleep(0)


# --- one request after the other


async def test_requests_in_one_write_are_answered_in_order(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(commands(), place.poll(), commands(), place.poll())
        answers = [await connection.answer() for _ in range(4)]
        assert [status for status, *_ in answers] == [200] * 4
        assert [len(json.loads(body)) for *_, body in answers] == [1, 1, 1, 2]


async def test_a_poll_that_waits_is_answered_before_what_was_asked_behind_it(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(place.poll(wait="20"), request("/live/nope"))
        await until(lambda: place.hub.readers == 1)
        await place.hub.publish("a", 1)
        assert [(await connection.answer())[0] for _ in range(2)] == [200, 404]


async def test_a_page_behind_a_poll_on_the_same_connection(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(place.poll(), PAGE, place.poll(), PAGE)
        bodies = [(await connection.answer())[2] for _ in range(4)]
        assert bodies[1] == bodies[3] == b"page"
        assert [json.loads(body)[0]["type"] for body in bodies[::2]] == ["beat", "beat"]


async def test_a_page_behind_a_poll_that_waits(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(place.poll(wait="20"), PAGE)
        await until(lambda: place.hub.readers == 1)
        await place.hub.publish("a", 1)
        assert json.loads((await connection.answer())[2])[0]["data"] == 1
        assert (await connection.answer())[2] == b"page"


@pytest.mark.parametrize(("first", "then"), [(0, 20), (20, 40), (20, -5), (-20, -10), (-10, -5), (-20, None), (0, None)])
async def test_a_request_that_goes_on_while_the_one_before_it_is_answered_is_not_torn(
    edge: Edge, first: int, then: int | None
) -> None:
    async with edge() as place:
        connection = await place.connect()
        second = commands()
        connection.send(place.poll(wait="20"), second[:first])
        await until(lambda: place.hub.readers == 1)
        connection.send(second[first:then])
        await turns()
        if then is not None:
            connection.send(second[then:])  # it has arrived when the loop next looks, with the event before it
        await place.hub.publish("a", 1)
        assert json.loads((await connection.answer())[2])[0]["data"] == 1
        assert json.loads((await connection.answer())[2])[0]["ok"]


async def test_requests_that_came_while_a_poll_waited_are_answered_before_one_that_comes_later(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        for _ in range(3):  # what it sends again and again is known by now
            connection.send(place.poll())
            await connection.answer()
        connection.send(place.poll(wait="20"), request("/live/poll?channels=%ff"))
        await until(lambda: place.hub.readers == 1)
        await turns()
        connection.send(place.poll())
        await place.hub.publish("a", 1)
        assert [(await connection.answer())[0] for _ in range(3)] == [200, 404, 200]


async def test_the_rest_of_a_head_is_not_taken_for_a_request(edge: Edge) -> None:
    """Hypercorn has the beginning, and what follows looks as if it were for the endpoints."""
    async with edge() as place:
        connection = await place.connect()
        connection.send(PAGE, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nA: ")
        assert (await connection.answer())[2] == b"page"
        await turns()
        connection.send(b"POST /live/commands HTTP/1.1\r\nB: c\r\n\r\n", PAGE)
        assert [(await connection.answer())[2] for _ in range(2)] == [b"page", b"page"]


async def test_a_thousand_and_one_polls_on_one_connection(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        for _ in range(1001):
            connection.send(place.poll())
            status, headers, _ = await connection.answer()
            assert (status, headers.get("connection", "")) == (200, "")


async def test_a_thousand_polls_in_one_write_without_reading(edge: Edge) -> None:
    async with edge() as place:
        for n in range(20):
            await place.hub.publish("a", f"{n}" * 50)
        connection = await place.connect()
        connection.send(place.poll() * 1000)
        for _ in range(1000):
            assert len(json.loads((await connection.answer())[2])) == 20


async def test_bodies_in_one_write_are_all_read_however_long_they_are_together(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        body = json.dumps({"do": "publish", "channel": "a", "data": "x" * 50_000}).encode()
        connection.send(commands(body=body) * 20, PAGE)
        assert [(await connection.answer())[0] for _ in range(21)] == [200] * 21
        assert place.hub.log.head == 20


async def test_requests_that_come_byte_by_byte(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        chunked = commands("Transfer-Encoding: chunked", body=b'6\r\n{"do":\r\n7\r\n"ping"}\r\n0\r\nA: b\r\n\r\n', counted=False)
        for byte in place.poll() + chunked + place.poll():
            connection.send(bytes((byte,)))
            await connection.writer.drain()
            await asyncio.sleep(0)
        assert [(await connection.answer())[0] for _ in range(3)] == [200, 200, 200]


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    return path


@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "tls"])
async def test_however_requests_are_cut_and_whenever_events_come_answers_come_in_order(edge: Edge, pem: Path, tls: bool) -> None:
    luck = random.Random(11)
    async with edge(pem=pem if tls else None) as place:
        for _ in range(60):
            wanted = [luck.choice(["now", "wait", "command", "chunked", "wrong", "page"]) for _ in range(luck.randint(1, 7))]
            connection = await place.connect()
            reading = asyncio.create_task(answers(connection, len(wanted)))
            since = f"{place.hub.log.epoch}.{place.hub.log.head}"
            data = b"".join(asked(kind, n, since) for n, kind in enumerate(wanted))
            for piece in pieces(luck, data):
                connection.send(piece)
                if luck.random() < 0.5:
                    await turns()
                if luck.random() < 0.3:
                    await place.hub.publish("w", 1)
            while not reading.done():
                await place.hub.publish("w", 1)
                await turns()
            assert [kind_of(n, *each) for n, each in enumerate(reading.result())] == [ALIAS.get(kind, kind) for kind in wanted]
            connection.writer.close()


ALIAS = {"chunked": "command"}  # which shows in no answer


def asked(kind: str, n: int, since: str) -> bytes:
    ping = b'{"do":"ping","ref":%d}' % n
    return {
        "now": request(f"/live/poll?channels=quiet&since={since}&wait=0"),
        "wait": request(f"/live/poll?channels=w&since={since}&wait=60"),
        "command": commands(body=ping),
        "chunked": commands("Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(ping), ping), counted=False),
        "wrong": request("/live/poll?channels=%ff"),
        "page": PAGE,
    }[kind]


def kind_of(n: int, status: int, _: dict[str, str], body: bytes) -> str | None:
    """What was answered: the other way round than `asked`; commands know their place."""
    if body == b"page":
        return "page"
    if status == 404:
        return "wrong"
    item = json.loads(body)[0]
    if item["type"] == "reply":
        return "command" if item["ref"] == n else None
    return {"beat": "now", "event": "wait"}[item["type"]]


async def answers(connection: Connection, count: int) -> list[tuple[int, dict[str, str], bytes]]:
    return [await connection.answer() for _ in range(count)]


def pieces(luck: random.Random, data: bytes) -> list[bytes]:
    edges = sorted({0, len(data), *(luck.randrange(len(data)) for _ in range(luck.randint(0, 8)))})
    return [data[start:end] for start, end in pairwise(edges)]


# --- when the connection ends


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("asked", ["close", "keep-alive", None])
async def test_the_connection_ends_after_the_answer_when_that_was_wished(edge: Edge, version: str, asked: str | None) -> None:
    stays = asked == "keep-alive" or (asked is None and version == "1.1")
    headers = [] if asked is None else [f"Connection: {asked}"]
    async with edge() as place:
        connection = await place.connect()
        connection.send(place.poll(*headers, version=version))
        status, answered, _ = await connection.answer()
        assert status == 200
        if stays and not (version == "1.0" and answered.get("connection") == "close"):  # which a server is free to say
            connection.send(place.poll())
            assert (await connection.answer())[0] == 200
        else:
            assert await connection.rest() == b""


@front_only("Hypercorn refuses the last request too when there are bytes behind it")
async def test_nothing_is_served_behind_the_last_request_of_a_connection(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(commands("Connection: close"), commands(), PAGE)
        assert (await connection.answer())[0] == 200
        assert await connection.rest() == b""
        assert place.hub.log.head == 1


async def test_an_http_1_0_client_streams_to_the_end_of_the_connection(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(request("/live/sse?channels=a", version="1.0"))
        status, headers = await connection.head()
        assert (status, headers.get("transfer-encoding")) == (200, None)
        await connection.reader.readuntil(b'"hello"')
        await place.hub.publish("a", "one")
        await connection.reader.readuntil(b'"one"')


@front_only("Hypercorn hangs up when the client has ended its side")
async def test_a_client_that_has_no_more_to_say_still_gets_its_answer(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(place.poll())
        connection.writer.write_eof()
        assert (await connection.answer())[0] == 200
        assert await connection.rest() == b""


@front_only("Hypercorn keeps the connection")
async def test_a_client_that_has_no_more_to_say_gets_all_its_answers_however_slowly_it_takes_them(edge: Edge) -> None:
    async with edge() as place:
        for _ in range(4):
            await place.hub.publish("a", "x" * 60_000)
        connection = await place.connect()
        connection.writer.transport.pause_reading()
        connection.send(commands(body=b'{"do":"ping"}'), place.poll() * 60)
        connection.writer.write_eof()
        await until(lambda: place.front.connections)
        (line,) = place.front.connections
        await until(lambda: line.full)
        connection.writer.transport.resume_reading()
        for _ in range(61):
            assert (await connection.answer())[0] == 200
        assert await connection.rest() == b""


async def test_a_client_that_ends_tls_behind_its_request_is_nothing_to_speak_of(
    edge: Edge, pem: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with edge(pem=pem) as place:
        connection = await place.connect()
        connection.send(commands())
        connection.writer.close()
        with suppress(ConnectionError):
            await connection.writer.wait_closed()
        await place.works()
    assert not caplog.records


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", marks=front_only("Hypercorn waits until the connection has been idle for long")),
        b"GET /live/po",
        request("/live/commands", "Content-Length: 100", method="POST") + b"{",
        request("/live/commands", "Transfer-Encoding: chunked", method="POST") + b"5\r\n{",
    ],
)
async def test_half_a_request_and_the_end_are_not_taken_for_a_whole_one(edge: Edge, sent: bytes) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(sent)
        connection.writer.write_eof()
        assert b" 200 " not in await connection.rest()
        assert place.hub.log.head == 0


WAYS = ["poll", "sse", "ws"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ["reset", "close", "half"])
async def test_a_reader_that_goes_is_noticed(edge: Edge, way: str, end: str) -> None:
    async with edge() as place:
        connection = await place.connect()
        upgrade = UPGRADE if way == "ws" else ()
        connection.send(request(f"/live/{way}?channels=a&since={place.beginning}&wait=60", *upgrade))
        await until(lambda: place.hub.readers == 1)
        match end:
            case "reset":
                connection.reset()
            case "close":
                connection.writer.close()
            case "half":
                connection.writer.write_eof()
        await until(lambda: place.hub.readers == 0)
        await place.works()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /live/po",
        request("/live/commands", "Content-Length: 100", method="POST") + b"{",
        request("/live/ws?channels=a", *UPGRADE) + b"\x81\xfe\x01",
    ],
)
async def test_a_reset_in_the_middle_of_anything_disturbs_nobody(edge: Edge, sent: bytes) -> None:
    async with edge() as place:
        for _ in range(20):
            connection = await place.connect()
            connection.send(sent)
            await connection.writer.drain()
            connection.reset()
        await place.works()
        await until(lambda: place.hub.readers == 0)


# --- bodies, and who is slow with them


@front_only("Hypercorn waits for a head as long as for the next request, five seconds and more; see tests/hostile/test_slow.py")
async def test_a_head_that_stops_half_way_is_given_up(edge: Edge) -> None:
    async with edge(body_timeout=0.05) as place:
        connection = await place.connect()
        connection.send(place.poll(), place.poll()[:-2])
        assert (await connection.answer())[0] == 200
        status, _, body = await connection.answer()
        assert (status, json.loads(body)["code"]) == (408, 4408)
        assert await connection.rest() == b""


async def test_a_body_that_stops_half_way_is_given_up(edge: Edge) -> None:
    async with edge(body_timeout=0.05) as place:
        connection = await place.connect()
        connection.send(commands()[:-3])
        status, _, body = await connection.answer()
        assert (status, json.loads(body)["code"]) == (408, 4408)
        await connection.rest()
        assert place.hub.log.head == 0


async def goes_on_or_ends(place: Place, connection: Connection) -> None:
    """Whatever comes next on the connection is the answer to the next poll, or its end."""
    connection.send(place.poll())
    try:
        assert json.loads((await connection.answer())[2])[0]["type"] == "beat"
    except (asyncio.IncompleteReadError, ConnectionError):
        assert await connection.rest() == b""


@pytest.mark.parametrize("counted", [True, False])
async def test_a_body_over_the_limit_is_refused_and_what_is_in_it_is_no_request(edge: Edge, counted: bool) -> None:
    body = PAGE * 100
    sent = (
        commands(body=body)
        if counted
        else commands("Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), counted=False)
    )
    async with edge(message_bytes=1000) as place:
        connection = await place.connect()
        connection.send(sent)
        status, _, answered = await connection.answer()
        assert (status, json.loads(answered)["code"]) == (413, 4413)
        await goes_on_or_ends(place, connection)


async def test_who_waits_for_a_word_before_the_body_gets_it(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        head, _, body = commands("Expect: 100-continue").partition(b"\r\n\r\n")
        connection.send(head, b"\r\n\r\n")
        assert (await connection.head())[0] == 100
        connection.send(body)
        assert (await connection.answer())[0] == 200
        assert place.hub.log.head == 1


async def test_a_body_that_nobody_wants_is_no_request(edge: Edge) -> None:
    """A GET may have one (RFC 9110 9.3.1)."""
    async with edge() as place:
        connection = await place.connect()
        path = f"/live/poll?channels=a&since={place.beginning}&wait=0"
        connection.send(request(path, f"Content-Length: {len(PAGE)}", body=PAGE))
        assert (await connection.answer())[0] == 200
        await goes_on_or_ends(place, connection)


async def test_a_body_that_nobody_wants_is_no_request_however_often_and_late_it_comes(edge: Edge) -> None:
    """What a poll after a poll looks like says where it ends, too."""
    async with edge() as place:
        connection = await place.connect()
        await place.hub.publish("a", 1)
        body = commands(body=b'{"do":"publish","channel":"b","data":1}')
        with suppress(OSError, asyncio.IncompleteReadError):  # one edge lets go of a connection after such a request
            for _ in range(5):
                connection.send(place.poll(f"Content-Length: {len(body)}"))
                assert (await connection.answer())[0] == 200
                connection.send(body)
                await turns()
            connection.send(place.poll())
            assert len(json.loads((await connection.answer())[2])) == 1
        assert "b" not in place.hub.log


# --- ways in that are none


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "poll?channels=a", 405),
        ("HEAD", "nope", 404),
        ("OPTIONS", "poll", 200),
        ("OPTIONS", "commands", 200),
        ("POST", "poll?channels=a", 405),
        ("DELETE", "sse", 405),
        ("BREW", "poll", 405),
        ("GET", "commands", 405),
        ("GET", "nope", 404),
        ("GET", "poll/x", 404),
        ("GET", "ws?channels=a", 426),
        ("GET", "poll", 400),
        ("GET", "poll?channels=%ff%00", 404),
        ("GET", "poll?channels=a&since=%zz", 400),
        ("GET", "poll?channels=a&v=9", 400),
    ],
)
async def test_a_wrong_way_in_gets_its_status_and_the_connection_goes_on(edge: Edge, method: str, path: str, status: int) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(request(f"/live/{path}", method=method), place.poll())
        got, headers, body = await connection.answer(method)
        assert got == status
        assert status == 200 or method == "HEAD" or json.loads(body)["reason"]
        assert "allow" in headers or status != 405
        assert (await connection.answer())[0] == 200


@pytest.mark.parametrize("path", ["poll?channels=a", "sse?channels=a", "ws?channels=a", "commands"])
async def test_a_page_of_a_foreign_origin_gets_nowhere(edge: Edge, path: str) -> None:
    body = b'{"do":"publish","channel":"a","data":1}' if path == "commands" else b""
    headers = [*(UPGRADE if path.startswith("ws") else []), "Origin: https://evil.example", f"Content-Length: {len(body)}"]
    async with edge() as place:
        connection = await place.connect()
        connection.send(request(f"/live/{path}", *headers, method="POST" if body else "GET", body=body))
        assert (await connection.answer())[0] == 403
        assert (place.hub.log.head, place.hub.readers) == (0, 0)


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", "3.0"])
async def test_another_version_of_http_is_not_taken_for_ours(edge: Edge, version: str) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(place.poll(version=version), place.poll())
        assert (await connection.answer())[0] == 505
        assert await connection.rest() == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /live/poll?channels=a HTTP/1.1\r\n\r\n",
        b"GET /live/poll?channels=a HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"GET /live/poll?channels=a HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /live/poll?channels=a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /live/poll?channels=\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"garbage\r\n\r\n",
        request("/live/poll?channels=a", "A: b\0c"),
        request("/live/poll?channels=a", "A: " + "b" * 70_000),
        request("/live/poll?" + "a" * 70_000),
        request("/live/poll", *["A: b"] * 20_000),
        commands("Transfer-Encoding: gzip"),
        commands("Content-Length: x"),
    ],
)
async def test_what_is_no_request_is_refused_and_ends_the_connection(edge: Edge, sent: bytes) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(sent, place.poll())
        status, _, _ = await connection.answer()
        assert status in (400, 414, 431, 501)
        assert await connection.rest() == b""
        await place.works()


@pytest.mark.parametrize(
    "sent",
    [
        commands("Transfer-Encoding: chunked", body=b"0\r\n\r\n" + PAGE),
        commands("Content-Length: 0"),
        commands("Transfer-Encoding: chunked", "Transfer-Encoding: identity", counted=False),
        commands("Transfer-Encoding: \x0bchunked", counted=False),
        request("/live/poll?channels=a", "A: b", " c"),
        request("/live/poll?channels=a").replace(b"\r\nHost", b"\nHost"),
        request("/live/poll?channels=a").replace(b"Host: x", b"Host: u@x"),
        request("/live/poll?channels=a").replace(b"Host: x", b"Host: x/y"),
        request("/live/poll?channels=a", "Origin: http://x", "Origin: https://evil.example"),
        request("/live/poll?channels=a#b"),
    ],
)
async def test_what_can_be_read_in_two_ways_is_refused_and_ends_the_connection(edge: Edge, sent: bytes) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(sent, PAGE)
        assert (await connection.answer())[0] in (400, 501)
        assert await connection.rest() == b""
        assert place.hub.log.head == 0


# --- WebSocket: the handshake


@pytest.mark.parametrize(
    "changed",
    [
        {"Sec-WebSocket-Key": None},
        {"Sec-WebSocket-Version": None},
        {"Sec-WebSocket-Version": "8"},
        {"Connection": "keep-alive"},
        *[{"Sec-WebSocket-Key": bad} for bad in ("", "c2hvcnQ=", KEY + ", " + KEY)],
        {"Upgrade": "h2c"},
    ],
)
async def test_what_is_not_quite_an_upgrade_is_refused(edge: Edge, changed: dict[str, str | None]) -> None:
    headers = dict(line.split(": ") for line in UPGRADE) | changed
    async with edge() as place:
        connection = await place.connect()
        connection.send(
            request("/live/ws?channels=a", *[f"{name}: {value}" for name, value in headers.items() if value is not None])
        )
        status, answered, _ = await connection.answer()
        assert status in (400, 426)
        assert status == 400 or answered["sec-websocket-version"] == "13"
        assert place.hub.readers == 0


@pytest.mark.parametrize("path", ["poll?channels=a&wait=0", "commands", "nope", "sse?channels=a"])
async def test_an_upgrade_where_there_is_none_to_be_had_is_not_granted(edge: Edge, path: str) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(request(f"/live/{path}", *UPGRADE))
        assert (await connection.head())[0] >= 200


@front_only("Hypercorn keeps the connection")
async def test_what_is_behind_an_upgrade_that_was_not_granted_is_not_kept(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(request("/live/poll?channels=a", *UPGRADE), PAGE * 2)
        with suppress(ConnectionResetError):
            await connection.answer()
        await connection.rest()


async def test_frames_that_come_with_the_handshake_are_heard(edge: Edge) -> None:
    async with edge() as place:
        websocket = WebSocket(await place.connect())
        command = FrameProtocol(client=True, extensions=[]).send_data('{"do":"publish","ref":1,"channel":"a","data":1}')
        await websocket.open(eager=bytes(command))
        seen: list[dict] = []
        while {item["type"] for item in seen} != {"hello", "reply", "event"}:
            seen += await websocket.items()


async def test_frames_that_come_before_the_handshake_can_be_answered_are_heard(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        ping = FrameProtocol(client=True, extensions=[]).send_data('{"do":"ping","ref":1}')
        connection.send(place.poll(wait="20"), request("/live/ws?channels=b", *UPGRADE), bytes(ping)[:5])
        await until(lambda: place.hub.readers == 1)
        connection.send(bytes(ping)[5:])
        await turns()
        await place.hub.publish("a", 1)
        assert (await connection.answer())[0] == 200
        websocket = WebSocket(connection)
        assert (await connection.head())[0] == 101
        seen = [*await websocket.items(), *await websocket.items()]
        assert [item["type"] for item in seen] == ["hello", "reply"]


async def test_compression_is_declined(edge: Edge) -> None:
    async with edge() as place:
        websocket = await place.websocket("channels=a", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
        assert websocket.extensions is None
        websocket.say({"do": "ping", "ref": 1})
        assert (await websocket.items())[0]["ok"]


# --- WebSocket: frames


async def test_a_ping_is_answered_with_what_it_carries(edge: Edge) -> None:
    async with edge() as place:
        websocket = await place.websocket()
        for payload in (b"", b"are you there?", bytes(range(125))):
            websocket.connection.send(websocket.frames.ping(payload))
            pong = await websocket.frame()
            assert (pong.opcode, bytes(pong.payload)) == (Opcode.PONG, payload)


async def test_however_frames_are_cut_and_whenever_events_come_nothing_is_out_of_order(edge: Edge) -> None:
    luck = random.Random(12)
    async with edge() as place:
        for _ in range(30):
            websocket, first = await place.websocket(), place.hub.log.head
            sent, asked, pings = b"", [], []
            for n in range(luck.randint(1, 8)):
                asked.append(n)
                text = json.dumps({"do": "ping", "ref": n})
                at = luck.randrange(len(text))
                sent += websocket.frames.send_data(text[:at], fin=False)
                if luck.random() < 0.5:
                    pings.append(b"%d" % n)
                    sent += websocket.frames.ping(pings[-1])
                sent += websocket.frames.send_data(text[at:], fin=True)
            for piece in pieces(luck, sent):
                websocket.connection.send(piece)
                if luck.random() < 0.5:
                    await turns()
                if luck.random() < 0.5:
                    await place.hub.publish("a", place.hub.log.head)
            last, come, pongs = place.hub.log.head, [], []
            while len([item for item in come if item["type"] == "reply"]) < len(asked) or len(pongs) < len(pings):
                frame = await websocket.frame()
                if frame.opcode == Opcode.PONG:
                    pongs.append(bytes(frame.payload))
                else:
                    come += json.loads(frame.payload)
            while [item["data"] for item in come if item["type"] == "event"] != [*range(first, last)]:
                come += await websocket.items()
            assert [item["ref"] for item in come if item["type"] == "reply"] == asked
            assert pongs == pings
            websocket.connection.writer.close()


async def test_a_pong_that_nobody_asked_for_is_passed_over(edge: Edge) -> None:
    async with edge() as place:
        websocket = await place.websocket()
        websocket.connection.send(websocket.frames.pong(b"x"))
        websocket.say({"do": "ping", "ref": 1})
        assert (await websocket.items())[0]["ok"]


async def test_commands_with_a_pong_between_them_are_all_heard(edge: Edge) -> None:
    async with edge() as place:
        websocket = await place.websocket()
        first, second = [bytes(websocket.frames.send_data(json.dumps({"do": "ping", "ref": ref}))) for ref in (1, 2)]
        websocket.connection.send(first, websocket.frames.pong(b""), second)
        assert [(await websocket.items())[0]["ref"] for _ in range(2)] == [1, 2]


async def test_a_command_in_fragments_with_a_ping_between_them_byte_by_byte(edge: Edge) -> None:
    async with edge() as place:
        websocket = await place.websocket()
        frames = websocket.frames
        sent = frames.send_data('{"do":"ping",', fin=False) + frames.ping(b"!") + frames.send_data('"ref":7}', fin=True)
        for byte in sent:
            websocket.connection.send(bytes((byte,)))
            await websocket.connection.writer.drain()
        assert bytes((await websocket.frame()).payload) == b"!"
        assert (await websocket.items())[0]["ref"] == 7


def masked(first: int, payload: bytes, *, length: bytes = b"", mask: bytes = b"\0\0\0\0") -> bytes:
    return bytes((first, 0x80 | len(payload))) + length + mask + payload


BIG = bytes((0xFE,)) + b"\xff\xff" + bytes(4) + b" " * 65_535  # all of a frame but its first byte
BROKEN = [
    ("not masked", b"\x81\x01x", 1002),
    ("a reserved bit", masked(0xC1, b"x"), 1002),
    ("an unknown opcode", masked(0x83, b"x"), 1002),
    ("a fragmented ping", masked(0x09, b"x"), 1002),
    ("a long ping", bytes((0x89, 0xFE, 0, 126)), 1002),
    ("nothing to continue", masked(0x80, b"x"), 1002),
    ("a message within another", masked(0x01, b"x") + masked(0x81, b"x"), 1002),
    ("a length in too many bytes", bytes((0x81, 0xFE, 0, 1)), 1002),
    ("half a close code", masked(0x88, b"\x03"), 1002),
    ("a close code that must not be sent", masked(0x88, b"\x03\xed"), 1002),
    ("a text that is no UTF-8", masked(0x81, b"\xc3("), 1007),
    ("a close reason that is no UTF-8", masked(0x88, b"\x03\xe8\xff"), 1007),
]
BEYOND = [
    ("a message without measure", bytes((0x81, 0xFF)) + (1 << 40).to_bytes(8, "big"), 4413),
    ("fragments without measure", b"\x01" + BIG + (b"\x00" + BIG) * 8, 4413),
]


@pytest.mark.parametrize(("sent", "code"), [case[1:] for case in BROKEN + BEYOND], ids=[case[0] for case in BROKEN + BEYOND])
@front_only("Hypercorn hangs up without a close code")
async def test_what_breaks_the_rules_is_told_why_it_ends(edge: Edge, sent: bytes, code: int) -> None:
    async with edge() as place:
        websocket, other = await place.websocket(), await place.websocket()
        websocket.connection.send(sent)
        assert await websocket.close_code() == code
        assert await websocket.connection.rest() == b""
        await until(lambda: place.hub.readers == 1)
        await place.hub.publish("a", 1)
        assert (await other.items())[0]["data"] == 1


@pytest.mark.parametrize("sent", [case[1] for case in BROKEN], ids=[case[0] for case in BROKEN])
async def test_what_breaks_the_rules_ends_and_disturbs_nobody(edge: Edge, sent: bytes) -> None:
    async with edge() as place:
        websocket, other = await place.websocket(), await place.websocket()
        websocket.connection.send(sent)
        await websocket.connection.rest()
        await until(lambda: place.hub.readers == 1)
        await place.hub.publish("a", 1)
        assert (await other.items())[0]["data"] == 1


@pytest.mark.parametrize("code", [1000, 1001, 3001, 4999])
async def test_whoever_closes_gets_the_code_back(edge: Edge, code: int) -> None:
    async with edge() as place:
        websocket = await place.websocket()
        websocket.connection.send(websocket.frames.close(code, "done"))
        assert await websocket.close_code() == code
        assert await websocket.connection.rest() == b""
        await until(lambda: place.hub.readers == 0)


async def test_a_close_without_a_code_is_answered(edge: Edge) -> None:
    async with edge() as place:
        websocket = await place.websocket()
        websocket.connection.send(websocket.frames.close())
        assert await websocket.close_code() in (1000, 1005)
        assert await websocket.connection.rest() == b""


async def test_what_is_said_before_a_close_is_done_and_what_is_said_behind_it_is_not(edge: Edge) -> None:
    async with edge() as place:
        websocket = await place.websocket("")
        frames = websocket.frames
        publish = json.dumps({"do": "publish", "channel": "a", "data": 1})
        websocket.connection.send(frames.send_data(publish), frames.close(1000), frames.send_data(publish))
        assert await websocket.close_code() == 1000
        await websocket.connection.rest()
        assert place.hub.log.head == 1


async def test_what_is_said_before_what_breaks_the_rules_is_done(edge: Edge) -> None:
    async with edge() as place:
        websocket = await place.websocket("")
        publish = websocket.frames.send_data('{"do":"publish","channel":"a","data":1}')
        websocket.connection.send(publish, publish, masked(0x83, b""), publish)
        await websocket.connection.rest()
        assert place.hub.log.head == 2


async def test_one_that_does_not_answer_our_close_is_not_waited_for_for_ever(edge: Edge) -> None:
    async with edge() as place:
        websocket = await place.websocket()
        websocket.connection.send(websocket.frames.send_data("no command"))
        assert await websocket.close_code() == 4400
        assert await websocket.connection.rest() == b""


# --- who asks too much


@front_only("it deals with what one read brings before it deals with others")
async def test_one_that_asks_for_much_at_once_does_not_keep_others_waiting(edge: Edge) -> None:
    async with edge() as place:
        greedy, modest = await place.connect(), await place.connect()
        greedy.send(*[request("/live/poll?channels=a") for _ in range(900)])
        modest.send(request("/live/poll?channels=a"))
        assert (await modest.reader.read(65536)).startswith(b"HTTP/1.1 200 ")  # in a turn or two of the event loop
        assert any(each._parts for each in place.front.connections), "not all that was asked before it was answered before it"
        for _ in range(900):
            assert (await greedy.answer())[0] == 200


# --- who takes nothing


@pytest.mark.parametrize("way", WAYS[1:])
async def test_a_reader_that_takes_nothing_is_given_up(edge: Edge, way: str) -> None:
    async with edge(send_timeout=0.2) as place:
        loop = asyncio.get_running_loop()
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            host, port = place.url.removeprefix("http://").split(":")
            await loop.sock_connect(slow, (host, int(port)))
            await loop.sock_sendall(slow, request(f"/live/{way}?channels=a", *(UPGRADE if way == "ws" else ())))
            await until(lambda: place.hub.readers == 1)
            while place.hub.readers:
                await place.hub.publish("a", "x" * 60_000)
                await asyncio.sleep(0)
        await place.works()


async def test_one_that_asks_on_and_on_and_takes_no_answer_is_given_up(edge: Edge) -> None:
    async with edge(send_timeout=0.2) as place:
        for _ in range(4):
            await place.hub.publish("a", "x" * 60_000)
        connection = await place.connect()
        connection.writer.transport.pause_reading()
        async with asyncio.timeout(30):
            while not connection.writer.transport.is_closing():  # what is sent and not read over there stays here
                connection.send(place.poll() * 10)
                with suppress(ConnectionError):
                    await connection.writer.drain()
        await place.works()


@front_only("of what ASGI does it is not known whether a client takes it")
async def test_one_that_is_not_listened_to_is_not_silent(edge: Edge) -> None:
    async with edge() as place:
        websocket = await place.websocket()
        websocket.say({"do": "ping", "ref": 1})
        assert (await websocket.items())[0]["ok"]
        websocket.connection.writer.transport.pause_reading()
        (line,) = place.front.connections
        while not line.full:
            await place.hub.publish("a", "x" * 60_000)
            await asyncio.sleep(0)
        line.exchange.late()  # since it pinged, so much time has passed; it may have done so again
        websocket.connection.writer.transport.resume_reading()
        websocket.say({"do": "ping", "ref": 2})
        end = b""
        while b'"ref":2' not in end:
            piece = await asyncio.wait_for(websocket.connection.reader.read(1 << 20), 10)
            assert piece, "it was sent away"
            end = (end + piece)[-1000:]


@pytest.mark.parametrize("asked", ["ping", "command"])
@front_only("Hypercorn answers into its memory for as long as the time-out lasts")
async def test_one_that_asks_over_websocket_and_takes_no_answer_fills_no_memory(edge: Edge, asked: str) -> None:
    async with edge(send_timeout=1.0, beat=0.5, **UNBOUNDED) as place:
        websocket = await place.websocket()
        frames = websocket.frames
        one = frames.ping(b"x" * 125) if asked == "ping" else frames.send_data('{"do":"fly","ref":1}')
        writer = websocket.connection.writer
        writer.transport.pause_reading()

        async def ask() -> None:
            with suppress(ConnectionError):
                while not writer.transport.is_closing():
                    writer.write(bytes(one) * 200)
                    await writer.drain()

        asking, most = asyncio.create_task(ask()), 0
        async with asyncio.timeout(30):
            while not asking.done():
                most = max([most, *(each.transport.get_write_buffer_size() for each in place.front.connections)])
                await asyncio.sleep(0)
        assert 0 < most < 1 << 20
        await until(lambda: place.hub.readers == 0)
        await place.works()


# --- the end


async def test_a_server_that_stops_lets_what_it_said_last_be_taken(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    """Its event loop ends with it: what has not been taken by then is gone."""
    loop = asyncio.get_running_loop()
    connected: asyncio.Future[tuple[str, int]] = loop.create_future()
    stopping = asyncio.Event()

    async def serve() -> None:
        async with edge(drain=30.0) as place:
            host, port = place.url.removeprefix("http://").split(":")
            loop.call_soon_threadsafe(connected.set_result, (host, int(port)))
            await until(lambda: place.hub.readers == 1)
            for each in place.front.connections if place.front else ():
                each.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            for _ in range(20):
                await place.hub.publish("a", "x" * 60_000)
                await asyncio.sleep(0)
            loop.call_soon_threadsafe(stopping.set)

    serving = asyncio.create_task(asyncio.to_thread(asyncio.run, serve()))
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        await loop.sock_connect(slow, await connected)
        await loop.sock_sendall(slow, request("/live/sse?channels=a"))
        await stopping.wait()
        body = b""
        while piece := await loop.sock_recv(slow, 1 << 20):
            body = (body + piece)[-1000:]
    assert body.endswith(b"\r\n0\r\n\r\n")
    assert b'"bye","code":4503' in body
    await serving
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_stream_ends_with_a_bye_and_the_last_chunk(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(request("/live/sse?channels=a"))
        assert (await connection.head())[0] == 200
        await until(lambda: place.hub.readers == 1)
        closing = asyncio.create_task(place.hub.close())
        body = b""
        while piece := await connection.chunk():
            body += piece
        assert b'"bye","code":4503' in body
        await closing


async def test_a_poll_that_waits_is_told_bye(edge: Edge) -> None:
    async with edge() as place:
        connection = await place.connect()
        connection.send(place.poll(wait="60"))
        await until(lambda: place.hub.readers == 1)
        closing = asyncio.create_task(place.hub.close())
        status, _, body = await connection.answer()
        assert (status, json.loads(body)[-1]["code"]) == (200, 4503)
        await closing


async def test_a_websocket_is_told_bye_and_closed(edge: Edge) -> None:
    async with edge() as place:
        websocket = await place.websocket()
        closing = asyncio.create_task(place.hub.close())
        assert (await websocket.items())[-1]["code"] == 4503
        assert await websocket.close_code() == 4503
        await closing


# --- one like the other

SHOP = "Origin: https://shop.example"
ALIKE = [
    request("/live/poll?channels=a"),
    request("/live/poll?channels=a,b&since={beginning}&wait=0&why=best&tried=sse:refused_http"),
    request("/live/poll?channels=a&since={beginning}&wait=0&_=1&_=2", SHOP),
    request("/live/poll?channels=quiet&since={beginning}&wait=0.001"),
    request("/live/poll?channels=a&since=old.3"),
    request("/live/poll?channels=nope%20x", SHOP),
    request("/live/poll?channels=a&since=%F0%9F%92%A9"),
    request("/live/poll?channels=a&channels=b+c&wait=0"),
    request("/live/poll?channels=" + ",".join(f"a{n}" for n in range(101))),
    request("/live/poll?v=2&channels=a"),
    request("/live/poll?"),
    request("/live/poll", version="1.0"),
    request("/live/poll?channels=a", "Connection: close"),
    request("/live/poll?channels=a", "Origin: https://evil.example"),
    request("/live/poll?channels=a", "Origin: https://evil.example", "Sec-Fetch-Site: same-origin"),
    request("/live/poll?channels=a", "Origin: http://x"),
    request("/live/sse"),
    request("/live/sse?channels=a&beat=soon"),
    request("/live/ws"),
    request("/live/ws", SHOP),
    request("/live/ws?v=2"),
    request("/live/poll/?channels=a"),
    request("/live//poll?channels=a"),
    request("/live/p%6Fll?channels=a"),
    request("/live/negotiate"),
    commands(),
    commands(SHOP),
    commands(body=b'[{"do":"publish","ref":1,"channel":"a b","data":1},{"do":"fly"},{"do":"ping","ref":2}]'),
    commands(body=b""),
    commands(body=b"\xff"),
    commands(body=b"[" * 60_000),
    commands(body=b" " * 70_000),
    commands("Content-Encoding: gzip"),
    commands("Transfer-Encoding: chunked", body=b"2\r\n[]\r\n0\r\n\r\n", counted=False),
    request("/live/commands?v=3", "Content-Length: 0", method="POST"),
    request("/live/commands", method="POST"),
    commands("Content-Type: text/plain"),
    commands("Content-Type: text/plain", SHOP),
    commands("Content-Type: APPLICATION/JSON ; charset=utf-8"),
    request("/live/poll?channels=a", "Sec-Fetch-Site: cross-site"),
    request("/live/poll?channels=a", "Origin: http://x", "Sec-Fetch-Site: same-site"),
    request("/live/poll?channels=a", "Origin: http://x", "Origin: http://x"),
]


async def told(place: Place, sent: bytes) -> tuple[int, dict[str, str], str]:
    """What comes back, without what is different each time."""
    connection = await place.connect()
    connection.send(sent.replace(b"{beginning}", place.beginning.encode()))
    status, headers, body = await connection.answer()
    headers = {name: value for name, value in headers.items() if name not in ("date", "content-length", "connection")}
    text = re.sub(r'("connection":|"at":)[^,}]+', r"\1…", body.decode().replace(place.hub.log.epoch, "epoch"))
    return status, headers, text


@pytest.mark.parametrize("sent", ALIKE, ids=lambda sent: sent[:60].decode(errors="replace").partition(" HTTP")[0])
async def test_both_edges_answer_alike(sent: bytes) -> None:
    settings = {"origins": ("https://shop.example",), "channels": ("a*", "b*", "quiet")}
    async with served("front", **settings) as front, served("plain", **settings) as plain:
        for place in (front, plain):
            for n in range(3):
                await place.hub.publish("a", n)
        assert await told(front, sent) == await told(plain, sent)
        assert front.hub.log.head == plain.hub.log.head


# --- anything


def mutations(luck: random.Random, seeds: Sequence[bytes], count: int) -> list[bytes]:
    """Sound requests with bytes changed, lost, doubled and spliced."""
    made = []
    for _ in range(count):
        data = bytearray(luck.choice(seeds) + luck.choice([b"", luck.choice(seeds)]))
        for _ in range(luck.randint(0, 4)):
            place = luck.randrange(len(data))
            match luck.randrange(4):
                case 0:
                    data[place] = luck.choice(b"\r\n\0 :;,\x80\xff\x81\x880Aa9/")
                case 1:
                    del data[place : place + luck.randint(1, 8)]
                case 2:
                    data[place:place] = data[place : place + luck.randint(1, 30)]
                case 3:
                    data[place:place] = luck.choice([b"\r\n", b"\n", b"\r\n\r\n", b"Content-Length: 3\r\n", b"\0"])
            data = data or bytearray(b"\r")
        made.append(bytes(data))
    return made


async def test_whatever_comes_nothing_breaks_and_nothing_is_left(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    frames = b"".join([masked(0x81, b'{"do":"ping"}'), masked(0x89, b"x"), masked(0x88, b"\x03\xe8")])
    async with edge(body_timeout=0.1) as place:
        await place.works()
        before = asyncio.all_tasks()
        chunked = commands("Transfer-Encoding: chunked", body=b"3\r\n[1]\r\n0\r\n\r\n", counted=False)
        seeds = [place.poll(), commands(), chunked, PAGE, request("/live/ws?channels=a", *UPGRADE) + frames]
        seeds += [request("/live/sse?channels=a"), request("/live/negotiate")]
        for sent in mutations(random.Random(7), seeds, 300):
            connection = await place.connect()
            connection.send(sent)
            connection.writer.write_eof()
            await connection.writer.drain()
            connection.reset()
        await until(lambda: place.hub.readers == 0)
        await place.works()
        await until(lambda: asyncio.all_tasks() <= before)
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


# --- what both edges know of a request, and in which order they ask


async def test_every_poll_of_a_connection_over_tls_is_known_to_be_secure(edge: Edge, pem: Path) -> None:
    async with edge(pem=pem) as place:
        asked: list[bool] = []
        place.admission.authenticate = lambda request: asked.append(request.secure)
        connection = await place.connect()
        for _ in range(3):
            connection.send(place.poll())
            await connection.answer()
        assert asked == [True] * 3


@pytest.mark.parametrize("body", [b"{", b" " * 2000], ids=["malformed", "too large"])
async def test_a_post_that_is_refused_is_told_with_its_path_and_whom_it_came_from(
    edge: Edge, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "transports.connections")
    async with edge(trusted_hops=1, message_bytes=1000) as place:
        connection = await place.connect()
        connection.send(commands("X-Forwarded-For: 192.0.2.7", body=body))
        assert (await connection.answer())[0] in (400, 413)
    (told,) = [record for record in caplog.records if getattr(record, "event", "") == "connection.refused"]
    assert (told.path, told.address) == ("commands", "192.0.2.7")


FROM_A_PAGE = "Origin: https://ours.example"


async def test_a_page_is_judged_before_the_broker_is_asked_and_may_see_that_it_is_away(edge: Edge) -> None:
    async with edge(origins=("https://ours.example",)) as place:

        async def away(**_: object) -> None:
            raise Refusal(Code.BROKER_DOWN)

        place.hub.opened, place.hub.open = False, away
        for name, status in (("ours", 503), ("theirs", 403)):
            connection = await place.connect()
            connection.send(request("/live/poll?channels=a", f"Origin: https://{name}.example"))
            answered, headers, _ = await connection.answer()
            assert (answered, "access-control-allow-origin" in headers) == (status, name == "ours")
        connection = await place.connect()
        connection.send(request("/live/poll?channels=a&v=9", FROM_A_PAGE))
        assert json.loads((await connection.answer())[2])["code"] == Code.VERSION
        socket = await WebSocket(await place.connect()).open()
        assert [(item["type"], item["code"]) for item in await socket.items()] == [("bye", Code.BROKER_DOWN)]


async def test_the_version_is_looked_at_before_who_asks_and_who_before_how_it_is_said(edge: Edge) -> None:
    async with edge() as place:
        asked: list[str] = []

        def nobody(asking: Any) -> None:
            asked.append(asking.path)
            raise Refusal(Code.UNAUTHORIZED)

        place.admission.authenticate = nobody
        text = "Content-Type: text/plain"
        cases = [
            (request("/live/poll?channels=a&v=9"), Code.VERSION),
            (request("/live/commands?v=9", text, "Content-Length: 0", method="POST"), Code.VERSION),
            (commands(text), Code.UNAUTHORIZED),
        ]
        for asking, code in cases:
            connection = await place.connect()
            connection.send(asking)
            assert json.loads((await connection.answer())[2])["code"] == code
        assert asked == ["commands"]
        socket = await WebSocket(await place.connect()).open("channels=a&v=9")
        assert (await socket.items())[0]["code"] == Code.VERSION
        assert asked == ["commands"]


async def test_a_poll_of_another_version_behind_one_like_it_is_refused_before_anybody_is_asked_about(edge: Edge) -> None:
    async with edge() as place:
        asked: list[str] = []
        place.admission.authenticate = lambda request: asked.append(request.path)
        connection = await place.connect()
        statuses = []
        for version in ("", "&v=1", "&v=9"):
            connection.send(request(f"/live/poll?channels=a&since={place.beginning}&wait=0{version}"))
            statuses.append((await connection.answer())[0])
        assert (statuses, len(asked)) == ([200, 200, 400], 2)
