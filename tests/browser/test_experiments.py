"""The experiments of the lab, played in a real browser: they explain what was measured, and what was not done proves nothing."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, Route, expect

import quart_app.lab
from quart_app.lab.words import languages
from tests.browser.conftest import moved, watch
from tests.ports import free_port

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WORDS = Path(quart_app.lab.__file__).parent / "static" / "words"


def said(language: str) -> dict[str, Any]:
    """What is said in all experiments, and in each of them."""
    of_all: dict[str, Any] = json.loads((WORDS / f"{language}.json").read_text())["experiments"]
    return of_all | {path.parent.name: json.loads(path.read_text()) for path in WORDS.glob(f"experiments/*/{language}.json")}


SAID = {language: said(language) for language in languages()}

# What each comes to, and what must be true of its figures on any machine.
PROVES: dict[str, tuple[str, Callable[[dict[str, Any]], bool]]] = {
    "sse-is-slow": ("lumps", lambda m: m["open_arrived"] == 40 and 1 <= m["lumps"] <= 9 and m["still_held"] < 20),
    "sixth-connection": ("wait", lambda m: m["opened"] <= 6 and m["opened"] + m["waiting"] == 8 and m["sockets"] == 8),
    "eventsource-and-503": ("gives-up", lambda m: m["polite_tries"] >= 2 and m["polite_ms"] >= 1000 and m["cuts"] >= 1),
    "eventsource-and-headers": ("ignored", lambda m: m["source_headers"] >= 5 and m["fetch_headers"] >= 5),
    "lossless-longpoll": ("some", lambda m: m["naive"] + m["naive_lost"] == 30 and m["careful"] == 30),
    "ids-on-control-messages": ("all", lambda m: m["sent"] == m["hello"] and "." in m["hello"] and m["connections"] == 2),
    "code-1006": ("nobody", lambda m: (m["cut_code"], m["told_code"], m["told_frame"]) == (1006, 4426, 4426)),
    "wss-always-passes": ("depends", lambda m: m["swallowed_ms"] > 0 and m["sse_reads"] >= 1),
    "reconnected-is-not-recovered": ("some", lambda m: m["naive"] + m["naive_lost"] == 30 and m["careful"] == 30),
    "works-with-one-worker": ("lost", lambda m: (m["same"], m["other"], m["reason"]) == (5, 0, "epoch")),
    "websocket-is-always-faster": ("alike", lambda m: m["least"] == 40 and m["far_websocket_ms"] >= 90),
    "devtools-throttling": ("proxy", lambda m: m["slow_socket_ms"] >= 390 and m["slow_request_ms"] >= 390),
    "chunk-is-not-event": ("too-few", lambda m: m["open_careful"] == m["bytes_careful"] == 10),
}

# Those that prove something by what the lab does to a lane or to the server, and what that is.
DONE = {
    "sse-is-slow": "network",
    "eventsource-and-503": "cut",
    "lossless-longpoll": "network",
    "ids-on-control-messages": "cut",
    "code-1006": "cut",
    "wss-always-passes": "network",
    "reconnected-is-not-recovered": "cut",
    "works-with-one-worker": "server",
    "websocket-is-always-faster": "network",
    "devtools-throttling": "network",
    "chunk-is-not-event": "network",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def url() -> AsyncIterator[str]:
    """Where the lab is. Its process is ended by its id."""
    command = (sys.executable, "-m", "quart_app", "lab", "--port", str(free_port()))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
        found = re.search(r"http://\S+/lab/", line)
        assert found is not None, line
        yield found[0]
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await process.wait()


async def shown(browser: Browser, url: str, experiment: str, language: str = "en") -> Page:
    page = await browser.new_page()
    await page.goto(f"{url}?lang={language}#experiment={experiment}")
    await expect(page.locator(f"#experiment[data-id={experiment}]")).to_be_visible()
    return page


async def play(page: Page, choice: str) -> dict[str, Any]:
    """Predict, and have it done; what was measured."""
    article = page.locator("#experiment")
    await article.locator(f"input[value={choice}]").check()
    await article.locator("button[type=submit]").click()
    await expect(article).to_have_attribute("data-verdict", re.compile("right|wrong|doubt|failed"), timeout=60_000)
    assert await article.get_attribute("data-verdict") != "failed", await page.locator(".experiment-status").inner_text()
    measured: dict[str, Any] = json.loads(await article.locator(".experiment-result").get_attribute("data-measured") or "")
    return measured


async def explained(page: Page) -> dict[str, str]:
    """The figures in the explanation."""
    figures = await page.locator(".experiment-because [data-figure]").all()
    return {str(await each.get_attribute("data-figure")): await each.inner_text() for each in figures}


async def named(page: Page) -> list[tuple[str, str]]:
    """All that was measured: the name of each figure for the machine, and for people, as the page shows it."""
    await page.locator(".experiment-result summary").click()
    found: list[tuple[str, str]] = []
    for each in await page.locator(".experiment-result dl > div").all():
        name = str(await each.locator("dd").get_attribute("data-name"))
        assert await each.locator("dd").inner_text()
        found.append((name, await each.locator("dt").inner_text()))
    return found


def read(text: str, value: Any) -> bool:
    """Whether `text`, in English, is that value."""
    match value:
        case bool():
            return text == ("yes" if value else "no")
        case str():
            return text == value
    number = re.fullmatch(r"([\d,.]+)(?: (ms|s))?", text)
    assert number is not None, text
    factor = 1000 if number[2] == "s" else 1
    digits = 0.05 * factor if "." in number[1] else 0.5
    return bool(abs(float(number[1].replace(",", "")) * factor - value) <= digits + 1e-6)


@pytest.mark.parametrize("experiment", PROVES)
async def test_what_is_explained_is_what_was_measured(browser: Browser, url: str, experiment: str) -> None:
    right, holds = PROVES[experiment]
    page = await shown(browser, url, experiment)
    measured = await play(page, right)
    article = page.locator("#experiment")
    assert await article.get_attribute("data-verdict") == "right", measured
    assert holds(measured), measured
    figures = await explained(page)
    assert set(figures) == set(re.findall(r"\{(\w+)\}", SAID["en"][experiment]["because"]))
    assert all(read(text, measured[name]) for name, text in figures.items()), (figures, measured)
    assert await named(page) == [*SAID["en"][experiment]["figures"].items()]
    assert all([*SAID[language][experiment]["figures"]] == [*measured] for language in SAID), "each has its name"
    state = await (await page.request.get(f"{url}state")).json()
    assert {lane["network"] for lane in state["lanes"].values()} == {"open"}, "the lanes are as they were"
    assert not any(any(lane["settings"].values()) for lane in state["lanes"].values())


@pytest.mark.parametrize("experiment", DONE)
async def test_what_was_not_done_proves_nothing(browser: Browser, url: str, experiment: str) -> None:
    page = await shown(browser, url, experiment)

    async def nothing(route: Route) -> None:
        """Says that it was done, and does not do it."""
        await route.fulfill(json={"cut": {}})

    await page.route(f"**/lab/{DONE[experiment]}", nothing)
    measured = await play(page, PROVES[experiment][0])
    assert await page.locator("#experiment").get_attribute("data-verdict") == "doubt", measured
    assert set(await explained(page)) == set(re.findall(r"\{(\w+)\}", SAID["en"][experiment]["doubt"]))


async def test_a_wrong_prediction_is_told_and_explained(browser: Browser, url: str) -> None:
    page = await shown(browser, url, "eventsource-and-headers")
    await play(page, "sent")
    assert await page.locator("#experiment").get_attribute("data-verdict") == "wrong"
    await expect(page.locator("#experiment h4")).to_have_text(SAID["en"]["wrong"])
    await expect(page.locator(".experiment-right")).to_contain_text(SAID["en"]["eventsource-and-headers"]["choices"]["ignored"])
    assert "#experiment=eventsource-and-headers" in page.url
    assert "sent" not in page.url


async def test_throttling_as_in_devtools_leaves_the_frames_of_an_open_websocket_alone(browser: Browser, url: str) -> None:
    page = await shown(browser, url, "devtools-throttling")
    devtools = await page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 400, "downloadThroughput": -1, "uploadThroughput": -1}
    await devtools.send("Network.enable")
    await devtools.send("Network.emulateNetworkConditions", slow)
    measured = await play(page, "proxy")
    assert measured["request_ms"] >= 400 > 2 * measured["socket_ms"]


async def test_it_is_done_with_the_keyboard_alone_and_in_german(browser: Browser, url: str) -> None:
    page = await shown(browser, url, "eventsource-and-headers", "de")
    words = SAID["de"]["eventsource-and-headers"]
    await expect(page.locator(".experiment-myth")).to_have_text(words["myth"])
    for key in (
        "Tab",
        "ArrowDown",
        "ArrowDown",
        "Tab",
        "Enter",
    ):  # from the experiment to its first choice, to its third, to the button
        await page.keyboard.press(key)
    await expect(page.locator("#experiment")).to_have_attribute("data-verdict", "right")
    await expect(page.locator(".experiment-source")).to_contain_text(words["source"])
    assert await named(page) == [*words["figures"].items()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_in_an_explanation(browser: Browser, url: str, scheme: Any) -> None:
    page = await shown(browser, url, "eventsource-and-headers")
    await page.emulate_media(color_scheme=scheme)
    await play(page, "sent")
    await page.locator(".experiment-result summary").click()
    results = await Axe().run(page, context="#experiments")
    assert results.response["violations"] == []


async def test_what_a_learner_broke_is_well_for_an_experiment_and_broken_again_behind_it(browser: Browser, url: str) -> None:
    page = await shown(browser, url, "eventsource-and-headers")
    broken = {"lanes": ["sse"], "network": "captive-portal", "delay_ms": 50}
    assert (await page.request.post(f"{url}network", data=broken)).ok
    await page.request.post(f"{url}server", data={"do": "stop"})
    await expect(page.locator("body")).to_have_attribute("data-server", "stopped")
    measured = await play(page, "ignored")
    assert await page.locator("#experiment").get_attribute("data-verdict") == "right", measured
    state = await (await page.request.get(f"{url}state")).json()
    assert (state["lanes"]["sse"]["network"], state["lanes"]["sse"]["settings"]["delay_ms"]) == ("captive-portal", 50)
    assert (await page.request.post(f"{url}network", data={"lanes": "all"})).ok


async def test_one_that_runs_is_stopped_and_leaves_the_lanes_as_they_were(browser: Browser, url: str) -> None:
    page = await shown(browser, url, "websocket-is-always-faster")
    assert (await page.request.post(f"{url}network", data={"lanes": ["sse"], "network": "one-byte"})).ok
    article, stop = page.locator("#experiment"), page.get_by_role("button", name=SAID["en"]["stop"])
    await expect(stop).to_be_hidden()
    await page.get_by_role("button", name="Pause display").click()
    await article.locator("input[value=alike]").check()
    await watch(page, ".bench")  # which an experiment changes, and pause holds
    async with page.expect_response(lambda answer: answer.url.endswith("/lab/network")):
        await article.get_by_role("button", name=SAID["en"]["go"]).click()
    await expect(page.locator(".experiment-status")).to_have_text(SAID["en"]["playing"])
    await stop.focus()
    await page.keyboard.press("Enter")
    await expect(article).to_have_attribute("data-verdict", "stopped")
    await expect(page.locator(".experiment-status")).to_have_text(SAID["en"]["stopped"])
    assert await moved(page) == []
    await expect(stop).to_be_hidden()
    await expect(article.get_by_role("button", name=SAID["en"]["go"])).to_be_focused()
    state = await (await page.request.get(f"{url}state")).json()
    assert {name: lane["network"] for name, lane in state["lanes"].items() if lane["network"] != "open"} == {"sse": "one-byte"}
    await page.get_by_role("button", name="Resume display").click()

    published: list[str] = []
    page.on("request", lambda asked: published.append(asked.url) if urlsplit(asked.url).path == "/live/commands" else None)
    await page.locator(".experiment-list a[href='#experiment=eventsource-and-503']").click()
    await expect(article).to_have_attribute("data-id", "eventsource-and-503")
    await play(page, "gives-up")  # for seconds, and without an event
    assert published == [], "the one that was stopped goes on"
    assert (await page.request.post(f"{url}network", data={"lanes": "all"})).ok


async def test_what_goes_wrong_is_said_in_the_language_of_the_page(browser: Browser, url: str) -> None:
    page = await shown(browser, url, "chunk-is-not-event", "de")
    await page.route("**/live/commands", lambda route: route.fulfill(status=503))
    article = page.locator("#experiment")
    await article.locator("input[value=too-few]").check()
    await article.locator("button[type=submit]").click()
    await expect(article).to_have_attribute("data-verdict", "failed")
    await expect(page.locator(".experiment-status")).to_have_text("Es ging nicht: Der Server nahm keine Ereignisse an.")


async def test_another_experiment_is_a_link_away_and_back(browser: Browser, url: str) -> None:
    page = await shown(browser, url, "code-1006")
    await page.locator(".experiment-list a[href='#experiment=sse-is-slow']").click()
    await expect(page.locator("#experiment")).to_have_attribute("data-id", "sse-is-slow")
    await page.go_back()
    await expect(page.locator("#experiment")).to_have_attribute("data-id", "code-1006")
