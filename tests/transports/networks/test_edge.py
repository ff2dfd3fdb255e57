"""HTTP/2 at the front of a network: a client of real bytes, a server of ours, and the relay between them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, InformationalResponseReceived, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage

from tests.transports.conftest import live
from transports.errors import ConfigError
from transports.networks import Network, Profile, network, proxy
from transports.testing import serving, until

FLOOD = 32 << 20  # bytes: more than all buffers between here and there take


class Site:
    """A server with one path for each thing to try."""

    def __init__(self) -> None:
        self.more = asyncio.Event()  # let the streams go on
        self.asked = 0
        self.reading = 0  # streams that are open
        self.flood_sent = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            self.asked += 1
            await getattr(self, scope["path"].strip("/"))(scope, receive, send)

    async def echo(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while (part := await receive())["body"] or part["more_body"]:
            body += part["body"]
        headers = [(b"x-" + name, value) for name, value in scope["headers"]]
        own = [(b"content-length", b"%d" % len(body)), (b"keep-alive", b"timeout=5"), (b"x-path", scope["raw_path"])]
        own += [(b"connection", b"x-hop"), (b"x-hop", b"1")]
        await send({"type": "http.response.start", "status": 201, "headers": [*own, *headers]})
        await send({"type": "http.response.body", "body": body})

    async def early(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"too long"})

    async def stream(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        self.reading += 1
        leaving, more = asyncio.create_task(self._left(receive)), asyncio.create_task(self.more.wait())
        await asyncio.wait([leaving, more], return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        more.cancel()
        self.reading -= 1
        await send({"type": "http.response.body", "body": b"two"})

    async def deaf(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await self.more.wait()

    async def pending(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def _left(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def flood(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        left = asyncio.create_task(self._left(receive))
        for _ in range(FLOOD >> 16):
            if not left.done():
                await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
                self.flood_sent += 1 << 16
        left.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def ws(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
        self.reading += 1
        while (came := await receive())["type"] == "websocket.receive":
            if came["text"] == "bye":
                await send({"type": "websocket.close", "code": 4321, "reason": "as you wish"})
            else:
                await send({"type": "websocket.send", "text": came["text"].upper()})
        self.reading -= 1

    async def no(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 418, "headers": [(b"x-why", b"tea")]})
        await send({"type": "websocket.http.response.body", "body": b"teapot"})


@dataclass
class Answer:
    """What has come down one stream."""

    interim: list[str] = field(default_factory=list)
    status: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None


class Http2:
    """A client's side of one connection."""

    def __init__(self, url: str, writer: asyncio.StreamWriter, *, reads: bool = True) -> None:
        self.answers: dict[int, Answer] = {}
        self.gone = False
        self.sent = 0  # bytes of bodies
        self.frames: set[tuple[int, int]] = set()  # type and stream of all that came
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._host = urlsplit(url).netloc
        self._writer, self._reads = writer, reads

    async def run(self, reader: asyncio.StreamReader) -> None:
        self.h2.initiate_connection()
        self._flush()
        unread = b""
        while data := await reader.read(1 << 16):
            unread = self._note(unread + data)
            for event in self.h2.receive_data(data):
                self._take(event)
            self._flush()
        self.gone = True

    def _note(self, data: bytes) -> bytes:
        """RFC 9113 4.1."""
        while len(data) >= 9 and len(data) >= (size := 9 + int.from_bytes(data[:3], "big")):
            self.frames.add((data[3], int.from_bytes(data[5:9], "big")))
            data = data[size:]
        return data

    def _take(self, event: Any) -> None:
        match event:
            case InformationalResponseReceived():
                self.answers[event.stream_id].interim.append(dict(event.headers)[":status"])
            case ResponseReceived():
                headers = dict(event.headers)
                self.answers[event.stream_id].status, self.answers[event.stream_id].headers = headers[":status"], headers
            case DataReceived():
                self.answers[event.stream_id].body += event.data
                if self._reads:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case StreamEnded():
                self.answers[event.stream_id].ended = True
            case StreamReset():
                self.answers[event.stream_id].reset = event.error_code

    def read(self, number: int) -> None:
        """Begin to open the window again."""
        self._reads = True
        self.h2.acknowledge_received_data(len(self.answers[number].body), number)
        self._flush()

    def ask(self, path: str, *headers: tuple[str, str], method: str = "GET", ends: bool = True) -> int:
        number = self.h2.get_next_available_stream_id()
        self.answers[number] = Answer()
        start = [(":method", method), (":path", path), (":scheme", "https"), (":authority", self._host)]
        self.h2.send_headers(number, [*start, *headers], end_stream=ends)
        self._flush()
        return number

    def upgrade(self, path: str, subprotocol: str = "loud") -> int:
        """RFC 8441."""
        return self.ask(
            path,
            (":protocol", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", subprotocol),
            method="CONNECT",
            ends=False,
        )

    async def send(self, number: int, data: bytes, *, ends: bool = False) -> None:
        while data:
            await until(lambda: self.h2.local_flow_control_window(number))
            part = data[: min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)]
            data = data[len(part) :]
            self.h2.send_data(number, part)
            self.sent += len(part)
            self._flush()
        if ends:
            self.h2.end_stream(number)
            self._flush()

    def reset(self, number: int) -> None:
        self.h2.reset_stream(number, ErrorCodes.CANCEL)
        self._flush()

    async def ended(self, number: int) -> Answer:
        answer = self.answers[number]
        await until(lambda: answer.ended or answer.reset is not None)
        return answer

    def _flush(self) -> None:
        self._writer.write(self.h2.data_to_send())


