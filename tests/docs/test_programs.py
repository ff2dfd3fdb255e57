"""The programs of the how-tos, run: each does what its page promises of it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest
import quart
import socketio

from tests.docs.test_authenticate import served
from tests.docs.test_docs import DOCS, run
from tests.documents import Block, blocks, script
from tests.networks.test_doctor_mends import mounted
from tests.ports import free_port
from tests.redis_server import redis_server
from tests.transports.conftest import live
from transports import LADDER, Refusal, Transport
from transports.client import connect
from transports.networks import Network
from transports.testing import serving, until

HOW_TO = DOCS / "how-to"
LOCAL = "http://127.0.0.1:8000/live"  # where the pages say that it is served


def only(page: Path) -> Block:
    """The one block of Python of a page."""
    (block,) = blocks(page, "python")
    return block


def but(block: Block, old: str, new: str) -> Block:
    """A block with another port or address in it, and nothing else."""
    assert block.text.count(old) == 1
    return block._replace(text=block.text.replace(old, new))


@asynccontextmanager
async def beside(program: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    """A program that runs while the test goes on, and is ended with it."""
    task = asyncio.create_task(program)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


class Printed:
    """The lines that a program in this process has printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys, self._text = capsys, ""

    @property
    def lines(self) -> list[str]:
        self._text += self._capsys.readouterr().out
        return self._text.splitlines()

    async def through(self, last: str) -> list[str]:
        """What was printed when the line `last` is there."""
        await until(lambda: last in self.lines)
        return self.lines


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    return Printed(capsys)


# --------------------------------------------------------------------------------------------------------- what readers want


PATTERN, POLICY = blocks(HOW_TO / "follow-many-channels.md", "python")


async def test_a_pattern_brings_what_there_is_and_what_comes_up_later(printed: Printed) -> None:
    async with live() as (hub, url):
        await hub.publish("orders.eu", "before anybody reads")
        async with beside(run(PATTERN)["main"](url)):
            await until(lambda: hub.readers)
            channels = ["orders.eu", "alerts", "orders.us.4711", "order", "alerts.us", "orders.us.4711", "alerts"]
            for number, channel in enumerate(channels):
                await hub.publish(channel, number)
            followed = ["orders.eu 0", "alerts 1", "orders.us.4711 2", "orders.us.4711 5", "alerts 6"]
            assert await printed.through("alerts 6") == followed


async def test_a_pattern_leaves_out_what_somebody_may_not_read_as_if_it_did_not_exist() -> None:
    async with served(run(POLICY)) as (live, url), connect(url, ["orders.*", "alerts"]) as stream:
        for channel in ("orders.test.1", "orders.eu", "orders.test.2", "alerts"):
            await live.publish(channel, 1)  # nobody is asked about what the program itself publishes
        assert [(await anext(stream)).channel for _ in range(2)] == ["orders.eu", "alerts"]
        assert len(await stream.members("orders.eu")) == 0
        for refused in (
            connect(url, ["alerts", "orders.test.1"]).__aenter__(),
            stream.publish("orders.eu", 2),
            stream.members("orders.test.1"),
        ):
            with pytest.raises(Refusal, match="4403"):
                await refused


LATEST, LAG = blocks(HOW_TO / "keep-only-the-latest.md", "python")


async def test_of_what_has_piled_up_the_newest_of_each_comes(printed: Printed) -> None:
    async with live() as (hub, url), beside(run(LATEST)["main"](url)):
        assert await printed.through("MSFT 4.5") == ["AAPL 12.3", "MSFT 4.5"]  # it keeps up: every event
        for about, price in (("AAPL", 1), ("MSFT", 2), (None, 3), ("AAPL", 4), (None, 5)):
            await hub.publish("prices", price, about=about)  # all of them before the reader is woken
        assert (await printed.through("None 5"))[2:] == ["MSFT 2", "AAPL 4", "None 5"]


async def test_nobody_is_further_behind_than_was_asked_for(printed: Printed) -> None:
    async with live() as (hub, url), beside(run(LAG)["main"](url)):
        await until(lambda: hub.readers)
        for number in range(250):  # before the reader is woken
            await hub.publish("orders.eu", number)
        await hub.publish("orders.us", "the bound is of each channel")
        lines = await printed.through("orders.us the bound is of each channel")
    skipped = [line for line in lines if line.startswith("Skipped(")]
    assert [line for line in lines if line not in skipped][:-1] == [f"orders.eu {number}" for number in range(150, 250)]
    assert skipped
    assert all("channel='orders.eu'" in line and "count=150, reason='lag'" in line for line in skipped)


# ------------------------------------------------------------------------------------------------------------ other programs


SOCKET_IO, EVERYWIRE = blocks(HOW_TO / "move-from-socketio.md", "python")


