from __future__ import annotations

import asyncio

import aiohttp
import pytest
from quart import Quart, has_request_context

from transports import Code, ConfigError, EverywireError, Refusal, Request
from transports.client import connect
from transports.quart import Live
from transports.testing import serving


def app_of(**config: object) -> Quart:
    app = Quart(__name__)
    app.config.update(config)

    @app.get("/")
    async def index() -> str:
        return "hello"

    return app


async def test_a_stream_beside_the_apps_own_pages() -> None:
    app = app_of()
    live = Live(app, channels=["clock"])
    async with serving(app, drain=live.hub.close) as url, aiohttp.ClientSession() as http:
        async with http.get(url) as response:
            assert await response.text() == "hello"
        async with http.get(f"{url}/live/client.js") as response:
            assert response.content_type == "text/javascript"
        for transport in ("websocket", "sse", "longpoll"):
            async with connect(f"{url}/live", ["clock"], transport=transport) as stream:
                await live.publish("clock", {"now": transport})
                assert (await anext(stream)).data == {"now": transport}


async def test_init_app_reads_the_configuration_and_keywords_go_before_it() -> None:
    app = app_of(LIVE_CHANNELS=["a"], LIVE_MOUNT="/stream", LIVE_BEAT=3.0)
    live = Live(beat=5.0)
    live.init_app(app)
    assert (live.hub.options.channels, live.hub.options.mount, live.hub.options.beat) == (("a",), "/stream", 5.0)
    assert app.extensions["live"] is live
    async with serving(app, drain=live.hub.close) as url, connect(f"{url}/stream", ["a"]) as stream:
        await live.publish("a", 1)
        assert (await anext(stream)).data == 1


def test_an_unknown_setting_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean LIVE_CHANNELS"):
        Live(app_of(LIVE_CHANELS=["a"]))
    with pytest.raises(ConfigError, match="did you mean channels"):
        Live(chanels=["a"])


def test_one_live_serves_one_app_and_one_app_has_one() -> None:
    app = app_of()
    live = Live(app)
    with pytest.raises(ConfigError):
        live.init_app(app_of())
    with pytest.raises(ConfigError):
        Live(app)


@pytest.mark.parametrize("stripped", [False, True])
async def test_an_app_below_a_prefix_keeps_its_stream(stripped: bool) -> None:
    app = app_of()
    live = Live(app, channels=["a"])

    async def outer(scope, receive, send) -> None:
        if scope["type"] != "lifespan":
            path = scope["path"].removeprefix("/app") if stripped else scope["path"]
            scope = {**scope, "root_path": "/app", "path": path}
        await app(scope, receive, send)

    async with serving(outer, drain=live.hub.close) as url, connect(f"{url}/app/live", ["a"]) as stream:
        await live.publish("a", 1)
        assert (await anext(stream)).data == 1


async def test_an_app_that_starts_twice_works_twice() -> None:
    app = app_of()
    live = Live(app, channels=["a"])
    for _ in range(2):
        async with app.test_app():
            await live.publish("a", 1)
            assert len(live.hub.log) == 1


async def test_paths_that_only_begin_like_the_mount_belong_to_the_app() -> None:
    app = app_of()
    live = Live(app)

    @app.get("/livestock")
    async def livestock() -> str:
        return "moo"

    async with (
        serving(app, drain=live.hub.close) as url,
        aiohttp.ClientSession() as http,
        http.get(f"{url}/livestock") as response,
    ):
        assert await response.text() == "moo"


async def rest(ws: aiohttp.ClientWebSocketResponse) -> list[str]:
    return [message.data async for message in ws]


async def test_the_end_of_serving_says_bye() -> None:
    app = app_of()
    live = Live(app, channels=["a"])
    async with aiohttp.ClientSession() as http:
        async with serving(app, drain=live.hub.close) as url:
            ws = await http.ws_connect(f"{url}/live/ws?channels=a")
            await ws.receive()
            reading = asyncio.create_task(rest(ws))
        assert '"code":4503' in (await reading)[0]
        assert ws.close_code == 4503
    with pytest.raises(EverywireError):
        await live.publish("a", 1)


async def test_a_context_in_which_it_is_found_out_who_asks_ends_whatever_comes_of_it() -> None:
    app = app_of(SECRET_KEY="s", PRESERVE_CONTEXT_ON_EXCEPTION=True)
    live, ended = Live(app, channels=["a"]), []
    app.teardown_request(lambda error: ended.append(has_request_context()))

    @live.authenticate
    async def who(request: Request) -> str:
        assert has_request_context()
        if request.token is None:
            raise Refusal(Code.UNAUTHORIZED)
        return request.token

    for headers, answer in (({"authorization": "Bearer ann"}, "ann"), ({}, Code.UNAUTHORIZED)):
        request = Request("GET", "sse", "channels=a", headers)
        await live.asgi.admission.find_out(request)
        found = request.found
        assert (found.code if isinstance(found, Refusal) else found.who) == answer
        assert not has_request_context()
    assert ended == [True, True]
