"""A browser at a server that compresses: what it inflates comes event by event, to our client and to a plain EventSource."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser, Response

from tests.browser.conftest import holds
from tests.transports.test_edge import served
from transports.testing import until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LONG = "many times the same, " * 50
CLIENT = """async (transport) => {
  const { connect } = await import("/live/client.js");
  globalThis.seen = [];
  const live = globalThis.live = connect("/live", { channels: ["a"], transport });
  for await (const event of live) globalThis.seen.push(event.data);
}"""
SOURCE = """() => {
  globalThis.seen = [];
  const source = globalThis.source = new EventSource("/live/sse?channels=a");
  source.onmessage = ({ data }) => globalThis.seen.push(JSON.parse(data).data);
}"""


@pytest.mark.parametrize("edge", ["front", "plain"])
@pytest.mark.parametrize("transport", ["websocket", "sse", "longpoll"])
async def test_our_client_reads_what_is_compressed(browser: Browser, edge: str, transport: str) -> None:
    async with served(edge, encodings=("gzip",), deflate=True) as place:
        page = await browser.new_page()
        await page.goto(f"{place.url}/")
        reading = asyncio.create_task(page.evaluate(CLIENT, transport))
        await until(lambda: place.hub.readers == 1)
        for number in range(1, 4):  # each has come before the next is published
            await place.hub.publish("a", f"{LONG}{number}")
            await holds(page, "(number) => globalThis.seen.length === number && globalThis.seen.at(-1).endsWith(number)", number)
        if (edge, transport) == ("front", "websocket") or transport == "sse":  # what is counted there is what is on the wire
            items, size = next(iter(place.hub.accounts)).sent()
            assert size < items * 400
        await page.evaluate("() => globalThis.live.close()")
        await reading


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_an_eventsource_reads_a_stream_that_is_compressed(browser: Browser, coding: str) -> None:
    async with served("front", encodings=(coding,)) as place:
        page = await browser.new_page()
        await page.goto(f"{place.url}/")
        answers: list[Response] = []
        page.on("response", lambda answer: answers.append(answer))
        await page.evaluate(SOURCE)
        await until(lambda: place.hub.readers == 1)
        for number in range(1, 4):
            await place.hub.publish("a", f"{LONG}{number}")
            await holds(page, "(number) => globalThis.seen.length === number", number)
        assert [answer.headers.get("content-encoding") for answer in answers] == [coding]
        await page.evaluate("() => globalThis.source.close()")
