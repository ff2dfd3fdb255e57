"""The endpoints are plain ASGI: another server serves them just as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from tests.transports.conftest import TRANSPORTS
from transports import Hub, Options, Transport
from transports.asgi import Endpoints
from transports.client import connect
from transports.serve import listen
from transports.testing import until


@asynccontextmanager
async def under_uvicorn(hub: Hub) -> AsyncIterator[str]:
    config = uvicorn.Config(Endpoints(hub, transports=TRANSPORTS), log_level="warning", ws="wsproto", timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    listening = listen("127.0.0.1", 0)
    task = asyncio.create_task(server._serve(sockets=[listening]))  # `serve` would take the signals of this process
    await until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        await hub.close()
        server.should_exit = True
        await task


async def test_published_read_cut_off_and_sent_away_under_uvicorn(transport: Transport) -> None:
    hub = Hub(Options(channels=("a",)))
    async with under_uvicorn(hub) as url:
        async with connect(url, ["a"], transports=[transport]) as stream:
            await stream.publish("a", "ä")
            assert (await anext(stream)).data == "ä"
        await until(lambda: not hub.readers)
        states: list[str] = []
        stream = connect(url, ["a"], transports=[transport], on_state=states.append)
        await stream.__aenter__()
        reading = asyncio.create_task(anext(stream))
        await until(lambda: hub.readers == 1 and stream.state == "open")
    await until(lambda: "reconnecting" in states)
    reading.cancel()
    await asyncio.wait([reading])
    await stream.close()
