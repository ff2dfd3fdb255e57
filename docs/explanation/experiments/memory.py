"""Where the bytes of an idle reader go: the server's memory per reader, and its parts, object by object.

    python docs/explanation/experiments/memory.py                          # all of it, ten minutes
    python docs/explanation/experiments/memory.py --write                  # keeps it in memory.json, for memory.md
    python docs/explanation/experiments/memory.py ws-on --readers 2000     # one of its parts

The server runs in a process of its own, the readers in another one (the load client of the benchmarks, in C: it needs a
compiler). For each wire, with the front and without it:

    RSS         what the operating system says that the process holds, per reader, at 2,000 and at 10,000 readers
    traced      what Python asked for, says tracemalloc, in a run of its own
    parts       every object that is there with the readers and was not there without them, by what holds it
    kernel      what the kernel keeps beside the process, from its slabs; both ends are on this machine, so half of it
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import json
import os
import re
import sys
import tempfile
import time
import tracemalloc
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pages

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.load import Load
from tests.benchmarks.program import Program, compile_c
from tests.benchmarks.subjects.publisher import listen, port_of

FRONTS = ("on", "off")
WIRES = {"ws": "WebSocket", "sse": "SSE", "wait": "a waiting poll"}
WARM = 50  # readers that are there before it is measured: first uses are not the readers' own
BEAT = 5.0  # seconds; each reader is measured before its first beat, and behind it
SHOWN = 24  # bytes that a part has at least, to have a line of its own

# --- the server's side: a census of its objects

_PLAIN = (
    dict,
    deque,
    list,
    tuple,
    set,
    frozenset,
    type(WIRES.get),
    type(Counter().most_common),
    bytearray,
    bytes,
    str,
    int,
    float,
)
_NO_DICT = sys.getsizeof({})


class Part(NamedTuple):
    """What objects of one kind come to."""

    count: float
    size: float


def name_of(thing: Any) -> str:
    """Whose it is: the place of its type, or of the function that a coroutine runs."""
    if inspect.iscoroutine(thing):
        return f"{module_at(thing.cr_code.co_filename)}.{thing.cr_code.co_qualname}()"
    return f"{type(thing).__module__}.{type(thing).__qualname__}".removeprefix("builtins.")


@cache
def module_at(path: str) -> str:
    """The name of the module in the file at `path`."""
    return next((name for name, module in sys.modules.items() if getattr(module, "__file__", None) == path), path)


def attributes_of(thing: Any, referents: list[Any]) -> int:
    """Bytes of its attributes where they are an array, as long as nobody asks for their dict; 0 where they are one."""
    attributes = getattr(thing, "__dict__", None) if type(thing).__dictoffset__ else None
    if not isinstance(attributes, dict) or any(each is attributes for each in referents):
        return 0
    return sys.getsizeof(attributes) - _NO_DICT


def census() -> dict[str, Part]:
    """All objects of the process, by kind; plain ones (dicts, strings, bound methods, …) by who holds them."""
    gc.collect()
    roots = gc.get_objects()
    tracked = {id(each) for each in roots}
    holders: dict[int, str] = {}
    for holder in roots:
        if not isinstance(holder, _PLAIN):
            name = name_of(holder)
            for each in gc.get_referents(holder):
                if isinstance(each, _PLAIN):
                    holders.setdefault(id(each), name)
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    seen: set[int] = set()
    apart = {id(each) for each in (roots, tracked, holders, counts, sizes, seen)}
    todo = [(each, "") for each in roots if id(each) not in apart]
    while todo:
        thing, above = todo.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        referents = gc.get_referents(thing)
        owner = (holders.get(id(thing)) or above) if isinstance(thing, _PLAIN) else ""
        name = f"{owner}: {name_of(thing)}" if owner else name_of(thing)
        sizes[name] += sys.getsizeof(thing)
        counts[name] += 1
        if not isinstance(thing, type(sys)) and (size := attributes_of(thing, referents)):
            sizes[f"{name}, its attributes"] += size
            counts[f"{name}, its attributes"] += 1
        todo += [(each, owner or name) for each in referents if id(each) not in tracked and id(each) not in apart]
    return {name: Part(counts[name], sizes[name]) for name in sizes}


async def serve_until_told(front: bool, traced: bool) -> None:
    """Serve, and answer what a line on standard input asks for: `rss`, `traced` or `census`."""
    from quart import Quart

    from transports.options import UNBOUNDED
    from transports.quart import Live
    from transports.serve import configuration, serve

    app = Quart("memory")
    live = Live(app, channels=["*"], beat=BEAT, poll_wait_max=3600.0, **UNBOUNDED)
    listening = listen()
    config = configuration(listening.dup(), live.hub.options)
    stop = asyncio.Event()
    task = asyncio.create_task(serve(app, config, live.hub.close, stop=stop, front=live.front if front else None))
    await live.hub.open()
    await live.publish("a", 1)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps({"port": port_of(listening), "since": f"{live.hub.log.epoch}.1"}), flush=True)
    if traced:
        tracemalloc.start(1)
    while line := (await lines.readline()).strip():
        print(json.dumps(answer(line.decode())), flush=True)
    task.cancel()
    os._exit(0)  # how a server ends is not measured here


def answer(asked: str) -> dict[str, Any]:
    """What a line on standard input asks for."""
    if asked == "census":
        return {name: [*part] for name, part in census().items()}
    gc.collect()
    return {"bytes": rss_of_this() if asked == "rss" else tracemalloc.get_traced_memory()[0]}


def rss_of_this() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# --- the readers' side


class Server(Program):
    """The server, as a program that has said where it listens."""

    def __init__(self, front: bool, *, traced: bool = False) -> None:
        flags = ["--serve", *(["--front"] if front else []), *(["--traced"] if traced else [])]
        super().__init__([sys.executable, __file__, *flags])
        said = self.hear()
        self.port, self.since = said["port"], said["since"]

    def readers(self, program: str, wire: str) -> Load:
        """The load client, that will open readers here."""
        path = "/live/poll?channels=a&wait=3600&since=" + self.since if wire == "wait" else f"/live/{wire}?channels=a"
        return Load(program, self.port, path, wire, flags=() if wire == "wait" else ("--hello",))

    def bytes(self, what: str) -> int:
        """`rss` or `traced`, once it has stopped changing."""
        before = -1
        while abs((now := self.ask(what, 120.0)["bytes"]) - before) > 8192:
            before = now
            time.sleep(0.5)
        return int(now)


KERNEL = ("TCP", "sock_inode_cache", "dentry", "filp", "eventpoll_epi")  # what a TCP connection is made of


def slabs() -> dict[str, tuple[int, int]]:
    """The kernel's objects, by cache: how many there are, and their size. Empty for who may not look: that is root's."""
    try:
        lines = Path("/proc/slabinfo").read_text().splitlines()[2:]
    except OSError:
        return {}
    rows = [line.split() for line in lines]
    return {row[0]: (int(row[1]), int(row[3])) for row in rows if row[0] in KERNEL}


def buffered() -> int:
    """Bytes that all TCP sockets of the machine hold in their buffers."""
    found = re.search(r"^TCP:.* mem (\d+)$", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    return int(found[1]) * os.sysconf("SC_PAGE_SIZE") if found else 0


class Held(NamedTuple):
    """What an idle reader holds, in bytes."""

    rss: float
    kernel: dict[str, float]  # of the server's end alone


def per_reader(program: str, wire: str, front: bool, readers: int) -> Held:
    """RSS and the kernel's part per reader, at so many."""
    with Server(front) as server, server.readers(program, wire) as load:
        load.add(WARM)
        before, kernel, held = server.bytes("rss"), slabs(), buffered()
        opened = load.add(readers)
        if opened.failed:
            raise SystemExit(f"{opened.failed} of {readers} readers did not get in: is `ulimit -n` large enough?")
        live_on(server, wire)
        rss = (server.bytes("rss") - before) / readers
        grown = {name: (now - kernel.get(name, (0, 0))[0]) * size / 2 / readers for name, (now, size) in slabs().items()}
        grown["buffers"] = (buffered() - held) / 2 / readers
        return Held(rss, grown)


