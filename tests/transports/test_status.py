"""What an operator is shown, and who is one."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import aiohttp
import pytest

from tests.transports.conftest import live
from transports import Code, Hub, Options, Refusal
from transports.accounts import Alone
from transports.asgi import Endpoints
from transports.client import connect
from transports.request import Identity, Request
from transports.servers import find_server
from transports.status import check_observer, is_local, page, status
from transports.testing import Exchange, serving, until

TOKEN = "an-operator-shows-this"
HERE = {"host": "127.0.0.1:8000"}
SEEN = ("status", "metrics")


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


def asked(headers: dict[str, str] | None = None, peer: str = "127.0.0.1", query: str = "", who: object = None) -> Request:
    request = Request("GET", "status", query, {**HERE, **(headers or {})}, peer)
    request.found = Identity(who)
    return request


@pytest.fixture
async def hub():
    hub = Hub(Options(channels=("*",), observer_token=TOKEN))
    await hub.open()
    yield hub
    await hub.close()


# --- who may look


@pytest.mark.parametrize("what", SEEN)
@pytest.mark.parametrize(
    ("headers", "peer"),
    [
        ({}, "127.0.0.1"),
        ({}, "::1"),
        ({}, "::ffff:127.0.0.1"),
        ({"host": "localhost"}, "127.0.0.1"),
        ({"host": "[::1]:8000"}, "::1"),
        ({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"}, "127.0.0.1"),
        ({"authorization": f"Bearer {TOKEN}", "host": "live.example", "x-forwarded-for": "10.0.0.7"}, "10.0.0.1"),
    ],
)
def test_this_machine_may_look_where_nobody_is_known_and_who_shows_the_token(hub, what, headers, peer) -> None:
    check_observer(hub, asked(headers, peer), what, known=False, version="1.1")


@pytest.mark.parametrize("what", SEEN)
@pytest.mark.parametrize(
    ("headers", "peer", "version"),
    [
        ({}, "10.0.0.7", "1.1"),
        ({}, "", "1.1"),  # a Unix socket: a proxy's
        ({"x-forwarded-for": "127.0.0.1"}, "127.0.0.1", "1.1"),
        ({"forwarded": "for=127.0.0.1"}, "127.0.0.1", "1.1"),
        ({"via": "1.1 varnish"}, "127.0.0.1", "1.1"),
        ({"x-real-ip": "127.0.0.1"}, "127.0.0.1", "1.1"),
        ({"host": "evil.example"}, "127.0.0.1", "1.1"),  # a name that was made to mean this machine
        ({"host": "127.0.0.1.evil.example"}, "127.0.0.1", "1.1"),
        ({"host": ""}, "127.0.0.1", "1.1"),
        ({"host": "[::1"}, "::1", "1.1"),
        ({"origin": "https://evil.example"}, "127.0.0.1", "1.1"),
        ({"sec-fetch-site": "cross-site"}, "127.0.0.1", "1.1"),
        ({}, "127.0.0.1", "1.0"),  # a proxy that says nothing of itself
        ({"authorization": "Bearer not-this-one-at-all"}, "10.0.0.7", "1.1"),
        ({"authorization": "Bearer"}, "10.0.0.7", "1.1"),
        ({"cookie": f"session={TOKEN}"}, "10.0.0.7", "1.1"),
    ],
)
def test_nobody_else_may(hub, what, headers, peer, version) -> None:
    with pytest.raises(Refusal) as refused:
        check_observer(hub, asked(headers, peer), what, known=False, version=version)
    assert refused.value.code is Code.FORBIDDEN
    assert TOKEN not in str(refused.value)


def test_without_a_token_none_will_do() -> None:
    with pytest.raises(Refusal):
        check_observer(Hub(Options()), asked({"authorization": "Bearer "}, "10.0.0.7"), "status", known=False, version="1.1")


@pytest.mark.parametrize("what", SEEN)
def test_where_it_is_known_who_asks_authorize_says_who_may_observe(hub, what) -> None:
    calls = []

    def authorize(who: object, action: str, channel: str) -> bool:
        calls.append((who, action, channel))
        return who == "ann"

    def look(who: object) -> None:
        check_observer(hub, asked(who=who), what, known=True, version="1.1")

    with pytest.raises(Refusal, match="4403"):
        look("ann")  # nobody says that she may
    hub.authorize = authorize
    look("ann")
    with pytest.raises(Refusal, match="4403"):
        look("bob")
    assert calls == [("ann", "observe", f"${what}"), ("bob", "observe", f"${what}")]
    with pytest.raises(Refusal, match="4403"):
        look(None)  # nobody in particular is not asked about, from wherever
    unknown = asked()
    unknown.found = Refusal(Code.UNAUTHORIZED)
    with pytest.raises(Refusal, match="4401"):
        check_observer(hub, unknown, what, known=True, version="1.1")


def test_a_name_is_not_an_address(hub) -> None:
    assert not is_local(asked({"host": "localhost.evil.example"}))
    assert is_local(asked({"host": "LOCALHOST:8000"}))


@pytest.mark.parametrize("what", SEEN)
async def test_it_is_refused_with_a_number_over_the_wire(http, what: str) -> None:
    async with live(observer_token=TOKEN) as (_, url):
        async with http.get(f"{url}/{what}", headers={"X-Forwarded-For": "10.0.0.7"}) as response:
            assert (response.status, (await response.json())["code"]) == (403, 4403)
        async with http.get(f"{url}/{what}", headers={"X-Forwarded-For": "x", "Authorization": f"Bearer {TOKEN}"}) as response:
            assert response.status == 200
        async with http.get(f"{url}/{what}") as response:
            assert response.status == 200
            assert "no-store" in response.headers["Cache-Control"]


async def test_authenticate_is_asked_who_looks() -> None:
    hub = Hub(Options(channels=("a",)), authorize=lambda who, action, channel: (who, action) == ("ann", "observe"))
    endpoints = Endpoints(hub)
    endpoints.admission.authenticate = lambda request: request.cookies.get("user")
    async with serving(endpoints, drain=hub.close) as url, aiohttp.ClientSession() as http:
        for user, expected in (("ann", 200), ("bob", 403)):
            async with http.get(f"{url}/status", headers={"Cookie": f"user={user}"}) as response:
                assert response.status == expected
        async with http.get(f"{url}/status") as response:
            assert response.status == 403


# --- what is shown


async def test_connections_are_shown_with_what_is_known_of_them(http) -> None:
    async with live() as (hub, url):
        async with connect(url, ["a"]) as stream:
            await hub.publish("a", 1)
            await anext(aiter(stream))
            await until(lambda: len(hub.accounts) == 1)
            await hub.publish("b", 2)
            async with http.get(f"{url}/status") as response:
                assert response.content_type == "application/json"
                shown = await response.json()
            (account,) = hub.accounts
        await until(lambda: not len(hub.accounts))
        async with http.get(f"{url}/status?json", headers={"Accept": "text/html"}) as response:
            later = await response.json()
    (seen,) = shown["connections"]
    assert (seen["connection"], seen["transport"], seen["who"]) == (account.name, "websocket", None)
    assert (seen["address"], seen["items"], seen["behind"], seen["reason"]) == ("127.0.0.1", 1, 1, None)
    assert (seen["since"], seen["why"]) == (account.opened, "race")
    assert (shown["ready"], shown["open"], shown["readers"], shown["channels"], shown["events"]) == (True, 1, 1, 2, 2)
    assert shown["opened"] == {"websocket": 1}
    assert (later["connections"], later["open"]) == ([], 0)
    (gone,) = later["closed"]
    assert gone["connection"] == account.name
    assert gone["reason"] in ("closed", "went")  # Hypercorn does not tell that a client said goodbye


def let_in(hub: Hub, number: int) -> None:
    request = Request("GET", "sse", "", {}, f"10.0.0.{number}")
    hub.accounts.open("sse", request, Alone(hub.feed(["a"])))


async def test_of_a_crowd_no_more_is_shown_than_was_asked_for(hub) -> None:
    for number in range(5):
        let_in(hub, number)
    shown = status(hub, asked(query="limit=2"))
    assert ([each.address for each in shown.connections], shown.open) == (["10.0.0.0", "10.0.0.1"], 5)
    assert status(hub, asked(query="limit=0")).connections == []
    with pytest.raises(Refusal, match="4400"):
        status(hub, asked(query="limit=many"))


async def test_a_server_that_leaves_says_so_and_is_alive() -> None:
    endpoints = Endpoints(Hub(Options(channels=("a",))))
    scope = {"type": "http", "method": "GET", "query_string": b"", "headers": [], "client": ("127.0.0.1", 1)}
    await endpoints.hub.open()
    shown = status(endpoints.hub, asked())
    assert shown.ready
    await endpoints.hub.close()
    assert not status(endpoints.hub, asked()).ready
    for path, expected in (("/health", 503), ("/health/live", 200)):
        start, _ = await Exchange(endpoints, {**scope, "path": path}).end()
        assert start["status"] == expected


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.said: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.said.append(data)


async def test_what_clients_say_never_becomes_html(hub) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    request = Request("GET", "sse", "", {}, evil)
    request.query = {"why": evil, "tried": evil}
    request.found = Identity(evil)
    hub.accounts.open("sse", request, Alone(hub.feed(["a"])))
    text, headers = page(status(hub, asked()))
    parsed = _Text()
    parsed.feed(text)
    assert not {"script", "img"} & set(parsed.tags)
    assert "".join(parsed.said).count(evil) == 4
    policy = dict(headers)[b"content-security-policy"].decode()
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "unsafe" not in policy
    assert sum(name == b"content-security-policy" for name, _ in headers) == 1


async def test_people_get_a_page_and_programs_json(http) -> None:
    async with live() as (_, url):
        async with http.get(f"{url}/status", headers={"Accept": "text/html,*/*;q=0.8"}) as response:
            assert (response.content_type, response.charset) == ("text/html", "utf-8")
            assert "<h1>Status</h1>" in await response.text()
        async with http.get(f"{url}/status", headers={"Accept": "*/*"}) as response:
            assert json.loads(await response.text())["ready"] is True


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
async def test_other_servers_show_it_too_and_to_nobody_else(http, server: str) -> None:
    pytest.importorskip(server)
    async with live(server=find_server(server)) as (hub, url), http.get(f"{url}/sse?channels=a") as stream:
        await stream.content.readuntil(b"\n\n")
        async with http.get(f"{url}/status") as response:
            (seen,) = (await response.json())["connections"]
            assert (seen["transport"], seen["address"]) == ("sse", "127.0.0.1")
        async with http.get(f"{url}/metrics") as response:
            assert 'everywire_connections{transport="sse",worker="1"} 1.0' in await response.text()
        async with http.get(f"{url}/metrics", headers={"Via": "1.1 proxy"}) as response:
            assert response.status == 403
        assert hub.figures.refused == {"forbidden": 1}