@asynccontextmanager
async def client(url: str, tls: ssl.SSLContext, *, reads: bool = True) -> AsyncIterator[Http2]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    http2 = Http2(url, writer, reads=reads)
    running = asyncio.create_task(http2.run(reader))
    await until(lambda: http2.h2.remote_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL))
    try:
        yield http2
    finally:
        running.cancel()
        writer.transport.abort()
        await asyncio.wait([running])


def trusting(edge: Network, directory: Path, *protocols: str) -> ssl.SSLContext:
    tls = ssl.create_default_context(cafile=edge.save_authority(directory / "authority.pem"))
    tls.set_alpn_protocols(protocols or ["h2", "http/1.1"])
    return tls


async def standstill(progress: Callable[[], int], http2: Http2) -> None:
    """Until what `progress` counts does not grow any more, while other streams come and go."""
    seen = -1
    while seen != (seen := progress()):
        for _ in range(50):
            assert (await http2.ended(http2.ask("/echo", method="HEAD"))).status == "201"


@asynccontextmanager
async def edge(directory: Path, names: str = "h2-edge", *, reads: bool = True) -> AsyncIterator[tuple[Site, Network, Http2]]:
    """A site behind an edge, and a client of it."""
    site = Site()
    async with serving(site) as upstream:
        front = Network(names, upstream=upstream)
        async with front as url, client(url, trusting(front, directory), reads=reads) as http2:
            yield site, front, http2


# -------------------------------------------------------------------------------------------------------------------- way in


async def test_the_client_chooses_between_http2_and_http11(tmp_path: Path) -> None:
    async with serving(Site()) as upstream:
        front = Network("h2-edge", upstream=f"{upstream}/deep")
        async with front as url:
            assert url.startswith("https://127.0.0.1:")
            assert url.endswith("/deep")
            for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1")):
                parts, tls = urlsplit(url), trusting(front, tmp_path, *offered)
                _, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)
                assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == chosen
                writer.transport.abort()


async def test_who_speaks_http11_gets_the_same(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, front, _), aiohttp.ClientSession() as http:
        tls = trusting(front, tmp_path, "http/1.1")
        async with http.post(f"{front.url}/echo", data=b"hello", ssl=tls) as response:
            assert (response.status, response.version, await response.read()) == (201, aiohttp.HttpVersion11, b"hello")
        async with http.ws_connect(f"{front.url}/ws", protocols=["loud"], ssl=tls) as ws:
            assert ws.protocol == "loud"
            await ws.send_str("hello")
            assert (await ws.receive()).data == "HELLO"
            await ws.send_str("bye")
            assert ((await ws.receive()).data, ws.close_code) == (4321, 4321)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{front.url}/no", ssl=tls)
        assert refused.value.status == 418


async def test_the_way_in_stays_when_the_network_changes(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, front, http2):
        assert http2.answers == {}
        front.switch("h2-edge+no-upgrade")
        assert (await http2.ended(http2.upgrade("/echo"))).status == "502"  # 201 from the server
        front.switch("h2-edge")
        for other in ("open", "no-upgrade", "tls-inspection"):
            with pytest.raises(ConfigError, match="another way"):
                front.switch(other)


