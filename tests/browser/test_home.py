"""The page of `everywire serve` in a real browser: its reader is cut, goes offline, loses a log, and is used without a mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import holds, moved, watch

if TYPE_CHECKING:
    from tests.browser.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

EVENTS = "n => Number(document.querySelector('#events').textContent.replaceAll(',', '')) >= n"
# Keeps what is told of a loss: on show are the latest items only.
WATCH = """() => {
    const list = document.querySelector("#last");
    const note = () => { globalThis.loss ??= list.querySelector(".lost")?.textContent; };
    new MutationObserver(note).observe(list, { childList: true });
}"""
FOCUSED = """() => {
    const e = document.activeElement;
    return [e.id || e.className || e.textContent, getComputedStyle(e).outlineStyle];
}"""


async def events(page: Page) -> int:
    return int((await page.locator("#events").inner_text()).replace(",", ""))


async def more(page: Page, count: int) -> None:
    """Until so many have come beside those that are on show."""
    await holds(page, EVENTS, await events(page) + count)


async def stands(page: Page, state: str, sentence: str) -> None:
    await expect(page.locator("#reader")).to_have_attribute("data-state", state)
    await expect(page.locator("#sentence")).to_contain_text(sentence)


async def breaches(page: Page) -> list[str]:
    """What axe has to say against the page, best practices included."""
    results = await Axe().run(page)
    return [f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}" for each in results.response["violations"]]


async def test_a_reader_shows_what_comes(page: Page) -> None:
    await holds(page, EVENTS, 3)
    await stands(page, "open", "Live over WebSocket")
    await expect(page.locator("#last li").first).to_contain_text('vitals{"cpu":')
    await expect(page.locator("#lost")).to_have_text("0")
    await expect(page.locator(".url").first).to_have_text(f"{page.url}live")


async def test_what_was_cut_goes_on_and_nothing_is_lost(page: Page) -> None:
    await more(page, 1)
    await page.get_by_role("button", name="Cut").click()
    await stands(page, "reconnecting", "The wire was cut")
    await stands(page, "open", "Live over")
    await more(page, 6)
    await expect(page.locator("#lost")).to_have_text("0")


async def test_without_a_network_the_page_says_so_and_goes_on_when_it_is_back(page: Page) -> None:
    await more(page, 1)
    await page.context.set_offline(True)
    await page.get_by_role("button", name="Cut").click()
    await stands(page, "offline", "This device is offline")
    await page.context.set_offline(False)
    await stands(page, "open", "Live over")
    await more(page, 3)
    await expect(page.locator("#lost")).to_have_text("0")


async def test_after_a_restart_it_tells_what_is_lost(page: Page, server: Server) -> None:
    await more(page, 1)
    before = (await page.locator("#position").inner_text()).split(".")[0]
    await page.evaluate(WATCH)
    await server.stop()
    await expect(page.locator("#reader")).to_have_attribute("data-state", "reconnecting")
    await server.start()
    await stands(page, "open", "Live over")
    await expect(page.locator("#lost")).not_to_have_text("0")
    await holds(page, "() => globalThis.loss?.startsWith('Lost: a new log began')")
    assert await breaches(page) == []
    await more(page, 3)
    assert not (await page.locator("#position").inner_text()).startswith(before)


async def test_what_is_published_comes_back_as_text(page: Page) -> None:
    text = "<img src=x onerror=alert(1)> & “Grüße” 世界"
    await page.get_by_label("Publish to chat").fill(text)
    await page.get_by_role("button", name="Publish").click()
    await expect(page.locator("#published")).to_contain_text("Published as")
    await expect(page.locator("#heard")).to_contain_text("It came back after")
    await expect(page.locator("#last")).to_contain_text(text)
    assert await page.locator("main img").count() == 0


async def test_what_is_refused_is_said(page: Page) -> None:
    await page.evaluate("document.querySelector('#reader').dataset.public = 'no such name'")
    await page.get_by_label("Publish to chat").fill("hello")
    await page.keyboard.press("Enter")
    await expect(page.locator("#published")).to_contain_text("Not published: ")
    await expect(page.locator("#published")).to_contain_text("(4404).")
    await expect(page.get_by_label("Publish to chat")).to_have_value("hello")


async def test_pause_stops_all_that_moves_and_not_the_stream(page: Page) -> None:
    await more(page, 1)
    await page.get_by_role("button", name="Pause").click()
    before = await events(page)
    await watch(page, "main")
    async with page.expect_websocket() as back:
        await page.get_by_role("button", name="Cut").click()
    socket = await back.value
    for _ in range(4):  # a hello, and events
        await socket.wait_for_event("framereceived")
    assert await moved(page) == []
    await page.get_by_role("button", name="Resume").click()
    await stands(page, "open", "Live over")
    await holds(page, EVENTS, before + 2)
    await expect(page.locator("#lost")).to_have_text("0")


async def test_no_request_leaves_the_origin(browser: Browser, server: Server) -> None:
    page = await browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    await page.goto(server.url)
    await holds(page, EVENTS, 2)
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(server.url).netloc}
    assert {urlsplit(url).path for url in asked} >= {"/", "/live/client.js", "/live/ws"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_nothing_stands_in_the_way_of_anybody(page: Page, scheme: str, width: int) -> None:
    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    await page.set_viewport_size({"width": width, "height": 800})
    await holds(page, EVENTS, 2)
    assert await breaches(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_everything_can_be_reached_and_used_by_keyboard(page: Page) -> None:
    walk = []
    for _ in range(20):
        await page.keyboard.press("Tab")
        name, outline = await page.evaluate(FOCUSED)
        if page.url and name in walk:
            break
        walk.append(name)
        assert outline == "solid", f"{name} shows no focus"
        if name == "/status":
            break
    links = ["/negotiate", "/client.js", "/health", "/status"]
    assert walk == ["skip", "Documentation", "Who is connected", "pause", "cut", "last", "text", "primary", *links]

    await page.get_by_role("button", name="Cut").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#reader")).to_have_attribute("data-state", "reconnecting")
    await page.get_by_label("Publish to chat").focus()
    await page.keyboard.type("by keyboard")
    await page.keyboard.press("Enter")
    await expect(page.locator("#published")).to_contain_text("Published as")


async def test_its_links_lead_somewhere(page: Page) -> None:
    for link in await page.locator("a[href^='/']").all():
        url = await link.evaluate("e => e.href")
        answer = await page.request.get(url)
        assert answer.ok or url.endswith("/docs/"), url  # where they are not built, a page says how


async def test_what_the_page_may_do_is_little(page: Page, server: Server) -> None:
    response = await page.request.get(server.url)
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws://127.0.0.1:")
    assert "unsafe" not in policy
    assert "*" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert (await page.request.get(f"{server.url}/home/home.js")).headers["x-content-type-options"] == "nosniff"
