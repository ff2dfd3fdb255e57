"""A real server process for each test in this folder, and a real Chromium for all: they run in one event loop."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.ports import free_port

ARGS = (
    "--no-sandbox",  # containers that run tests as root have no user to fall back to
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # A browser that speaks to its maker would make "no request leaves the page's origin" untestable.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_START = 60.0  # seconds for a process to be ready, on a busy machine
_STOP = 20.0  # seconds to drain and to end
_HOLDS = """async (argument) => {
  const asked = () => {
    const it = (QUESTION);
    return typeof it === "function" ? it(argument) : it;
  };
  while (!await asked()) await new Promise((done) => setTimeout(done, 20));
}"""

expect.set_options(timeout=30_000)  # milliseconds; it costs nothing where all is well


@dataclass
class Server:
    """`everywire serve` on a port of its own, which it keeps when it is restarted. Or another command of its kind."""

    port: int
    command: str = "serve"
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        command = ("-m", "quart_app", self.command, "--host", "127.0.0.1", "--port", str(self.port))
        self.process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
        async with asyncio.timeout(_START):
            line = await self.process.stdout.readline()  # said when the port listens
        assert self.url.encode() in line, f"the server ended with {self.process.returncode}"

    async def stop(self) -> None:
        process, self.process = self.process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise

    async def restart(self) -> None:
        """End this life of the log and begin another."""
        await self.stop()
        await self.start()


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[Server]:
    server = Server(free_port())
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def one_browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def browser(one_browser: Browser) -> AsyncIterator[Browser]:
    """A browser that knows nothing yet: whatever is opened in it, with its storage and its cache, ends with the test."""
    yield one_browser
    for context in one_browser.contexts:
        await context.close()


def executable() -> str:
    """Debian's Chromium. Where there is none the test is skipped; in CI that is a failure."""
    path = shutil.which("chromium")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no chromium; Debian has it as a package")
    return path


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The same, driven by Playwright."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=ARGS)
        yield browser
        await browser.close()


async def holds(page: Page, question: str, argument: object = None) -> None:
    """Until the page's answer is yes, which it asks itself. Raises: TimeoutError.

    Playwright's own `wait_for_function` needs `eval`, which the policy of our page forbids.
    """
    async with asyncio.timeout(60):
        await page.evaluate(_HOLDS.replace("QUESTION", question), argument)


async def watch(page: Page, place: str) -> None:
    """From now on, note what changes below `place`: `moved` tells."""
    await page.evaluate(
        """(place) => {
            globalThis.changes = [];
            const named = (node) => node.id || node.className || node.parentElement?.id;
            const note = ({ target, type }) => changes.push(`${type} of ${named(target)}`);
            const everything = { subtree: true, childList: true, characterData: true, attributes: true };
            new MutationObserver((all) => all.forEach(note)).observe(document.querySelector(place), everything);
        }""",
        place,
    )


async def moved(page: Page) -> list[str]:
    """What has changed where it is watched, since that was asked last."""
    found: list[str] = await page.evaluate("changes.splice(0)")
    return found


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, server: Server) -> AsyncIterator[Page]:
    """The page of `everywire serve`, with its reader open. A script error or a breach of its security policy fails the test."""
    page = await browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda entry: faults.append(entry.text) if "Content Security Policy" in entry.text else None)
    await page.goto(server.url)
    await expect(page.locator("#reader[data-state=open]")).to_be_visible()
    yield page
    assert faults == []
