"""What how-tos and references show of a page, on one, in a real browser, with the servers that the documents have for it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
import quart
from playwright.async_api import Browser, Page, expect
from quart import Quart

from tests.browser.conftest import holds
from tests.browser.pages import is_open, module, named, opened, page_of, put, served
from tests.documents import ROOT, Block, block_with, blocks, run
from transports.client import connect
from transports.networks import Network
from transports.quart import Live
from transports.testing import serving, until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
HOW_TO = ROOT / "docs" / "how-to"
QUART = HOW_TO / "add-to-a-quart-app.md"
AUTHENTICATE = HOW_TO / "authenticate.md"
SITES = HOW_TO / "stop-cross-site-hijacking.md"
SOCKETIO = HOW_TO / "move-from-socketio.md"
THERE = HOW_TO / "show-who-is-there.md"
(RESUMING,) = blocks(HOW_TO / "resume-over-reload-and-restart.md", "js")
(REFERENCE,) = blocks(ROOT / "docs" / "reference" / "browser-client.md", "js")


def sign_in_at(app: Quart) -> None:
    """Have users sign in as the page on who comes has it."""
    app.secret_key = "change me"
    app.post("/login")(run(block_with(AUTHENTICATE, "python", "async def login"))["login"])


# --- a page of the app itself


async def test_a_page_of_the_app_reads_what_the_app_publishes(browser: Browser) -> None:
    app = run(blocks(QUART, "python")[0])["app"]
    (block,) = blocks(QUART, "html")
    put(app, named(block.text))
    async with served(app) as (_, url), opened(browser, url) as (page, printed):
        await is_open(page)
        for _ in range(2):
            assert (await page.request.post(f"{url}/orders")).status == 201
        await until(lambda: printed == [[{"state": "new"}]] * 2)


async def test_the_page_of_the_reference_prints_how_things_stand_what_comes_and_what_is_gone(browser: Browser) -> None:
    app = page_of(module(REFERENCE.text), "clock", history_count=2)
    async with served(app) as (live, url), opened(browser, url) as (page, printed):
        await is_open(page)
        await until(lambda: ["Live over WebSocket."] in printed)
        ids = [await live.publish("clock", number) for number in range(3)]  # before the reader is woken: two are still kept
        await until(lambda: [ids[2], 2] in printed)
        assert [line for line in printed if len(line) == 2] == [["gone for good:", "clock"], [ids[1], 1], [ids[2], 2]]


PRINT = """
live.on("event", ({ data }) => console.log(data));
live.on("lost", () => console.log("lost"));
"""


@pytest.mark.parametrize(("block", "channel"), [(RESUMING, "orders"), (REFERENCE, "clock")], ids=str)
async def test_a_page_that_is_loaded_anew_goes_on_where_it_was(browser: Browser, block: Block, channel: str) -> None:
    app = page_of(module(block.text + PRINT, body='<script src="/away.js"></script>'), channel)
    live = app.extensions["live"]
    numbers = itertools.count()

    @app.get("/away.js")
    async def away() -> tuple[str, dict[str, str]]:
        """Something happens while the page is away: it asks for this before its module, and the one before it has gone."""
        await until(lambda: not live.hub.readers)
        await live.publish(channel, next(numbers))
        return "", {"content-type": "text/javascript", "cache-control": "no-store"}

    async with served(app) as (_, url), opened(browser, url) as (page, printed):
        for last in (1, 3, 5):  # the first time it begins with the present: it knows no 0
            await is_open(page)
            await live.publish(channel, next(numbers))
            await until(lambda last=last: [last] in printed)
            if last < 5:
                await page.reload()
    assert [line for line in printed if len(line) == 1 and isinstance(line[0], int)] == [[number] for number in range(1, 6)]
    assert ["lost"] not in printed


async def test_a_page_that_came_from_socketio_prints_what_is_its_users_and_begins_anew_after_a_loss(browser: Browser) -> None:
    names = run(block_with(SOCKETIO, "python", "from transports"))
    app, shipped = names["app"], names["shipped"]
    sign_in_at(app)
    put(app, module(block_with(SOCKETIO, "js", "import { connect }").text))
    async with served(app) as (live, url), opened(browser, url, user="ann") as (page, printed):
        await is_open(page)
        await shipped("bob", 1)
        await shipped("ann", 2)
        await until(lambda: printed)
        assert printed == [["shipped", 2]]
        async with page.expect_event("load"):
            for number in range(live.hub.options.history_count + 1):  # before the reader is woken: one is gone
                await shipped("ann", number)
        await is_open(page)
        await shipped("ann", "the last")
        await until(lambda: ["shipped", "the last"] in printed)


# --- who comes


@asynccontextmanager
async def handing_out_tokens(seconds: str, more: str = "") -> AsyncIterator[tuple[Live, str, Counter[str]]]:
    """The app that looks at tokens and hands them out for so long, with the page; and how often each path of it was asked."""
    handing_out = block_with(AUTHENTICATE, "python", '@app.post("/token")')
    assert "+ 300\n" in handing_out.text
    handing_out = handing_out._replace(text=handing_out.text.replace("+ 300\n", f"+ {seconds}\n"))
    app = run(block_with(AUTHENTICATE, "python", "import jwt"), handing_out)["app"]
    asked: Counter[str] = Counter()

    @app.before_request
    async def count() -> None:
        asked[quart.request.path] += 1

    sign_in_at(app)
    put(app, module(block_with(AUTHENTICATE, "js", "let kept").text + more))
    async with served(app) as (live, url):
        yield live, url, asked


def open_now(live: Live) -> dict[str, Any]:
    """The connections that are open, and who they are."""
    return {account.name: account.who for account in live.hub.accounts}


async def test_a_token_is_kept_while_it_holds(browser: Browser) -> None:
    async with handing_out_tokens("300", PRINT) as (live, upstream, asked):
        network = Network("open", upstream=upstream)
        async with network as url, opened(browser, url, user="ann") as (page, printed):
            await is_open(page)
            await live.publish("orders.ann", 1)
            await until(lambda: printed == [[1]])
            before = open_now(live)
            assert set(before.values()) == {"ann"}
            network.cut()
            await until(lambda: open_now(live).keys() - before.keys())
            await live.publish("orders.ann", 2)
            await until(lambda: printed == [[1], [2]])
        assert asked["/token"] == 1


async def test_a_page_comes_back_with_a_newer_token_and_nobody_notices(browser: Browser) -> None:
    more = f'{PRINT}live.on("state", ({{ state }}) => console.log(state));'
    async with handing_out_tokens("6", more) as (live, url, asked), opened(browser, url, user="ann") as (page, printed):
        await is_open(page)
        first, asked_before = max(account.expires for account in live.hub.accounts), asked["/token"]
        published = 0

        async def publish() -> None:
            nonlocal published
            while True:
                await live.publish("orders.ann", published)
                published += 1
                await asyncio.sleep(0.02)

        publishing = asyncio.create_task(publish())
        # All that is open was shown a newer one by then.
        await until(lambda: min((account.expires for account in live.hub.accounts), default=0.0) > first)
        publishing.cancel()
        await asyncio.wait([publishing])
        await until(lambda: [published - 1] in printed)
        assert asked["/token"] > asked_before
        assert set(open_now(live).values()) == {"ann"}
        since_open = printed[printed.index(["open"]) :]
        assert [line for line in since_open if line != ["open"]] == [[number] for number in range(published)]


async def test_a_plain_eventsource_shows_a_ticket_which_is_good_once(browser: Browser) -> None:
    names = run(block_with(AUTHENTICATE, "python", "import jwt"))
    app, block = names["app"], block_with(AUTHENTICATE, "js", "/live/ticket")
    claims = {"sub": "ann", "exp": int(time.time()) + 600, "aud": "orders", "iss": "https://login.example"}
    token = jwt.encode(claims, app.config["JWT_KEY"], "HS256")
    put(app, module(f'const token = "{token}";\n{block.text}'))
    async with served(app) as (live, upstream):
        network = Network("open", upstream=upstream)
        async with network as url, opened(browser, url) as (page, printed):
            await holds(page, "globalThis.events?.readyState === EventSource.OPEN")
            assert list(open_now(live).values()) == ["ann"]
            event_id = await live.publish("orders.ann", {"number": 7})
            await until(lambda: printed)
            ((printed_id, item),) = printed
            assert (printed_id, item["id"], item["data"]) == (event_id, event_id, {"number": 7})
            network.cut()
            await holds(page, "events.readyState === EventSource.CLOSED")
            assert not sum(live.hub.figures.refused.values())  # it has not come back with what is used
            assert await page.evaluate("fetch(events.url).then(({ status }) => status)") == 401


# --- who is there


async def test_who_is_there_is_shown_until_the_last_tab_has_gone(browser: Browser) -> None:
    app = run(blocks(THERE, "python")[0])["app"]
    (block,) = blocks(THERE, "js")

    @app.get("/page/<name>")
    async def page_of_somebody(name: str) -> str:
        return module(block.text.replace('"ann"', f'"{name}"'), body='<p id="who"></p>')

    told: list[tuple[str, str, Any]] = []

    async def listen(stream: Any) -> None:
        async for event in stream:
            told.append((event.data["change"], event.data["as"], event.data.get("data")))

    async def shown(names: str, *pages: Page) -> None:
        for page in pages:
            await expect(page.locator("#who")).to_have_text(names)

    async with served(app) as (_, url), connect(f"{url}/live", ["presence:lobby"]) as stream:
        listening = asyncio.create_task(listen(stream))
        hers = await browser.new_context()
        async with opened(browser, f"{url}/page/bob") as (bob, _):
            await shown("bob, clerk", bob)
            async with opened(hers, f"{url}/page/ann") as (first, _), opened(hers, f"{url}/page/ann") as (second, _):
                await shown("ann, bob, clerk", bob, first, second)
                await first.close()
                await second.reload()
                await shown("ann, bob, clerk", second)
                await second.evaluate('stay.say({ mood: "busy" })')
                await until(lambda: ("changed", "ann", {"mood": "busy"}) in told)
                await second.evaluate("stay.leave()")
                await shown("bob, clerk", bob, second)
        listening.cancel()
        await asyncio.wait([listening])
    assert [(change, name) for change, name, _ in told if name != "clerk"] == [
        ("joined", "bob"),
        ("joined", "ann"),
        ("changed", "ann"),
        ("left", "ann"),
    ]


# --- a page of another site


@asynccontextmanager
async def another_site(browser: Browser, text: str, network: str = "open") -> AsyncIterator[tuple[Live, Page, list[Any]]]:
    """The script on a page of the shop that the server's settings name, in the browser of ann, who is known to the server by a
    cookie and may read what nobody else may. Both have the addresses of the test instead of those of the page.
    """
    pages: dict[str, str] = {}
    shop = Quart(__name__)

    @shop.get("/")
    async def index() -> str:
        return pages["/"]

    async with serving(shop) as origin:
        server = block_with(SITES, "python", "https://shop.example")
        names = run(server._replace(text=server.text.replace("https://shop.example", origin)))
        names["live"].authenticate(context=False)(lambda request: request.cookies.get("who"))
        names["live"].authorize(lambda who, action, channel: who == "ann")
        async with served(names["app"]) as (live, upstream), Network(network, upstream=upstream) as url:
            pages["/"] = module(text.replace("https://live.example", url))
            hers = await browser.new_context()
            await hers.add_cookies([{"name": "who", "value": "ann", "url": url}])
            async with opened(hers, origin) as (page, printed):
                yield live, page, printed


async def test_a_page_of_a_site_that_is_named_reads_with_a_plain_eventsource_and_cookies(browser: Browser) -> None:
    more = "orders.onmessage = ({ data }) => console.log(JSON.parse(data).data);"
    block = block_with(SITES, "js", "new EventSource")
    async with another_site(browser, block.text + more) as (live, page, printed):
        await holds(page, "globalThis.orders?.readyState === EventSource.OPEN")
        await live.publish("prices", 1)
        await until(lambda: printed == [[1]])
        assert set(open_now(live).values()) == {"ann"}


@pytest.mark.parametrize(("network", "transport"), [("open", "websocket"), ("no-upgrade", "sse")])
async def test_our_client_reads_with_cookies_there_whichever_transport_it_gets(
    browser: Browser, network: str, transport: str
) -> None:
    block = block_with(SITES, "js", "withCookies")
    async with another_site(browser, block.text + PRINT, network) as (live, page, printed):
        await is_open(page)
        assert await page.evaluate("live.transport") == transport
        await live.publish("prices", 1)
        await until(lambda: printed == [[1]])
        assert set(open_now(live).values()) == {"ann"}
