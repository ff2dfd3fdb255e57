"""The report in a real browser: for everybody, on every screen, on paper, and without a network."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from locustfiles.reporting import report
from locustfiles.samples import Run
from tests.browser.conftest import holds
from tests.locustfiles.bigrun import FAULTS, NETWORKS, a_big_run, with_steps

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def broken_off() -> Run:
    run = a_big_run(networks=("open",))
    run.complete, run.rounds = False, run.rounds[:7]
    for each in run.rounds:
        each.sample.cpu = 0.97
    return run


# The font size of the smallest label of a plot, in pixels.
SMALLEST = "Math.min(...[...document.querySelectorAll('.plot span')].map((e) => parseFloat(getComputedStyle(e).fontSize)))"

RUNS = {
    "several networks": lambda: a_big_run(NETWORKS[:3], repeats=2, faults=FAULTS, slo=("p99<50ms", "lost==0")),
    "several servers": lambda: a_big_run(("open",), ("everywire", "python-socketio"), repeats=2, faults=FAULTS[:1]),
    "capacity": lambda: with_steps(a_big_run(networks=("open",), transports=("websocket", "sse", "longpoll"))),
    "broken off": broken_off,
}


@pytest.fixture(scope="module", params=RUNS)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "index.html"
    path.write_text(report.html(RUNS[request.param]()), encoding="utf-8")
    return path


async def opened(browser: Browser, file: Path, **options: object) -> Page:
    page = await browser.new_page(**options)  # type: ignore[arg-type]
    await page.goto(file.as_uri())
    return page


async def unfolded(page: Page) -> None:
    await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")


async def test_axe_has_nothing_to_say(browser: Browser, file: Path) -> None:
    page = await opened(browser, file)
    await unfolded(page)
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        results = (await Axe().run(page)).response
        assert [f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}" for each in results["violations"]] == []
        assert any(each["id"] == "color-contrast" for each in results["passes"])


async def test_nothing_is_wider_than_the_screen(browser: Browser, file: Path) -> None:
    page = await opened(browser, file)
    await unfolded(page)
    for width in (320, 768, 1400):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate("document.documentElement.scrollWidth") == width
    # Tables may be wider than a phone: they scroll by themselves, and can be reached by keyboard to do so.
    assert await page.evaluate("[...document.querySelectorAll('table')].every((each) => each.closest('[tabindex=\"0\"]'))")


async def test_letters_keep_their_size(browser: Browser, file: Path) -> None:
    page = await opened(browser, file)
    sizes = set()
    for width in (320, 1400):
        await page.set_viewport_size({"width": width, "height": 800})
        sizes.add(await page.evaluate(SMALLEST))
    assert len(sizes) == 1
    assert sizes.pop() > 11


async def test_it_asks_for_nothing(browser: Browser, file: Path) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(file.as_uri())
    await expect(page.locator("h1")).to_be_visible()
    assert asked == [file.as_uri()]


async def test_paper_shows_the_tables(browser: Browser, file: Path) -> None:
    page = await opened(browser, file)
    folded = page.locator("details table")
    assert await folded.count() > 3
    await expect(folded.first).to_be_hidden()
    await page.emulate_media(media="print")
    for table in await folded.all():
        await expect(table).to_be_visible()
    heights = await page.evaluate("[...document.querySelectorAll('details table')].map((e) => e.getBoundingClientRect().height)")
    assert min(heights) > 40


async def test_the_keyboard_opens_a_table_and_scrolls_it(browser: Browser, file: Path) -> None:
    page = await opened(browser, file, viewport={"width": 320, "height": 800})
    summary = page.locator("details summary", has_text="Every round")
    await summary.focus()
    await page.keyboard.press("Enter")
    table = page.get_by_role("region", name="Every round as a table")
    await expect(table).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(table).to_be_focused()
    await page.keyboard.press("ArrowRight")
    await holds(page, "document.activeElement.scrollLeft > 0")
