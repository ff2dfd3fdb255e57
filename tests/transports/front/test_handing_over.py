"""One port for everything: what is not for the front goes to Hypercorn, and comes back when something is."""

from __future__ import annotations

import asyncio
import gc
import json
import ssl

import aiohttp
import pytest
import trustme
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded

from tests.transports.conftest import live
from transports import Code, Hub, Options
from transports.asgi import Endpoints
from transports.brokers import Follower
from transports.brokers.memory import MemoryBroker
from transports.front import Front
from transports.testing import serving, until


def a_site(hub: Hub):
    """An application that says which way a request came, with the endpoints below `/live`."""
    endpoints = Endpoints(hub)

    async def app(scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await endpoints(scope, receive, send)
            return
        seen.append((scope["method"], scope["path"]))
        body = b"".join([message["body"] async for message in bodies(receive)])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    seen: list[tuple[str, str]] = []
    return app, seen, Front(endpoints.admission, "/live")


async def bodies(receive):
    while True:
        message = await receive()
        yield message
        if not message.get("more_body"):
            return


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    return await reader.readexactly(int(length.split(b":")[1]))


def ask(method: str, path: str, body: bytes = b"") -> bytes:
    kind = "content-type: application/json"
    return f"{method} {path} HTTP/1.1\r\nhost: x\r\n{kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def test_one_connection_goes_to_and_fro() -> None:
    hub = Hub(Options(channels=("*",)))
    app, seen, front = a_site(hub)
    async with serving(app, drain=hub.close, front=front) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        for turn in range(3):
            writer.write(ask("POST", "/page", b"page %d" % turn))
            assert await answer(reader) == b"page %d" % turn
            gc.collect()  # what served the connection before must not take it along
            writer.write(ask("GET", "/live/poll?channels=a"))
            (hello,) = json.loads(await answer(reader))
            assert hello["type"] == "hello"
            await hub.publish("a", turn)
            writer.write(ask("GET", f"/live/poll?channels=a&since={hello['id']}"))
            (event,) = json.loads(await answer(reader))
            assert event["data"] == turn
            await until(lambda: len(front.connections) == 1)
        writer.close()
        await until(lambda: not front.connections)
    assert seen == [("POST", "/page")] * 3


async def test_what_was_asked_together_is_answered_in_turn() -> None:
    hub = Hub(Options(channels=("*",)))
    app, seen, front = a_site(hub)
    async with serving(app, drain=hub.close, front=front) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        publish = json.dumps({"do": "publish", "ref": 1, "channel": "a", "data": 1}).encode()
        writer.write(
            ask("POST", "/live/commands", publish) + ask("GET", "/live/poll?channels=a&wait=0") + ask("POST", "/x", b"page")
        )
        assert json.loads(await answer(reader))[0]["ok"]
        assert json.loads(await answer(reader))[0]["type"] == "hello"
        assert await answer(reader) == b"page"
        writer.close()
    assert seen == [("POST", "/x")]


@pytest.mark.parametrize("path", ["/", "/live", "/live/", "/live/client.js", "/live/wsx", "/lively/ws", "/live/ws/", "//live/ws"])
async def test_what_is_not_for_the_front_is_for_the_application(path: str) -> None:
    hub = Hub(Options(channels=("*",)))
    app, seen, front = a_site(hub)
    async with serving(app, drain=hub.close, front=front) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(ask("GET", path))
        await answer(reader)
        assert not front.connections
        writer.close()
    assert seen == [("GET", path)]


async def over_http2(port: int, trust: ssl.SSLContext) -> bytes:
    """The body of the answer to a poll over HTTP/2."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    http2, body = H2Connection(), b""
    http2.initiate_connection()
    http2.send_headers(
        1, [(":method", "GET"), (":path", "/live/poll?channels=a"), (":scheme", "https"), (":authority", "x")], end_stream=True
    )
    while True:
        writer.write(http2.data_to_send())
        for event in http2.receive_data(await reader.read(65536)):
            if isinstance(event, DataReceived):
                body += event.data
            elif isinstance(event, StreamEnded):
                writer.close()
                return body


async def test_over_tls_the_client_chooses_the_version_of_http(tmp_path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    hub = Hub(Options(channels=("*",)))
    app, seen, front = a_site(hub)
    pem = str(tmp_path / "both.pem")
    async with serving(app, drain=hub.close, front=front, certfile=pem, keyfile=pem) as url:
        trust = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        trust.set_alpn_protocols(["http/1.1"])
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]), ssl=trust)
        writer.write(ask("GET", "/live/poll?channels=a"))
        assert json.loads(await answer(reader))[0]["type"] == "hello"
        writer.close()
        trust.set_alpn_protocols(["h2"])
        assert await over_http2(int(url.rpartition(":")[2]), trust) == b""
    assert seen == [("GET", "/live/poll")], "over HTTP/2 it is the application that answers"


async def test_a_page_and_a_stream_of_one_client() -> None:
    async with live() as (hub, url), aiohttp.ClientSession() as http:
        async with http.get(f"{url}/negotiate") as response:
            assert response.status == 200
        async with http.get(f"{url}/sse?channels=a") as response:
            assert b"hello" in await response.content.readuntil(b"\n\n")
            assert hub.readers == 1


class _Broken(MemoryBroker):
    async def tail(self, follower: Follower) -> None:
        raise OSError("there is nobody")


async def test_a_broker_that_fails_as_nobody_foresaw_is_answered_with_a_number() -> None:
    hub = Hub(Options(channels=("*",)), broker=_Broken())
    front = Front(Endpoints(hub).admission, "/live")

    async def app(scope, receive, send) -> None:
        while (message := await receive())["type"].startswith("lifespan"):
            await send({"type": f"{message['type']}.complete"})

    async with serving(app, front=front) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(ask("GET", "/live/poll?channels=a"))
        assert json.loads(await asyncio.wait_for(answer(reader), 10))["code"] == int(Code.INTERNAL)
        writer.close()
