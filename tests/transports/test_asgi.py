"""The endpoints over real sockets: what they answer, whatever they are asked."""

from __future__ import annotations

import asyncio
import json
import socket

import aiohttp
import msgspec
import psutil
import pytest

from tests.transports.conftest import TRANSPORTS, live, request_head
from transports import Hub, Options, Transport, asgi
from transports.asgi import Endpoints
from transports.client import connect
from transports.testing import Exchange, until


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


JSON = {"content-type": "application/json"}


def http_scope(path: str, query: str = "", method: str = "GET", headers: dict[str, str] | None = None) -> dict:
    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": pairs}


async def first_items(http: aiohttp.ClientSession, url: str, transport: Transport, query: str) -> list[dict]:
    """What comes first over a transport that was asked for `query`, and for a WebSocket its close code."""
    reader = transport.reader()
    if transport.commands_up:
        async with http.ws_connect(f"{url}/{transport.path}?{query}") as ws:
            items = reader.feed((await ws.receive()).data)
            if items[0].kind == "bye":
                await ws.receive()
                assert ws.close_code == items[0].code
    else:
        async with http.get(f"{url}/{transport.path}?{query}") as response:
            if response.status >= 400:
                body = await response.json()
                assert response.status == {4400: 400, 4404: 404, 4426: 400}[body["code"]]
                return [{"type": "bye", **body}]
            assert response.content_type == transport.content_type
            assert response.headers["Cache-Control"] == "no-store, no-transform"
            assert response.headers["X-Accel-Buffering"] == "no"
            assert response.headers["Incremental"] == "?1"
            items = []
            while not items:
                items = reader.feed(await response.content.readany())
    return [msgspec.to_builtins(item) for item in items]


async def test_the_first_item_is_hello_with_the_place_to_resume_from(http, transport: Transport) -> None:
    async with live() as (hub, url):
        await hub.publish("a", 1)
        hello = (await first_items(http, url, transport, "channels=a,b&_=unique"))[0]
        assert hello["type"] == "hello"
        assert (hello["id"], hello["channels"], hello["resumed"]) == (f"{hub.log.epoch}.1", ["a", "b"], "fresh")


BAD = [
    ("channels=a&since=garbage", 4400),
    ("channels=a&since=e.-1", 4400),
    ("channels=a&since=e.99999999999999999999", 4400),
    ("channels=a%20b", 4404),
    ("channels=nope", 4404),
    ("channels=" + ",".join(f"a{n}" for n in range(101)), 4400),
    ("channels=a&v=9", 4426),
    ("channels=%ff%fe", 4404),
]


@pytest.mark.parametrize(("query", "code"), BAD)
async def test_bad_requests_get_their_number_and_disturb_nobody(http, transport: Transport, query: str, code: int) -> None:
    async with live(channels=("a*",)) as (hub, url):
        with hub.feed(["a"]) as other:
            (answer,) = await first_items(http, url, transport, query)
            assert (answer["type"], answer["code"]) == ("bye", code)
            assert answer["reason"]
            assert hub.readers == 1
            await hub.publish("a", 1)
            assert len((await other.take(0)).items) == 1


@pytest.mark.parametrize(("since", "reason"), [("old.5", "epoch"), ("{epoch}.500", "future"), ("{epoch}.0", "evicted")])
async def test_a_position_that_cannot_be_resumed_is_told_and_reading_goes_on(
    http, transport: Transport, since: str, reason: str
) -> None:
    async with live(history_count=2) as (hub, url):
        for n in range(5):
            await hub.publish("a", n)
        lost = []
        async with connect(
            url, ["a"], since=since.format(epoch=hub.log.epoch), transports=[transport], on_lost=lost.append
        ) as stream:
            await hub.publish("a", "after")
            async for event in stream:
                if event.data == "after":
                    break
        assert [item.reason for item in lost] == [reason]