def test_http2_means_tls_also_where_networks_are_joined() -> None:
    assert Profile("own", "", "", http2=True).tls
    joined = network("latency-100ms+h2-edge+no-upgrade")
    assert (joined.http2, joined.tls, joined.wins, len(joined.behaviours)) == (True, True, "sse", 2)


async def test_a_port_that_is_taken_leaves_nothing_behind() -> None:
    async with serving(Site()) as upstream:
        before = len(psutil.Process().net_connections("inet"))
        with pytest.raises(OSError, match="in use"):
            async with Network("h2-edge", upstream=upstream, port=int(upstream.rpartition(":")[2])):
                raise AssertionError
        await until(lambda: len(psutil.Process().net_connections("inet")) == before)


# ---------------------------------------------------------------------------------------------------------- requests, answers


async def test_a_request_and_its_answer_pass_without_what_is_for_one_hop_only(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, front, http2):
        answer = await http2.ended(
            http2.ask("/echo?a=%20b", ("x", "1"), ("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"))
        )
        assert (answer.status, answer.reset) == ("201", None)
        assert answer.headers["x-path"] == "/echo"
        assert (answer.headers["x-x"], answer.headers["x-cookie"]) == ("1", "a=1; b=2")
        assert answer.headers["x-host"] == urlsplit(front.url).netloc
        assert not {"connection", "x-hop", "keep-alive", "transfer-encoding", "x-te", "x-transfer-encoding"} & set(answer.headers)
        assert (3, 1) not in http2.frames  # RST_STREAM
        _, passages = front.record.passages()
        assert any(each.raw.startswith(b"GET /echo?a=%20b HTTP/1.1\r\nHost: 127.0.0.1:") for each in passages)


@pytest.mark.parametrize("length", ["said", "unsaid"])
async def test_a_body_goes_up_as_it_comes(tmp_path: Path, length: str) -> None:
    async with edge(tmp_path) as (_, _, http2):
        body, window = bytes(range(256)) * 1024, http2.h2.outbound_flow_control_window  # more than a stream's
        headers = [("content-length", str(len(body)))] if length == "said" else []
        number = http2.ask("/echo", *headers, method="POST", ends=False)
        await http2.send(number, body, ends=True)
        assert (await http2.ended(number)).body == body
        assert http2.h2.outbound_flow_control_window <= window


async def test_who_waits_for_a_word_before_the_body_gets_it(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, _, http2):
        number = http2.ask("/echo", ("expect", "100-continue"), method="POST", ends=False)
        await until(lambda: http2.answers[number].interim == ["100"])
        await http2.send(number, b"body", ends=True)
        assert (await http2.ended(number)).body == b"body"


async def test_an_answer_without_a_body_ends(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, _, http2):
        answer = await http2.ended(http2.ask("/echo", method="HEAD"))
        assert (answer.status, answer.body, answer.reset) == ("201", b"", None)


async def test_an_answer_before_the_body_was_sent_stops_it_without_a_fault(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, _, http2):
        number = http2.ask("/early", method="POST", ends=False)
        await until(lambda: http2.answers[number].reset is not None)
        answer = http2.answers[number]
        assert (answer.status, answer.body, answer.ended, answer.reset) == ("413", b"too long", True, ErrorCodes.NO_ERROR)


async def test_what_http11_could_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, front, http2):
        assert (await http2.ended(http2.ask("/echo HTTP/1.1"))).status == "400"
        assert (await http2.ended(http2.ask("/", (":protocol", "connect-udp"), method="CONNECT"))).status == "400"
        assert (await http2.ended(http2.ask("/echo", ("content-length", "5")))).status == "400"
        assert front.record.connections == 0


async def test_trailers_in_place_of_a_body_end_the_stream(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, front, http2):
        number = http2.ask("/echo", ("content-length", "5"), method="POST", ends=False)
        await http2.send(number, b"abc")
        http2.h2.send_headers(number, [("x-sum", "1")], end_stream=True)
        http2._flush()
        assert (await http2.ended(number)).reset == ErrorCodes.INTERNAL_ERROR
        await until(lambda: front.connections == 0)


