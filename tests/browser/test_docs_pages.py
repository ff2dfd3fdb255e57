"""The documentation as the app serves it, in a real browser: nothing comes from elsewhere, and axe has nothing to say."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser
from quart import Quart

from quart_app.manual import manual
from tests.documents import ROOT
from transports.testing import serving

pytestmark = [pytest.mark.browser, pytest.mark.real, pytest.mark.asyncio(loop_scope="session")]

# One of each kind.
PAGES = [
    "",
    "tutorials/first-live-event.html",
    "tutorials/lessons.html",
    "how-to/deploy/index.html",
    "how-to/add-to-a-quart-app.html",
    "reference/protocol.html",
    "reference/contract.html",
    "reference/networks.html",
    "reference/benchmarks.html",
    "explanation/negotiator.html",
    "explanation/security-model.html",
    "explanation/glossary.html",
    "explanation/decisions/index.html",
    "search.html?q=position",
    "genindex.html",
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Where it is served."""
    pytest.importorskip("furo", reason="needs the docs extra")
    made: Path = tmp_path_factory.mktemp("docs")
    build = ("-m", "sphinx", "-q", "-b", "html", "-d", made / "trees", ROOT / "docs", made / "html")
    process = await asyncio.create_subprocess_exec(sys.executable, *map(str, build))
    assert await process.wait() == 0
    app = Quart("manual")
    app.register_blueprint(manual(made / "html"))
    async with serving(app) as url:
        yield f"{url}/docs/"


@pytest.mark.parametrize("path", PAGES)
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
