"""What the servers differ in: the table of `docs/how-to/choose-a-server.md`, asked of each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import aiohttp
import pytest
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, StreamReset

from tests.documents import ROOT, rows
from tests.transports.conftest import EDGE, live, request_head
from transports import LADDER
from transports.servers import SERVERS, find_server

TABLE = {fact: cells for fact, *cells in rows(ROOT / "docs" / "how-to" / "choose-a-server.md", "## What each of them can")}
COLUMNS = ("front", *SERVERS)
WEBSOCKET, SSE, _ = LADDER

Probe: TypeAlias = Callable[[str], Awaitable[str]]


async def opened(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*url.removeprefix("http://").split(":"))


async def said(url: str, request: bytes, wanted: bytes = b"\r\n\r\n") -> bytes:
    """What is answered to `request`, up to what is `wanted`, or to the end."""
    reader, writer = await opened(url)
    writer.write(request)
    try:
        async with asyncio.timeout(10):
            return await reader.readuntil(wanted)
    except asyncio.IncompleteReadError as error:
        return error.partial
    finally:
        writer.transport.abort()


async def over_http2(url: str, headers: Sequence[tuple[str, str]], *, ends: bool) -> bool:
    """Whether a stream over HTTP/2 brings anything."""
    reader, writer = await opened(url)
    h2 = H2Connection()
    h2.initiate_connection()
    h2.send_headers(1, [(":scheme", "http"), (":authority", "x"), *headers], end_stream=ends)
    writer.write(h2.data_to_send())
    events: list[Event] = []
    try:
        async with asyncio.timeout(10):
            while not any(isinstance(each, DataReceived | StreamReset | ConnectionTerminated) for each in events):
                if not (data := await reader.read(65_536)) or data.startswith(b"HTTP/1.1"):
                    return False
                events += h2.receive_data(data)
                writer.write(h2.data_to_send())
    finally:
        writer.transport.abort()
    return any(isinstance(each, DataReceived) for each in events)


def answer(yes: bool) -> str:
    return "yes" if yes else "no"


async def http2(url: str) -> str:
    return answer(await over_http2(url, [(":method", "GET"), (":path", "/sse?channels=a")], ends=True))


async def websocket_over_http2(url: str) -> str:
    connect = [(":method", "CONNECT"), (":protocol", "websocket"), (":path", "/ws?channels=a"), ("sec-websocket-version", "13")]
    return answer(await over_http2(url, connect, ends=False))


async def compression(url: str) -> str:
    offer = b"Host: x\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
    head = await said(url, request_head(WEBSOCKET, "channels=a").replace(b"Host: x\r\n", offer))
    assert b" 101 " in head
    return answer(b"permessage-deflate" in head)


async def names_itself(url: str) -> str:
    return answer(b"\r\nserver:" in (await said(url, b"GET /negotiate HTTP/1.1\r\nHost: x\r\n\r\n")).lower())


async def frame_too_large(url: str) -> str:
    """A frame of 1 MiB, where the limit of a message is 64 KiB."""
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/ws?channels=a") as ws:
        await ws.receive()
        await ws.send_str("[" + " " * (1 << 20) + "]")
        async for _ in ws:
            pass
    return f"with {ws.close_code}"


async def old_stream(url: str) -> str:
    """A stream of HTTP/1.0 is chunked or not; RFC 9112 section 6.1 says that it must not be."""
    return answer(b"chunked" not in await said(url, request_head(SSE, "channels=a").replace(b"HTTP/1.1", b"HTTP/1.0")))


async def two_lengths(url: str) -> str:
    """Whether a request that has both lengths ends the connection (RFC 9112 section 6.3), or has the next one served."""
    head = b"POST /commands HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    both = head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    hidden = b"GET /negotiate HTTP/1.1\r\nHost: x\r\n\r\n"
    return answer(b'"versions"' not in await said(url, both + hidden, b'"versions"'))


async def long_head(url: str) -> str:
    """A head of a megabyte."""
    long = b"GET /negotiate HTTP/1.1\r\nHost: x\r\nA: " + b"x" * (1 << 20) + b"\r\n\r\n"
    try:
        return answer(b" 200 " not in await said(url, long, b"\r\n"))
    except ConnectionResetError:
        return answer(True)


async def close_is_answered(url: str) -> str:
    """Whether the server keeps the connection for the client's answer to its close (RFC 6455 section 7.1.1)."""
    reader, writer = await opened(url)
    writer.write(request_head(WEBSOCKET, "channels=a&since=garbage"))
    await reader.readuntil(b"bad_command")
    await reader.readuntil(b"bad_command")  # the second is the reason of the close frame
    try:
        async with asyncio.timeout(0.5):
            return answer(await reader.read() != b"")
    except TimeoutError:
        return answer(True)
    finally:
        writer.transport.abort()


FACTS: dict[str, Probe] = {
    "HTTP/2": http2,
    "WebSocket over HTTP/2": websocket_over_http2,
    "compresses WebSockets, with `deflate`": compression,
    "waits for the answer to a close": close_is_answered,
    "names itself in a header": names_itself,
    "streams to HTTP/1.0 as they should be": old_stream,
    "two lengths end the connection": two_lengths,
    "a head of 1 MiB is refused": long_head,
    "a frame of 1 MiB is refused": frame_too_large,
}


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("fact", FACTS)
@pytest.mark.parametrize("column", COLUMNS)
async def test_the_table_of_servers_says_what_they_do(column: str, fact: str) -> None:
    if column != "front":
        pytest.importorskip(column)
    elif EDGE != "front":
        pytest.skip("the front is not what is tested")
    async with live(server=None if column == "front" else find_server(column), drain=0.1, deflate=True) as (_, url):
        assert await FACTS[fact](url) == TABLE[fact][COLUMNS.index(column)]


def test_the_table_has_all_facts_and_no_others() -> None:
    assert list(TABLE) == list(FACTS)
