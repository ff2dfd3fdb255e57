"""What a connection costs: memory per idle reader, and how many deliveries one core makes.

    python docs/explanation/experiments/costs.py              # all of it once, two minutes; prints tables
    python docs/explanation/experiments/costs.py longpoll     # one kind of reader; or `idle`, `busy`, `slow`
    python docs/explanation/experiments/costs.py --write      # three times, six minutes: keeps it in costs.json, for costs.md

The server runs in a process of its own on core 0, the readers on core 1. The peer in the same run is a plain ASGI
WebSocket application on the same Hypercorn that sends every event to every reader by itself, as most code does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pages
import psutil

from transports import Hub, Options
from transports.asgi import Endpoints
from transports.options import UNBOUNDED
from transports.serve import address, configuration, listen, serve

READERS, IDLE, SECONDS, GOOD = 200, 2000, 2.5, 0.25  # the last: seconds that p99 of the delay may reach
EACH, FROM, PEERS_FROM = 50.0, 800.0, 100.0  # events a second: read one by one, and where the search begins, ours and the peer's
SLOW_RATE, SLOW_TIMES = 5000, 4  # events a second beside a slow reader, and for how many times SECONDS
SLOW_BYTES = 1024  # a second that it takes
RUNS = 3  # whose middle is written
PATHS = {"websocket": "ws", "sse": "sse", "longpoll": "poll", "peer": "ws"}
TEXT = "x" * 40  # makes an event of about 100 bytes of data


# --- the server's side


class Peer:
    """Every reader is a task that waits for its queue; every event is a send of its own to each."""

    def __init__(self) -> None:
        self.queues: set[asyncio.Queue[str]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        queue: asyncio.Queue[str] = asyncio.Queue()
        self.queues.add(queue)
        await send({"type": "websocket.send", "text": "[]"})
        gone = asyncio.create_task(receive())
        while not gone.done():
            await send({"type": "websocket.send", "text": await queue.get()})

    async def publish(self, channel: str, data: Any) -> None:
        text = json.dumps(data)
        for queue in self.queues:
            queue.put_nowait(text)


async def run_server(kind: str, history: int) -> None:
    """Serve, and publish at the rate that a line on standard input asks for: `RATE SECONDS`."""
    options = Options(channels=("*",), beat=3600.0, poll_wait=60.0, history_count=history, **UNBOUNDED)
    hub = Hub(options)
    await hub.open()
    app: Any = Peer() if kind == "peer" else Endpoints(hub)
    publish = app.publish if kind == "peer" else hub.publish
    listening = listen("127.0.0.1", 0)
    print(address(listening), f"{hub.log.epoch}.0", flush=True)
    config = configuration(listening, options)
    config.loglevel = "ERROR"
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def publisher() -> None:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            rate, seconds = map(float, line.split())
            start, number, last = loop.time(), 0, int(rate * seconds)
            while number < last:
                due = min(int((loop.time() - start) * rate) + 1, last)
                for each in range(number, due):
                    await publish("a", {"t": round((start + each / rate) * 1e6), "text": TEXT})
                number = due
                await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
        stop.set()

    task = asyncio.create_task(publisher())
    await serve(app, config, hub.close, stop=stop)
    task.cancel()


# --- the readers' side


def head(kind: str, query: str) -> bytes:
    """The head of the request that opens a stream or asks for a poll."""
    lines = [f"GET /{PATHS[kind]}?channels={query} HTTP/1.1", "Host: x"]
    if PATHS[kind] == "ws":
        lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    return "\r\n".join([*lines, "", ""]).encode()


class Reader(asyncio.Protocol):
    """One reader: counts events by a mark in their bytes, and takes the delay of the last one in each read."""

    def __init__(self, kind: str, since: str, ready: Callable[[], None], seen: Callable[[int, float | None], None]) -> None:
        self.kind, self.since, self.ready, self.seen = kind, since, ready, seen
        self.begun, self.rest = False, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask("a&since=" + self.since if self.kind == "longpoll" else "a")

    def ask(self, query: str) -> None:
        self.transport.write(head(self.kind, query))
        if self.kind == "longpoll" and not self.begun:
            self.begun = True
            self.ready()

    def data_received(self, data: bytes) -> None:
        if not self.begun and (b"hello" in data or b"[]" in data):
            self.begun = True
            self.ready()
        data = self.rest + data
        if self.kind == "longpoll" and not data.endswith(b"}]"):
            self.rest = data  # an answer counts when it is whole
            return
        count = data.count(b'{"t":')
        delay = None
        if count:
            last = data.rfind(b'{"t":')
            end = data.find(b",", last)
            if end < 0:
                count, self.rest = count - 1, data[last:]
            else:
                self.rest = data[max(end, len(data) - 5) :]  # perhaps the start of a mark
                delay = time.monotonic() - int(data[last + 5 : end]) / 1e6
        else:
            self.rest = data[-5:]
        if count:
            self.seen(count, delay)
        if self.kind == "longpoll":
            self.rest = b""
            place = data.rfind(b'"id":"') + 6
            self.ask("a&since=" + data[place : data.find(b'"', place)].decode())


class Server:
    """The server as a process on core 0. `history`: events kept, enough that a busy run loses none."""

    def __init__(self, kind: str, history: int = 50_000) -> None:
        self.kind, self.history = kind, history

    async def __aenter__(self) -> Server:
        command = ["taskset", "-c", "0", sys.executable, __file__, "--serve", self.kind, "--history", str(self.history)]
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        self.process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=null)
        url, self.since = (await self.process.stdout.readline()).decode().split()  # type: ignore[union-attr]
        self.host, port = url.removeprefix("http://").split(":")
        self.port, self.stats = int(port), psutil.Process(self.process.pid)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.process.stdin.close()  # type: ignore[union-attr]
        await self.process.wait()

    def publish(self, rate: float, seconds: float) -> None:
        self.process.stdin.write(f"{rate} {seconds}\n".encode())  # type: ignore[union-attr]

    async def connect(self, number: int, seen: Callable[[int, float | None], None]) -> list[Any]:
        loop, left, done = asyncio.get_running_loop(), number, asyncio.Event()

        def ready() -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        made = []
        for _ in range(number):
            made.append(
                (await loop.create_connection(lambda: Reader(self.kind, self.since, ready, seen), self.host, self.port))[0]
            )
        await asyncio.wait_for(done.wait(), 60)
        return made


async def settled(server: Server) -> int:
    """The server's memory in bytes, once it has stopped changing."""
    before = -1
    while (now := server.stats.memory_info().rss) != before:
        before = now
        await asyncio.sleep(0.5)
    return now


