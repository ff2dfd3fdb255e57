"""Pages that documents show: put into an app, opened in a browser, and what they print there."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page
from quart import Quart

from tests.browser.conftest import holds
from transports.quart import Live
from transports.testing import serving

# What is printed is told as JSON: values, and not what an inspector would show of them.
_PRINT = "{ const log = console.log.bind(console); console.log = (...values) => log(JSON.stringify(values)); }"
_NAMED = re.compile(r"^((?:  )?const (\w+) = )", re.MULTILINE)


def named(text: str) -> str:
    """A module that is as it was, but for this: what it gives a name to is found by that from outside, too."""
    return _NAMED.sub(r"\1globalThis.\2 = ", text)


def module(text: str, *, body: str = "") -> str:
    """A page with `body`, and behind it a script as documents have them."""
    return f'<!doctype html><title>A page</title>{body}<script type="module">{named(text)}</script>'


def put(app: Quart, page: str) -> None:
    """Have the app's `/` be that page."""

    @app.get("/")
    async def index() -> str:
        return page


def page_of(page: str, *channels: str, **settings: Any) -> Quart:
    """An app whose `/` is the page, with a stream for it."""
    app = Quart(__name__)
    put(app, page)
    Live(app, channels=channels, **settings)
    return app


@asynccontextmanager
async def served(app: Quart) -> AsyncIterator[tuple[Live, str]]:
    """An app with a stream, and where it is."""
    live = app.extensions["live"]
    async with serving(app, drain=live.hub.drain, front=live.front) as url:
        yield live, url


@asynccontextmanager
async def opened(browser: Browser | BrowserContext, url: str, *, user: str = "") -> AsyncIterator[tuple[Page, list[Any]]]:
    """The page at `url`, where `user` has signed in, and what it prints: the values of each line. An error of its script fails
    the test.
    """
    page = await browser.new_page()
    printed: list[Any] = []
    faults: list[str] = []

    def hear(entry: ConsoleMessage) -> None:
        if entry.type == "log":
            printed.append(json.loads(entry.text))

    page.on("console", hear)
    page.on("pageerror", lambda error: faults.append(str(error)))
    await page.add_init_script(_PRINT)
    if user:
        await page.request.post(f"{url}/login", form={"name": user})
    await page.goto(url)
    try:
        yield page, printed
    finally:
        await page.close()
        assert faults == []


async def is_open(page: Page) -> None:
    """Until the stream that the page calls `live` is: whatever is published from now on will come."""
    await holds(page, "globalThis.live?.state === 'open'")