def traced(program: str, wire: str, front: bool, readers: int) -> float:
    """Bytes that Python asked for, per reader."""
    with Server(front, traced=True) as server, server.readers(program, wire) as load:
        load.add(WARM)
        before = server.bytes("traced")
        load.add(readers)
        live_on(server, wire)
        return (server.bytes("traced") - before) / readers


def parts(program: str, wire: str, front: bool, readers: int) -> dict[str, Part]:
    """What is there with a reader and was not without it, by kind."""
    with Server(front) as server, server.readers(program, wire) as load:
        load.add(WARM)
        server.ask("census", 300.0)  # what a census leaves behind is not the readers' either
        before = server.ask("census", 300.0)
        load.add(readers)
        live_on(server, wire)
        after = server.ask("census", 300.0)
        nothing = [0, 0]
        grown = {
            name: Part(*((new - old) / readers for new, old in zip(part, before.get(name, nothing), strict=True)))
            for name, part in after.items()
        }
        return {name: part for name, part in grown.items() if part.size >= 1}


def live_on(server: Server, wire: str) -> None:
    """Wait until all that was asked for has been dealt with, and each stream has had a beat and answered the ping in it:
    what is held in the long run is there then.
    """
    before = -1.0
    while (now := server.cpu()) - before > 0.01:
        before = now
        time.sleep(0.5)
    if wire != "wait":
        time.sleep(2.2 * BEAT)


