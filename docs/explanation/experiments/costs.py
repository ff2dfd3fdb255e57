"""What a connection costs: memory per idle reader, and how many deliveries one core makes.

    python docs/explanation/experiments/costs.py              # all of it, about three minutes; prints tables
    python docs/explanation/experiments/costs.py longpoll     # one kind of reader

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
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

from transports import Hub, Options
from transports.asgi import Endpoints
from transports.options import UNBOUNDED
from transports.serve import address, configuration, listen, serve

READERS, IDLE, SECONDS, GOOD = 200, 2000, 4.0, 0.25  # the last: seconds that p99 of the delay may reach
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
            start, number = loop.time(), 0
            while number < rate * seconds:
                due = min(int((loop.time() - start) * rate) + 1, int(rate * seconds))
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
        await asyncio.sleep(1.0)
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
        return (after - before) / 1024 / IDLE


async def busy(kind: str) -> list[dict[str, float]]:
    """For growing rates: deliveries per second, their delay, and the server's CPU."""
    rows = []
    async with Server(kind) as server:
        counts, delays = [0], []

        def seen(count: int, delay: float | None) -> None:
            counts[0] += count
            if delay is not None:
                delays.append(delay)

        made = await server.connect(READERS, seen)
        rate = 50.0
        while True:
            counts[0] = 0
            delays.clear()
            cpu, start, mine = sum(server.stats.cpu_times()[:2]), time.monotonic(), time.process_time()
            server.publish(rate, SECONDS)
            while counts[0] < rate * SECONDS * READERS and time.monotonic() - start < 3 * SECONDS:
                await asyncio.sleep(0.01)
            took = time.monotonic() - start
            rows.append(
                {
                    "rate": rate,
                    "deliveries": counts[0] / took,
                    "missing": rate * SECONDS * READERS - counts[0],
                    "p50": statistics.median(delays),
                    "p99": sorted(delays)[int(len(delays) * 0.99)],
                    "server cpu": (sum(server.stats.cpu_times()[:2]) - cpu) / took,
                    "reader cpu": (time.process_time() - mine) / took,
                }
            )
            if rows[-1]["p99"] > GOOD or rows[-1]["missing"]:
                break
            rate *= 2
        for each in made:
            each.abort()
    return rows


async def slow() -> dict[str, float]:
    """One reader takes 1 KB/s of a WebSocket while 5,000 events/s are published for 20 s, beside one that takes all."""
    async with Server("websocket", history=1000) as server:
        got, delays = [0], []

        def seen(count: int, delay: float | None) -> None:
            got[0] += count
            if delay is not None:
                delays.append(delay)

        made = await server.connect(1, seen)
        reader, writer = await asyncio.open_connection(server.host, server.port, limit=1024)
        writer.write(head("websocket", "a"))
        before = await settled(server)
        server.publish(5000, 20)
        start, taken, most = time.monotonic(), 0, before
        while time.monotonic() - start < 22:
            with suppress(TimeoutError):
                taken += len(await asyncio.wait_for(reader.read(1024), 1.0))
            most = max(most, server.stats.memory_info().rss)
            await asyncio.sleep(1.0)
        made[0].abort()
        writer.transport.abort()
        p99 = sorted(delays)[int(len(delays) * 0.99)]
        return {"grown MiB": (most - before) / 2**20, "taken KiB": taken / 1024, "other got": got[0], "p99 ms": p99 * 1e3}


async def main(kinds: list[str]) -> None:
    os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
    print(f"idle: KiB of memory per reader at {IDLE}")
    for kind in kinds:
        print(f"  {kind:10} {await idle(kind):6.1f}", flush=True)
    print(f"busy: {READERS} readers, about 100 bytes an event, {SECONDS:g} s for each rate")
    for kind in kinds:
        for row in await busy(kind):
            print(
                f"  {kind:10} {row['rate']:8.0f} events/s  {row['deliveries']:10.0f} deliveries/s  p50 {row['p50'] * 1e3:7.1f} ms"
                f"  p99 {row['p99'] * 1e3:7.1f} ms  server {row['server cpu']:4.0%}  readers {row['reader cpu']:4.0%}"
                f"  missing {row['missing']:.0f}",
                flush=True,
            )
    print("slow: one reader of 1 KB/s, 5,000 events/s for 20 s")
    for name, value in (await slow()).items():
        print(f"  {name:10} {value:10.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=list(PATHS))
    parser.add_argument("--serve")
    parser.add_argument("--history", type=int)
    arguments = parser.parse_args()
    asyncio.run(run_server(arguments.serve, arguments.history) if arguments.serve else main(arguments.kinds))
