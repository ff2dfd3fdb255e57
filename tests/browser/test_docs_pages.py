"""The documentation as the app serves it, in a real browser: nothing comes from elsewhere, and axe has nothing to say."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page
from quart import Quart

from quart_app.manual import manual
from tests.browser.conftest import holds
from tests.documents import PAGES, ROOT, built
from transports.testing import serving

pytestmark = [pytest.mark.browser, pytest.mark.real, pytest.mark.asyncio(loop_scope="session")]
pytestmark += [pytest.mark.timeout(300)]  # another process may be building

DOCS = ROOT / "docs"
KINDS = ["", "tutorials/lessons.html", "explanation/decisions/index.html", "search.html?q=position", "genindex.html"]
EVERY = [str(path.relative_to(DOCS).with_suffix(".html")) for path in PAGES if DOCS in path.parents]
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 720}

# What axe says, and how texts look: colour, ground, size. `known`: only of one text for each look that is not among them.
AXE = """async ({ where, known, ...options }) => {
  const ground = (node) => {
    const { backgroundColor } = node ? getComputedStyle(node) : { backgroundColor: "none" };
    return backgroundColor === "rgba(0, 0, 0, 0)" ? ground(node.parentElement) : backgroundColor;
  };
  const seen = new Set(known);
  if (known) {
    for (const node of document.querySelectorAll("body *")) {
      delete node.dataset.look;
      const says = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
      if (!says || !node.checkVisibility()) continue;
      const { color, fontSize, fontWeight } = getComputedStyle(node);
      const look = [color, ground(node), fontSize, fontWeight].join();
      if (!seen.has(look)) node.dataset.look = seen.add(look).size;
    }
    if (!document.querySelector("[data-look]")) return [[], known];
  }
  const { violations } = await axe.run(known ? { include: ["[data-look]"] } : where ?? document, options);
  const told = violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 4).map((node) => node.html.slice(0, 160)).join(" ")}`);
  return [told, [...seen]];
}"""
DRAWERS = {"exclude": [".sidebar-drawer", ".toc-drawer"]}  # the same on every page: those of KINDS are looked at


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Where it is served."""
    app = Quart("manual")
    app.register_blueprint(manual(built(tmp_path_factory)))
    async with serving(app) as url:
        yield f"{url}/docs/"


@pytest.mark.parametrize("path", KINDS)
async def test_axe_has_nothing_to_say_and_nobody_else_is_asked(browser: Browser, site: str, path: str) -> None:
    for scheme in ("light", "dark"):
        page = await browser.new_page(bypass_csp=True, color_scheme=scheme)  # axe is a script
        asked: list[str] = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        await page.goto(site + path)
        await page.wait_for_load_state("networkidle")
        assert [url for url in asked if not url.startswith((site, "data:"))] == []
        results = (await Axe().run(page)).response
        assert [f"{each['id']}: {[node['html'][:160] for node in each['nodes']][:4]}" for each in results["violations"]] == []
        assert any(each["id"] == "color-contrast" for each in results["passes"])
        await page.close()


@pytest.mark.parametrize("path", ["", "reference/protocol.html", "search.html?q=position"])
async def test_the_policy_lets_its_own_scripts_run_and_the_search_finds(browser: Browser, site: str, path: str) -> None:
    page = await browser.new_page()
    faults: list[str] = []
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    await page.goto(site + path)
    await page.wait_for_load_state("networkidle")
    if path.startswith("search"):
        await page.wait_for_selector("ul.search li a")
    assert faults == []
    await page.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sheet(one_browser: Browser) -> AsyncIterator[Page]:
    """A page on which one page of the documentation after the other is opened."""
    page = await one_browser.new_page(bypass_csp=True)
    yield page
    await page.context.close()


@pytest.fixture(scope="module")
def looks() -> dict[str, list[str]]:
    """What texts looked like on the pages before, in each light."""
    return {"light": [], "dark": []}


@pytest.mark.parametrize("path", EVERY)
async def test_axe_has_nothing_to_say_of_any_page_on_a_phone_or_at_a_desk_in_the_light_or_in_the_dark(
    sheet: Page, looks: dict[str, list[str]], site: str, path: str
) -> None:
    """All rules once, on a phone; at a desk again those that depend on it, and the contrast of what looks like nothing before."""
    told = {}
    await sheet.set_viewport_size(PHONE)
    await sheet.emulate_media(color_scheme="light")
    await sheet.goto(site + path)
    await sheet.evaluate(Axe().axe_script)
    told["phone"], _ = await sheet.evaluate(AXE, {"where": DRAWERS, "rules": {"color-contrast": {"enabled": False}}})
    await sheet.set_viewport_size(DESK)
    told["desk"], _ = await sheet.evaluate(AXE, {"runOnly": ["scrollable-region-focusable"]})
    for scheme in ("light", "dark"):
        await sheet.emulate_media(color_scheme=scheme)
        told[scheme], looks[scheme] = await sheet.evaluate(AXE, {"known": looks[scheme], "runOnly": ["color-contrast"]})
    assert {name: said for name, said in told.items() if said} == {}
    assert all(looks.values()), "was anything looked at?"


async def test_what_is_wider_than_a_phone_can_be_scrolled_without_a_mouse_and_says_what_it_is(sheet: Page, site: str) -> None:
    await sheet.set_viewport_size(PHONE)
    await sheet.goto(site + "reference/protocol.html")
    table = sheet.get_by_role("group", name="Table: Codes")
    await table.focus()
    assert await table.evaluate("(it) => it === document.activeElement && it.scrollWidth > it.clientWidth")
    await sheet.keyboard.press("ArrowRight")
    await holds(sheet, "(name) => document.querySelector(`[aria-label='${name}']`).scrollLeft > 0", "Table: Codes")


async def test_the_way_to_the_lab_is_on_whichever_server_shows_the_page(sheet: Page, site: str) -> None:
    await sheet.goto(site + "tutorials/lessons.html")
    ways = await sheet.evaluate("[...document.querySelectorAll('main a, article a')].map((it) => it.href)")
    lab = [way for way in ways if "/lab/" in way]
    assert len(lab) > 13
    assert all(way.startswith(site.removesuffix("docs/") + "lab/") for way in lab)