@pytest.mark.real
async def test_the_program_of_socket_io_and_its_counterpart_tell_the_same_to_the_same_user() -> None:
    before, after = run(SOCKET_IO), run(EVERYWIRE)
    sio, app, live = before["sio"], after["app"], after["live"]

    @app.post("/login/<name>")
    async def login(name: str) -> str:
        quart.session["user"] = name
        return ""

    async def cookie(url: str, name: str) -> dict[str, str]:
        async with aiohttp.ClientSession() as http, http.post(f"{url}/login/{name}") as response:
            return {"Cookie": f"session={response.cookies['session'].value}"}

    shown: dict[str, list[Any]] = {"ann": [], "bob": []}
    both = socketio.ASGIApp(sio, app)  # beside what there is, as the page says
    async with (
        serving(both, drain=live.hub.close, options=live.hub.options, front=live.front) as url,
        AsyncExitStack() as stack,
    ):
        stack.push_async_callback(sio.shutdown)
        streams = {}
        for name in shown:
            client = socketio.AsyncClient()
            client.on("shipped", shown[name].append)
            await client.connect(url, auth={"user": name})
            stack.push_async_callback(client.disconnect)
            stream = connect(f"{url}/live", [f"orders.{name}"], headers=await cookie(url, name))
            streams[name] = await stack.enter_async_context(stream)
        for name, number in (("ann", 7), ("bob", 8)):  # what is for ann would be with bob before what is for him
            await before["shipped"](name, number)
            await after["shipped"](name, number)
            event = await anext(streams[name])
            assert (event.channel, event.data) == (f"orders.{name}", {"what": "shipped", "number": number})
        await until(lambda: all(shown.values()))
        assert shown == {"ann": [{"number": 7}], "bob": [{"number": 8}]}
        with pytest.raises(Refusal, match="4403"):
            await connect(f"{url}/live", ["orders.ann"], headers=await cookie(url, "bob")).__aenter__()
        with pytest.raises(Refusal, match="4403"):
            await streams["ann"].publish("orders.ann", 1)


DOCTOR = HOW_TO / "find-out-what-a-network-does.md"


@pytest.mark.real
async def test_the_doctor_says_in_a_program_what_it_says_on_the_command_line(tmp_path: Path) -> None:
    async def said(url: str) -> list[str]:
        with script(but(only(DOCTOR), LOCAL, url).text, tmp_path / "look.py") as running:
            return (await asyncio.to_thread(running.communicate))[0].splitlines()

    (shown,) = (block.text for block in blocks(DOCTOR, "text"))
    mends = {line.strip() for line in shown.splitlines() if "http_upgrade" in line or "everywire_connection" in line}
    async with mounted() as url, Network("no-upgrade", upstream=f"{url}/live") as way:
        assert await said(f"{url}/live") == ["WebSocket works."]
        sentence, *lines = await said(way)
    assert sentence.startswith("SSE works. WebSocket lost its upgrade on the way.")
    assert len(mends) == 3
    assert {"nginx", *mends} <= set(lines)


async def test_checks_are_run_from_a_program(printed: Printed) -> None:
    async with live(channels=("test",)) as (_, url):
        await run(only(DOCS / "reference" / "conformance.md"))["check"](url)
    checks = ["hello-first/sse", *(f"resume/{transport.name}" for transport in LADDER)]
    assert sorted(printed.lines) == [f"pass {check} " for check in sorted(checks)]


# ------------------------------------------------------------------------------------------------------------------- servers