async def test_channels_are_needed_where_they_cannot_be_sent_later(http) -> None:
    async with live() as (_, url):
        for path in ("sse", "poll"):
            async with http.get(f"{url}/{path}") as response:
                assert (response.status, (await response.json())["code"]) == (400, 4400)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "nope", 404),
        ("GET", "", 404),
        ("POST", "sse", 405),
        ("GET", "commands", 405),
        ("GET", "ws", 426),
        ("DELETE", "poll", 405),
    ],
)
async def test_wrong_ways_in(http, method: str, path: str, status: int) -> None:
    async with live() as (_, url), http.request(method, f"{url}/{path}") as response:
        assert response.status == status
        assert (await response.json())["code"] == 4400


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "soon", "", "1_0", "%D9%A1", "1e1"])
async def test_a_poll_that_asks_for_nonsense_is_refused(http, wait: str) -> None:
    async with live() as (hub, url), http.get(f"{url}/poll?channels=a&since={hub.log.epoch}.0&wait={wait}") as response:
        assert (response.status, (await response.json())["code"]) == (400, 4400)


async def test_a_poll_that_waits_in_vain_gets_a_beat(http) -> None:
    async with live() as (hub, url):
        await hub.publish("b", 1)
        async with http.get(f"{url}/poll?channels=a&since={hub.log.epoch}.0&wait=0") as response:
            (beat,) = await response.json()
            assert (beat["type"], beat["id"]) == ("beat", f"{hub.log.epoch}.1")


async def test_a_poll_waits_no_longer_than_it_may(http) -> None:
    query = "channels=a&wait=1000&since={}.0"
    async with live(poll_wait_max=0.01) as (hub, url), http.get(f"{url}/poll?{query.format(hub.log.epoch)}") as response:
        assert (await response.json())[0]["type"] == "beat"


async def test_since_without_channels_is_refused_rather_than_forgotten(http) -> None:
    async with live() as (_, url), http.ws_connect(f"{url}/ws?since=old.5") as ws:
        items, closed = await ws_ends(ws)
        assert (items[-1]["type"], closed) == ("bye", 4400)


async def test_a_lost_poll_answer_loses_nothing(http) -> None:
    async with live() as (hub, url):
        await hub.publish("a", 1)
        answers = []
        for _ in range(2):
            async with http.get(f"{url}/poll?channels=a&since={hub.log.epoch}.0") as response:
                answers.append(await response.json())
        assert answers[0] == answers[1]


async def test_last_event_id_goes_before_since(http) -> None:
    async with live() as (hub, url):
        for n in range(3):
            await hub.publish("a", n)
        headers = {"Last-Event-ID": f"{hub.log.epoch}.2"}
        async with http.get(f"{url}/sse?channels=a&since={hub.log.epoch}.0", headers=headers) as response:
            text = b""
            while b'"data":2' not in text:
                text += await response.content.readany()
            assert b'"data":1' not in text


async def test_beats_fill_every_silence(http, transport: Transport) -> None:
    async with live(beat=0.05, poll_wait=0.05) as (_, url):
        seen: list[bytes] = []
        stream = connect(url, ["a"], transports=[transport], tap=lambda name, data: seen.append(data))
        async with stream:
            reading = asyncio.create_task(anext(stream))
            await until(lambda: sum(data.count(b'"beat",') for data in seen) >= 3)
            assert stream.state == "open"
            reading.cancel()
            await asyncio.wait([reading])


async def test_one_that_has_gone_is_noticed(http, transport: Transport) -> None:
    async with live() as (hub, url):
        _, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        writer.write(request_head(transport, f"channels=a&since={hub.log.epoch}.0"))
        await until(lambda: hub.readers == 1)
        writer.transport.abort()
        await until(lambda: hub.readers == 0)


# --- commands over HTTP


@pytest.mark.parametrize("body", [b"", b"nope", b"[1]", b"\xff", b'"x"', b"[" * 60_000])
async def test_a_body_that_is_no_command_is_refused_as_a_whole(http, body: bytes) -> None:
    async with live() as (hub, url), http.post(f"{url}/commands", data=body, headers=JSON) as response:
        assert (response.status, (await response.json())["code"]) == (400, 4400)
        assert hub.log.head == 0


