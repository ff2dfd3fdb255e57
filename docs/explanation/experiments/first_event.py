"""How long until the first event? The negotiated clients beside a plain WebSocket, and in networks that let less through.

    python docs/explanation/experiments/first_event.py            # three minutes; prints tables
    python docs/explanation/experiments/first_event.py Python     # one client; or a word of the network
    python docs/explanation/experiments/first_event.py --write    # keeps it in first_event.json, for first_event.md

The server is a process of its own; where a round trip is named, a relay between the two holds every byte back for half of it.
All variants take turns in random order, so that they meet the same noise. The plain WebSocket of Python is aiohttp's, that of
Chromium its own; each opens, reads the hello and the event, and nothing else. Chromium is left out where there is none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pages

sys.path.insert(0, str(Path(__file__).parents[3]))

from transports.client import connect
from transports.facts import Remember
from transports.items import decode_batch
from transports.websocket import SUBPROTOCOL

ROUNDS, FEWER = 50, 10  # of pairs on open networks, of the others
WARM = 3  # rounds that do not count
PAUSE = 0.05  # seconds between two measurements
NETWORKS: dict[str, tuple[float, dict[str, str]]] = {
    "open": (0, {}),
    "open, round trip 20 ms": (0.02, {}),
    "WebSocket refused": (0, {"ws": "refuse"}),
    "WebSocket swallowed": (0, {"ws": "swallow"}),
    "WebSocket refused, SSE held back": (0, {"ws": "refuse", "sse": "hold"}),
    "WebSocket swallowed, SSE held back": (0, {"ws": "swallow", "sse": "hold"}),
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
NEGOTIATED_JS = """([since, remembering]) => new Promise((done) => {
  if (!remembering) localStorage.clear();
  const began = performance.now();
  start({ since, pace: {} });
  live.on("event", () => {
    done(performance.now() - began);
    if (remembering !== "learn") live.close();
  });
})"""
LEARNT_JS = "(n) => Object.keys(live.evidence.bad).length === n"

Variants = dict[str, Callable[[], Awaitable[float]]]


async def serve(how: dict[str, str]) -> None:
    """The other process: one event in the log, and a network in front of it."""
    from tests.browser.test_networks import Served

    async with Served(how).up() as served:
        await served.hub.publish("a", "x" * 100)
        print(served.url, f"{served.hub.log.epoch}.0", flush=True)
        await asyncio.Event().wait()


@asynccontextmanager
async def server(trip: float, how: dict[str, str]) -> AsyncIterator[tuple[str, str]]:
    """Its URL, seen through a relay if a round trip is wanted, and the position before its event."""
    command = (sys.executable, __file__, "--serve", json.dumps(how))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        url, since = (await process.stdout.readline()).decode().split()
        if not trip:
            yield url, since
            return
        relay = await asyncio.start_server(partial(_relay, int(url.rpartition(":")[2]), trip / 2), "127.0.0.1", 0)
        async with relay:
            yield f"http://127.0.0.1:{relay.sockets[0].getsockname()[1]}", since
    finally:
        process.terminate()
        await process.wait()


async def _relay(port: int, delay: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(2 * delay)  # the handshake of TCP
    back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(OSError):
        await asyncio.gather(_copy(reader, back_writer, delay), _copy(back_reader, writer, delay))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    loop = asyncio.get_running_loop()
    while data := await reader.read(65536):
        loop.call_later(delay, writer.write, data)
    loop.call_later(delay, writer.close)


async def plain(url: str, since: str) -> float:
    began = time.perf_counter()
    place = f"{url}/live/ws?channels=a&since={since}"
    async with aiohttp.ClientSession() as http, http.ws_connect(place, protocols=[SUBPROTOCOL]) as socket:
        while not any(item.kind == "event" for item in decode_batch((await socket.receive()).data)):
            pass
        return (time.perf_counter() - began) * 1000


async def negotiated(url: str, since: str, memory: dict[str, Remember] | None = None) -> float:
    began = time.perf_counter()
    async with connect(f"{url}/live", ["a"], since=since, memory={} if memory is None else memory) as stream:
        await anext(stream)
        return (time.perf_counter() - began) * 1000


async def learn(url: str, since: str, memory: dict[str, Remember], verdicts: int) -> None:
    """Stay until everything that does not work here is known: a swallowed WebSocket takes seconds to be given up."""
    async with connect(f"{url}/live", ["a"], since=since, memory=memory), asyncio.timeout(30):
        while not memory or len(next(iter(memory.values())).bad) < verdicts:
            await asyncio.sleep(0.05)


async def in_turns(variants: Variants, rounds: int) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {name: [] for name in variants}
    chance = random.Random(1)
    for turn in range(rounds + WARM):
        for name, variant in chance.sample(list(variants.items()), len(variants)):  # none always follows the same other
            await asyncio.sleep(PAUSE)  # what the one before left to do is done
            took = await variant()
            if turn >= WARM:
                figures[name].append(took)
    return figures


# --- the parts


async def python(network: str) -> dict[str, Any]:
    """Milliseconds of Python's clients."""
    trip, how = NETWORKS[network]
    async with server(trip, how) as (url, since):
        variants: Variants = {"Python, the first time": partial(negotiated, url, since)}
        if how:
            memory: dict[str, Remember] = {}
            await learn(url, since, memory, len(how))
            variants["Python, remembered"] = partial(negotiated, url, since, memory)
        else:
            variants["aiohttp, plain WebSocket"] = partial(plain, url, since)
        return {"milliseconds": rounded(await in_turns(variants, FEWER if how else ROUNDS))}


