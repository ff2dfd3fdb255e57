"""What each way to write the same items costs: bytes on the wire, CPU of the server for a delivery, CPU of a reader for an event.

    python docs/explanation/experiments/formats.py              # all of it, about four minutes; prints tables
    python docs/explanation/experiments/formats.py --quick      # half a minute, to see whether it runs
    python docs/explanation/experiments/formats.py sizes        # one part; or `reading`, `front`, `Hypercorn`, `text`
    python docs/explanation/experiments/formats.py --write      # keeps it in formats.json, for the page on compression

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
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import pages

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

READERS, EVENTS, PACE, REPEATS = 200, 200, 0.005, 3  # the third: seconds from one event to the next
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


EDGES = {"front": "front", "hypercorn": "Hypercorn alone"}
DELIVERED = ("small", "repetitive", "text")  # what cannot be compressed is told by its bytes


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


async def sizes() -> dict[str, Any]:
    """By kind, number of events in a batch and framing: bytes for an event, and µs of CPU to write the batch once."""
    found: dict[str, dict[str, dict[str, tuple[float, float]]]] = {}
    for kind in KINDS:
        for count in (1, 20):
            cells = found.setdefault(kind, {}).setdefault(str(count), {})
            for name, frame in framings().items():
                took = []
                for _ in range(7 if count > 1 else 40):
                    batch = items(kind, count)  # anew: MessagePack is kept on an event
                    start = time.process_time_ns()
                    made = frame(batch)
                    took.append((time.process_time_ns() - start) / 1000)
                cells[name] = round(len(made) / count, 2), round(statistics.median(took), 3)
    return found


async def levels() -> dict[str, tuple[int, float]]:
    """By zlib's level: bytes of a batch of 1,000 small events, and µs of CPU to compress it."""
    data, found = encode_batch(items("small", 1000)), {}
    for level in (1, 6):
        took = []
        for _ in range(15):
            start = time.process_time_ns()
            made = zlib.compress(data, level)
            took.append((time.process_time_ns() - start) / 1000)
        found[str(level)] = len(made), round(statistics.median(took), 3)
    return found


async def reading() -> dict[str, dict[str, float]]:
    """By kind and framing: µs of CPU of a Python reader for an event, in batches of 20."""
    found: dict[str, dict[str, float]] = {}
    readers: dict[str, Callable[[bytes], Any]] = {
        "JSON": lambda data: MessageReader().feed(data),
        "MessagePack": lambda data: PackedReader().feed(data),
        "deflate": lambda data: MessageReader().feed(inflate(data, 1 << 24) or b""),
        "gzip, poll": lambda data: MessageReader().feed(gzip.decompress(data)),
        "gzip, SSE": lambda data: StreamReader().feed(zlib.decompressobj(-15).decompress(data)),
    }
    for kind in KINDS:
        cells = found.setdefault(kind, {})
        for name, read in readers.items():
            data = framings()[name](items(kind, 20))
            if name == "deflate" and data.startswith(b"["):
                read = readers["JSON"]
            took = []
            for _ in range(30):
                start = time.process_time_ns()
                read(data)
                took.append((time.process_time_ns() - start) / 20_000)
            cells[name] = round(statistics.median(took), 3)
    return found


# --- the server: what a delivery costs


async def run_server(edge: str, settings: dict[str, Any]) -> None:
    """Serve; for each line `KIND COUNT` on standard input publish so many, then say how much CPU that took."""
    options = Options(channels=("*",), beat=3600.0, connections_per_address=READERS * 2, **settings)
    hub = Hub(options)
    await hub.open()
    endpoints = Endpoints(hub)
    listening = listen("127.0.0.1", 0)
    print(address(listening), flush=True)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    async def publisher() -> None:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            kind, count = line.split()
            luck = random.Random(7)
            values = [KINDS[kind](luck) for _ in range(int(count))]
            begun = time.process_time()
            for value in values:
                await hub.publish("a", value)
                await asyncio.sleep(PACE)
            print(time.process_time() - begun, flush=True)
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