async def test_commands_are_done_in_order_and_a_bad_one_spoils_no_other(http) -> None:
    async with live(channels=("a",)) as (hub, url):
        commands = [
            {"do": "publish", "ref": 1, "channel": "a", "data": 1},
            {"do": "publish", "ref": 2, "channel": "nope", "data": 1},
            {"do": "subscribe", "ref": 3, "channels": ["a"]},
            {"do": "publish", "ref": 4, "channel": "a", "data": 2},
        ]
        async with http.post(f"{url}/commands", json=commands) as response:
            replies = await response.json()
        assert [(reply["ref"], reply["ok"], reply.get("code")) for reply in replies] == [
            (1, True, None),
            (2, False, 4404),
            (3, False, 4400),
            (4, True, None),
        ]
        assert hub.log.head == 2


async def test_a_body_over_the_limit_is_refused_and_at_the_limit_is_not(http) -> None:
    command = json.dumps({"do": "publish", "channel": "a", "data": "x" * 800})
    async with live(message_bytes=len(command)) as (hub, url):
        async with http.post(f"{url}/commands", data=command, headers=JSON) as response:
            assert response.status == 200
        async with http.post(f"{url}/commands", data=command + " ", headers=JSON) as response:
            assert (response.status, (await response.json())["code"]) == (413, 4413)
        assert hub.log.head == 1


async def test_a_body_that_never_arrives_is_given_up() -> None:
    hub = Hub(Options(channels=("a",), body_timeout=0.01))
    exchange = Exchange(Endpoints(hub), http_scope("/commands", method="POST", headers=JSON))
    exchange.say({"type": "http.request", "body": b"[", "more_body": True})
    start, body = await exchange.end()
    assert (start["status"], json.loads(body["body"])["code"]) == (408, 4408)


@pytest.mark.parametrize("more", [False, True])
async def test_the_limit_holds_however_the_body_comes_in_pieces(more: bool) -> None:
    hub = Hub(Options(channels=("a",), message_bytes=100))
    exchange = Exchange(Endpoints(hub), http_scope("/commands", method="POST", headers=JSON))
    exchange.say({"type": "http.request", "body": b" " * 60, "more_body": True})
    exchange.say({"type": "http.request", "body": b'{"do":"publish","channel":"a","data":1}  ', "more_body": more})
    start, _ = await exchange.end()
    assert (start["status"], hub.log.head) == (413, 0)


async def test_a_body_that_breaks_off_is_not_taken_for_a_whole_one() -> None:
    hub = Hub(Options(channels=("a",)))
    exchange = Exchange(Endpoints(hub), http_scope("/commands", method="POST", headers=JSON))
    exchange.say({"type": "http.request", "body": b'{"do":"publish","channel":"a","data":1}', "more_body": True})
    exchange.say({"type": "http.disconnect"})
    await exchange.end()
    assert hub.log.head == 0


# --- commands over WebSocket


async def ws_ends(ws: aiohttp.ClientWebSocketResponse) -> tuple[list[dict], int | None]:
    items: list[dict] = []
    async with asyncio.timeout(10):
        async for message in ws:
            items += json.loads(message.data)
    return items, ws.close_code


@pytest.mark.parametrize(
    ("frame", "code"),
    [("nope", 4400), ("[1]", 4400), ("", 4400), (b"\x00", 4400), ("[" + " " * 65_536 + "]", 4413), ("ä" * 40_000, 4413)],
)
async def test_a_frame_that_is_none_of_ours_ends_the_connection_with_its_number(http, frame: str | bytes, code: int) -> None:
    async with (
        live() as (hub, url),
        http.ws_connect(f"{url}/ws?channels=a") as ws,
        http.ws_connect(f"{url}/ws?channels=a") as other,
    ):
        await ws.receive(), await other.receive()
        await (ws.send_bytes(frame) if isinstance(frame, bytes) else ws.send_str(frame))
        items, closed = await ws_ends(ws)
        assert (items[-1]["type"], items[-1]["code"], closed) == ("bye", code, code)
        await hub.publish("a", 1)
        assert json.loads((await other.receive()).data)[0]["data"] == 1