async def chromium(network: str) -> dict[str, Any]:
    """Milliseconds of Chromium's."""
    from playwright.async_api import async_playwright

    trip, how = NETWORKS[network]
    async with async_playwright() as playwright, server(trip, how) as (url, since):
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        try:
            page = await browser.new_page()
            await page.goto(url)
            await page.wait_for_function("globalThis.ready")
            first: Any = partial(page.evaluate, NEGOTIATED_JS, [since, ""])
            variants: Variants = {"Chromium, the first time": first}
            if not how:
                place = f"{url.replace('http', 'ws')}/live/ws?channels=a&since={since}"
                variants["Chromium, plain WebSocket"] = partial(page.evaluate, PLAIN_JS, place)
            figures = await in_turns(variants, FEWER if how else ROUNDS)
            if how:
                await page.evaluate(NEGOTIATED_JS, [since, "learn"])
                await page.wait_for_function(LEARNT_JS, arg=len(how), timeout=30_000)
                await page.evaluate("live.close()")
                again = {"Chromium, remembered": partial(page.evaluate, NEGOTIATED_JS, [since, "use"])}
                figures |= await in_turns(again, FEWER)
            return {"milliseconds": rounded(figures), "version": browser.version}
        finally:
            await browser.close()


def rounded(figures: dict[str, list[float]]) -> dict[str, list[float]]:
    """To a microsecond."""
    return {client: [round(each, 3) for each in taken] for client, taken in figures.items()}


CLIENTS: dict[str, Callable[[str], Awaitable[dict[str, Any]]]] = {"Python": python, "Chromium": chromium}


def steps() -> Iterator[pages.Step]:
    """All that is measured, where it can be."""
    for client, measure in CLIENTS.items():
        if client == "Chromium" and shutil.which("chromium") is None:
            print("there is no chromium: it is left out", file=sys.stderr)
            continue
        for network in NETWORKS:
            yield f"{client}: {network}", partial(measure, network)


# --- what is shown


def tables(found: pages.Found) -> dict[str, str]:
    """The tables of the page."""
    networks = [(network, found[name]) for client in CLIENTS for network in NETWORKS if (name := f"{client}: {network}") in found]
    if not networks:
        return {}
    taken = [(network, client, each) for network, part in networks for client, each in part["milliseconds"].items()]
    figures = [
        [network, client, f"{statistics.median(each):.1f}", f"{min(each):.1f} to {max(each):.1f}", len(each)]
        for network, client, each in taken
    ]
    shown = {"figures": pages.table([["network", "client", "median ms", "range", "rounds"], *figures])}
    pairs = [(network, part["milliseconds"]) for network, part in networks if not NETWORKS[network][1]]
    if pairs:
        head = ["network", "negotiated beside plain", "times, median of pairs", "ms more"]
        shown["pairs"] = pages.table([head, *map(pair, pairs)])
    return shown | browsers([part["version"] for _, part in networks if "version" in part])


def pair(one: tuple[str, dict[str, list[float]]]) -> list[str]:
    """A negotiated client beside the plain one, pair by pair."""
    network, clients = one
    (name, first), (_, second) = clients.items()
    ratio = statistics.median(a / b for a, b in zip(first, second, strict=True))
    more = statistics.median(a - b for a, b in zip(first, second, strict=True))
    return [network, name.partition(",")[0], f"{ratio:.2f}", f"{more:.1f}"]


def browsers(versions: list[str]) -> dict[str, str]:
    """Which it is."""
    majors = sorted({version.partition(".")[0] for version in versions})
    return {"browser": f"The browser is Chromium {' and '.join(majors)}."} if majors else {}


SHEET = pages.Sheet(__file__, "first_event.md", tables, "Hypercorn", "aiohttp")


def main(asked: argparse.Namespace) -> None:
    """See the top of the file."""
    SHEET.run(asked, steps())


if __name__ == "__main__":
    parser = pages.parser(__doc__)
    parser.add_argument("--serve", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    main(arguments) if arguments.serve is None else asyncio.run(serve(arguments.serve))