# --- tables

GROUPS = {  # the first that a name begins with, or holds behind a `*`
    "asyncio: the transport": ("asyncio.selector_events", "asyncio.transports", "asyncio.trsock", "weakref.KeyedRef"),
    "asyncio: what is called when bytes come": ("asyncio.events.Handle", "_contextvars", "selectors", "tuple"),
    "asyncio: a timer": ("asyncio.events.TimerHandle",),
    "the socket": ("socket",),
    "front: the connection": ("transports.front.connection", "transports.front.requests", "transports.front.heads"),
    "front: the reader": ("transports.front.readers", "transports.front.exchanges", "transports.frames"),
    "the account: who it is, and what it has cost": ("transports.accounts", "transports.limits"),
    "watches over what the client has to do": ("transports.watch",),
    "the endpoints over ASGI, and Quart around them": (
        "transports.asgi", "transports.quart", "transports.admission", "quart", "transports.transport", "transports.websocket"
    ),
    "the feed": ("transports.feed", "transports.hub", "transports.items", "transports.group"),
    "Hypercorn": ("hypercorn", "transports.serve", "h11", "wsproto", "priority", "typing", "functools.partial"),
    "asyncio: tasks, streams, queues, events": ("asyncio", "_asyncio", "weakref", "async_generator"),
}  # fmt: skip
TRANSPORT = "asyncio.selector_events._SelectorSocketTransport"
REST = "entries in tables of all readers, and the rest"


async def measured(wire: str, front: bool, readers: Sequence[int]) -> pages.Found:
    """What an idle reader of a wire holds, in bytes."""
    with tempfile.TemporaryDirectory() as directory:
        program = compile_c(Path(directory), "load")["load"]
        held = {str(number): per_reader(program, wire, front, number) for number in readers}
        came = parts(program, wire, front, readers[0])
        return {
            "rss": {number: each.rss for number, each in held.items()},  # by the number of readers
            "kernel": [*held.values()][-1].kernel,
            "traced": traced(program, wire, front, readers[0]),
            "parts": {name: [*part] for name, part in sorted(came.items(), key=lambda each: -each[1].size)},
        }


async def of_python() -> pages.Found:
    """What an object of Python takes by itself."""
    return {"deque": sys.getsizeof(deque())}


def groups(found: pages.Found) -> dict[str, float]:
    """Bytes by group."""
    sums: Counter[str] = Counter()
    for name, (_, size) in found["parts"].items():
        sums[next((title for title, starts in GROUPS.items() if name.startswith(starts)), REST)] += size
    return sums