async def test_a_bad_command_is_answered_and_the_connection_goes_on(http) -> None:
    async with live(channels=("a",)) as (_, url), http.ws_connect(f"{url}/ws?channels=a") as ws:
        await ws.receive()
        await ws.send_str('[{"do":"fly","ref":1},{"do":"publish","ref":2,"channel":"nope","data":1},{"do":"ping","ref":3}]')
        replies = json.loads((await ws.receive()).data)
        assert [(reply["ref"], reply.get("code")) for reply in replies] == [(1, 4400), (2, 4404), (3, None)]


async def test_a_conversation_may_begin_without_channels(http) -> None:
    async with live() as (hub, url), http.ws_connect(f"{url}/ws") as ws:
        assert json.loads((await ws.receive()).data)[0]["channels"] == []
        await ws.send_json({"do": "subscribe", "ref": 1, "channels": ["a"]})
        assert json.loads((await ws.receive()).data)[0]["ok"]
        await hub.publish("a", 1)
        assert json.loads((await ws.receive()).data)[0]["data"] == 1


async def test_a_client_that_pings_and_then_falls_silent_is_given_up(http) -> None:
    async with live(beat=0.05) as (_, url), http.ws_connect(f"{url}/ws?channels=a") as ws:
        await ws.send_json({"do": "ping"})
        items, closed = await ws_ends(ws)
        assert (items[-1]["code"], closed) == (4408, 4408)


async def test_a_version_that_is_not_spoken_here_is_told(http) -> None:
    async with live() as (_, url), http.ws_connect(f"{url}/ws?channels=a", protocols=["everywire.v9.json"]) as ws:
        items, closed = await ws_ends(ws)
        assert (items[0]["code"], closed) == (4426, 4426)


async def test_our_subprotocol_is_chosen_among_others(http) -> None:
    async with live() as (_, url), http.ws_connect(f"{url}/ws?channels=a", protocols=["x", "everywire.v1.json"]) as ws:
        assert ws.protocol == "everywire.v1.json"


# --- origins


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("same", True),
        ("https://evil.example", False),
        ("null", False),
        ("https://shop.example", True),
        ("http://", False),
        ("http://[::1", False),
    ],
)
async def test_pages_of_other_origins_may_neither_read_nor_publish(
    http, transport: Transport, origin: str | None, allowed: bool
) -> None:
    async with live(origins=("https://shop.example",)) as (hub, url):
        headers = {} if origin is None else {"Origin": url if origin == "same" else origin}
        if transport.commands_up:
            try:
                async with http.ws_connect(f"{url}/ws?channels=a", headers=headers):
                    status = 200
            except aiohttp.WSServerHandshakeError as error:
                status = error.status
        else:
            async with http.get(f"{url}/{transport.path}?channels=a", headers=headers) as response:
                status = response.status
        assert status == (200 if allowed else 403)
        async with http.post(f"{url}/commands", json={"do": "publish", "channel": "a", "data": 1}, headers=headers) as response:
            assert response.status == (200 if allowed else 403)
        assert hub.log.head == int(allowed)


async def test_a_proxy_that_rewrites_the_host_keeps_no_page_of_ours_out(http) -> None:
    headers = {"Origin": "https://shop.example", "Sec-Fetch-Site": "same-origin"}
    async with live() as (_, url), http.get(f"{url}/poll?channels=a", headers=headers) as response:
        assert response.status == 200
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("script", ["client.js", "tabs.js"])
async def test_a_script_is_for_every_page_because_one_of_ours_may_seem_foreign(http, script: str) -> None:
    headers = {"Origin": "http://live.example"}  # a module's script names it, and a proxy may have rewritten `Host`
    for asked in ({}, headers, {"Sec-Fetch-Site": "cross-site"}):
        async with live() as (_, url), http.get(f"{url}/{script}", headers=asked) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