async def test_a_chunk_comes_while_the_stream_is_open(tmp_path: Path) -> None:
    async with edge(tmp_path) as (site, _, http2):
        number = http2.ask("/stream")
        answer = http2.answers[number]
        await until(lambda: answer.body)
        assert (answer.body, answer.ended) == (b"one", False)
        site.more.set()
        assert (await http2.ended(number)).body == b"onetwo"


async def test_ten_streams_share_a_connection(tmp_path: Path) -> None:
    async with edge(tmp_path) as (site, front, http2):
        numbers = [http2.ask("/stream") for _ in range(10)]
        await until(lambda: site.reading == 10)
        assert front.connections == 10
        site.more.set()
        assert [(await http2.ended(number)).body for number in numbers] == [b"onetwo"] * 10
        await until(lambda: front.connections == 0)


async def test_a_stream_that_the_client_leaves_ends_at_the_server_and_the_others_go_on(tmp_path: Path) -> None:
    async with edge(tmp_path) as (site, front, http2):
        first, second = http2.ask("/stream"), http2.ask("/stream")
        await until(lambda: site.reading == 2)
        http2.reset(first)
        await until(lambda: site.reading == 1)
        site.more.set()
        assert (await http2.ended(second)).body == b"onetwo"
        await until(lambda: front.connections == 0)


async def test_a_stream_that_is_left_at_once_was_none(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, front, http2):
        for path in ("/stream", "/no way"):
            http2.reset(http2.ask(path, method="POST", ends=False))
        assert (await http2.ended(http2.ask("/echo"))).status == "201"
        await until(lambda: front.connections == 0)
        assert not {(3, 1), (3, 3)} & http2.frames  # RST_STREAM (RFC 9113 5.4.2)


async def test_a_body_that_nobody_takes_holds_up_no_other(tmp_path: Path) -> None:
    async with edge(tmp_path) as (site, _, http2):
        stuck = asyncio.create_task(http2.send(http2.ask("/deaf", method="POST", ends=False), bytes(FLOOD)))
        await standstill(lambda: http2.sent, http2)
        assert 0 < http2.sent < FLOOD
        number = http2.ask("/echo", method="POST", ends=False)
        await http2.send(number, bytes(1 << 18), ends=True)
        assert len((await http2.ended(number)).body) == 1 << 18
        stuck.cancel()
        site.more.set()


async def test_what_was_sent_in_vain_is_not_held_against_the_others(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, _, http2):
        for _ in range(120):  # together more than the window of the connection, before there is consent
            number = http2.upgrade("/pending")
            await http2.send(number, bytes(60_000))
            http2.reset(number)
        for _ in range(600):  # and for what is refused
            number = http2.ask("/no way", method="POST", ends=False)
            await http2.send(number, bytes(15_000))
            assert (await http2.ended(number)).status == "400"
        number = http2.ask("/echo", method="POST", ends=False)
        await http2.send(number, bytes(1 << 18), ends=True)
        assert len((await http2.ended(number)).body) == 1 << 18


async def test_a_client_that_goes_takes_its_streams_with_it(tmp_path: Path) -> None:
    async with edge(tmp_path) as (site, front, _), client(front.url, trusting(front, tmp_path)) as other:
        number, _ = other.ask("/stream"), await talk(other)
        await until(lambda: site.reading == 2 and other.answers[number].body)
        other.h2.close_connection()
        other._flush()
        await until(lambda: site.reading == 0 and front.connections == 0)


async def test_a_client_that_opens_no_window_stops_the_server_but_not_its_other_streams(tmp_path: Path) -> None:
    async with edge(tmp_path, reads=False) as (site, _, http2):
        number = http2.ask("/flood")
        await standstill(lambda: site.flood_sent, http2)
        assert len(http2.answers[number].body) == 65_535
        assert site.flood_sent < FLOOD
        http2.read(number)
        assert len((await http2.ended(number)).body) == FLOOD


async def test_a_client_that_does_not_read_stops_the_server_but_no_other_client(tmp_path: Path) -> None:
    async with edge(tmp_path) as (site, front, http2), client(front.url, trusting(front, tmp_path)) as deaf:
        deaf.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30})
        deaf.h2.increment_flow_control_window(1 << 30)
        deaf._writer.transport.pause_reading()
        number = deaf.ask("/flood")
        await until(lambda: site.asked)
        await standstill(lambda: site.flood_sent, http2)
        assert site.flood_sent < FLOOD
        deaf._writer.transport.resume_reading()
        assert len((await deaf.ended(number)).body) == FLOOD


