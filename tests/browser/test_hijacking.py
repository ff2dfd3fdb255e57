"""A page of somebody else in a real browser, which knows who its user is; and hostile events on a page of ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Browser, Page, expect

from quart_app import create_app
from tests.attacks.guards import without
from tests.attacks.stage import EDGES, SECRET, Target, stage
from tests.browser.conftest import holds
from transports.testing import serving

if TYPE_CHECKING:
    from tests.browser.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# What the page tries; each tells whether it got hold of the secret.
TRIES = {
    "ws": """({ url, query }) => new Promise((done) => {
        const socket = new WebSocket(`${url.replace("http", "ws")}/ws?${query}`);
        socket.onmessage = ({ data }) => data.includes("pin") && done(true);
        socket.onclose = () => done(false);
    })""",
    "sse": """({ url, query }) => new Promise((done) => {
        const source = new EventSource(`${url}/sse?${query}`, { withCredentials: true });
        source.onmessage = ({ data }) => { source.close(); done(data.includes("pin")); };
        source.onerror = () => { source.close(); done(false); };
    })""",
    "poll": """({ url, query }) => fetch(`${url}/poll?${query}`, { credentials: "include" })
        .then((response) => response.text()).then((text) => text.includes("pin"), () => false)""",
    "script": """({ url, query }) => new Promise((done) => {
        const script = Object.assign(document.createElement("script"), { src: `${url}/poll?${query}` });
        script.onload = () => done(true);
        script.onerror = () => done(false);
        document.head.append(script);
    })""",
}
POSTS = {
    "form": '{ mode: "no-cors", headers: { "content-type": "text/plain" } }',
    "fetch": '{ headers: { "content-type": "application/json" } }',
}
POST = """({ url, body }) => fetch(`${url}/commands`, { method: "POST", credentials: "include", body, ...%s })
    .then(() => {}, () => {})"""
HOSTILE = "<img src=x onerror=globalThis.hijacked=1><script>globalThis.hijacked=1</script>"


async def kittens(scope: Any, receive: Any, send: Any) -> None:
    """A site of somebody else. A real one: Chromium lets no page that comes from nowhere ask a loopback address."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
        frames = b"".join(b"<iframe src='%b'></iframe>" % url for url in scope["query_string"].split(b"&") if url)
        await send({"type": "http.response.body", "body": b"<!doctype html><title>Kittens</title>" + frames})


@asynccontextmanager
async def evil(browser: Browser, *framed: str) -> AsyncIterator[Page]:
    """A page on another port of the same machine, where cookies are the same: what a browser keeps apart least."""
    async with serving(kittens) as url:
        context = await browser.new_context()
        await context.add_cookies([{"name": "who", "value": "ann", "url": url}])
        page = await context.new_page()
        await page.goto(f"{url}/?{'&'.join(framed)}")
        yield page
        await context.close()


async def tried(browser: Browser, target: Target) -> set[str]:
    """What the page succeeded with."""
    given = {"url": f"{target.url}/live", "query": target.secret}
    async with evil(browser) as page:
        found = {name for name, tries in TRIES.items() if await page.evaluate(tries, given)}
        for name, init in POSTS.items():
            body = json.dumps({"do": "publish", "channel": SECRET, "data": name})
            before = target.hub.log.head
            await page.evaluate(POST % init, {"url": given["url"], "body": body})
            if target.hub.log.head != before:
                found.add(name)
    return found


@pytest.mark.parametrize("edge", EDGES)
async def test_a_page_of_another_origin_gets_nothing_and_all_where_nothing_stops_it(browser: Browser, edge: str) -> None:
    async with stage(edge) as target:
        assert await tried(browser, target) == set()
    with without("POST is JSON"):
        async with stage(edge) as target:
            assert await tried(browser, target) == set()
    with without("origins are named"):
        async with stage(edge) as target:
            assert await tried(browser, target) == {"ws", "sse", "poll", "fetch"}
    with without("origins are named", "POST is JSON", "pages that name no origin are foreign too", "nosniff", "resource policy"):
        async with stage(edge) as target:
            assert await tried(browser, target) >= {"ws", "sse", "poll", "fetch", "form"}


@pytest.mark.parametrize("edge", EDGES)
async def test_with_a_star_the_page_may_connect_and_is_nobody(browser: Browser, edge: str) -> None:
    async with stage(edge, origins=("*",)) as target, evil(browser) as page:
        assert await tried(browser, target) == set()
        await target.hub.publish("open.news", "pin")
        given = {"url": f"{target.url}/live", "query": f"channels=open.news&since={target.beginning}"}
        assert await page.evaluate(TRIES["ws"], given)
        assert await page.evaluate(TRIES["poll"].replace('"include"', '"same-origin"'), given)


@pytest.mark.parametrize("edge", EDGES)
async def test_a_page_that_is_named_reads_with_cookies_and_is_shown_errors(browser: Browser, edge: str) -> None:
    async with evil(browser) as page, stage(edge, origins=(await page.evaluate("origin"),)) as target:
        given = {"url": f"{target.url}/live", "query": target.secret}
        for name in ("ws", "sse", "poll"):
            assert await page.evaluate(TRIES[name], given), name
        ask = """(url) => fetch(url, { method: "POST", body: "x" }).then((r) => r.json()).then((body) => body.code)"""
        assert await page.evaluate(ask, f"{given['url']}/commands") == 4400


