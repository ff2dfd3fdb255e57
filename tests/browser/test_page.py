"""The page in a real browser: three lanes on one stream, cut, restarted, read aloud, and used without a mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Locator, Page, expect

from tests.browser.conftest import holds

if TYPE_CHECKING:
    from tests.browser.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LANES = ["websocket", "sse", "longpoll"]
NAMES = {"websocket": "WebSocket", "sse": "Server-Sent Events", "longpoll": "Long-polling"}

# What the page may be asked: small questions about what it shows.
FIGURE = "([lane, name]) => document.querySelector(`[data-transport=${lane}] [data-figure=${name}]`).textContent"
DELIVERED = (
    "n => [...document.querySelectorAll('[data-figure=delivered]')].every(e => Number(e.textContent.replaceAll(',', '')) >= n)"
)
COMPARED = "n => Number(document.querySelector('#compared').textContent) >= n"
POLLS = "performance.getEntriesByType('resource').filter(e => e.name.includes('/poll')).length"
# Keeps what the lanes tell of losses: on show are the latest items only.
WATCH = """() => {
    globalThis.losses = {};
    const note = (lane) => {
        const found = lane.querySelector(".items .lost");
        if (found) losses[lane.dataset.transport] ??= found.textContent;
    };
    for (const lane of document.querySelectorAll("[data-transport]")) {
        new MutationObserver(() => note(lane)).observe(lane, { childList: true, subtree: true });
    }
}"""
FOCUSED = """() => {
    const e = document.activeElement;
    return [e.getAttribute("aria-label") || e.id || e.className, getComputedStyle(e).outlineStyle];
}"""


def lane_of(page: Page, lane: str) -> Locator:
    return page.locator(f"[data-transport={lane}]")


async def figure(page: Page, lane: str, name: str) -> str:
    return str(await page.evaluate(FIGURE, [lane, name]))


async def faults(page: Page, lane: str) -> dict[str, str]:
    return {name: await figure(page, lane, name) for name in ("lost", "doubled", "disordered")}


async def compare_more(page: Page, more: int) -> None:
    """Until the page has compared `more` events of those to come."""
    compared = int(await page.locator("#compared").inner_text())
    await holds(page, COMPARED, compared + more)


async def breaches(page: Page) -> list[str]:
    """What axe has to say against the page, best practices included."""
    results = await Axe().run(page)
    return [f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}" for each in results.response["violations"]]


NO_FAULTS = {"lost": "0", "doubled": "0", "disordered": "0"}


async def test_all_lanes_show_the_same_events(page: Page) -> None:
    await holds(page, DELIVERED, 5)
    await compare_more(page, 3)
    await expect(page.locator("#check")).to_have_attribute("data-verdict", "same")
    await expect(page.locator("#missing")).to_have_text("0")
    for lane in LANES:
        assert await faults(page, lane) == NO_FAULTS
        await expect(lane_of(page, lane).locator(".sentence")).to_contain_text("Live over")
        await expect(lane_of(page, lane).locator("[data-vital=cpu]")).to_contain_text("%")
        await expect(lane_of(page, lane).locator(".items li").first).to_contain_text('"channel":"vitals"')
    await holds(page, "new Set([...document.querySelectorAll('[data-figure=position]')].map(e => e.textContent)).size === 1")


@pytest.mark.parametrize("lane", LANES)
async def test_a_lane_that_was_cut_goes_on_and_nothing_is_missing(page: Page, lane: str) -> None:
    await compare_more(page, 1)
    await page.get_by_role("button", name=f"Cut {NAMES[lane]}").click()
    await expect(lane_of(page, lane)).to_have_attribute("data-state", "reconnecting")
    await expect(lane_of(page, lane).locator(".sentence")).to_contain_text("The wire was cut")
    await expect(lane_of(page, lane)).to_have_attribute("data-state", "open")
    await compare_more(page, 6)
    await expect(page.locator("#missing")).to_have_text("0")
    assert await faults(page, lane) == NO_FAULTS


async def test_without_a_network_the_page_says_so_and_goes_on_when_it_is_back(page: Page) -> None:
    await compare_more(page, 1)
    await page.context.set_offline(True)
    for lane in LANES:
        await page.get_by_role("button", name=f"Cut {NAMES[lane]}").click()
        await expect(lane_of(page, lane)).to_have_attribute("data-state", "offline")
        await expect(lane_of(page, lane).locator(".sentence")).to_contain_text("This device is offline")
    await page.context.set_offline(False)
    for lane in LANES:
        await expect(lane_of(page, lane)).to_have_attribute("data-state", "open")
    await compare_more(page, 3)
    await expect(page.locator("#missing")).to_have_text("0")
    for lane in LANES:
        assert await faults(page, lane) == NO_FAULTS


async def test_after_a_restart_every_lane_tells_what_is_lost(page: Page, server: Server) -> None:
    await compare_more(page, 3)
    before = (await figure(page, "sse", "position")).split(".")[0]
    await page.evaluate(WATCH)
    await server.stop()
    for lane in LANES:
        await expect(lane_of(page, lane)).to_have_attribute("data-state", "reconnecting")
    await server.start()
    for lane in LANES:
        await expect(lane_of(page, lane)).to_have_attribute("data-state", "open")
        await holds(
            page, "(lane) => Number(document.querySelector(`[data-transport=${lane}] [data-figure=lost]`).textContent) > 0", lane
        )
    # A lane that comes back late is told so much at once that its loss is no longer among what is on show.
    told = await page.evaluate("Object.values(losses)")
    assert told
    assert all("A new log began" in each for each in told)
    assert await breaches(page) == []  # with a loss on show
    await compare_more(page, 3)
    await expect(page.locator("#missing")).to_have_text("0")
    for lane in LANES:
        shown = await faults(page, lane)
        assert int(shown.pop("lost")) > 0
        assert shown == {"doubled": "0", "disordered": "0"}
        assert not (await figure(page, lane, "position")).startswith(before)


async def test_what_is_published_comes_back_over_all_lanes_as_text(page: Page) -> None:
    text = "<img src=x onerror=alert(1)> & “Grüße” 世界"
    await page.get_by_label("Text").fill(text)
    await page.get_by_role("button", name="Publish").click()
    await expect(page.locator("#published")).to_contain_text("Published as")
    for lane in LANES:
        await expect(page.locator("#heard")).to_contain_text(NAMES[lane])
        await expect(lane_of(page, lane).locator(".items")).to_contain_text(text)
    assert await page.locator("main img").count() == 0


async def test_pause_stops_the_display_and_not_the_streams(page: Page) -> None:
    await holds(page, DELIVERED, 2)
    await page.get_by_role("button", name="Pause display").click()
    shown, polls = await figure(page, "sse", "delivered"), await page.evaluate(POLLS)
    await holds(page, f"n => {POLLS} >= n + 2", polls)  # answers came meanwhile
    assert await figure(page, "sse", "delivered") == shown
    await page.get_by_role("button", name="Resume display").click()
    await holds(page, DELIVERED, int(shown) + 2)


async def test_no_request_leaves_the_origin(browser: Browser, server: Server) -> None:
    page = await browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    await page.goto(server.url)
    await holds(page, DELIVERED, 3)
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(server.url).netloc}
    assert {urlsplit(url).path for url in asked} >= {"/", "/live/client.js", "/live/ws", "/live/sse", "/live/poll"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_nothing_stands_in_the_way_of_anybody(page: Page, scheme: str, width: int) -> None:
    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    await page.set_viewport_size({"width": width, "height": 800})
    await holds(page, DELIVERED, 2)
    assert await breaches(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_everything_can_be_reached_and_used_by_keyboard(page: Page) -> None:
    walk = []
    for _ in range(20):
        await page.keyboard.press("Tab")
        name, outline = await page.evaluate(FOCUSED)
        if not name:
            break
        walk.append(name)
        assert outline == "solid", f"{name} shows no focus"
    cuts_and_lists = [each for name in NAMES.values() for each in (f"Cut {name}", "items")]
    assert walk == ["skip", "pause", *cuts_and_lists, "text", "primary"]

    await page.get_by_role("button", name="Cut Server-Sent Events").focus()
    await page.keyboard.press("Enter")
    await expect(lane_of(page, "sse")).to_have_attribute("data-state", "reconnecting")
    await page.get_by_label("Text").focus()
    await page.keyboard.type("by keyboard")
    await page.keyboard.press("Enter")
    await expect(page.locator("#published")).to_contain_text("Published as")


async def test_what_the_page_may_do_is_little(page: Page, server: Server) -> None:
    response = await page.request.get(server.url)
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws://127.0.0.1:")
    assert "unsafe" not in policy
    assert "*" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert (await page.request.get(f"{server.url}/lab/lab.js")).headers["x-content-type-options"] == "nosniff"