async def idle(kind: str) -> float:
    """KiB of memory per idle reader."""
    async with Server(kind) as server:
        warm = await server.connect(50, lambda *_: None)
        before = await settled(server)
        made = await server.connect(IDLE, lambda *_: None)
        after = await settled(server)
        for each in [*warm, *made]:
            each.abort()
        return round((after - before) / 1024 / IDLE, 3)


def rates(kind: str) -> Iterator[float]:
    """Of events, one after the other, until readers do not keep up."""
    yield EACH
    rate = PEERS_FROM if kind == "peer" else FROM
    while True:
        yield rate
        rate *= 2


async def busy(kind: str) -> list[dict[str, float]]:
    """For growing rates: deliveries per second, their delay, and the server's CPU."""
    rows: list[dict[str, float]] = []
    async with Server(kind) as server:
        counts, delays = [0], []

        def seen(count: int, delay: float | None) -> None:
            counts[0] += count
            if delay is not None:
                delays.append(delay)

        made = await server.connect(READERS, seen)
        for rate in rates(kind):
            counts[0] = 0
            delays.clear()
            wanted = int(rate * SECONDS) * READERS
            cpu, start, mine = sum(server.stats.cpu_times()[:2]), time.monotonic(), time.process_time()
            server.publish(rate, SECONDS)
            while counts[0] < wanted and time.monotonic() - start < 3 * SECONDS:
                await asyncio.sleep(0.01)
            took = time.monotonic() - start
            late = sorted(delays) or [took]
            rows.append(
                {
                    "rate": rate,
                    "deliveries": round(counts[0] / took, 1),
                    "missing": wanted - counts[0],
                    "p50": round(statistics.median(late), 6),
                    "p99": round(late[int(len(late) * 0.99)], 6),
                    "server cpu": round((sum(server.stats.cpu_times()[:2]) - cpu) / took, 4),
                    "reader cpu": round((time.process_time() - mine) / took, 4),
                }
            )
            if not kept_up(rows[-1]):
                break
        for each in made:
            each.abort()
    return rows


def kept_up(row: dict[str, float]) -> bool:
    """Whether readers did, all of them."""
    return row["p99"] <= GOOD and not row["missing"]


async def slow() -> dict[str, float]:
    """One reader takes 1 KB/s of a WebSocket while events are published, beside one that takes all."""
    seconds = SLOW_TIMES * SECONDS
    async with Server("websocket", history=1000) as server:
        got, delays = [0], []

        def seen(count: int, delay: float | None) -> None:
            got[0] += count
            if delay is not None:
                delays.append(delay)

        made = await server.connect(1, seen)
        reader, writer = await asyncio.open_connection(server.host, server.port, limit=SLOW_BYTES)
        writer.write(head("websocket", "a"))
        before = await settled(server)
        server.publish(SLOW_RATE, seconds)
        start, taken, most = time.monotonic(), 0, before
        while time.monotonic() - start < seconds + 2:
            with suppress(TimeoutError):
                taken += len(await asyncio.wait_for(reader.read(SLOW_BYTES), 1.0))
            most = max(most, server.stats.memory_info().rss)
            await asyncio.sleep(1.0)
        made[0].abort()
        writer.transport.abort()
        late = sorted(delays) or [seconds]
        return {
            "grown": most - before,
            "taken": taken,
            "published": int(SLOW_RATE * seconds),
            "got": got[0],
            "p99": round(late[int(len(late) * 0.99)], 6),
        }


# --- what is shown