@pytest.mark.real
async def test_a_program_that_chooses_uvicorn_is_served_by_it_and_ends_well(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    port = free_port()
    url = f"http://127.0.0.1:{port}/live"
    with script(but(only(HOW_TO / "choose-a-server.md"), "8000", str(port)).text, tmp_path / "app.py") as server:
        async with connect(url, ["orders"], connect_timeout=30) as stream, aiohttp.ClientSession() as http:
            await stream.publish("orders", 1)
            assert (await anext(stream)).data == 1
            async with http.ws_connect(f"{url}/ws?channels=orders") as ws:
                await ws.receive()
                await ws.send_str("[" + " " * (1 << 20) + "]")
                async for _ in ws:
                    pass
                assert ws.close_code == 1009  # of all servers in the table, uvicorn alone says that
            async with http.ws_connect(f"{url}/ws?channels=orders") as ws:
                await ws.receive()
                server.send_signal(signal.SIGTERM)
                assert '"code":4503' in (await ws.receive()).data
                assert (await ws.receive()).data == 4503
            assert await asyncio.to_thread(server.wait, 20) == 0


@pytest.mark.real
async def test_three_workers_serve_the_same_and_end_well(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/live"
    with script(but(only(HOW_TO / "run-several-workers.md"), "8000", str(port)).text, tmp_path / "clock.py") as parent:
        line = await asyncio.to_thread(parent.stdout.readline)
        assert line == f"serving http://127.0.0.1:{port}/  (workers: 3, Ctrl-C stops)\n"
        workers = psutil.Process(parent.pid).children()
        assert len(workers) == 3
        async with aiohttp.ClientSession() as http, AsyncExitStack() as stack, asyncio.timeout(60):
            sockets: list[aiohttp.ClientWebSocketResponse] = []
            while not all(map(serves, workers)):
                sockets.append(await stack.enter_async_context(http.ws_connect(f"{url}/ws?channels=clock")))
                await next_item(sockets[-1], "hello")
            async with http.post(f"{url}/commands", json={"do": "publish", "channel": "clock", "data": 1}) as response:
                (reply,) = await response.json()
            for ws in sockets:
                assert (await next_item(ws, "event"))["id"] == reply["id"]
        parent.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(parent.wait, 60) == 0
    assert psutil.wait_procs(workers, timeout=30)[1] == []


def serves(worker: psutil.Process) -> bool:
    """Whether anybody is connected to it."""
    return any(each.status == psutil.CONN_ESTABLISHED for each in worker.net_connections("tcp"))


async def next_item(ws: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """The next of that kind."""
    while True:
        for item in json.loads(await ws.receive_str()):
            if item["type"] == kind:
                return item


# ------------------------------------------------------------------------------------------------------------------- brokers


@pytest.mark.real
@pytest.mark.parametrize("broker", ["sqlite:///events.db", "memory://"])
async def test_an_event_outlives_its_program_in_a_file_and_not_in_memory(tmp_path: Path, broker: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/live"
    program = but(only(HOW_TO / "keep-events-over-restarts.md"), "sqlite:///events.db", broker).text
    program += f"\nlive.run(port={port})\n"
    lost: list[str] = []
    with script(program, tmp_path / "shop.py"):  # which is killed
        async with connect(url, ["orders"], connect_timeout=30) as stream:
            since = stream.position
            published = await stream.publish("orders", 1, key="once")
    settings = {"since": since, "on_lost": lambda item: lost.append(item.reason), "connect_timeout": 30}
    with script(program, tmp_path / "shop.py"):
        async with connect(url, ["orders"], **settings) as stream:
            again = await stream.publish("orders", 1, key="once")
            await stream.publish("orders", 2)
            read = [await anext(stream) for _ in range(2)]
    kept = broker.startswith("sqlite")
    assert [event.data for event in read] == [1, 2]
    assert read[0].id == again
    assert (again == published, lost) == (kept, [] if kept else ["epoch"])
    assert (tmp_path / "events.db").exists() == kept


@pytest.mark.real
async def test_who_was_at_one_process_reads_on_at_another_through_redis(tmp_path: Path) -> None:
    block = only(HOW_TO / "share-events-with-redis.md")
    async with redis_server(tmp_path) as redis:
        one, other = (run(but(block, "redis://127.0.0.1:6379", redis.url)) for _ in range(2))
        async with served(one) as (_, here), served(other) as (_, there), connect(there, ["orders"]) as stays:
            async with connect(here, ["orders"]) as moves:
                first = await moves.publish("orders", 1)
                assert (await anext(moves)).id == (await anext(stays)).id == first
            second = await stays.publish("orders", 2)
            async with connect(there, ["orders"], since=moves.position) as moved:
                assert [(await anext(stream)).id for stream in (moved, stays)] == [second, second]


# -------------------------------------------------------------------------------------------------------------------- bytes


BOOK = [{"symbol": "AAPL", "bid": 90 + number / 8, "ask": 91 + number / 8, "open": True} for number in range(20)]


@pytest.mark.parametrize("transport", LADDER, ids=lambda transport: transport.name)
async def test_fewer_bytes_go_to_those_who_ask_for_it_and_the_others_go_on_as_before(transport: Transport) -> None:
    async with served(run(only(HOW_TO / "compress.md"))) as (_, url):
        async with connect(url, ["book"]) as stream:
            since = stream.position
            await stream.publish("book", BOOK)
        plain, packed = [await carried(url, transport, f"channels=book&since={since}", asks=asks) for asks in (False, True)]
    assert 2 * packed < plain  # a hello, which is short, is counted in both


async def carried(url: str, transport: Transport, query: str, *, asks: bool) -> int:
    """How many bytes of messages or bodies the event comes in, whatever a reader asks for."""
    network = Network(upstream=url)
    async with network as way, aiohttp.ClientSession(headers={"Accept-Encoding": "gzip" if asks else "identity"}) as http:
        reader, came = transport.reader(), []
        if transport.commands_up:
            async with http.ws_connect(f"{way}/{transport.path}?{query}", compress=15 if asks else 0) as ws:
                assert bool(ws.compress) is asks
                while not any(item.kind == "event" for item in came):
                    came += reader.feed((await ws.receive_str()).encode())
        else:
            async with http.get(f"{way}/{transport.path}?{query}") as response:
                assert response.headers.get("Content-Encoding") == ("gzip" if asks else None)
                while not any(item.kind == "event" for item in came):
                    came += reader.feed(await response.content.readany() if transport.many else await response.read())
        assert [item.data for item in came if item.kind == "event"] == [BOOK]
        down = [each for each in network.record.passages()[1] if not each.up and each.kind in ("data", "frame")]
        return sum(len(each.raw) for each in down)


# ------------------------------------------------------------------------------------------------------------- foreign pages


NAMED, STAR, HOSTS = blocks(HOW_TO / "stop-cross-site-hijacking.md", "python")
SHOP, EVIL = "https://shop.example", "https://evil.example"


async def answer(url: str, transport: Transport, channel: str, **headers: str) -> tuple[int, dict[str, str], Any]:
    """The status with which a request for a transport is answered, the headers, and what a poll brings or why not."""
    query = f"{transport.path}?channels={channel}"
    async with aiohttp.ClientSession(headers=headers) as http:
        if transport.commands_up:
            try:
                async with http.ws_connect(f"{url}/{query}"):
                    return 200, {}, None
            except aiohttp.WSServerHandshakeError as refused:
                return refused.status, {}, None
        async with http.get(f"{url}/{query}") as response:
            brings = response.status != 200 or not transport.many
            return response.status, dict(response.headers), await response.json() if brings else None


@pytest.mark.parametrize("transport", LADDER, ids=lambda transport: transport.name)
async def test_pages_of_the_origin_that_is_named_get_in_and_those_of_others_do_not(transport: Transport) -> None:
    async with served(run(NAMED)) as (_, url):
        for origin in (EVIL, f"{SHOP}.evil.example", SHOP.replace("https", "http"), "null"):
            status, headers, body = await answer(url, transport, "prices", Origin=origin)
            assert status == 403
            assert "Access-Control-Allow-Origin" not in headers
            assert transport.commands_up or body["code"] == 4403
        for channel, expected in (("prices", 200), ("nothing", 404)):
            status, headers, _ = await answer(url, transport, channel, Origin=SHOP)
            if not transport.commands_up:  # there, a channel that is none is told by a `bye`, and a browser looks at no header
                assert status == expected
                assert headers["Access-Control-Allow-Origin"] == SHOP
                assert headers["Access-Control-Allow-Credentials"] == "true"
            assert status != 403


@pytest.mark.parametrize("transport", LADDER, ids=lambda transport: transport.name)
async def test_pages_of_all_origins_get_in_and_in_nobodys_name(transport: Transport) -> None:
    names = run(STAR)
    seen: list[tuple[str | None, str | None, str | None]] = []

    @names["live"].authenticate(context=False)
    def who(request: Any) -> str | None:
        seen.append((request.cookies.get("user"), request.headers.get("authorization"), request.token))
        return request.token or request.cookies.get("user")

    password, token = "Basic YW5uOnNlY3JldA==", "Bearer t-ann"
    async with served(names) as (_, url):
        for headers in (
            {"Origin": EVIL, "Cookie": "user=ann"},
            {"Origin": EVIL, "Authorization": password},
            {"Origin": EVIL, "Cookie": "user=ann", "Authorization": token},
            {"Cookie": "user=ann", "Authorization": password},  # no page of somebody else
        ):
            status, shown, _ = await answer(url, transport, "weather", **headers)
            assert status == 200
            assert transport.commands_up or shown.get("Access-Control-Allow-Origin") == ("*" if "Origin" in headers else None)
    assert seen == [(None, None, None), (None, None, None), (None, token, "t-ann"), ("ann", password, None)]


@pytest.mark.parametrize("transport", LADDER, ids=lambda transport: transport.name)
async def test_who_asks_by_another_name_is_refused(transport: Transport) -> None:
    async with served(run(HOSTS)) as (_, url), aiohttp.ClientSession() as http:
        port = urlsplit(url).port
        for name in ("localhost", "127.0.0.1", "[::1]", "build.office.example"):
            assert (await answer(url, transport, "build", Host=f"{name}:{port}"))[0] == 200
        evil = f"evil.example:{port}"  # a name that leads here: its page is of the origin by which it asks
        status, _, body = await answer(url, transport, "build", Host=evil, Origin=f"http://{evil}")
        assert status == 421
        assert transport.commands_up or body["code"] == 4403
        async with http.get(f"{url}/health", headers={"Host": evil}) as response:
            assert response.status == 200