# ------------------------------------------------------------------------------------------------------------------ WebSocket


class Talk:
    """A WebSocket within a stream."""

    def __init__(self, http2: Http2, number: int) -> None:
        self._http2, self._number, self._seen = http2, number, 0
        self._frames = Connection(ConnectionType.CLIENT)
        self.answer = http2.answers[number]

    async def say(self, event: Any) -> None:
        await self._http2.send(self._number, self._frames.send(event))

    async def heard(self) -> Any:
        while True:
            for event in self._frames.events():
                return event
            await until(lambda: len(self.answer.body) > self._seen)
            self._frames.receive_data(bytes(self.answer.body[self._seen :]))
            self._seen = len(self.answer.body)


async def talk(http2: Http2) -> Talk:
    number = http2.upgrade("/ws")
    await until(lambda: http2.answers[number].status)
    assert http2.answers[number].status == "200"
    return Talk(http2, number)


async def test_a_websocket_over_http2(tmp_path: Path) -> None:
    async with edge(tmp_path) as (site, front, http2):
        ws = await talk(http2)
        assert ws.answer.headers["sec-websocket-protocol"] == "loud"
        assert not {"upgrade", "connection", "sec-websocket-accept"} & set(ws.answer.headers)
        await ws.say(TextMessage("hello"))
        assert (await ws.heard()).data == "HELLO"
        await ws.say(TextMessage("bye"))
        closed = await ws.heard()
        assert (closed.code, closed.reason) == (4321, "as you wish")
        await ws.say(closed.response())
        await until(lambda: ws.answer.ended)
        await until(lambda: site.reading == 0 and front.connections == 0)


async def test_the_clients_close_code_arrives_and_comes_back(tmp_path: Path) -> None:
    async with edge(tmp_path) as (site, front, http2):
        ws = await talk(http2)
        await ws.say(CloseConnection(4004, "enough"))
        assert (await ws.heard()).code == 4004  # the server's echo
        await until(lambda: ws.answer.ended)
        await until(lambda: site.reading == 0 and front.connections == 0)


async def test_a_refused_websocket_has_its_status(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, _, http2):
        answer = await http2.ended(http2.upgrade("/no"))
        assert (answer.status, answer.headers["x-why"], answer.body) == ("418", "tea", b"teapot")


async def test_what_comes_before_consent_is_no_request(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, front, http2):
        number = http2.upgrade("/no")
        await http2.send(number, b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", ends=True)
        assert (await http2.ended(number)).status == "418"
        assert front.record.requests == 1


async def test_a_tunnel_that_the_client_ends_without_a_word_ends_on_both_sides(tmp_path: Path) -> None:
    async with edge(tmp_path) as (site, front, http2):
        number = http2.upgrade("/ws")
        await until(lambda: site.reading)
        await http2.send(number, b"", ends=True)
        assert (await http2.ended(number)).reset is None
        await until(lambda: site.reading == 0 and front.connections == 0)


async def test_a_page_is_no_consent_to_a_websocket(tmp_path: Path) -> None:
    async with edge(tmp_path, "h2-edge+captive-portal") as (_, _, http2):
        assert (await http2.ended(http2.ask("/"))).status == "200"
        assert (await http2.ended(http2.upgrade("/ws"))).status == "502"


# ----------------------------------------------------------------------------------------------------------------------- ends


async def test_what_is_cut_behind_the_edge_breaks_its_stream_and_nothing_else(tmp_path: Path) -> None:
    async with edge(tmp_path) as (site, front, http2):
        number, ws = http2.ask("/stream"), await talk(http2)
        await until(lambda: site.reading == 2 and http2.answers[number].body == b"one")
        assert front.cut() == 2
        for answer in (await http2.ended(number), ws.answer):
            await until(lambda answer=answer: answer.reset == ErrorCodes.INTERNAL_ERROR)
            assert not answer.ended
        assert (await http2.ended(http2.ask("/echo"))).status == "201"


async def test_an_answer_that_is_closed_before_its_end_is_no_whole_one(tmp_path: Path) -> None:
    async with edge(tmp_path) as (_, front, http2):
        number = http2.ask("/stream")
        await until(lambda: http2.answers[number].body == b"one")
        front.cut("close")
        assert (await http2.ended(number)).reset == ErrorCodes.INTERNAL_ERROR


@pytest.mark.parametrize("whole", [True, False])
async def test_an_answer_that_ends_with_its_connection_is_whole_unless_that_was_reset(tmp_path: Path, whole: bool) -> None:
    async with edge(tmp_path, "h2-edge+http10") as (site, front, http2):
        number = http2.ask("/stream")
        await until(lambda: http2.answers[number].body == b"one")
        site.more.set() if whole else front.cut()
        answer = await http2.ended(number)
        assert (answer.ended, answer.reset) == ((True, None) if whole else (False, ErrorCodes.INTERNAL_ERROR))


async def test_what_is_forgotten_behind_the_edge_stays_open(tmp_path: Path) -> None:
    async with edge(tmp_path) as (site, front, http2):
        number = http2.ask("/stream")
        await until(lambda: http2.answers[number].body == b"one")
        front.cut("forget")
        site.more.set()
        await until(lambda: site.reading == 0)
        assert (await http2.ended(http2.ask("/echo"))).status == "201"
        answer = http2.answers[number]
        assert (answer.body, answer.ended, answer.reset) == (b"one", False, None)


async def test_clients_are_bounded_whether_they_have_streams_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "_CONNECTIONS", 2)
    async with edge(tmp_path) as (_, front, http2):
        tls, parts = trusting(front, tmp_path), urlsplit(front.url)
        async with client(front.url, tls):
            with pytest.raises(OSError):  # noqa: PT011 - a reset, at whichever point of the handshake
                await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)
            assert (await http2.ended(http2.ask("/echo"))).status == "201"
        await until(lambda: len(front._edge._tasks) == 1)
        async with client(front.url, tls) as other:
            assert (await other.ended(other.ask("/echo"))).status == "201"


