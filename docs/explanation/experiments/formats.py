"""What each way to write the same items costs: bytes on the wire, CPU of the server for a delivery, CPU of a reader for an event.

    python docs/explanation/experiments/formats.py              # all of it, about five minutes; prints tables
    python docs/explanation/experiments/formats.py --quick      # half a minute, to see whether it runs

CPU is that of processes and not time on a clock, ways take turns, and medians are shown: so ratios within one run hold on a
machine that has other things to do. A reader is a socket that counts bytes; nothing is decoded while the server is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gzip
import json
import random
import statistics
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import psutil

from transports import Hub, Options
from transports.asgi import Endpoints
from transports.codings import coding
from transports.deflate import inflate, packed
from transports.front import Front
from transports.items import Encoded, encode_batch, encode_data, encode_event
from transports.msgpack import PackedReader
from transports.msgpack import frame as packed_batch
from transports.serve import address, configuration, listen, serve
from transports.sse import StreamReader
from transports.sse import frame as sse_batch
from transports.websocket import MessageReader

READERS, EVENTS, PACE, REPEATS = 200, 400, 0.005, 3  # the third: seconds from one event to the next
WORDS = ("order", "price", "market", "limit", "buy", "sell", "open", "close", "high", "low", "volume", "the", "of", "and", "with")
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def small(luck: random.Random) -> Any:
    """A reading."""
    return {"load": round(luck.random(), 3)}


def repetitive(luck: random.Random) -> Any:
    """A list of things of the same kind, as tables and order books are."""
    return [
        {
            "symbol": luck.choice(["AAPL", "MSFT", "GOOG"]),
            "bid": round(luck.uniform(90, 110), 2),
            "ask": round(luck.uniform(90, 110), 2),
            "open": True,
        }
        for _ in range(20)
    ]


def text(luck: random.Random) -> Any:
    """Some 4 KB of words."""
    return {"text": " ".join(luck.choice(WORDS) + str(luck.randint(0, 99)) for _ in range(600))}


def noise(luck: random.Random) -> Any:
    """4 KB of what cannot be compressed: an image in base64."""
    return {"image": base64.b64encode(luck.randbytes(3072)).decode()}


KINDS: dict[str, Callable[[random.Random], Any]] = {"small": small, "repetitive": repetitive, "text": text, "noise": noise}


class Way(NamedTuple):
    """How items are written, and how a client asks for that."""

    name: str
    path: str
    headers: str
    settings: dict[str, Any]


WAYS = [
    Way("JSON", "ws", UPGRADE + "Sec-WebSocket-Protocol: everywire.v1.json\r\n", {}),
    Way("MessagePack", "ws", UPGRADE + "Sec-WebSocket-Protocol: everywire.v1.msgpack\r\n", {}),
    Way("deflate", "ws", UPGRADE + "Sec-WebSocket-Extensions: permessage-deflate\r\n", {"deflate": True}),
    Way("SSE", "sse", "", {}),
    Way("SSE, gzip", "sse", "Accept-Encoding: gzip\r\n", {"encodings": ("gzip",)}),
    Way("SSE, zstd", "sse", "Accept-Encoding: zstd\r\n", {"encodings": ("zstd",)}),
]


# --- bytes, and what it takes to make them


def items(kind: str, count: int) -> list[Encoded]:
    luck = random.Random(7)
    return [encode_event("k3f9", n, "a", 1763850000.123 + n, encode_data(KINDS[kind](luck))) for n in range(1, count + 1)]


def framings() -> dict[str, Callable[[list[Encoded]], bytes]]:
    def deflate(batch: list[Encoded]) -> bytes:
        return packed(encode_batch(batch)) or encode_batch(batch)

    return {
        "JSON": encode_batch,
        "MessagePack": packed_batch,
        "deflate": deflate,
        "gzip, poll": lambda batch: coding("gzip").whole(encode_batch(batch)),
        "gzip, SSE": lambda batch: coding("gzip").part(sse_batch(batch)),
        "zstd, SSE": lambda batch: coding("zstd").part(sse_batch(batch)),
    }


def sizes() -> None:
    print("\n## Bytes for an event, and µs of CPU to write a batch of them once\n")
    print("| event | in a batch of |", " | ".join(framings()), "|\n|---|---|" + "---|" * len(framings()))
    for kind in KINDS:
        for count in (1, 20):
            cells = []
            for frame in framings().values():
                took = []
                for _ in range(7 if count > 1 else 40):
                    batch = items(kind, count)  # anew: MessagePack is kept on an event
                    start = time.process_time_ns()
                    made = frame(batch)
                    took.append((time.process_time_ns() - start) / 1000)
                cells.append(f"{len(made) / count:,.0f} ({statistics.median(took):,.0f} µs)")
            print(f"| {kind} | {count} |", " | ".join(cells), "|", flush=True)


def reading() -> None:
    print("\n## µs of CPU of a Python reader for an event, in batches of 20\n")
    readers: dict[str, Callable[[bytes], Any]] = {
        "JSON": lambda data: MessageReader().feed(data),
        "MessagePack": lambda data: PackedReader().feed(data),
        "deflate": lambda data: MessageReader().feed(inflate(data, 1 << 24) or b""),
        "gzip, poll": lambda data: MessageReader().feed(gzip.decompress(data)),
        "gzip, SSE": lambda data: StreamReader().feed(zlib.decompressobj(-15).decompress(data)),
    }
    print("| event |", " | ".join(readers), "|\n|---|" + "---|" * len(readers))
    for kind in KINDS:
        cells = []
        for name, read in readers.items():
            data = framings()[name](items(kind, 20))
            if name == "deflate" and data.startswith(b"["):
                read = readers["JSON"]
            took = []
            for _ in range(30):
                start = time.process_time_ns()
                read(data)
                took.append((time.process_time_ns() - start) / 20_000)
            cells.append(f"{statistics.median(took):.1f}")
        print(f"| {kind} |", " | ".join(cells), "|", flush=True)


# --- the server: what a delivery costs


async def run_server(edge: str, settings: dict[str, Any]) -> None:
    """Serve; for each line `KIND COUNT` on standard input publish so many, then say how much CPU that took."""
    options = Options(channels=("*",), beat=3600.0, connections_per_address=READERS * 2, **settings)
    hub = Hub(options)
    await hub.open()
    endpoints = Endpoints(hub)
    listening = listen("127.0.0.1", 0)
    print(address(listening), flush=True)
    stop, loop, me = asyncio.Event(), asyncio.get_running_loop(), psutil.Process()

    async def publisher() -> None:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            kind, count = line.split()
            luck = random.Random(7)
            values = [KINDS[kind](luck) for _ in range(int(count))]
            begun = sum(me.cpu_times()[:2])
            for value in values:
                await hub.publish("a", value)
                await asyncio.sleep(PACE)
            print(sum(me.cpu_times()[:2]) - begun, flush=True)
        stop.set()

    task = loop.create_task(publisher())
    config = configuration(listening, options)
    front = Front(endpoints.admission, "") if edge == "front" else None
    await serve(endpoints, config, hub.close, stop=stop, front=front)
    await task


@asynccontextmanager
async def served(edge: str, settings: dict[str, Any]) -> Any:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--serve", edge, json.dumps(settings), stdin=-1, stdout=-1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


class Reader(asyncio.Protocol):
    """Counts what comes."""

    def __init__(self, hello: bytes) -> None:
        self.hello, self.count = hello, 0

    def connection_made(self, transport: Any) -> None:
        transport.write(self.hello)

    def data_received(self, data: bytes) -> None:
        self.count += len(data)


async def delivered(edge: str, way: Way, kind: str, events: int) -> tuple[float, float]:
    """µs of the server's CPU and bytes, both for one delivery."""
    loop = asyncio.get_running_loop()
    async with served(edge, way.settings) as (process, url):
        host, port = url.removeprefix("http://").split(":")
        hello = f"GET /{way.path}?channels=a HTTP/1.1\r\nHost: x\r\n{way.headers}\r\n".encode()
        readers = [(await loop.create_connection(lambda: Reader(hello), host, int(port))) for _ in range(READERS)]
        while not all(reader.count for _, reader in readers):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        before = sum(reader.count for _, reader in readers)
        process.stdin.write(f"{kind} {events}\n".encode())
        seconds = float(await process.stdout.readline())
        await asyncio.sleep(0.2)
        size = sum(reader.count for _, reader in readers) - before
        for transport, _ in readers:
            transport.abort()
        return 1e6 * seconds / (READERS * events), size / (READERS * events)


