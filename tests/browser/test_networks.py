"""The browser client in a real Chromium, in networks that let through only some of it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.async_api import Browser, BrowserContext, Page, Route

from tests.browser.conftest import holds
from tests.documents import ROOT
from tests.restrictions import Restrictions, answer
from tests.transports.conftest import replay
from transports import Hub, Options, Pace
from transports.asgi import Endpoints
from transports.facts import Fact
from transports.request import Identity, Request
from transports.testing import serving, until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PAGE = b"""<!doctype html><html lang="en"><title>everywire</title><script type="module">
import { connect } from "/live/client.js";
globalThis.start = (options) => {
  globalThis.got = [];
  globalThis.lost = [];
  globalThis.live = connect("/live", { channels: ["a"], ...options });
  live.on("event", (event) => got.push(event.data));
  live.on("lost", (item) => lost.push(item));
};
globalThis.ready = true;
</script>"""
OTHER = b'<!doctype html><html lang="en"><title>elsewhere</title>'
QUICK = {"retest": 0.3, "retest_most": 1, "settle": 0.1, "proof": 2, "backoff": 0.1, "backoff_most": 0.5}


class Site:
    """A page at `/`, and the stream at `/live` behind restrictions."""

    def __init__(self, hub: Hub, how: dict[str, str]) -> None:
        self.network = Restrictions(Endpoints(hub), how)

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and not path.startswith("/live"):
            await receive()
            await answer(send, 200, b"text/html", PAGE if path == "/" else OTHER)
        else:
            await self.network({**scope, "root_path": "/live"}, receive, send)


@dataclass
class Served:
    """A site under a port that it keeps."""

    how: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    url: str = ""
    hub: Hub = None  # type: ignore[assignment]
    network: Restrictions = None  # type: ignore[assignment]

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Served]:
        options = Options(channels=("a",), **self.settings)
        self.hub = Hub(options)
        await self.hub.open()
        site = Site(self.hub, self.how)
        self.network = site.network
        port = int(self.url.rpartition(":")[2] or 0)
        async with serving(site, drain=self.hub.close, options=options, port=port) as self.url:
            yield self


async def opened(where: Browser | BrowserContext, served: Served, **options: Any) -> Page:
    """A page on which the client was started."""
    page = await where.new_page()
    await load(page, served, **options)
    return page


async def load(page: Page, served: Served, **options: Any) -> None:
    await page.goto(f"{served.url}/")
    await holds(page, "globalThis.ready")
    await page.evaluate("(options) => start(options)", {"pace": QUICK, **options})


async def on(page: Page, transport: str) -> None:
    await holds(page, "(name) => live.state === 'open' && live.transport === name", transport)


async def published(served: Served, pages: list[Page], numbers: range) -> None:
    """Publish, and wait until it has come to every page, whole and in order and once."""
    for n in numbers:
        await served.hub.publish("a", n)
    for page in pages:
        await holds(page, "(n) => got.at(-1) === n", numbers[-1])


async def got(page: Page) -> list[int]:
    return await page.evaluate("got")


@pytest.mark.parametrize(
    ("how", "chosen", "said"),
    [
        ({}, "websocket", "Live over WebSocket."),
        ({"ws": "refuse"}, "sse", "Live over SSE: WebSocket could not be opened."),
        ({"ws": "swallow"}, "sse", "Live over SSE: WebSocket fell silent."),
        ({"ws": "refuse", "sse": "hold"}, "longpoll", "Live over long-polling: WebSocket could not be opened."),
        ({"ws": "refuse", "sse": "login"}, "longpoll", "Live over long-polling: WebSocket could not be opened."),
    ],
)
async def test_what_is_chosen_and_what_is_said_of_it(browser: Browser, how: dict[str, str], chosen: str, said: str) -> None:
    async with Served(how).up() as served:
        page = await opened(browser, served)
        await on(page, chosen)
        await published(served, [page], range(20))
        await holds(page, "(said) => live.sentence === said", said)
        assert await got(page) == list(range(20))
        evidence = await page.evaluate("live.evidence")
        assert (evidence["state"], evidence["transport"]) == ("open", chosen)
        if chosen == "longpoll":
            await holds(page, "live.evidence.bad.sse")
            verdict = "buffered" if how["sse"] == "hold" else "captive_portal"
            assert (await page.evaluate("live.evidence.bad.sse"))["verdict"] == verdict


async def test_when_the_block_is_lifted_it_comes_back_up_and_nothing_is_lost(browser: Browser) -> None:
    async with Served({"ws": "refuse", "sse": "hold"}).up() as served:
        page = await opened(browser, served)
        await on(page, "longpoll")
        n = 0
        for path, better in [("sse", "sse"), ("ws", "websocket")]:
            served.network.how[path] = "pass"
            while await page.evaluate("live.transport") != better:
                await served.hub.publish("a", n)
                n += 1
        await published(served, [page], range(n, n + 20))
        assert await got(page) == list(range(n + 20))
        assert await page.evaluate("lost") == []


async def test_the_log_of_a_real_page_can_be_replayed_in_python(browser: Browser) -> None:
    async with Served({"ws": "swallow"}).up() as served:
        page = await opened(browser, served)
        await page.evaluate("live.close()")
        await page.evaluate("localStorage.clear()")
        await page.evaluate("(pace) => { globalThis.steps = []; start({ pace, log: (entry) => steps.push(entry) }) }", QUICK)
        await holds(page, "live.evidence.bad.websocket")
        steps, told = await page.evaluate("[steps, live.evidence]")
        log = [{**each, "fact": msgspec.convert(each["fact"], Fact)} for each in steps]
        state = replay(["websocket", "sse", "longpoll"], Pace(**QUICK), log)
        assert (state.state, state.sentence) == (told["state"], told["sentence"])
        assert msgspec.to_builtins(state.attempts) == told["attempts"]


async def test_what_is_remembered_of_a_network_is_forgotten_as_the_how_to_says_and_nothing_else(browser: Browser) -> None:
    how_to = (ROOT / "docs" / "how-to" / "why-is-a-client-on-longpoll.md").read_text()
    forget = re.search(r"`(localStorage\.[^`]+)`", how_to)[1]
    async with Served({"ws": "swallow"}).up() as served:
        page = await opened(browser, served)
        await holds(page, "localStorage.getItem('everywire:/live')")
        await page.evaluate("live.close()")
        await page.evaluate("localStorage.setItem('mine', '')")
        await page.evaluate(forget)
        assert await page.evaluate("Object.keys(localStorage)") == ["mine"]


async def test_a_server_that_was_restarted_is_held_against_nobody(browser: Browser) -> None:
    served = Served()
    async with served.up():
        page = await opened(browser, served)
        await on(page, "websocket")
        await published(served, [page], range(5))
    await holds(
        page, "live.state === 'reconnecting' && live.evidence.attempts.filter((a) => a.verdict === 'unreachable').length >= 6"
    )
    async with served.up():
        await on(page, "websocket")
        await published(served, [page], range(5, 10))
        assert await got(page) == list(range(10))
        assert [each["reason"] for each in await page.evaluate("lost")] == ["epoch"]
        assert await page.evaluate("live.evidence.bad") == {}
        assert not json.loads(await page.evaluate("localStorage.getItem('everywire:/live') ?? '{}'")).get("bad")


async def test_a_token_that_expires_is_renewed_on_the_connection_that_is_open(browser: Browser) -> None:
    shown: list[float] = []

    def who(request: Request) -> Identity:
        shown.append(float(request.token or 0))
        return Identity("ann", shown[-1])

    async with Served().up() as served:
        served.network.app.admission.authenticate = who
        page = await browser.new_page()
        await page.goto(f"{served.url}/")
        await holds(page, "globalThis.ready")
        await page.evaluate(
            """(pace) => {
                const lives = [16, 600];
                start({ pace, token: async () => `${Date.now() / 1000 + (lives[1] ? lives.shift() : lives[0])}` });
            }""",
            QUICK,
        )
        await on(page, "websocket")
        (account,) = served.hub.accounts
        first, n = account.expires, 0
        while account.expires == first and account.closed is None:
            await published(served, [page], range(n, n + 20))
            n += 20
        await published(served, [page], range(n, n + 20))
        assert await got(page) == list(range(n + 20))
        assert [(each.name, each.expires) for each in served.hub.accounts] == [(account.name, shown[-1])]
        assert await page.evaluate("live.evidence.attempts.map(({ why }) => why)") == ["race"]


async def test_what_was_learnt_is_known_after_a_reload(browser: Browser) -> None:
    async with Served({"ws": "swallow"}).up() as served:
        page = await opened(browser, served)
        await holds(page, "live.evidence.bad.websocket")
        await page.goto(f"{served.url}/elsewhere")  # who asks from here on is the next page
        served.network.asked.clear()
        await load(page, served, pace={})
        await on(page, "sse")
        assert "ws" not in served.network.asked
        assert await page.evaluate("live.evidence.attempts[0].verdict") == "remembered_bad"


async def test_a_page_that_is_loaded_again_reads_on_where_it_was(browser: Browser) -> None:
    async with Served().up() as served:
        page = await opened(browser, served, resume=True)
        await on(page, "websocket")
        await published(served, [page], range(5))
        await page.goto(f"{served.url}/elsewhere")
        for n in range(5, 10):
            await served.hub.publish("a", n)
        await load(page, served, resume=True)
        await published(served, [page], range(10, 15))
        assert await got(page) == list(range(5, 15))


async def test_a_page_that_was_put_to_sleep_goes_on_when_it_is_back(browser: Browser) -> None:
    """By the events of the back/forward cache, which the browsers that Playwright starts do not use."""
    async with Served().up() as served:
        page = await opened(browser, served)
        await on(page, "websocket")
        await published(served, [page], range(5))
        await page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
        await until(lambda: served.hub.readers == 0)
        assert await page.evaluate("live.sentence") == "This page is put to sleep."
        for n in range(5, 10):
            await served.hub.publish("a", n)
        await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
        await published(served, [page], range(10, 15))
        assert await got(page) == list(range(15))


@pytest.mark.parametrize(("how", "transport"), [({}, "websocket"), ({"ws": "refuse"}, "sse")])
async def test_a_page_stays_open_while_its_server_goes(
    browser: Browser, tmp_path: Path, how: dict[str, str], transport: str
) -> None:
    async with Served(how, {"broker": f"sqlite:///{tmp_path}/log.db"}).up() as served:
        page = await opened(browser, served)
        await on(page, transport)
        await published(served, [page], range(10))
        await page.evaluate("globalThis.states = []; live.on('state', ({ state }) => states.push(state)); 0")
        other = Hub(served.hub.options)
        await other.open()
        publishing = asyncio.create_task(_steadily(other, page, range(10, 40)))
        served.network.app = Endpoints(other)
        await served.hub.drain()
        assert other.readers == 1
        await publishing
        await holds(page, "got.at(-1) === 39")
        assert await got(page) == list(range(40))
        assert await page.evaluate("[...new Set(states)]") == ["open"]
        assert await page.evaluate("live.evidence.attempts.some(({ why, verdict }) => why === 'move' && verdict === 'ok')")
        await other.close()


async def _steadily(hub: Hub, page: Page, numbers: range) -> None:
    """Publish, not far ahead of what has come."""
    for n in numbers:
        await hub.publish("a", n)
        await holds(page, "(n) => got.at(-1) > n - 5", n)


async def test_without_a_network_it_says_so_and_goes_on_when_it_is_back(browser: Browser) -> None:
    async with Served({"ws": "refuse"}).up() as served:
        context = await browser.new_context()
        page = await opened(context, served)
        await on(page, "sse")
        await context.set_offline(True)
        await page.evaluate("live.cut()")
        await holds(page, "live.state === 'offline'")
        for n in range(5):
            await served.hub.publish("a", n)
        await context.set_offline(False)
        await published(served, [page], range(5, 10))
        assert await got(page) == list(range(10))


async def _no_more(route: Route) -> None:
    await route.abort()


async def _half(route: Route) -> None:
    answer = await route.fetch()
    await route.fulfill(response=answer, body=(await answer.body())[:200])


async def _silence(route: Route) -> None:
    pass


@pytest.mark.parametrize(
    ("part", "how"),
    [("outbox", _no_more), ("oneway", _no_more), ("tabs", _no_more), ("outbox", _half), ("oneway", _half), ("oneway", _silence)],
)
async def test_a_part_that_did_not_come_is_loaded_by_another_url(
    browser: Browser, part: str, how: Callable[[Route], Awaitable[None]]
) -> None:
    """A browser remembers what could not be loaded, by its URL: what was blocked once would be missing until a reload."""
    asked: list[str] = []

    async def block(route: Route) -> None:
        asked.append(route.request.url)
        await (how(route) if len(asked) < 3 else route.continue_())

    async with Served({"ws": "refuse"}).up() as served:
        page = await browser.new_page()
        await page.route(re.compile(rf"/{part}\.js"), block)
        await load(page, served, share=part == "tabs")
        if part == "outbox":
            ids = await page.evaluate("Promise.all([live.publish('a', 0), live.publish('a', 1)])")
            assert ids == [f"{served.hub.log.epoch}.1", f"{served.hub.log.epoch}.2"]
        else:
            await on(page, "sse")
            await published(served, [page], range(2))
        await holds(page, "got.length === 2")
        assert await got(page) == [0, 1]
        assert asked[0] == f"{served.url}/live/{part}.js"
        assert len(set(asked)) == len(asked) >= 3


@pytest.mark.parametrize("path", ["sse", "poll"])
async def test_ten_tabs_share_one_connection_and_go_on_when_its_tab_is_closed(browser: Browser, path: str) -> None:
    chosen = {"sse": "sse", "poll": "longpoll"}[path]
    how = {"ws": "refuse"} | ({"sse": "refuse"} if path == "poll" else {})
    async with Served(how).up() as served:
        context = await browser.new_context()
        tabs = [await opened(context, served, share=True, pace={}) for _ in range(10)]
        for tab in tabs:
            await on(tab, chosen)
        await published(served, tabs, range(20))
        await until(lambda: served.hub.readers == 1)
        n = 20
        for _ in range(3):
            await tabs.pop(0).close()  # the first was opened first: it leads
            await published(served, tabs, range(n, n + 20))
            n += 20
            await until(lambda: served.hub.readers == 1)
        for tab in tabs:
            assert await got(tab) == list(range(n))
            assert await tab.evaluate("live.state") == "open"


async def test_tabs_on_websocket_are_left_alone(browser: Browser) -> None:
    async with Served().up() as served:
        context = await browser.new_context()
        tabs = [await opened(context, served, share=True) for _ in range(3)]
        for tab in tabs:
            await on(tab, "websocket")
        await until(lambda: served.hub.readers == 3)
