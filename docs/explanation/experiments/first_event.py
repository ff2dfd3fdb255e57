"""How long until the first event? The negotiated clients beside a plain WebSocket, and in networks that let less through.

    python docs/explanation/experiments/first_event.py

The server is a process of its own. All variants take turns, so that they meet the same noise. The plain WebSocket of Python is
aiohttp's, that of Chromium its own; each opens, reads the hello and the event, and nothing else. Chromium is left out where
there is none.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.browser.test_negotiation import Served
from transports.client import connect
from transports.items import decode_batch
from transports.websocket import SUBPROTOCOL

ROUNDS = 50
NETWORKS = {
    "open": {},
    "WebSocket refused": {"ws": "refuse"},
    "WebSocket swallowed": {"ws": "swallow"},
    "WebSocket refused, SSE held back": {"ws": "refuse", "sse": "hold"},
    "WebSocket swallowed, SSE held back": {"ws": "swallow", "sse": "hold"},
}
CHROMIUM = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")

PLAIN_JS = """(place) => new Promise((done) => {
  const began = performance.now();
  const socket = new WebSocket(place, ["everywire.v1.json"]);
  socket.onmessage = ({ data }) => {
    if (!JSON.parse(data).some((item) => item.type === "event")) return;
    done(performance.now() - began);
    socket.close();
  };
})"""
NEGOTIATED_JS = """([since, memory]) => new Promise((done) => {
  if (!memory) localStorage.clear();
  const began = performance.now();
  start({ since, pace: {} });
  live.on("event", () => {
    done(performance.now() - began);
    if (!memory) live.close();
  });
})"""


async def serve(how: dict[str, str]) -> None:
    """The other process: one event in the log, and a network in front of it."""
    async with Served(how).up() as served:
        await served.hub.publish("a", "x" * 100)
        print(served.url, f"{served.hub.log.epoch}.0", flush=True)
        await asyncio.Event().wait()


@asynccontextmanager
async def server(how: dict[str, str]) -> AsyncIterator[tuple[str, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "serve", json.dumps(how), stdout=asyncio.subprocess.PIPE
    )
    try:
        url, since = (await process.stdout.readline()).decode().split()
        yield url, since
    finally:
        process.terminate()
        await process.wait()


async def plain(url: str, since: str) -> float:
    began = time.perf_counter()
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/live/ws?channels=a&since={since}", protocols=[SUBPROTOCOL]) as socket,
    ):
        while not any(item.kind == "event" for item in decode_batch((await socket.receive()).data)):
            pass
        return (time.perf_counter() - began) * 1000


async def negotiated(url: str, since: str, memory: dict | None = None, transport: str = "auto") -> float:
    began = time.perf_counter()
    async with connect(f"{url}/live", ["a"], since=since, memory={} if memory is None else memory, transport=transport) as stream:
        await anext(stream)
        took = (time.perf_counter() - began) * 1000
        if memory is not None and not memory and transport == "auto":
            await asyncio.wait_for(_learnt(stream, memory), 15)
        return took


async def _learnt(stream: object, memory: dict) -> None:
    while not memory:  # until the verdict is in: a swallowed WebSocket takes its time to be given up
        await asyncio.sleep(0.05)


async def in_turns(variants: dict[str, Callable[[], Awaitable[float]]], rounds: int) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 3):
        for name, variant in variants.items():
            took = await variant()
            if turn >= 3:  # the first ones warm up
                figures[name].append(took)
    return figures


def row(network: str, client: str, figures: list[float]) -> str:
    low, middle, high = min(figures), statistics.median(figures), max(figures)
    return f"| {network} | {client} | {middle:.1f} | {low:.1f} to {high:.1f} |"


async def python(rounds: int) -> None:
    for network, how in NETWORKS.items():
        async with server(how) as (url, since):
            memory: dict = {}
            if how:
                await negotiated(url, since, memory)
            variants = {
                "Python, the first time": lambda: negotiated(url, since),
                **(
                    {"Python, remembered": lambda: negotiated(url, since, memory)}
                    if how
                    else {"plain WebSocket": lambda: plain(url, since)}
                ),
            }
            figures = await in_turns(variants, rounds if not how else rounds // 5)
            for name, each in figures.items():
                print(row(network, name, each), flush=True)
            if not how:
                ratios = [a / b for a, b in zip(figures["Python, the first time"], figures["plain WebSocket"], strict=True)]
                print(f"ratio negotiated / plain, pair by pair: median {statistics.median(ratios):.3f}", flush=True)


async def chromium(rounds: int) -> None:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        for network, how in NETWORKS.items():
            async with server(how) as (url, since):
                page = await browser.new_page()
                await page.goto(url)
                await page.wait_for_function("globalThis.ready")
                place = f"{url.replace('http', 'ws')}/live/ws?channels=a&since={since}"
                first = {"Chromium, the first time": lambda: page.evaluate(NEGOTIATED_JS, [since, False])}
                if not how:
                    first["plain WebSocket of Chromium"] = lambda: page.evaluate(PLAIN_JS, place)
                figures = await in_turns(first, rounds if not how else rounds // 5)
                if how:  # once more, to learn; then remembered
                    await page.evaluate(NEGOTIATED_JS, [since, True])
                    await page.wait_for_function("Object.keys(live.evidence.bad).length", timeout=20_000)
                    await page.evaluate("live.close()")
                    again = {"Chromium, remembered": lambda: page.evaluate(NEGOTIATED_JS, [since, True])}
                    figures |= await in_turns(again, rounds // 5)
                for name, each in figures.items():
                    print(row(network, name, each), flush=True)
                if not how:
                    pairs = zip(figures["Chromium, the first time"], figures["plain WebSocket of Chromium"], strict=True)
                    print(
                        f"ratio negotiated / plain, pair by pair: median {statistics.median(a / b for a, b in pairs):.3f}",
                        flush=True,
                    )
                await page.close()
        await browser.close()


async def main(rounds: int = ROUNDS) -> None:
    print("| network | client | median ms | range |\n|---|---|---|---|")
    await python(rounds)
    if shutil.which("chromium"):
        await chromium(rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(json.loads(sys.argv[2])))
    else:
        asyncio.run(main())
