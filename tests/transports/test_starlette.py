from __future__ import annotations

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from transports.client import connect
from transports.quart import Live
from transports.starlette import starlette_response
from transports.testing import serving


@pytest.mark.parametrize("transport", ["websocket", "sse", "longpoll"])
async def test_the_same_stream_mounted_in_starlette(transport: str) -> None:
    live = Live(channels=["a"])
    app = Starlette(routes=[Mount("/live", live.asgi)])
    async with serving(app, drain=live.hub.close) as url, connect(f"{url}/live", ["a"], transport=transport) as stream:
        await live.publish("a", "ä\n")
        assert (await anext(stream)).data == "ä\n"
        assert stream.transport == transport


async def test_streams_there_are_answered_by_event_source_response_with_the_same_bytes() -> None:
    live = Live(channels=["a"])
    app = Starlette(routes=[Mount("/live", live.asgi)])
    async with serving(app, drain=live.hub.close) as url, aiohttp.ClientSession() as http:
        await live.publish("a", 1)
        start = f"{live.hub.log.epoch}.0"
        async with http.get(f"{url}/live/sse?channels=a&since={start}") as response:
            assert response.headers.getall("Content-Type") == ["text/event-stream; charset=utf-8"]
            assert response.headers["Incremental"] == "?1"
            body = b""
            while b'"data":1' not in body:
                body += await response.content.readany()
        assert b"\r" not in body
        assert body.split(b"\n\n")[1].startswith(f"id: {live.hub.log.epoch}.1\ndata: {{".encode())
    assert live.hub.readers == 0


def test_it_is_used_within_starlette_only() -> None:
    assert starlette_response({"app": Starlette()}) is not None
    assert starlette_response({"app": object()}) is None
    assert starlette_response({}) is None