def tables(found: pages.Found) -> dict[str, str]:
    """The tables of the page."""
    shown = {}
    if memory := {kind: found[f"idle, {kind}"] for kind in PATHS if f"idle, {kind}" in found}:
        shown["idle"] = idle_table(memory)
    if loads := {kind: found[f"busy, {kind}"] for kind in PATHS if f"busy, {kind}" in found}:
        shown["busy"], shown["each"] = busy_table(loads), each_table(loads)
    if "slow" in found:
        shown["slow"] = slow_table(found["slow"])
    return shown


def of(runs: list[Any]) -> str:
    """Which of the runs is shown."""
    return f", median of {len(runs)} runs" if len(runs) > 1 else ""


def span(values: list[float], form: str) -> str:
    """From the lowest to the highest."""
    return f"{min(values):{form}} to {max(values):{form}}"


def idle_table(memory: dict[str, list[float]]) -> str:
    """KiB for each."""
    rows = [[kind, f"{statistics.median(each):.1f}", span(each, ".1f")] for kind, each in memory.items()]
    return pages.table([["reader", f"KiB{of(next(iter(memory.values())))}", "range"], *rows])


def best(rows: list[dict[str, float]]) -> dict[str, float]:
    """The highest rate that readers kept up with."""
    return next((row for row in reversed(rows) if kept_up(row)), rows[0])


def middle(runs: list[list[dict[str, float]]]) -> dict[str, float]:
    """Of the best rates of several runs the one in the middle."""
    return sorted(map(best, runs), key=lambda row: row["deliveries"])[(len(runs) - 1) // 2]


def busy_table(loads: dict[str, list[list[dict[str, float]]]]) -> str:
    """What readers kept up with."""
    rows = []
    peer = middle(loads["peer"])["deliveries"] if "peer" in loads else None
    for kind, runs in loads.items():
        row = middle(runs)
        rows.append(
            [
                kind,
                f"{row['rate']:,.0f}",
                f"{row['deliveries']:,.0f}",
                f"{row['deliveries'] / peer:,.0f}" if peer else "–",
                f"{row['p50'] * 1e3:.0f} ms",
                f"{row['p99'] * 1e3:.0f} ms",
            ]
        )
    title = f"reader{of(next(iter(loads.values())))}"
    return pages.table([[title, "events/s", "deliveries/s", "times the peer's", "delay p50", "delay p99"], *rows])


def each_table(loads: dict[str, list[list[dict[str, float]]]]) -> str:
    """The server's CPU for a delivery, event by event and at the highest rate."""
    rows = []
    for kind, runs in loads.items():
        first, last = [spent(run[0]) for run in runs], [spent(best(run)) for run in runs]
        rows.append([kind, f"{statistics.median(first):.0f} µs", f"{statistics.median(last):.1f} µs"])
    return pages.table([["CPU of the server for a delivery", f"at {EACH:g} events/s", "at the highest rate"], *rows])


def spent(row: dict[str, float]) -> float:
    """Microseconds of the server's CPU for a delivery."""
    return row["server cpu"] / max(row["deliveries"], 1.0) * 1e6


def slow_table(runs: list[dict[str, float]]) -> str:
    """What one who takes little costs."""
    grown, taken, late = ([run[name] for run in runs] for name in ("grown", "taken", "p99"))
    mib, kib, milli = [each / 2**20 for each in grown], [each / 1024 for each in taken], [each * 1e3 for each in late]
    got, published = sum(run["got"] for run in runs), sum(run["published"] for run in runs)
    rows = [
        ["the server's memory grew by", f"{statistics.median(mib):.1f} MiB", span(mib, ".1f")],
        ["the slow one took", f"{statistics.median(kib):.0f} KiB", span(kib, ".0f")],
        ["the other one got, of all events", f"{got:,} of {published:,}", ""],
        ["p99 of the other one's delay", f"{statistics.median(milli):.1f} ms", span(milli, ".1f")],
    ]
    return pages.table([[f"beside a slow reader{of(runs)}", "", "range"], *rows])


# --- in turns


def steps(runs: int) -> Iterator[pages.Step]:
    """All that is measured, so many times in turns."""
    found: defaultdict[str, list[Any]] = defaultdict(list)

    async def add(name: str, measure: Callable[[], Awaitable[Any]]) -> list[Any]:
        found[name].append(await measure())
        return found[name]

    for _ in range(runs):
        for kind in PATHS:
            yield f"idle, {kind}", partial(add, f"idle, {kind}", partial(idle, kind))
        for kind in PATHS:
            yield f"busy, {kind}", partial(add, f"busy, {kind}", partial(busy, kind))
        yield "slow", partial(add, "slow", slow)


SHEET = pages.Sheet(__file__, "costs.md", tables, "Hypercorn")


def main(asked: argparse.Namespace) -> None:
    """Measure, on the core that the server leaves."""
    os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
    SHEET.run(asked, steps(asked.runs or (RUNS if asked.write else 1)))


if __name__ == "__main__":
    parser = pages.parser(__doc__)
    parser.add_argument("--runs", type=int, help=f"how often: {RUNS} with --write, else once")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--history", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    asyncio.run(run_server(arguments.serve, arguments.history)) if arguments.serve else main(arguments)