def parts_table(some: dict[str, pages.Found]) -> str:
    """The parts of an idle reader, by wire."""
    sums = [groups(each) for each in some.values()]
    rows = [[name, *(each.get(name, 0.0) for each in sums)] for name in [*GROUPS, REST]]
    rows = [row for row in rows if max(row[1:]) >= SHOWN]
    rows.append(["**all objects**", *(sum(each.values()) for each in sums)])
    rows.append(["what Python asked for", *(each["traced"] for each in some.values())])
    for number in next(iter(some.values()))["rss"]:
        rows.append([f"**RSS**, {int(number):,} readers", *(each["rss"].get(number, 0) for each in some.values())])
    cells = [[row[0], *(f"{each:,.0f}" for each in row[1:])] for row in rows]
    return pages.table([["bytes per reader", *(WIRES[wire] for wire in some)], *cells])


def objects(found: pages.Found) -> str:
    """Every kind of object."""
    rows = [
        [f"`{name}`", f"{count:.0f}" if count >= 0.5 else "", f"{size:.0f}"] for name, (count, size) in found["parts"].items()
    ]
    return pages.table([["object", "how many", "bytes"], *(row for row in rows if int(row[2]) >= SHOWN)])


def kernel(found: pages.Found) -> str:
    """What the kernel keeps of a connection."""
    rows = [[f"`{name}`", f"{size:.0f}"] for name, size in found["kernel"].items()]
    return pages.table([["cache of the kernel", "bytes"], *rows, ["**all**", f"{sum(found['kernel'].values()):.0f}"]])


def by_wire(found: pages.Found, front: str) -> dict[str, pages.Found]:
    """What there is of one front."""
    return {wire: found[f"{wire}-{front}"] for wire in WIRES if f"{wire}-{front}" in found}


def tables(found: pages.Found) -> dict[str, str]:
    """The tables of the page, by the names of their places."""
    made = {front: parts_table(some) for front in FRONTS if (some := by_wire(found, front))}
    if "ws-on" in found:
        made |= {"objects": objects(found["ws-on"]), "kernel": kernel(found["ws-on"])}
    return made


def figures(found: pages.Found) -> dict[str, str]:
    """What is said of them in sentences."""
    on, off = by_wire(found, "on"), by_wire(found, "off")
    most = {front: {wire: max(each["rss"].values()) for wire, each in some.items()} for front, some in (("on", on), ("off", off))}
    more = [size / each["traced"] - 1 for each in on.values() for size in each["rss"].values()]
    times = [most["off"][wire] / most["on"][wire] for wire in WIRES]
    websocket = on["ws"]["parts"]
    ours = sum(size for name, size in groups(on["ws"]).items() if name.startswith("asyncio") or name == "the socket")
    addresses = sum(websocket[f"{TRANSPORT}: {kind}"][1] for kind in ("tuple", "str", "int"))
    full = 50_000 * most["on"]["ws"]
    return {
        "most": f"{max(most['on'].values()) / 1000:.1f} KB",
        "least": f"{min(most['on'].values()) / 1000:.1f} KB",
        "more": f"up to {pages.percent(max(more))}",
        "apart": pages.percent(max(abs(sum(groups(each).values()) / each["traced"] - 1) for each in on.values())),
        "asyncio": pages.percent(ours / sum(size for _, size in websocket.values())),
        "times": f"{min(times):.0f} to {max(times):.0f} times",
        "deque": f"{found['python']['deque']:,} bytes",
        "addresses": f"{addresses:.0f} bytes",
        "timer": f"{groups(on['ws'])['asyncio: a timer']:.0f} bytes",
        "kernel": f"{sum(on['ws']['kernel'].values()) / 1000:.1f} KB",
        "full": f"{full / 1e6:.0f} MB",
    }


SHEET = pages.Sheet(__file__, "../memory.md", tables, "Hypercorn", figures=figures)


def steps(readers: Sequence[int]) -> Iterator[pages.Step]:
    """The parts: each wire, with the front and without."""
    yield "python", of_python
    for wire in WIRES:
        for front in FRONTS:
            yield f"{wire}-{front}", partial(measured, wire, front == "on", readers)


if __name__ == "__main__":
    parser = pages.parser(__doc__)
    parser.add_argument("--readers", nargs="+", type=int, default=[2000, 10_000])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--front", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--traced", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve_until_told(arguments.front, arguments.traced))
    else:
        SHEET.run(arguments, steps(arguments.readers))