async def test_nonsense_ends_the_connection(tmp_path: Path) -> None:
    async with edge(tmp_path) as (site, front, http2):
        http2.ask("/stream")
        await until(lambda: site.reading)
        http2._writer.write(b"\x00\x00\x00\x00\x00\x00\x00\x00\x01")  # DATA without a stream that could have it
        http2._writer.write(bytes(1 << 16))
        await until(lambda: http2.gone and site.reading == 0 and front.connections == 0)


def tasks_of_networks() -> list[object]:
    codes = [task.get_coro().cr_code for task in asyncio.all_tasks()]
    return [code for code in codes if Path(code.co_filename).parent.name == "networks" and code.co_filename != __file__]


@pytest.mark.parametrize("way", ["stream", "websocket", "body", "flood", "plain"])
async def test_leaving_in_mid_stream_leaves_nothing(tmp_path: Path, way: str) -> None:
    site, process = Site(), psutil.Process()
    async with serving(site) as upstream:
        front = Network("h2-edge", upstream=upstream)
        before = len(process.net_connections("inet"))
        async with front as url:
            tls = trusting(front, tmp_path)
            async with client(url, tls, reads=way != "flood") as http2, aiohttp.ClientSession() as http:
                match way:
                    case "stream":
                        http2.ask("/stream")
                    case "websocket":
                        await talk(http2)
                    case "body":
                        http2.ask("/echo", method="POST", ends=False)
                    case "flood":
                        http2.ask("/flood")
                    case "plain":
                        await http.get(f"{url}/stream", ssl=trusting(front, tmp_path, "http/1.1"))
                await until(lambda: site.asked)
                await front.__aexit__(None, None, None)
                if way != "plain":
                    await until(lambda: http2.gone)
        await until(lambda: not tasks_of_networks() and len(process.net_connections("inet")) == before)


async def test_every_transport_of_ours_passes(tmp_path: Path) -> None:
    async with live() as (hub, upstream):
        front = Network("h2-edge", upstream=upstream)
        async with front as url, client(url, trusting(front, tmp_path)) as http2:
            numbers = [http2.ask(f"/{path}?channels=a&since={hub.log.epoch}.0") for path in ("sse", "poll")]
            numbers.append(http2.upgrade(f"/ws?channels=a&since={hub.log.epoch}.0", "everywire.v1.json"))
            await until(lambda: hub.readers == 3)
            await hub.publish("a", "over HTTP/2")
            for number in numbers:
                await until(lambda number=number: b"over HTTP/2" in http2.answers[number].body)