async def test_a_browser_is_told_that_an_allowed_page_may_see_the_answer(http) -> None:
    async with live(origins=("https://shop.example",)) as (_, url):
        headers = {"Origin": "https://shop.example"}
        for method, path, status in [
            ("OPTIONS", "commands", 200),
            ("GET", "poll?channels=a", 200),
            ("GET", "poll?channels=x y", 404),
        ]:
            async with http.request(method, f"{url}/{path}", headers=headers) as response:
                assert response.status == status
                assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"
                assert response.headers["Vary"] == "origin"
        async with http.options(f"{url}/commands", headers={"Origin": "https://evil.example"}) as response:
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_browser_that_asks_first_is_told_what_may_be_asked(http) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    async with live(origins=("https://shop.example", "*")) as (_, url):
        for origin, allowed in [("https://shop.example", "https://shop.example"), ("https://evil.example", "*"), ("null", "*")]:
            async with http.options(f"{url}/commands", headers={"Origin": origin, **asks}) as response:
                assert response.status == 200
                assert response.headers["Access-Control-Allow-Origin"] == allowed
                assert response.headers["Access-Control-Allow-Methods"] == "GET, POST"
                assert {"authorization", "content-type"} <= set(response.headers["Access-Control-Allow-Headers"].split(", "))
                assert response.headers["Access-Control-Max-Age"] == "600"
                assert response.headers.get("Access-Control-Allow-Credentials") == (None if allowed == "*" else "true")


async def test_a_page_that_is_named_is_shown_what_was_wrong_and_when_to_come_back(http) -> None:
    headers = {"Origin": "https://shop.example"}
    async with live(origins=("https://shop.example",), connections_per_address=1) as (hub, url):
        async with http.get(f"{url}/sse?channels=a", headers=headers), http.get(f"{url}/sse?channels=a", headers=headers) as full:
            assert (full.status, (await full.json())["code"]) == (429, 4429)
            assert full.headers["Access-Control-Allow-Origin"] == "https://shop.example"
            assert full.headers["Access-Control-Allow-Credentials"] == "true"
            assert "retry-after" in full.headers["Access-Control-Expose-Headers"]
            assert full.headers["Retry-After"]
        async with http.post(f"{url}/commands", data=b"x=1", headers=headers) as response:
            assert (response.status, (await response.json())["code"]) == (415, 4400)
            assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert hub.log.head == 0