# The client of ours on a page of an origin that is named: it publishes, and reads what it has published.
CLIENT = """async ({ url, transport }) => {
    const { connect } = await import(`${url}/client.js`);
    const withCookies = (asked, init) => fetch(asked, { ...init, credentials: "include" });
    const live = connect(url, { channels: ["open.news", "secret.ann"], transport, fetch: withCookies });
    try {
        await new Promise((done) => live.on("state", ({ state }) => state === "open" && done()));
        live.publish("secret.ann", transport);
        for await (const event of live) return [event.channel, event.data, live.transport];
    } finally {
        live.close();
    }
}"""


@pytest.mark.parametrize("transport", ["websocket", "sse", "longpoll"])
async def test_our_client_works_on_a_page_that_is_named_as_on_one_of_ours(browser: Browser, transport: str) -> None:
    async with evil(browser) as page, stage("front", origins=(await page.evaluate("origin"),)) as target:
        given = {"url": f"{target.url}/live", "transport": transport}
        assert await page.evaluate(CLIENT, given) == [SECRET, transport, transport]


async def test_no_page_of_ours_can_be_framed(browser: Browser, server: Server) -> None:
    async with evil(browser, *(f"{server.url}{path}" for path in ("/", "/live/negotiate"))) as page:
        assert [frame.url.partition(":")[0] for frame in page.frames[1:]] == ["chrome-error"] * 2


# --- hostile events on a page of ours


def unguarded(app: Any, *, text: bool, policy: bool) -> Any:
    """The application without what keeps text a text, or without the policy of its page."""

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                unwanted = {b"content-length"} | ({b"content-security-policy"} if policy else set())
                message["headers"] = [each for each in message["headers"] if each[0].lower() not in unwanted]
            elif text:
                message["body"] = message.get("body", b"").replace(b".textContent = ", b".innerHTML = ")
            await send(message)

        ours = scope["type"] == "http" and scope["path"] in ("/", "/home/home.js")
        await app(scope, receive, sent if ours else send)

    return asked


async def shows(browser: Browser, *, text: bool = False, policy: bool = False) -> bool:
    """Whether a hostile event takes over a page from which what keeps text a text, or its policy, was taken away."""
    app = create_app()
    async with serving(unguarded(app, text=text, policy=policy), drain=app.extensions["live"].hub.close) as url:
        page = await browser.new_page()
        await page.goto(url)
        await expect(page.locator("#reader[data-state=open]")).to_be_visible()
        answer = await page.request.post(f"{url}/live/commands", data={"do": "publish", "channel": "chat", "data": HOSTILE})
        assert (await answer.json())[0]["ok"]
        await page.get_by_label("Publish to chat").fill("the last")  # and what comes behind it has come
        await page.get_by_role("button", name="Publish").click()
        with suppress(AssertionError if text and not policy else ()):  # the policy lets the broken page show nothing at all
            await expect(page.locator("#last")).to_contain_text("the last", timeout=3000 if text and not policy else 30_000)
        taken = await taken_over(page)
        await page.close()
        return taken


async def taken_over(page: Page) -> bool:
    """Whether what an event said was run: what was to come has come, a few times over."""
    await page.evaluate(
        "Promise.all([...document.images].map((image) => image.complete || new Promise((done) => "
        "{ image.onload = image.onerror = done; })))"
    )
    return bool(await page.evaluate("globalThis.hijacked"))


async def test_an_event_is_never_a_part_of_the_page(browser: Browser) -> None:
    assert not await shows(browser)
    assert not await shows(browser, policy=True)
    assert not await shows(browser, text=True)
    assert await shows(browser, text=True, policy=True)


async def test_whatever_stands_in_an_event_is_shown_as_text(page: Page, server: Server) -> None:
    hostile: list[Any] = [
        HOSTILE,
        {HOSTILE: HOSTILE},
        {"cpu": HOSTILE, "load": [HOSTILE], "memory": {"total": HOSTILE}, "disk": None, "network": []},
        {"__proto__": {"hijacked": 1}, "constructor": HOSTILE, "toString": HOSTILE},
        [[[HOSTILE]]],
    ]
    commands = [
        {"do": "publish", "ref": n, "channel": channel, "data": data, "about": HOSTILE[:128]}
        for n, (channel, data) in enumerate((channel, data) for data in hostile for channel in ("chat", "vitals"))
    ]
    answer = await page.request.post(f"{server.url}/live/commands", data=commands)
    assert all(reply["ok"] for reply in await answer.json())
    await expect(page.locator("#last")).to_contain_text("globalThis.hijacked")
    await holds(page, "() => document.querySelectorAll('main img, main script').length === 0")
    assert not await page.evaluate("globalThis.hijacked ?? ({}).hijacked ?? false")
    refused = await page.request.post(
        f"{server.url}/live/commands", data=[{"do": "publish", "channel": f"chat{HOSTILE}", "data": 1}]
    )
    assert (await refused.json())[0]["code"] == 4404
