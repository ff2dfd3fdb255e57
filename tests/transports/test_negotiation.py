"""The client in networks that let through only some of it: what it chooses, how it comes back up, and what it says of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from tests.restrictions import Restrictions, answer
from tests.transports.conftest import BRISK, replay
from transports import Code, ConnectionFailedError, EventsLostError, Hub, Options, Pace, QueueFullError, Refusal
from transports.asgi import Endpoints
from transports.client import Stream, connect
from transports.facts import Online
from transports.testing import serving, until

QUICK = Pace(proof=0.3, gap=0.05, retest=0.1, retest_most=0.4, settle=0.05, at_once=0.02, backoff=0.05, backoff_most=0.2)


@asynccontextmanager
async def restricted(how: dict[str, str] | None = None, **settings: object) -> AsyncIterator[tuple[Restrictions, Hub, str]]:
    """A server behind restrictions that can be changed."""
    options = Options(**{"channels": ("a",), **settings})
    hub = Hub(options)
    await hub.open()
    network = Restrictions(Endpoints(hub), how)
    async with serving(network, drain=hub.close, options=options) as url:
        yield network, hub, url


async def follow(stream: Stream, got: list[int]) -> None:
    """Keep what comes."""
    async for event in stream:
        got.append(event.data)


async def publish(hub: Hub, got: list[int]) -> None:
    """Publish 0, 1, 2, …, not far ahead of what has come."""
    while True:
        await until(lambda: len(got) >= hub.log.head - 3)
        await hub.publish("a", hub.log.head)


@pytest.mark.parametrize(
    ("how", "chosen", "verdicts", "sentence"),
    [
        ({}, "websocket", {}, "Live over WebSocket."),
        ({"ws": "refuse"}, "sse", {"websocket": "refused_http"}, "Live over SSE: WebSocket was refused with 403."),
        ({"ws": "swallow"}, "sse", {"websocket": "no_answer"}, "Live over SSE: WebSocket fell silent."),
        (
            {"ws": "refuse", "sse": "hold"},
            "longpoll",
            {"websocket": "refused_http", "sse": "buffered"},
            "Live over long-polling: WebSocket was refused with 403.",
        ),
        ({"sse": "swallow", "ws": "pass"}, "websocket", {}, "Live over WebSocket."),
        (
            {"ws": "refuse", "sse": "login"},
            "longpoll",
            {"websocket": "refused_http", "sse": "captive_portal"},
            "Live over long-polling: WebSocket was refused with 403.",
        ),
        ({"sse": "hold", "ws": "swallow"}, "longpoll", {"websocket": "no_answer", "sse": "buffered"}, None),
        ({"commands": "refuse"}, "websocket", {}, "Live over WebSocket."),
    ],
)
async def test_what_is_chosen_and_what_is_said_of_it(
    how: dict[str, str], chosen: str, verdicts: dict[str, str], sentence: str | None
) -> None:
    async with restricted(how) as (_, hub, url), connect(url, ["a"], pace=QUICK, memory={}) as stream:
        await hub.publish("a", 1)
        assert (await anext(stream)).data == 1
        await until(lambda: stream.state == "open")
        await until(lambda: {rung: bad.verdict for rung, bad in stream.evidence.bad.items()} == verdicts)
        assert stream.transport == chosen
        assert sentence in (None, stream.sentence)
        told = json.loads(msgspec.json.encode(stream.evidence))
        assert (told["state"], told["transport"]) == ("open", chosen)


async def test_what_one_client_learnt_the_next_one_knows() -> None:
    memory: dict = {}
    async with restricted({"ws": "swallow"}) as (network, _, url):
        async with connect(url, ["a"], pace=QUICK, memory=memory) as stream:
            await until(lambda: "websocket" in stream.evidence.bad)
        network.asked.clear()
        async with connect(url, ["a"], memory=memory) as stream:
            assert stream.transport == "sse"
            assert stream.evidence.attempts[0].verdict == "remembered_bad"
        assert "ws" not in network.asked
        async with connect(url, ["a"], memory=memory, transport="sse") as stream:
            assert not stream.evidence.bad, "who wants one transport only needs no memory"


async def test_in_another_cafe_what_was_learnt_in_the_last_one_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    where, memory, log = ["home"], {}, []
    monkeypatch.setattr("transports.driver.network_name", lambda _: where[0])
    async with (
        restricted({"ws": "refuse"}) as (_, _, url),
        connect(url, ["a"], pace=QUICK, memory=memory, log=log.append) as stream,
    ):
        await until(lambda: "websocket" in stream.evidence.bad)
        assert Online() not in [step["fact"] for step in log]
        assert list(memory) == ["home"]
        where[0] = "café"
        await until(lambda: Online() in [step["fact"] for step in log])
        await until(lambda: "café" in memory and "websocket" in memory["café"].bad)


async def test_a_first_try_that_fails_is_no_other_network() -> None:
    log: list[dict] = []
    with pytest.raises(ConnectionFailedError):
        async with connect("http://127.0.0.1:9/live", ["a"], pace=QUICK, memory={}, log=log.append, connect_timeout=0.3):
            pass
    assert len(log) > 3
    assert Online() not in [step["fact"] for step in log]


async def test_when_the_block_is_lifted_it_comes_back_up_and_nothing_is_lost() -> None:
    async with restricted({"ws": "refuse", "sse": "refuse"}) as (network, hub, url):
        async with connect(url, ["a"], pace=QUICK, memory={}) as stream:
            assert stream.transport == "longpoll"
            got: list[int] = []
            following = asyncio.create_task(follow(stream, got)), asyncio.create_task(publish(hub, got))
            for path, better in [("sse", "sse"), ("ws", "websocket")]:
                network.how[path] = "pass"
                await until(lambda better=better: stream.transport == better)
            following[1].cancel()
            await until(lambda: len(got) == hub.log.head)
            assert got == list(range(hub.log.head))
            following[0].cancel()
        counts = hub.counts.as_dict()
        assert counts["opened"]["websocket"] >= 1
        assert counts["why"]["retest"] >= 1
        assert counts["verdicts"]["websocket"]["refused_http"] >= 1


async def test_a_server_that_was_restarted_is_held_against_nobody() -> None:
    options = Options(channels=("a",))
    memory: dict = {}
    hub = Hub(options)
    async with serving(Endpoints(hub), drain=hub.close, options=options) as url:
        stream = connect(url, ["a"], pace=QUICK, memory=memory, on_lost=lambda lost: None)
        await stream.__aenter__()
        await until(lambda: stream.state == "open")
    await until(lambda: stream.state == "reconnecting")
    await until(lambda: sum(each.verdict == "unreachable" for each in stream.evidence.attempts) >= 6)
    port = int(url.rpartition(":")[2])
    hub = Hub(options)
    async with serving(Endpoints(hub), drain=hub.close, options=options, port=port):
        await until(lambda: stream.state == "open" and stream.transport == "websocket")
        await hub.publish("a", 1)
        assert (await anext(stream)).data == 1
        assert not stream.evidence.bad
        assert not memory
        await stream.close()


@pytest.mark.parametrize("milliseconds", [50, 200, 500])
async def test_a_socket_that_dies_soon_again_and_again_gives_way(milliseconds: int) -> None:
    pace = msgspec.structs.replace(QUICK, proof=2.0, retest=30.0)
    async with restricted({"ws": f"dies {milliseconds}"}) as (_, hub, url), connect(url, ["a"], pace=pace, memory={}) as stream:
        await until(lambda: stream.transport == "sse" and "websocket" in stream.evidence.bad)
        assert stream.evidence.bad["websocket"].verdict == "cut_early"
        await hub.publish("a", 1)
        assert (await anext(stream)).data == 1


@pytest.mark.parametrize("path", ["ws", "sse", "poll"])
async def test_a_wire_that_falls_silent_is_noticed_within_two_beats_and_replaced(path: str) -> None:
    """Half-open: it works, and from some moment on nothing passes, and nobody says so."""
    transport = {"ws": "websocket", "sse": "sse", "poll": "longpoll"}[path]
    pace = msgspec.structs.replace(QUICK, answer=0.2, slack=0.1)
    network_how = {each: "refuse" for each in ("ws", "sse") if each != path and transport != "websocket"}
    async with (
        restricted({**network_how, path: "mute 2"}, beat=0.4) as (network, hub, url),
        connect(url, ["a"], pace=pace, memory={}) as stream,
    ):
        if path == "poll":
            network.how["poll"] = "swallow"
        await until(lambda: stream.state == "reconnecting" or "websocket" in stream.evidence.bad)
        network.how[path] = "pass"
        await hub.publish("a", 1)
        assert (await anext(stream)).data == 1


async def test_a_buffer_that_lets_the_hello_through_and_holds_the_small_beats_is_found_out() -> None:
    pace = msgspec.structs.replace(QUICK, answer=0.2, slack=0.1, retest=30.0)
    async with (
        restricted({"ws": "refuse", "sse": "mute 1"}, beat=0.3) as (_, hub, url),
        connect(url, ["a"], pace=pace, memory={}) as stream,
    ):
        await until(lambda: stream.transport == "longpoll" and "sse" in stream.evidence.bad)
        assert stream.evidence.bad["sse"].verdict == "buffered"
        await hub.publish("a", 1)
        assert (await anext(stream)).data == 1


@pytest.mark.parametrize(("how", "told"), [("login", "text/html"), ("redirect", "redirects to /login")])
async def test_a_login_page_is_named_and_not_asked_again_and_again(how: str, told: str) -> None:
    async with restricted({"*": how}) as (network, _, url):
        sentences: list[str] = []
        stream = connect(url, ["a"], memory={}, connect_timeout=3.0, on_state=lambda _: sentences.append(stream.sentence))
        with pytest.raises(ConnectionFailedError, match=told):
            await stream.__aenter__()
        assert any(each.startswith("A login page answered instead of the server; trying again") for each in sentences)
        assert {each.verdict for each in stream.evidence.attempts if each.rung != "websocket"} == {"captive_portal"}
        assert len(network.asked) <= 20, "backing off"


async def test_a_server_that_is_slow_at_first_poisons_no_choice() -> None:
    pace = Pace(gap=0.05)
    async with restricted({"*": "slow 400"}) as (_, _, url), connect(url, ["a"], pace=pace, memory={}) as stream:
        await until(lambda: stream.transport == "websocket")
        assert not stream.evidence.bad


async def test_a_second_cut_before_the_server_noticed_the_first() -> None:
    async with (
        restricted({"ws": "dies 30"}) as (network, hub, url),
        connect(url, ["a"], transport="websocket", pace=BRISK) as stream,
    ):
        got: list[int] = []
        following = asyncio.create_task(follow(stream, got)), asyncio.create_task(publish(hub, got))
        await until(lambda: sum(each.verdict == "cut_early" for each in stream.evidence.attempts) >= 5)
        network.how.clear()
        following[1].cancel()
        await until(lambda: len(got) == hub.log.head)
        assert got == list(range(hub.log.head))
        following[0].cancel()


async def test_positions_that_the_server_cannot_know() -> None:
    async with restricted() as (_, hub, url):
        await hub.publish("a", 1)
        with pytest.raises(Refusal, match="4400"):
            connect(url, ["a"], since="nonsense")
        for since, reason in [(f"{hub.log.epoch}.99", "future"), ("gone.5", "epoch")]:
            async with connect(url, ["a"], since=since) as stream:
                with pytest.raises(EventsLostError) as lost:
                    await anext(stream)
                assert lost.value.lost.reason == reason


# --- what goes up


async def test_where_post_is_blocked_publishing_goes_over_the_websocket() -> None:
    async with restricted({"commands": "refuse"}) as (_, hub, url), connect(url, ["a"], memory={}) as stream:
        assert await stream.publish("a", {"n": 1}) == f"{hub.log.epoch}.1"
        assert (await anext(stream)).data == {"n": 1}


async def test_publishes_without_a_connection_wait_in_order_and_no_more_than_allowed() -> None:
    async with restricted() as (network, hub, url), connect(url, ["a"], transport="sse", queue=5) as stream:
        network.how["commands"] = "redirect"
        waiting = [asyncio.create_task(stream.publish("a", n, timeout=30)) for n in range(5)]
        await until(lambda: "commands" in network.asked)
        with pytest.raises(QueueFullError, match="5 publishes are under way"):
            await stream.publish("a", 5)
        network.how.clear()
        assert await asyncio.gather(*waiting) == [f"{hub.log.epoch}.{n}" for n in range(1, 6)]
        assert [(await anext(stream)).data for _ in range(5)] == list(range(5))


async def test_a_publish_that_waits_is_told_when_the_stream_is_closed() -> None:
    async with restricted({"commands": "refuse"}) as (network, _, url):
        async with connect(url, ["a"], transport="sse") as stream:
            waiting = asyncio.create_task(stream.publish("a", 1))
            await until(lambda: "commands" in network.asked)
        with pytest.raises(ConnectionFailedError, match="closed before"):
            await waiting


async def test_a_defect_of_the_callers_own_is_raised_where_he_publishes() -> None:
    tokens = iter(["good", "good"])

    def token() -> str:
        return next(tokens)  # and then a StopIteration of somebody else's

    async with restricted() as (_, hub, url), connect(url, ["a"], transport="sse", token=token) as stream:
        await hub.publish("a", 1)
        assert (await anext(stream)).data == 1
        stream._token.renew()
        assert await stream.publish("a", 2)
        stream._token.renew()
        with pytest.raises(RuntimeError, match="StopIteration"):
            await stream.publish("a", 3)


# --- who we are, and where


class Doorkeeper:
    """An ASGI application in front of another that wants a token, and a fresh one after a while."""

    def __init__(self, app: object) -> None:
        self.app, self.wanted, self.shown = app, "one", set()

    async def __call__(self, scope: dict, receive: object, send: object) -> None:
        if scope["type"] == "http":
            shown = dict(scope["headers"]).get(b"authorization", b"").decode()
            self.shown.add(shown)
            if shown != f"Bearer {self.wanted}":
                body = json.dumps({"code": 4401, "name": "unauthorized", "reason": "who are you?", "retry": None}).encode()
                await send({"type": "http.response.start", "status": 401, "headers": [(b"content-type", b"application/json")]})
                await send({"type": "http.response.body", "body": body})
                return
        await self.app(scope, receive, send)


@pytest.mark.parametrize("transport", ["sse", "longpoll"])
async def test_a_token_that_became_too_old_is_asked_for_again_once(transport: str) -> None:
    hub = Hub(Options(channels=("a",)))
    await hub.open()
    door, given = Doorkeeper(Endpoints(hub)), []

    async def token() -> str:
        given.append(door.wanted if len(given) < 3 else "wrong")
        return given[-1]

    async with serving(door, drain=hub.close) as url:

        async def place() -> str:
            return url

        async with connect(place, ["a"], token=token, transport=transport, pace=QUICK) as stream:
            await hub.publish("a", 1)
            assert (await anext(stream)).data == 1
            door.wanted = "two"
            for feed in list(hub._feeds):
                feed.end(Refusal(Code.REBALANCE, retry=0.01))
            await hub.publish("a", 2)
            assert (await anext(stream)).data == 2
            await until(lambda: given == ["one", "two"] and stream.state == "open")
        door.wanted = "three"
        with pytest.raises(Refusal, match="4401"):
            async with connect(place, ["a"], token=lambda: "wrong", transport=transport):
                pass


# --- evidence and logs


async def test_the_log_of_a_real_client_can_be_replayed() -> None:
    log: list[dict] = []
    async with restricted({"ws": "dies 100"}) as (_, _, url):
        async with connect(url, ["a"], pace=QUICK, memory={}, log=log.append) as stream:
            await until(lambda: "websocket" in stream.evidence.bad)
        assert replay(["websocket", "sse", "longpoll"], QUICK, log).attempts == stream.evidence.attempts


# --- callers who are slow, or whose functions are broken


@pytest.mark.parametrize("path", ["ws", "sse", "poll"])
async def test_a_reader_that_takes_its_time_has_no_transport_blamed(path: str) -> None:
    how = {each: "refuse" for each in ("ws", "sse") if path not in ("ws", each)}
    pace = msgspec.structs.replace(QUICK, answer=0.1, slack=0.05, proof=20)  # a busy machine is nobody's fault either
    async with restricted(how, history_count=5000, beat=0.1) as (_, hub, url):
        for n in range(5000):
            await hub.publish("a", n)
        steps: list[dict] = []
        async with connect(url, ["a"], since=f"{hub.log.epoch}.0", pace=pace, memory={}, log=steps.append) as stream:
            got = []
            for turn in range(5000):
                got.append((await anext(stream)).data)
                if turn % 500 == 0:  # and now it does something else, until the negotiator has wondered a few times
                    told = len(steps)
                    await until(lambda told=told: len(steps) >= told + 5)
            assert got == list(range(5000))
            assert {each.verdict for each in stream.evidence.attempts} <= {"ok", "refused_http"}


@pytest.mark.parametrize("callback", ["tap", "on_state", "log"])
async def test_a_broken_callback_is_told_and_breaks_nothing_else(callback: str) -> None:
    broken: list[bool] = []

    def fail(*_: object) -> None:
        if broken:
            raise ValueError("mine")

    async with restricted() as (_, hub, url), connect(url, ["a"], memory={}, **{callback: fail}) as stream:
        await until(lambda: stream.state == "open")
        broken.append(True)
        for feed in list(hub._feeds):
            feed.end(Refusal(Code.REBALANCE, retry=0.01))
        with pytest.raises(ValueError, match="mine"):
            await anext(stream)  # there is no event: it waits for what goes wrong
        broken.clear()
        await hub.publish("a", 1)
        assert (await anext(stream)).data == 1
        assert not stream.evidence.bad


async def test_a_stream_is_used_once() -> None:
    async with restricted() as (_, _, url):
        stream = connect(url, ["a"])
        async with stream:
            with pytest.raises(RuntimeError, match="used once"):
                await stream.__aenter__()
        with pytest.raises(RuntimeError, match="used once"):
            await stream.__aenter__()
        with pytest.raises(ConnectionFailedError, match="closed"):
            await stream.publish("a", 1)


async def test_questions_that_nobody_answers_do_not_pile_up() -> None:
    pace = msgspec.structs.replace(
        QUICK, answer=0.05, slack=0.02, proof=0.1, backoff=0.01, backoff_most=0.02, opens=1000, opens_rate=1000
    )
    open_ones = [0]
    async with (
        restricted({"ws": "refuse", "sse": "mute 2"}, beat=0.05) as (network, _, url),
        connect(url, ["a"], pace=pace, memory={}) as stream,
    ):
        await until(lambda: stream.transport == "sse")
        network.how["poll"] = "swallow"

        def enough() -> bool:
            open_ones.append(len(stream._driver._questions))
            return len(network.asked) > 60

        await until(enough)
    assert 1 <= max(open_ones) <= 3


async def test_json_of_somebody_else_is_no_word_of_the_server() -> None:
    async def gateway(scope: dict, receive: object, send: object) -> None:
        await answer(send, 500, b"application/json", b'{"code":500,"name":"GeneralError","reason":"caf\xe9"}')

    async with serving(gateway) as url:
        with pytest.raises(ConnectionFailedError, match="HTTP 500"):
            async with connect(url, ["a"], memory={}, connect_timeout=1.0):
                pass


# --- servers that are broken, or mean


def polling(*items: str) -> Any:
    """An application whose polls are all answered with the same items."""

    async def app(scope: dict, receive: Any, send: Any) -> None:
        await receive()
        if scope["type"] == "http" and scope["path"] == "/poll":
            app.polls += 1
            await answer(send, 200, b"application/json", f"[{','.join(items)}]".encode())
        else:
            await send(
                {"type": "websocket.close"} if scope["type"] == "websocket" else {"type": "http.response.start", "status": 404}
            )
            if scope["type"] == "http":
                await send({"type": "http.response.body", "body": b""})

    app.polls = 0
    return app


HELLO = '{"type":"hello","v":1,"id":"e.1","connection":"c","channels":["a"],"resumed":"fresh","beat":BEAT}'


@pytest.mark.parametrize(
    "items",
    [
        [HELLO.replace("BEAT", "-5")],
        [HELLO.replace("BEAT", "1e-9")],
        [HELLO.replace("BEAT", "1e308")],
        [f'{{"type":"event","id":"e.{n}","channel":"a","at":1,"data":{n}}}' for n in range(1, 40)],
        ['{"type":"beat","id":"nonsense","at":1}'],
        ['{"type":"bye","code":7,"name":"x","reason":"y","retry":null}'],
        ['{"type":"bye","code":4503,"name":"x","reason":"y","retry":1e308}'],
        ['{"type":"event","id":"e.1","channel":"a","at":1,"data":' + "[" * 3000 + "]" * 3000 + "}"],
    ],
    ids=["beat-negative", "beat-tiny", "beat-huge", "repeats", "no-position", "bye-without-code", "retry-huge", "deep"],
)
async def test_whatever_a_server_says_it_is_not_asked_without_a_pause(items: list[str]) -> None:
    app = polling(*items)
    async with serving(app) as url:
        stream = connect(url, ["a"], transport="longpoll", connect_timeout=1.0, memory=None)
        try:
            async with stream, asyncio.timeout(1.0):
                while True:
                    await anext(stream)
        except (TimeoutError, ConnectionFailedError):
            pass
        assert stream.state == "closed"
        assert app.polls < 150


async def test_a_publish_too_large_for_a_frame_ends_no_wire() -> None:
    async with restricted({"commands": "refuse"}) as (_, _, url), connect(url, ["a"], memory={}) as stream:
        await until(lambda: stream.state == "open")
        with pytest.raises(ConnectionFailedError, match="not acknowledged"):
            await stream.publish("a", "x" * 70_000, timeout=0.3)
        await stream.publish("a", "small")
        assert (await anext(stream)).data == "small"
        assert len(stream.evidence.attempts) == 1