async def deliveries(edge: str, kind: str, repeats: int, events: int) -> dict[str, dict[str, list[float]]]:
    """By way: what the rounds gave, in turns."""
    taken: dict[str, dict[str, list[float]]] = {way.name: {"microseconds": [], "bytes": []} for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            cost, size = await delivered(edge, way, kind, events)
            taken[way.name]["microseconds"].append(round(cost, 3))
            taken[way.name]["bytes"].append(round(size, 2))
    return taken


def steps(quick: bool) -> Iterator[pages.Step]:
    """All that is measured."""
    repeats, events = (1, 50) if quick else (REPEATS, EVENTS)
    yield "sizes", sizes
    yield "levels", levels
    yield "reading", reading
    for edge, title in EDGES.items():
        for kind in DELIVERED:
            yield f"{title}: {kind}", partial(deliveries, edge, kind, repeats, events)


# --- what is shown


def tables(found: pages.Found) -> dict[str, str]:
    """The tables of the page."""
    shown = {}
    if "sizes" in found:
        shown["sizes"], shown["saved"] = sizes_table(found["sizes"]), saved(found["sizes"])
    if "reading" in found:
        rows = [[kind, *(f"{each:.1f}" for each in cells.values())] for kind, cells in found["reading"].items()]
        shown["reading"] = pages.table([["event", *next(iter(found["reading"].values()))], *rows])
    for edge, title in EDGES.items():
        if some := {kind: found[f"{title}: {kind}"] for kind in DELIVERED if f"{title}: {kind}" in found}:
            shown[edge] = deliveries_table(some)
    spans = [
        max(way["microseconds"]) - min(way["microseconds"])
        for name, part in found.items()
        if name.partition(":")[0] in EDGES.values()
        for way in part.values()
    ]
    if spans:
        middle, most = statistics.median(spans), max(spans)
        shown["spread"] = f"Rounds of the same lie {middle:.1f} µs apart in the median, and {most:.1f} µs at the most."
    return shown


def sizes_table(found: dict[str, Any]) -> str:
    """Bytes, and µs in brackets."""
    names = next(iter(next(iter(found.values())).values()))
    rows = [
        [kind, count, *(f"{size:,.0f} ({took:,.0f} µs)" for size, took in cells.values())]
        for kind, batches in found.items()
        for count, cells in batches.items()
    ]
    return pages.table([["event", "in a batch of", *names], *rows])


def saved(found: dict[str, Any]) -> str:
    """What is left of three of them, as a sentence."""

    def left(kind: str, count: int) -> str:
        cells = found[kind][str(count)]
        deflate, gzipped = (cells[name][0] / cells["JSON"][0] for name in ("deflate", "gzip, SSE"))
        return f"{deflate:.0%} with deflate and {gzipped:.0%} with gzip over SSE"

    few, list_, many = left("small", 1), left("repetitive", 1), left("small", 20)
    kept = f"a small event by itself keeps {few}; a list of 20 prices {list_}; and 20 small events in a batch {many}"
    return f"Of the bytes of JSON, {kept}."


def deliveries_table(found: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    """µs and bytes, medians."""
    rows = []
    for kind, ways in found.items():
        cells = [(statistics.median(way["microseconds"]), statistics.median(way["bytes"])) for way in ways.values()]
        rows.append([kind, *(f"{cost:.2f} µs, {size:,.0f} B" for cost, size in cells)])
    return pages.table([["event", *(way.name for way in WAYS)], *rows])


def figures(found: pages.Found) -> dict[str, str]:
    """What stands in sentences: how level 1 compares with level 6."""
    if "levels" not in found:
        return {}
    (size, took), (other_size, other_took) = found["levels"]["1"], found["levels"]["6"]
    return {"level-time": pages.percent(took / other_took), "level-bytes": pages.percent(size / other_size - 1)}


SHEET = pages.Sheet(__file__, "../../how-to/compress.md", tables, "Hypercorn", "msgspec", figures=figures)


def main() -> None:
    """See the top of the file."""
    arguments = pages.parser(__doc__)
    arguments.add_argument("--quick", action="store_true", help="fewer rounds and events: to see whether it runs")
    arguments.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    wanted = arguments.parse_args()
    if wanted.serve:
        settings = {
            name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(wanted.serve[1]).items()
        }
        asyncio.run(run_server(wanted.serve[0], settings))
        return
    if wanted.quick and wanted.write:
        arguments.error("--quick is to see whether it runs, and is not kept: leave --write away")
    SHEET.run(wanted, steps(wanted.quick))


if __name__ == "__main__":
    main()