@pytest.mark.parametrize("path", ["poll?channels=a", "negotiate", "health", "nothing", "commands", "client.js"])
async def test_no_answer_is_a_page_and_none_is_kept_or_guessed_at(http, path: str) -> None:
    async with live() as (_, url), http.get(f"{url}/{path}") as response:
        assert "no-store" in response.headers["Cache-Control"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "html" not in response.headers["Content-Type"]
        script = path.endswith(".js")
        assert response.headers["Cross-Origin-Resource-Policy"] == ("cross-origin" if script else "same-origin")
        assert ("frame-ancestors 'none'" in response.headers.get("Content-Security-Policy", "")) is not script


@pytest.mark.parametrize("name", ["callback", "jsonp", "cb"])
async def test_there_is_no_jsonp(http, name: str) -> None:
    async with live() as (_, url), http.get(f"{url}/poll?channels=a&{name}=steal") as response:
        assert response.content_type == "application/json"
        assert json.loads(await response.text())[0]["type"] == "hello"


async def test_a_server_that_knows_its_names_answers_to_no_other(http, transport: Transport) -> None:
    async with live(hosts=("127.0.0.1",)) as (_, url):
        asked = f"{url}/{transport.path}?channels=a"
        rebound = {"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}
        if transport.commands_up:
            async with http.ws_connect(asked):
                pass
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(asked, headers=rebound)
            assert refused.value.status in (403, 421)
        else:
            async with http.get(asked) as response:
                assert response.status == 200
            async with http.get(asked, headers=rebound) as response:
                assert (response.status, (await response.json())["code"]) == (421, 4403)
        async with http.get(f"{url}/health", headers={"Host": "10.1.2.3"}) as response:
            assert response.status == 200


async def test_a_feed_whose_acceptance_fails_leaves_nothing_behind() -> None:
    hub = Hub(Options(channels=("a",)))
    await hub.open()

    async def receive() -> dict:
        return {"type": "websocket.connect"}

    async def send(message: dict) -> None:
        raise OSError

    scope = {"type": "websocket", "path": "/ws", "query_string": b"channels=a", "headers": []}
    await Endpoints(hub)(scope, receive, send)
    assert hub.readers == 0


# --- slow readers


@pytest.mark.parametrize("transport", [each for each in TRANSPORTS if each.many], ids=lambda transport: transport.name)
async def test_a_reader_who_takes_nothing_costs_no_memory_disturbs_nobody_and_is_given_up(transport: Transport) -> None:
    async with live(send_timeout=1.0, batch_bytes=65_536) as (hub, url):
        host, port = url.removeprefix("http://").split(":")
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, (host, int(port)))
        await loop.sock_sendall(slow, request_head(transport, "channels=a"))
        await until(lambda: hub.readers == 1)
        with hub.feed(["a"]) as other:
            got = 0
            before = psutil.Process().memory_info().rss
            for _ in range(25_000):
                await hub.publish("a", "x" * 1000)
                if hub.log.head % 100 == 0:
                    await asyncio.sleep(0)
                    got += len((await other.take(0)).items)
                    while (batch := other.ready()) is not None:
                        got += len(batch.items)
            grown = psutil.Process().memory_info().rss - before
        assert got == 25_000
        assert grown < 16 << 20, "25 MB were published; what one reader did not take must not be kept"
        await until(lambda: not hub.readers)  # given up (4430) when the send timed out
        slow.close()


# --- what a client's path needs, and what a client found out


@pytest.mark.parametrize("asked", ["0.2", "1", "2.5", "99", None])
async def test_a_stream_beats_as_often_as_its_client_asks_within_bounds(asked: str | None) -> None:
    async with live(beat=3.0) as (_, url):
        query = "channels=a" + (f"&beat={asked}" if asked else "")
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/ws?{query}") as socket:
            (hello,) = await socket.receive_json()
            assert hello["beat"] == {"0.2": 1.0, "1": 1.0, "2.5": 2.5}.get(asked, 3.0)
        async with aiohttp.ClientSession() as http, http.get(f"{url}/sse?{query}") as response:
            assert f'"beat":{hello["beat"]}' in (await response.content.readuntil(b"\n\n")).decode()


async def test_a_beat_that_is_no_number_is_refused() -> None:
    async with live() as (_, url), aiohttp.ClientSession() as http:
        async with http.get(f"{url}/sse?channels=a&beat=-1") as response:
            assert (response.status, (await response.json())["code"]) == (400, 4400)
        async with http.ws_connect(f"{url}/ws?channels=a&beat=often") as socket:
            assert (await socket.receive_json())[0]["code"] == 4400


async def test_what_clients_tried_is_counted_once_a_wire() -> None:
    async with live() as (hub, url), aiohttp.ClientSession() as http:
        for query in ("channels=a&why=race&tried=websocket.refused_http", "channels=a&since=x.1&wait=0"):
            async with http.get(f"{url}/poll?{query}") as response:
                assert response.status == 200
        assert hub.counts.as_dict() == {
            "opened": {"longpoll": 1},
            "why": {"race": 1},
            "verdicts": {"websocket": {"refused_http": 1}},
            "moved": {},
        }


async def test_the_browser_client_and_its_parts_are_served(http: aiohttp.ClientSession) -> None:
    async with live() as (_, url):
        for name in ("client.js", "outbox.js", "oneway.js", "presence.js", "tabs.js"):
            async with http.get(f"{url}/{name}") as response:
                assert response.content_type == "text/javascript"
                assert await response.read() == asgi.served(name)


async def test_a_load_balancer_sees_who_takes_new_readers() -> None:
    hub = Hub(Options(channels=("a",)))
    async with asyncio.timeout(10):
        ready = await Exchange(Endpoints(hub), http_scope("/health")).end()
        assert (ready[0]["status"], ready[1]["body"]) == (200, b'{"ready":true}')
        await hub.close()
        leaving = await Exchange(Endpoints(hub), http_scope("/health")).end()
        assert leaving[0]["status"] == 503
        assert json.loads(leaving[1]["body"])["code"] == 4503
