from __future__ import annotations

import asyncio
import signal
import sys

import aiohttp
import pytest

from tests.transports.conftest import live
from transports import Transport
from transports.client import connect
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
        async with live() as (hub, url):
            readers = [asyncio.create_task(read(url, hub.log.epoch)) for _ in range(500)]
            await until(lambda: hub.readers == 500)
        async with asyncio.timeout(5):
            await asyncio.gather(*readers)
        assert byes == 500
        assert hub.readers == 0
        assert asyncio.all_tasks() == before


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_while_readers_stay(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "quart_app", "serve", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        url = line.split("stream at ")[1].split(",")[0]
        states: list[str] = []
        async with connect(url, ["vitals"], on_state=states.append) as stream:
            assert {"cpu", "memory", "load", "disk", "network"} == set((await anext(stream)).data)
            reading = asyncio.create_task(anext(stream))
            process.send_signal(number)
            assert await asyncio.wait_for(process.wait(), 10) == 0
            reading.cancel()
            await asyncio.wait([reading])
        errors = (await process.stderr.read()).decode()
        assert "Traceback" not in errors
        assert "Task was destroyed" not in errors
    finally:
        if process.returncode is None:
            process.kill()
