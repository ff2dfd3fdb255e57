"""The promise and the refusals, under every server and on every event loop."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import sys
from pathlib import Path

import aiohttp
import psutil
import pytest
import trustme

import transports.serve
from tests.transports.conftest import BRISK, live, request_head
from transports import LADDER, Hub, Options, Transport
from transports.asgi import Endpoints
from transports.client import connect
from transports.serve import configuration, listen
from transports.servers import Serve
from transports.testing import Cutter, serving, until

EVENTS = 1_000
ONE_LOOP = pytest.mark.asyncio(loop_factories=["asyncio"])  # for what no event loop has a say in
ENDLESS = pytest.mark.parametrize("transport", [each for each in LADDER if each.many], ids=lambda each: each.name)


@pytest.fixture(params=LADDER, ids=lambda transport: transport.name)
def transport(request: pytest.FixtureRequest) -> Transport:
    return request.param


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


async def read_to_the_end(http: aiohttp.ClientSession, url: str, transport: Transport, query: str) -> tuple[bytes, int]:
    """All that comes down, and the number it ended with: a close code or a status."""
    where = f"{url}/{transport.path}?{query}"
    if transport.commands_up:
        async with http.ws_connect(where) as ws:
            return b"".join([message.data.encode() async for message in ws]), ws.close_code
    async with http.get(where) as response:
        return await response.read(), response.status


async def test_all_arrives_in_order_and_once_whatever_is_cut(edge: Serve | None, transport: Transport) -> None:
    chance = random.Random(1)
    cuts = iter([int(2 ** chance.uniform(8, 15)) for _ in range(10)])
    async with live(server=edge, history_count=EVENTS, batch_bytes=2_000) as (hub, url):
        start, cutter = f"{hub.log.epoch}.0", Cutter(url, cuts)
        async with cutter.open() as through, connect(through, ["a"], since=start, transports=[transport], pace=BRISK) as stream:
            for n in range(EVENTS):
                await hub.publish("a", n)
            assert [(await anext(stream)).data for _ in range(EVENTS)] == list(range(EVENTS))
        assert cutter.made >= 5


@ONE_LOOP
async def test_what_goes_up_comes_down(server: Serve, transport: Transport) -> None:
    async with live(server=server) as (_, url), connect(url, ["a"], transports=[transport]) as stream:
        await stream.publish("a", "ä" * 20_000)
        assert (await anext(stream)).data == "ä" * 20_000


@ONE_LOOP
@pytest.mark.parametrize(("query", "code", "status"), [("channels=a&since=garbage", 4400, 400), ("channels=nope", 4404, 404)])
async def test_a_refusal_has_its_number(http, server: Serve, transport: Transport, query: str, code: int, status: int) -> None:
    async with live(server=server, channels=("a",)) as (hub, url):
        body, number = await read_to_the_end(http, url, transport, query)
        assert f'"code":{code}'.encode() in body
        assert number == (code if transport.commands_up else status)
        assert hub.readers == 0


@ONE_LOOP
@pytest.mark.parametrize(("frame", "code"), [("nope", 4400), (b"\x00", 4400), ("[" + " " * 65_536 + "]", 4413)])
async def test_a_frame_that_is_none_of_ours_ends_with_its_number(http, server: Serve, frame: str | bytes, code: int) -> None:
    async with live(server=server) as (_, url), http.ws_connect(f"{url}/ws?channels=a") as ws:
        await ws.receive()
        await (ws.send_bytes(frame) if isinstance(frame, bytes) else ws.send_str(frame))
        assert f'"code":{code}' in (await ws.receive()).data
        await ws.receive()
        assert ws.close_code == code


@ONE_LOOP
async def test_a_page_of_another_origin_is_refused(http, server: Serve) -> None:
    async with live(server=server) as (_, url):
        for path in ("ws", "sse", "poll", "negotiate"):
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
            key = {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
            headers = {"Origin": "http://evil.example", **({**upgrade, **key} if path == "ws" else {})}
            async with http.get(f"{url}/{path}?channels=a", headers=headers) as response:
                assert response.status == 403


async def test_a_hundred_readers_are_told_bye_and_nothing_is_left(http, edge: Serve | None, transport: Transport) -> None:
    before = asyncio.all_tasks()
    async with live(server=edge) as (hub, url):
        query = f"channels=a&since={hub.log.epoch}.0"
        readers = [asyncio.create_task(read_to_the_end(http, url, transport, query)) for _ in range(100)]
        await until(lambda: hub.readers == 100)
    async with asyncio.timeout(5):
        ends = await asyncio.gather(*readers)
    assert [number for _, number in ends] == [4503 if transport.commands_up else 200] * 100
    assert all(b'"type":"bye","code":4503' in body for body, _ in ends)
    assert hub.readers == 0
    assert asyncio.all_tasks() == before


async def reader_that_takes_nothing(url: str, transport: Transport) -> socket.socket:
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.setblocking(False)
    host, port = url.removeprefix("http://").split(":")
    loop = asyncio.get_running_loop()
    await loop.sock_connect(slow, (host, int(port)))
    await loop.sock_sendall(slow, request_head(transport, "channels=a"))
    return slow


async def test_who_does_not_answer_a_close_leaves_nothing_behind(edge: Serve | None) -> None:
    before = asyncio.all_tasks()
    async with live(server=edge) as (_, url):
        reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        writer.write(request_head(LADDER[0], "channels=a&since=garbage"))
        await reader.readuntil(b"bad_command")
    assert asyncio.all_tasks() == before
    writer.transport.abort()


def connections(port: int) -> list[object]:
    """Those of this process to a port that it listens on, as the server has them."""
    return [each for each in psutil.Process().net_connections("tcp") if each.laddr.port == port and each.raddr]


@ENDLESS
async def test_who_takes_nothing_does_not_hold_up_the_end(edge: Serve | None, transport: Transport) -> None:
    async with asyncio.timeout(20):
        async with live(server=edge, drain=0.1) as (hub, url):
            slow = await reader_that_takes_nothing(url, transport)
            await until(lambda: hub.readers == 1)
            for n in range(10_000):
                await hub.publish("a", "x" * 1000)
                if n % 100 == 0:
                    await asyncio.sleep(0)
    slow.close()


@ONE_LOOP
@ENDLESS
async def test_who_takes_nothing_costs_no_memory_and_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, server: Serve, transport: Transport
) -> None:
    for module in (transports.serve, sys.modules[server.__module__]):
        monkeypatch.setattr(module, "FLUSH", 0.2)
    async with live(server=server, send_timeout=0.3, batch_bytes=65_536, drain=0.1) as (hub, url):
        slow = await reader_that_takes_nothing(url, transport)
        await until(lambda: hub.readers == 1)
        before = psutil.Process().memory_info().rss
        n = 0
        while n < 25_000 or hub.readers:  # what a busy machine leaves out, as lost, does not fill a socket
            await hub.publish("a", "x" * 1000)
            n += 1
            if n % 100 == 0:
                await asyncio.sleep(0)
        assert psutil.Process().memory_info().rss - before < 16 << 20, "25 MB were published, or more"
        port = int(url.rpartition(":")[2])
        await until(lambda: not connections(port))
        slow.close()


async def test_one_that_has_gone_is_noticed(edge: Serve | None, transport: Transport) -> None:
    async with live(server=edge) as (hub, url):
        _, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        writer.write(request_head(transport, f"channels=a&since={hub.log.epoch}.0"))
        await until(lambda: hub.readers == 1)
        writer.transport.abort()
        await until(lambda: hub.readers == 0)


@ONE_LOOP
async def test_a_connection_serves_polls_without_end(server: Serve) -> None:
    async with live(server=server) as (hub, url):
        reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        poll = f"GET /poll?channels=a&since={hub.log.epoch}.0&wait=0 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        for _ in range(1_100):  # Hypercorn would end it after 1,000
            writer.write(poll)
            await reader.readuntil(b'"type":"beat"')
            await reader.readuntil(b"}]")
        writer.close()


@ONE_LOOP
async def test_tls_is_served_and_ends_alike(server: Serve, tmp_path: Path) -> None:
    authority, paths = trustme.CA(), {name: str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")}
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(paths["ca"])
    issued.private_key_pem.write_to_path(paths["key"])
    issued.cert_chain_pems[0].write_to_path(paths["cert"])
    hub = Hub(Options(channels=("a",)))
    await hub.open()
    served = serving(Endpoints(hub), drain=hub.close, certfile=paths["cert"], keyfile=paths["key"], server=server)
    trusting = ssl.create_default_context(cafile=paths["ca"])
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as http:
        async with served as url:
            assert url.startswith("https:")
            reading = asyncio.create_task(read_to_the_end(http, url, LADDER[0], "channels=a"))
            await until(lambda: hub.readers)
        body, number = await reading
    assert b'"code":4503' in body
    assert number == 4503


@ONE_LOOP
async def test_a_certificate_that_is_none_is_told_before_anything_is_served(server: Serve, tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("none")
    config = configuration(
        listen("127.0.0.1", 0), Options(), certfile=str(tmp_path / "none.pem"), keyfile=str(tmp_path / "none.pem")
    )
    with pytest.raises(ssl.SSLError):
        await server(Endpoints(Hub(Options())), config, asyncio.Event().wait, stop=asyncio.Event())