async def deliveries(repeats: int, events: int, kinds: list[str]) -> None:
    for edge in ("front", "Hypercorn alone"):
        print(f"\n## {edge}: µs of the server's CPU and bytes for a delivery; {READERS} readers, {1 / PACE:g} events a second\n")
        print("| event |", " | ".join(way.name for way in WAYS), "|\n|---|" + "---|" * len(WAYS))
        for kind in kinds:
            taken: dict[str, list[tuple[float, float]]] = {way.name: [] for way in WAYS}
            for _ in range(repeats):
                for way in WAYS:
                    taken[way.name].append(await delivered(edge, way, kind, events))
            cells = []
            for found in taken.values():
                cost = statistics.median(cost for cost, _ in found)
                cells.append(f"{cost:.2f} µs, {statistics.median(size for _, size in found):,.0f} B")
            print(f"| {kind} |", " | ".join(cells), "|", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--serve", nargs=2)
    wanted = arguments.parse_args()
    if wanted.serve:
        settings = {
            name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(wanted.serve[1]).items()
        }
        asyncio.run(run_server(wanted.serve[0], settings))
        return
    sizes()
    reading()
    repeats, events = (1, 50) if wanted.quick else (REPEATS, EVENTS)
    asyncio.run(deliveries(repeats, events, ["small", "repetitive", "text"]))


if __name__ == "__main__":
    main()
