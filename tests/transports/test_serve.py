from __future__ import annotations

import asyncio
import signal
import socket
import sys

import aiohttp
import psutil
import pytest
from h2.connection import H2Connection

from tests.transports.conftest import TRANSPORTS, live, request_head
from transports import Transport
from transports.client import connect
from transports.options import UNBOUNDED
from transports.serve import address, listen
from transports.testing import until


def test_an_address_is_written_as_a_browser_takes_it() -> None:
    with listen("127.0.0.1", 0) as listening:
        assert address(listening).startswith("http://127.0.0.1:")


async def test_five_hundred_readers_are_told_bye_and_nothing_is_left(transport: Transport) -> None:
    byes = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def read(url: str, epoch: str) -> None:
            nonlocal byes
            where = f"{url}/{transport.path}?channels=a&since={epoch}.0"
            if transport.commands_up:
                async with http.ws_connect(where) as ws:
                    got = b"".join([message.data.encode() async for message in ws])
                    assert ws.close_code == 4503
            else:
                async with http.get(where) as response:
                    got = await response.read()
            byes += got.count(b'"type":"bye","code":4503')

        before = asyncio.all_tasks()
        async with live(**UNBOUNDED) as (hub, url):
            readers = [asyncio.create_task(read(url, hub.log.epoch)) for _ in range(500)]
            await until(lambda: hub.readers == 500)
        async with asyncio.timeout(30):
            await asyncio.gather(*readers)
        assert byes == 500
        assert hub.readers == 0
        assert asyncio.all_tasks() == before


@pytest.mark.parametrize("transport", [each for each in TRANSPORTS if each.many], ids=lambda transport: transport.name)
async def test_who_takes_nothing_does_not_hold_up_the_end(transport: Transport) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        async with asyncio.timeout(60):
            async with live(drain=0.1) as (hub, url):
                host, port = url.removeprefix("http://").split(":")
                await loop.sock_connect(slow, (host, int(port)))
                await loop.sock_sendall(slow, request_head(transport, "channels=a"))
                await until(lambda: hub.readers == 1)
                for n in range(10_000):
                    await hub.publish("a", "x" * 1000)
                    if n % 100 == 0:
                        await asyncio.sleep(0)


async def test_an_http2_client_that_opens_no_window_does_not_fill_the_memory() -> None:
    async with live(send_timeout=1.0, drain=0.1) as (hub, url):
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        h2 = H2Connection()
        h2.initiate_connection()
        for _ in range(5):
            target = [(":method", "GET"), (":path", "/sse?channels=a"), (":scheme", "http"), (":authority", "x")]
            h2.send_headers(h2.get_next_available_stream_id(), target, end_stream=True)
        writer.write(h2.data_to_send())
        await until(lambda: hub.readers == 5)
        before = psutil.Process().memory_info().rss
        for n in range(10_000):
            await hub.publish("a", "x" * 1000)
            if n % 20 == 0:
                await asyncio.sleep(0)
        assert psutil.Process().memory_info().rss - before < 16 << 20, "10 MB were published for five readers"
        await until(lambda: not hub.readers)  # given up
        writer.transport.abort()


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_while_readers_stay(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "quart_app", "serve", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        url = line.split("stream at ")[1].split(",")[0]
        async with connect(url, ["vitals"]) as stream:
            assert {"cpu", "memory", "load", "disk", "network"} == set((await anext(stream)).data)
            reading = asyncio.create_task(anext(stream))
            process.send_signal(number)
            assert await asyncio.wait_for(process.wait(), 30) == 0
            reading.cancel()
            await asyncio.wait([reading])
        errors = (await process.stderr.read()).decode()
        assert "Traceback" not in errors
        assert "Task was destroyed" not in errors
    finally:
        if process.returncode is None:
            process.kill()
