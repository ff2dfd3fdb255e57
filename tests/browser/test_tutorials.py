"""What tutorials and how-tos have in a browser, in a real one."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from tests.browser.conftest import holds
from tests.browser.pages import page_of, served
from tests.docs.learner import Learner
from tests.documents import ROOT, blocks
from tests.ports import free_port
from transports.client import connect, publisher
from transports.networks import Network

if TYPE_CHECKING:
    from tests.browser.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
TUTORIALS = ROOT / "docs" / "tutorials"


async def test_an_event_is_read_and_published_in_the_console(server: Server, browser: Browser) -> None:
    reading, publishing = blocks(TUTORIALS / "one-event-four-ways.md", "js")
    page = await browser.new_page()
    said: list[str] = []
    page.on("console", lambda entry: said.append(entry.text))
    await page.goto(server.url)
    async with page.expect_console_message(lambda entry: entry.text == "Live over WebSocket."):
        await page.evaluate(f"async () => {{ {reading.text.replace('const live =', 'globalThis.live =')} }}")

    def came(entry: ConsoleMessage) -> bool:
        return entry.text.endswith(" from the browser")

    async with page.expect_console_message(came):
        await page.evaluate(f"async () => {{ {publishing.text} }}")


async def enter(browser: Browser, url: str, name: str) -> Page:
    page = await (await browser.new_context()).new_page()
    await page.goto(url)
    await page.get_by_label("Your name").fill(name)
    await page.get_by_role("button", name="kitchen").click()
    await expect(page.locator("#state")).to_have_text("Live over WebSocket.")
    return page


async def test_the_board_is_shared_and_survives_what_the_page_says(tmp_path: Path, browser: Browser) -> None:
    page = TUTORIALS / "live-board.md"
    (app,), (rooms, board) = blocks(page, "python"), blocks(page, "html")
    one = Learner(page, tmp_path, p8000=str(free_port()))
    url = one.here("http://127.0.0.1:8000")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "rooms.html").write_text(rooms.text)
    (tmp_path / "templates" / "board.html").write_text(board.text)

    async def started() -> None:
        async with connect(f"{url}/live", ["kitchen"], connect_timeout=60):
            pass

    (tmp_path / "app.py").write_text(one.here(app.text))
    with one.start("python app.py", "python", "exec python") as server:
        await started()
        ann, bob = await enter(browser, url, "ann"), await enter(browser, url, "bob")
        for each in (ann, bob):
            await expect(each.locator("#who")).to_have_text("ann, bob")
        await ann.get_by_label("Note").fill("<b>buy milk")
        await ann.get_by_role("button", name="Pin").click()
        for each in (ann, bob):
            await expect(each.locator("#notes li")).to_have_text(["<b>buy milk"])
        await bob.reload()
        await expect(bob.locator("#who")).to_have_text("ann, bob")
        await expect(bob.locator("#notes li")).to_have_text(["<b>buy milk"])
        await bob.close()
        await expect(ann.locator("#who")).to_have_text("ann")
        server.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(server.wait, 20) == 0
    with one.start("python app.py"):
        await started()
        await expect(ann.locator("#notes li")).to_have_count(0)
        await expect(ann.locator("#state")).to_have_text("Live over WebSocket.")
        await expect(ann.locator("#who")).to_have_text("ann")


async def test_the_state_is_shown_when_it_lasts(browser: Browser) -> None:
    (block,) = blocks(ROOT / "docs" / "how-to" / "show-connection-state.md", "html")
    async with served(page_of(block.text, "orders")) as (live, upstream):
        network = Network("open", upstream=upstream)
        async with network as url:
            page = await browser.new_page()
            await page.goto(url)
            state, orders = page.locator("#state"), page.locator("#orders")
            await expect(state).to_have_attribute("data-state", "open")
            await expect(state).to_have_text("Live over WebSocket.")
            await live.publish("orders", {"text": "<i>one"})
            await expect(orders.locator("li")).to_have_text(["<i>one"])
            network.switch("captive-portal")
            network.cut()
            await expect(state).to_have_attribute("data-state", "reconnecting")
            await expect(orders).to_have_attribute("data-stale", "")
            network.switch("open")
            await expect(state).to_have_attribute("data-state", "open")
            await expect(orders).not_to_have_attribute("data-stale", "")
            await expect(page.locator("#again")).to_be_hidden()


async def test_a_plain_eventsource_reads(server: Server, browser: Browser) -> None:
    plain = blocks(ROOT / "docs" / "how-to" / "move-from-socketio.md", "js")[-1]
    page = await browser.new_page()
    await page.goto(server.url)
    await page.evaluate(f"() => {{ {plain.text.replace('const source', 'globalThis.source')} }}")
    await holds(page, "source.readyState === EventSource.OPEN")
    async with (
        page.expect_console_message(lambda entry: entry.text.endswith(" shipped")),
        publisher(f"{server.url}/live") as publish,
    ):
        await publish([("orders", "shipped", None)])
