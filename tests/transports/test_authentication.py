"""Who asks, what they may, and for how long: over each transport, on each edge, up to the wire."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
import quart
from quart import Quart
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.together import Together
from transports import LADDER, Code, ConfigError, Hub, Refusal, Transport
from transports.client import connect
from transports.items import Bye, Item
from transports.quart import Live
from transports.request import Identity, Request
from transports.servers import find_server
from transports.testing import serving, until

TOKENS = {"t-ann": "ann", "t-bob": "bob"}
EDGES = ["front", "plain"]


@pytest.fixture(params=EDGES)
def edge(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=LADDER, ids=lambda transport: transport.name)
def wire(request: pytest.FixtureRequest) -> Transport:
    return request.param


def by_token(request: Request) -> str | None:
    if request.token is None:
        return None
    if request.token not in TOKENS:
        raise Refusal(Code.UNAUTHORIZED, "nobody has this token")
    return TOKENS[request.token]


def an_app(**settings: Any) -> tuple[Quart, Live]:
    app = Quart(__name__)
    app.secret_key = "s"
    return app, Live(app, **{"channels": ["*"], **settings})


@asynccontextmanager
async def served(app: Quart, live: Live, edge: str) -> AsyncIterator[str]:
    front = live.front if edge == "front" else None
    async with serving(app, drain=live.hub.close, options=live.hub.options, front=front) as url:
        await live.hub.open()
        yield f"{url}/live"


class Reading:
    """What one connection brings, over whichever transport, up to its end."""

    def __init__(self, http: aiohttp.ClientSession, url: str, wire: Transport, query: str, **headers: str) -> None:
        self.items: list[Item] = []
        self.status = 0
        self.code: int | None = None  # of the close, over WebSocket
        self._headers, self._http, self._wire = headers, http, wire
        self._url = f"{url}/{wire.path}?{query}"
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        reader = self._wire.reader()
        if self._wire.commands_up:
            async with self._http.ws_connect(self._url, protocols=[self._wire.content_type], headers=self._headers) as socket:
                self.socket, self.status = socket, 200
                async for message in socket:
                    self.items += reader.feed(message.data.encode())
                self.code = socket.close_code
                return
        async with self._http.get(self._url, headers=self._headers) as response:
            self.status = response.status
            if response.status != 200:
                self.items.append(refusal_of(await response.json()))
                return
            if not self._wire.many:
                self.items += reader.feed(await response.read())
                return
            async for data in response.content.iter_any():
                self.items += reader.feed(data)

    async def began(self) -> Reading:
        await until(lambda: self.items or self.task.done())
        return self

    async def over(self) -> Bye:
        await asyncio.wait_for(self.task, 20)
        assert isinstance(self.items[-1], Bye)
        return self.items[-1]


def refusal_of(body: dict) -> Bye:
    return Bye(body["code"], body["name"], body["reason"], body["retry"])


async def head_of(hub: Hub) -> str:
    return f"{hub.log.epoch}.{hub.log.head}"


async def read(http: aiohttp.ClientSession, hub: Hub, url: str, wire: Transport, query: str, **headers: str) -> Reading:
    """A connection that has begun; of a poll, one that waits."""
    reading = Reading(http, url, wire, query + ("" if wire.many else f"&wait=20&since={await head_of(hub)}"), **headers)
    if wire.many:
        return await reading.began()
    waiting = len(hub.accounts)
    await until(lambda: reading.task.done() or len(hub.accounts) > waiting)
    return reading


async def test_a_session_of_quarts_says_who_asks_on_every_transport(edge: str, wire: Transport) -> None:
    app, live = an_app()
    seen = []

    @app.post("/login")
    async def login() -> str:
        quart.session["user"] = "ann"
        return ""

    @live.authenticate
    async def who(request: Request) -> str | None:
        seen.append((quart.request.path, quart.request.cookies.get("session") is not None, quart.request.remote_addr))
        return quart.session.get("user")

    @live.authorize
    def may(who: object, action: str, channel: str) -> bool:
        return channel == f"of.{who}"

    async with served(app, live, edge) as url, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        stranger = Reading(http, url, wire, "channels=of.ann")
        assert (await stranger.over()).code == 4403
        await http.post(url.removesuffix("/live") + "/login")
        reading = await read(http, live.hub, url, wire, "channels=of.ann")
        assert [account.who for account in live.hub.accounts] == ["ann"]
        answers = await publish(http, url, "of.ann", "of.bob")
        assert [(each["ok"], each.get("code")) for each in answers] == [(True, None), (False, 4403)]
        await until(lambda: any(item.kind == "event" for item in reading.items))
        reading.task.cancel()
    assert seen == [(f"/live/{wire.path}", False, "127.0.0.1"), (f"/live/{wire.path}", True, "127.0.0.1"), *seen[2:]]
    assert seen[2] == ("/live/commands", True, "127.0.0.1")


@pytest.mark.parametrize(("origins", "code"), [(("*",), 4403), (("https://shop.example",), None)])
async def test_a_session_counts_for_pages_of_an_origin_that_is_named_and_not_for_those_that_a_star_lets_in(
    edge: str, wire: Transport, origins: tuple[str, ...], code: int | None
) -> None:
    app, live = an_app(origins=origins)

    @app.post("/login")
    async def login() -> str:
        quart.session["user"] = "ann"
        return ""

    @live.authenticate
    def who(request: Request) -> str | None:
        return quart.session.get("user")

    @live.authorize
    def may(who: object, action: str, channel: str) -> bool:
        return channel == f"of.{who}"

    async with served(app, live, edge) as url, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        await http.post(url.removesuffix("/live") + "/login")
        reading = await Reading(http, url, wire, "channels=of.ann", Origin="https://shop.example").began()
        assert getattr(reading.items[0], "code", None) == code
        [reply] = await publish(http, url, "of.ann", Origin="https://shop.example")
        assert reply.get("code") == code
        reading.task.cancel()


async def publish(http: aiohttp.ClientSession, url: str, *channels: str, **headers: str) -> list[dict]:
    commands = [{"do": "publish", "ref": number, "channel": channel, "data": 1} for number, channel in enumerate(channels)]
    async with http.post(f"{url}/commands", json=commands, headers=headers) as response:
        return await response.json()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_token_says_who_asks_and_a_wrong_one_is_refused(edge: str, wire: Transport) -> None:
    app, live = an_app()
    live.authenticate(context=False)(by_token)
    live.authorize(lambda who, action, channel: who == "ann")
    async with served(app, live, edge) as url, aiohttp.ClientSession() as http:
        wrong = await Reading(http, url, wire, "channels=a", **bearer("t-eve")).over()
        assert (wrong.code, wrong.retry) == (4401, None)
        assert (await Reading(http, url, wire, "channels=a", **bearer("t-bob")).over()).code == 4403
        reading = await read(http, live.hub, url, wire, "channels=a", **bearer("t-ann"))
        assert (await publish(http, url, "a", **bearer("t-eve")))["code"] == 4401
        assert (await publish(http, url, "a", **bearer("t-bob")))[0]["code"] == 4403
        assert (await publish(http, url, "a", **bearer("t-ann")))[0]["ok"]
        await until(lambda: any(item.kind == "event" for item in reading.items))
        reading.task.cancel()


async def test_a_browser_shows_its_token_as_a_subprotocol(edge: str) -> None:
    app, live = an_app()
    live.authenticate(by_token)
    shown = base64.urlsafe_b64encode(b"t-ann").decode().rstrip("=")
    offered = ["everywire.v1.json", f"everywire.token.{shown}"]
    async with (
        served(app, live, edge) as url,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/ws?channels=a", protocols=offered) as ws,
    ):
        await ws.receive()
        assert ws.protocol == "everywire.v1.json"
        assert [account.who for account in live.hub.accounts] == ["ann"]


async def test_a_token_in_a_url_is_not_looked_at(edge: str, wire: Transport) -> None:
    app, live = an_app()
    live.authenticate(by_token)
    live.authorize(lambda who, action, channel: who is not None)
    async with served(app, live, edge) as url, aiohttp.ClientSession() as http:
        for name in ("token", "access_token", "authorization"):
            assert (await Reading(http, url, wire, f"channels=a&{name}=t-ann").over()).code == 4403


async def test_a_position_is_no_right(edge: str, wire: Transport) -> None:
    app, live = an_app()
    live.authenticate(by_token)
    allowed = {"ann", "bob"}
    live.authorize(lambda who, action, channel: who in allowed)
    async with served(app, live, edge) as url, aiohttp.ClientSession() as http:
        begin = await head_of(live.hub)
        await live.publish("a", "secret")
        reading = await Reading(http, url, wire, f"channels=a&since={begin}", **bearer("t-bob")).began()
        assert any(item.kind == "event" for item in reading.items)
        reading.task.cancel()
        allowed.discard("bob")
        for query in (f"channels=a&since={begin}", f"channels=a&since={await head_of(live.hub)}"):
            again = Reading(http, url, wire, query, **bearer("t-bob"))
            assert (await again.over()).code == 4403
            assert not any(item.kind == "event" for item in again.items)
        pattern = await read(
            http, live.hub, url, wire, f"channels=a*&since={begin}" if wire.many else "channels=a*", **bearer("t-bob")
        )
        await live.publish("a", "secret too")
        await live.publish("b", "whatever")
        assert not any(item.kind == "event" for item in pattern.items)
        pattern.task.cancel()


# ------------------------------------------------------------------------------------------------------------------- expiry


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_client_comes_back_with_a_fresh_token_before_the_old_one_expires_and_without_a_gap(
    edge: str, transport: str
) -> None:
    app, live = an_app()
    given, states = [], []

    @live.authenticate
    def who(request: Request) -> Identity:
        return Identity("ann", float(request.token))

    async def token() -> str:
        given.append(time.time() + (4.0 if not given else 600.0))
        return str(given[-1])

    async with (
        served(app, live, edge) as url,
        connect(url, ["a"], transport=transport, token=token, on_state=states.append) as stream,
    ):
        first = {account.name for account in live.hub.accounts}
        for number in range(3):
            await live.publish("a", number)
            assert (await anext(stream)).data == number
        await until(lambda: len(given) > 1 and {account.name for account in live.hub.accounts}.isdisjoint(first))
        await live.publish("a", "after")
        assert (await anext(stream)).data == "after"
        assert [account.expires for account in live.hub.accounts] == [given[-1]]
    assert set(states) - {"closed"} <= {"connecting", "open"}


async def test_a_poller_whose_token_expired_shows_another(edge: str) -> None:
    app, live = an_app()
    given = []

    @live.authenticate
    def who(request: Request) -> Identity:
        return Identity("ann", float(request.token))

    def token() -> str:
        given.append(time.time() + (1.5 if not given else 600.0))
        return str(given[-1])

    async with served(app, live, edge) as url, connect(url, ["a"], transport="longpoll", token=token) as stream:
        await live.publish("a", 1)
        assert (await anext(stream)).data == 1
        await until(lambda: len(given) > 1)
        await live.publish("a", 2)
        assert (await anext(stream)).data == 2


async def test_who_does_not_renew_is_told_and_then_closed(edge: str, wire: Transport) -> None:
    app, live = an_app()
    known: dict[str, float] = {}
    live.authenticate(lambda request: Identity("ann", known.setdefault("ann", time.time() + 1.5)))
    async with served(app, live, edge) as url, aiohttp.ClientSession() as http:
        reading = await read(http, live.hub, url, wire, "channels=a")
        last = await reading.over()
        byes = [item for item in reading.items if isinstance(item, Bye)]
        assert (last.code, last.name, last.retry, last.stays) == (4401, "unauthorized", 0.0, None)
        if wire.many:
            assert reading.items[0].expires == known["ann"]
            assert (byes[0].code, byes[0].stays > byes[0].retry, len(byes)) == (4401, True, 2)
        if wire.commands_up:
            assert reading.code == 4401
        await until(lambda: not len(live.hub.accounts))
        assert (await Reading(http, url, wire, "channels=a").over()).code == 4401  # it has expired


async def test_over_websocket_a_token_is_renewed_in_place(edge: str) -> None:
    app, live = an_app()
    live.authenticate(lambda request: Identity(request.token.partition("@")[0] or None, float(request.token.partition("@")[2])))
    live.authorize(lambda who, action, channel: channel != "of.ann" or who == "ann")
    later = round(time.time() + 3600)
    async with served(app, live, edge) as url, aiohttp.ClientSession() as http:
        wire = LADDER[0]
        reading = await read(http, live.hub, url, wire, "channels=a,of.ann", **bearer(f"ann@{time.time() + 60}"))
        (account,) = live.hub.accounts

        async def ask(**command: Any) -> Any:
            await reading.socket.send_str(json.dumps({"ref": 1, **command}))
            await until(lambda: reading.items[-1].kind == "reply")
            return reading.items.pop()

        renewed = await ask(do="auth", token=f"ann@{later}")
        assert (renewed.ok, renewed.expires, account.expires) == (True, later, later)
        old = await ask(do="auth", token="ann@1")
        assert (old.ok, old.code, account.expires) == (False, 4401, later)
        nobody = await ask(do="auth", token=f"@{later}")
        assert (nobody.ok, nobody.code, account.who) == (False, 4401, "ann")
        other = await ask(do="auth", token=f"bob@{later}")  # who may not read what this connection reads
        assert (other.ok, other.code, account.who) == (False, 4403, "ann")
        assert (await ask(do="unsubscribe", channels=["of.ann"])).ok
        assert (await ask(do="auth", token=f"bob@{later + 1}")).expires == later + 1
        assert (account.who, account.expires) == ("bob", later + 1)
        assert (await ask(do="subscribe", channels=["of.ann"])).code == 4403
        assert (await ask(do="auth", token="")).code == 4400
        await live.publish("a", 7)
        await until(lambda: reading.items[-1].kind == "event")
        body = {"do": "auth", "ref": 2, "token": f"ann@{later}"}
        async with http.post(f"{url}/commands", json=body, headers=bearer(f"ann@{later}")) as response:
            (reply,) = await response.json()
        assert (reply["ok"], reply["code"]) == (False, 4400)
        reading.task.cancel()


@pytest.mark.parametrize("transport", ["websocket", "sse", "longpoll"])
async def test_a_client_shows_another_token_when_it_is_told_to(edge: str, transport: str) -> None:
    app, live = an_app()
    live.authenticate(lambda request: Identity(request.token, 2_000_000_000))
    live.authorize(lambda who, action, channel: who.startswith(("ann", "bob")))
    tokens = iter(["ann", "bob", "eve"])
    async with (
        served(app, live, edge) as url,
        connect(url, ["a"], transport=transport, token=lambda: next(tokens)) as stream,
    ):
        await until(lambda: stream.state == "open")
        assert await stream.renew() == (2_000_000_000 if transport == "websocket" else None)
        if transport == "websocket":
            assert [account.who for account in live.hub.accounts] == ["bob"]
            with pytest.raises(Refusal, match="4403"):
                await stream.renew()
            assert [account.who for account in live.hub.accounts] == ["bob"]
        await live.publish("a", 1)
        assert (await anext(stream)).data == 1


async def test_who_has_one_token_has_nothing_to_renew() -> None:
    app, live = an_app()
    async with served(app, live, "front") as url, connect(url, ["a"], token="t-ann") as stream:
        with pytest.raises(ConfigError, match="function"):
            await stream.renew()


async def test_nobody_is_known_where_nobody_is_asked_about() -> None:
    app, live = an_app()
    async with served(app, live, "front") as url, connect(url, ["a"], transport="websocket", token=lambda: "x") as stream:
        await until(lambda: stream.state == "open")
        with pytest.raises(Refusal, match="4401"):
            await stream.renew()


# --------------------------------------------------------------------------------------------------------------- revocation


@asynccontextmanager
async def two(edge: str, **settings: Any) -> AsyncIterator[tuple[list[Live], list[str]]]:
    """Two servers that share a broker."""
    broker, lives = Together(), []
    async with served_all([], [], broker, edge, settings, lives) as urls:
        yield lives, urls


@asynccontextmanager
async def served_all(
    urls: list[str], apps: list[Quart], broker: Together, edge: str, settings: dict, lives: list[Live]
) -> AsyncIterator[list[str]]:
    if len(urls) == 2:
        yield urls
        return
    app, live = an_app(**settings)
    live.hub._broker = broker
    live.authenticate(by_token)
    lives.append(live)
    async with served(app, live, edge) as url, served_all([*urls, url], [*apps, app], broker, edge, settings, lives) as all_urls:
        yield all_urls


async def test_a_right_that_is_taken_away_ends_who_reads_by_it_within_5_seconds_in_all_processes(
    edge: str, wire: Transport
) -> None:
    allowed = {("ann", "a"), ("ann", "b"), ("bob", "a")}
    async with two(edge) as (lives, urls), aiohttp.ClientSession() as http:
        for live in lives:
            live.authorize(lambda who, action, channel: (who, channel) in allowed)
        anns = [
            await read(http, live.hub, url, wire, "channels=a", **bearer("t-ann")) for live, url in zip(lives, urls, strict=True)
        ]
        bob = await read(http, lives[0].hub, urls[0], wire, "channels=a", **bearer("t-bob"))
        allowed.discard(("ann", "a"))
        begun = time.monotonic()
        byes = [await reading.over() for reading in anns]
        assert [(bye.code, bye.retry) for bye in byes] == [(4403, None)] * 2
        assert time.monotonic() - begun < 15  # 5 on a machine that has nothing else to do: see test_rights.py
        assert not bob.task.done()
        bob.task.cancel()


async def test_who_is_revoked_is_sent_away_everywhere_and_at_once(edge: str, wire: Transport) -> None:
    async with two(edge, recheck=3600) as (lives, urls), aiohttp.ClientSession() as http:
        anns = [
            await read(http, live.hub, url, wire, "channels=a", **bearer("t-ann")) for live, url in zip(lives, urls, strict=True)
        ]
        bob = await read(http, lives[1].hub, urls[1], wire, "channels=a", **bearer("t-bob"))
        await lives[0].revoke("ann")
        assert [(bye.code, bye.retry) for bye in [await reading.over() for reading in anns]] == [(4401, None)] * 2
        assert not bob.task.done()
        bob.task.cancel()


async def test_rights_are_asked_about_at_once_where_somebody_says_so(edge: str, wire: Transport) -> None:
    allowed = {"ann", "bob"}
    async with two(edge, recheck=3600) as (lives, urls), aiohttp.ClientSession() as http:
        for live in lives:
            live.authorize(lambda who, action, channel: who in allowed)
        ann = await read(http, lives[0].hub, urls[0], wire, "channels=a", **bearer("t-ann"))
        bob = await read(http, lives[0].hub, urls[0], wire, "channels=a", **bearer("t-bob"))
        allowed.clear()
        await lives[1].recheck("ann")
        assert (await ann.over()).code == 4403
        assert not bob.task.done()
        await lives[1].recheck()
        assert (await bob.over()).code == 4403


async def test_who_is_revoked_while_it_is_found_out_who_asks_is_not_let_in(edge: str, wire: Transport) -> None:
    app, live = an_app()
    asked, go = asyncio.Event(), asyncio.Event()

    @live.authenticate
    async def who(request: Request) -> str:
        asked.set()
        await go.wait()
        return "ann"

    async with served(app, live, edge) as url, aiohttp.ClientSession() as http:
        reading = Reading(http, url, wire, "channels=a")
        await asked.wait()
        await live.revoke("ann")
        go.set()
        assert (await reading.over()).code == 4401


async def test_who_is_revoked_while_a_body_is_on_its_way_publishes_nothing(edge: str) -> None:
    app, live = an_app()
    asked = asyncio.Event()

    @live.authenticate(context=False)
    def who(request: Request) -> str:
        asked.set()
        return "ann"

    async def body() -> AsyncIterator[bytes]:
        yield b'{"do":"publish",'
        await asked.wait()
        await live.revoke("ann")
        yield b'"channel":"a","data":1}'

    async with served(app, live, edge) as url, aiohttp.ClientSession() as http:
        async with http.post(f"{url}/commands", data=body(), headers={"Content-Type": "application/json"}) as response:
            assert (response.status, (await response.json())["code"]) == (401, 4401)
        assert live.hub.log.channels == 0
        assert (await publish(http, url, "a"))[0]["ok"], "who is found out after that is let in"


async def test_an_answer_that_is_still_to_come_is_no_right(edge: str, wire: Transport) -> None:
    app, live = an_app()

    async def may(who: object, action: str, channel: str) -> bool:
        return False

    with pytest.raises(ConfigError, match="answer at once"):
        live.authorize(may)  # type: ignore[arg-type]
    live.authorize(lambda who, action, channel: may(who, action, channel))  # type: ignore[arg-type, return-value]
    async with served(app, live, edge) as url, aiohttp.ClientSession() as http:
        assert (await Reading(http, url, wire, "channels=a").over()).code == 4500
        assert (await publish(http, url, "a"))[0]["code"] == 4500


# ------------------------------------------------------------------------------------------------------------------ tickets


async def a_ticket(http: aiohttp.ClientSession, url: str, path: str, token: str = "t-ann") -> str:
    async with http.post(f"{url}/ticket?for={path}", headers=bearer(token)) as response:
        assert response.status == 200, await response.text()
        assert response.headers["cache-control"].startswith("no-store")
        body = await response.json()
    assert 25 < body["expires"] - time.time() <= 30
    return body["ticket"]


async def test_a_ticket_says_who_asks_once_and_on_one_transport(edge: str, wire: Transport) -> None:
    async with two(edge) as (lives, urls), aiohttp.ClientSession() as http:
        for live in lives:
            live.authorize(lambda who, action, channel: who == "ann")
        here, there = urls
        shown = await a_ticket(http, here, wire.path)
        for other in LADDER:
            if other is not wire:
                assert (await Reading(http, there, other, f"channels=a&ticket={shown}").over()).code == 4401
        reading = await read(http, lives[1].hub, there, wire, f"channels=a&ticket={shown}")
        assert [account.who for account in lives[1].hub.accounts] == ["ann"]
        for url in urls:
            replayed = await Reading(http, url, wire, f"channels=a&ticket={shown}").over()
            assert replayed.code == 4401
            assert shown not in replayed.reason
        reading.task.cancel()


@pytest.mark.parametrize("shown", ["", "x", "x.y", "W10.AAAA", "%00"])
async def test_what_is_no_ticket_is_refused(edge: str, wire: Transport, shown: str) -> None:
    app, live = an_app()
    live.authenticate(by_token)
    async with served(app, live, edge) as url, aiohttp.ClientSession() as http:
        assert (await Reading(http, url, wire, f"channels=a&ticket={shown}").over()).code == 4401


@pytest.mark.parametrize("expires", [Decimal(2**33), "2**33", float("nan"), float("inf")])
async def test_an_end_that_is_no_number_lets_nobody_in(edge: str, expires: Any) -> None:
    app, live = an_app()
    live.authenticate(lambda request: Identity("ann", expires))
    async with served(app, live, edge) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/poll?channels=a") as response:
            assert response.status == 500
            assert (await response.json())["code"] == 4500
        assert len(live.hub.accounts) == 0


async def test_tickets_are_for_somebody_and_for_something(edge: str) -> None:
    app, live = an_app()
    live.authenticate(by_token)
    async with served(app, live, edge) as url, aiohttp.ClientSession() as http:
        for path, headers, status in [("sse", {}, 401), ("", bearer("t-ann"), 400), ("commands", bearer("t-ann"), 400)]:
            async with http.post(f"{url}/ticket?for={path}", headers=headers) as response:
                assert response.status == status
        async with http.get(f"{url}/ticket?for=sse", headers=bearer("t-ann")) as response:
            assert response.status == 405
        with pytest.raises(Refusal, match="4400"):
            await live.ticket("carol", "commands")
        shown = await live.ticket("carol", "sse")
        async with http.post(f"{url}/ticket?for=sse&ticket={shown}") as response:  # one is not good for another
            assert response.status == 401
        async with http.post(f"{url}/commands?ticket={shown}", json=[]) as response:  # nor for saying anything
            assert response.status == 200
        reading = await Reading(http, url, LADDER[1], f"channels=a&ticket={shown}").began()
        assert [account.who for account in live.hub.accounts] == ["carol"]
        reading.task.cancel()


# ----------------------------------------------------------------------------------------------------------------- presence


async def test_who_is_known_is_present_under_the_name_that_is_known(edge: str) -> None:
    app, live = an_app()
    live.authenticate(by_token)
    async with served(app, live, edge) as url, aiohttp.ClientSession() as http:
        for headers, name in [(bearer("t-ann"), "bob"), (bearer("t-bob"), None), ({}, "somebody")]:
            command = {"do": "present", "channel": "room", **({} if name is None else {"as": name})}
            async with http.post(f"{url}/commands", json=command, headers=headers) as response:
                assert (await response.json())[0]["ok"]
        async with http.post(f"{url}/commands", json={"do": "present", "channel": "room"}) as response:
            assert (await response.json())[0]["code"] == 4400
        async with http.get(f"{url}/presence/room") as response:
            assert [member["as"] for member in (await response.json())["members"]] == ["ann", "bob", "somebody"]


# ---------------------------------------------------------------------------------------------------------------- elsewhere


@asynccontextmanager
async def elsewhere(live: Live, place: str) -> AsyncIterator[str]:
    """Without Quart, and without Hypercorn."""
    app = Starlette(routes=[Mount("/live", live.asgi)])
    server = {} if place == "starlette" else {"server": find_server(place)}
    async with serving(app, drain=live.hub.close, options=live.hub.options, **server) as url:
        await live.hub.open()
        yield f"{url}/live"


@pytest.mark.parametrize("place", ["starlette", "uvicorn"])
async def test_outside_quart_all_of_it_is_the_same(place: str, wire: Transport) -> None:
    live, allowed = Live(channels=["*"], recheck=0.05), {"ann", "bob", "soon"}

    @live.authenticate
    def who(request: Request) -> Identity:
        return Identity(request.token, time.time() + 2 if request.token == "soon" else None)

    live.authorize(lambda who, action, channel: who in allowed)
    async with elsewhere(live, place) as url, aiohttp.ClientSession() as http:

        async def reader(who: str) -> Reading:
            return await read(http, live.hub, url, wire, "channels=a", **bearer(who))

        assert (await (await reader("eve")).over()).code == 4403
        shown = await a_ticket(http, url, wire.path, "ann")
        ticketed = await read(http, live.hub, url, wire, f"channels=a&ticket={shown}")
        ann, bob, soon = [await reader(who) for who in ("ann", "bob", "soon")]
        allowed.discard("bob")
        assert (await bob.over()).code == 4403
        await live.revoke("ann")
        assert [(await each.over()).code for each in (ann, ticketed)] == [4401, 4401]
        assert (await soon.over()).code == 4401
        assert len([item for item in soon.items if item.kind == "bye"]) == (2 if wire.many else 1)
        await until(lambda: not len(live.hub.accounts))
