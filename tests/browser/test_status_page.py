"""The page of an operator in a real browser: for everybody, on every screen, with no script and nothing from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

if TYPE_CHECKING:
    from tests.browser.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# Somebody reads as an SSE stream, too.
READ_ON = """() => new Promise((done) => {
    globalThis.source = new EventSource("/live/sse?channels=chat");
    source.onopen = () => done();
})"""


async def shown(browser: Browser, server: Server, **options: object) -> tuple[Page, list[str]]:
    """The page while somebody reads, and what the browser had to say against it."""
    faults: list[str] = []
    page = await browser.new_page(**options)  # type: ignore[arg-type]
    page.on("console", lambda entry: faults.append(entry.text) if entry.type in ("error", "warning") else None)
    page.on("request", lambda request: faults.append(request.url) if not request.url.startswith(server.url) else None)
    await page.goto(f"{server.url}/live/status")
    return page, faults


async def test_an_operator_sees_who_reads(browser: Browser, server: Server, page: Page) -> None:
    await page.evaluate(READ_ON)
    status, faults = await shown(browser, server)
    rows = status.get_by_role("region", name="Connected now").get_by_role("row")
    await expect(rows.filter(has_text="websocket")).to_have_count(1)
    await expect(rows.filter(has_text="sse")).to_have_count(1)
    await expect(rows.filter(has_text="127.0.0.1").first).to_be_visible()
    await expect(status.get_by_text("Takes readers").locator("..")).to_contain_text("yes")
    assert faults == []


async def test_it_needs_no_script_and_looks_as_it_is_meant_to(browser: Browser, server: Server, page: Page) -> None:
    status, faults = await shown(browser, server, java_script_enabled=False)
    await expect(status.get_by_role("heading", name="Connected now")).to_be_visible()
    assert faults == []  # its style is the one that its policy allows


async def test_axe_has_nothing_to_say(browser: Browser, server: Server, page: Page) -> None:
    for scheme in ("light", "dark"):
        status, _ = await shown(browser, server, bypass_csp=True, color_scheme=scheme)  # axe is a script
        results = (await Axe().run(status)).response
        assert [f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}" for each in results["violations"]] == []
        assert any(each["id"] == "color-contrast" for each in results["passes"])
        assert await status.evaluate("getComputedStyle(document.querySelector('dl')).display") == "grid"


async def test_nothing_is_wider_than_the_screen_and_what_is_can_be_moved_by_keyboard(
    browser: Browser, server: Server, page: Page
) -> None:
    status, _ = await shown(browser, server)
    for width in (320, 768, 1400):
        await status.set_viewport_size({"width": width, "height": 800})
        assert await status.evaluate("document.documentElement.scrollWidth") == width
    await status.set_viewport_size({"width": 320, "height": 800})
    for _ in range(2):  # the link to JSON, then the first table
        await status.keyboard.press("Tab")
    await expect(status.get_by_role("region", name="Connected now")).to_be_focused()
