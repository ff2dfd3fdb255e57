"""Details: small measurements that a sentence somewhere rests on, each of them a part.

    python docs/explanation/experiments/details.py            # all of it, six minutes; prints a table
    python docs/explanation/experiments/details.py redis      # one part; or HAProxy, Locust, SQLite, heads, drawn, planted
    python docs/explanation/experiments/details.py --write    # keeps it in details.json, for the pages that speak of it

Needs Debian's haproxy and redis-server. `drawn` is the same on every machine: it draws from rounds that were recorded.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pages
import psutil

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "locustfiles")]

from tests.middleboxes import BOXES, DEPLOY
from tests.redis_server import NOTHING_KEPT, redis_server
from transports import LADDER, Hub, Options
from transports.asgi import Endpoints
from transports.client import connect
from transports.front import Front
from transports.front.requests import Requests
from transports.testing import serving

EVENTS, EVERY = 60, 0.1  # through HAProxy; seconds
LOOKING = 5.0  # seconds that a process is watched
KEPT = 10_000  # events in Redis
ROUNDS, TIMES = 9, 2_000
DRAWS = 1_000
COMPARED = ["--readers", "20", "--repeats", "5", "--seconds", "4"]
NO_DELAY = "option http-no-delay"


# --- HAProxy


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Hub, str]]:
    """The front, in this process."""
    options = Options(channels=("a",))
    hub = Hub(options)
    await hub.open()
    endpoints = Endpoints(hub)
    async with serving(endpoints, drain=hub.close, options=options, front=Front(endpoints.admission, "")) as url:
        yield hub, url


async def haproxy() -> dict[str, dict[str, float]]:
    """Milliseconds from an event to a reader over SSE, with the line and without."""
    text = (DEPLOY / "haproxy.cfg").read_text()
    assert NO_DELAY in text
    found = {}
    for name, config in {"with": text, "without": text.replace(NO_DELAY, f"# {NO_DELAY}")}.items():
        async with served() as (hub, url), replace(BOXES["haproxy"], config=config).running(url) as way:
            delays = sorted(await through(hub, way.url))
        found[name] = {"half": round(statistics.median(delays), 2), "late": round(delays[len(delays) * 95 // 100], 2)}
    return found


async def through(hub: Hub, url: str) -> list[float]:
    """Milliseconds of each event."""
    delays: list[float] = []
    async with connect(url, ["a"], transports=[LADDER[1]], memory={}) as stream:
        for _ in range(EVENTS):
            await hub.publish("a", {"load": 0.42})
            event = await anext(stream)
            delays.append((time.time() - event.at) * 1000)
            await asyncio.sleep(EVERY)
    return delays


# --- Locust, in a process of its own, whose standard library it patches

TELLING = """
import json, statistics, sys, time
from locustfiles.users import SSEUser
from locust.env import Environment
from transports.items import encode_data, encode_event
from transports.sse import StreamReader, frame

class Reader(SSEUser):
    host = "http://127.0.0.1"

rounds, times = map(int, sys.argv[1:])
environment = Environment(user_classes=[Reader])
runner = environment.create_local_runner()  # without one, nobody listens
user, found = Reader(environment), {"telling": [], "reading": []}
data = frame([encode_event("k3f9", 1, "a", 1763850000.1, encode_data({"load": 0.42}))])
for _ in range(rounds):
    begun = time.process_time()
    for _ in range(times):
        user._tell("deliver sse", 1.5)
    found["telling"].append(time.process_time() - begun)
    begun = time.process_time()
    for _ in range(times):
        StreamReader().feed(data)
    found["reading"].append(time.process_time() - begun)
print(json.dumps({name: round(statistics.median(taken) / times * 1e6, 2) for name, taken in found.items()}))
runner.quit()
"""


async def locust() -> Any:
    """Microseconds to tell Locust of an event, and to read it."""
    return json.loads(await said(sys.executable, "-c", TELLING, str(ROUNDS), str(TIMES)))


async def said(*command: str, codes: tuple[int, ...] = (0,)) -> str:
    """What a command prints. Raises: RuntimeError, it failed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1, env=environment)
    try:
        printed, complained = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if process.returncode not in codes:
        raise RuntimeError(complained.decode()[-2000:])
    return printed.decode()


# --- brokers

LOOKER = """
import asyncio, sys
from transports import Hub, Options

async def main():
    options = Options(channels=("a",), broker=sys.argv[1])
    hub = Hub(options)
    await hub.open()
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await hub.close()

asyncio.run(main())
"""


async def sqlite() -> dict[str, float]:
    """Percent of a core that a process takes which does nothing itself, while nobody publishes and while another does."""
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/events.db"
        options = Options(channels=("a",), broker=url)
        hub = Hub(options)
        await hub.open()
        command = [sys.executable, "-c", LOOKER, url]
        looker = await asyncio.create_subprocess_exec(*command, stdin=-1, stdout=-1, env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            assert looker.stdout is not None
            assert await looker.stdout.readline() == b"open\n"
            await asyncio.sleep(2.0)  # what it wrote when it began was a second ago
            calm = await busy(looker.pid)
            writing = asyncio.create_task(publish_now_and_then(hub))
            brisk = await busy(looker.pid)
            writing.cancel()
        finally:
            looker.terminate()
            await looker.wait()
            await hub.close()
    return {"calm": calm, "brisk": brisk}


async def publish_now_and_then(hub: Hub) -> None:
    """Often enough to be somebody who writes, and seldom enough to be little work."""
    while True:
        await hub.publish("a", 1)
        await asyncio.sleep(0.4)


async def busy(pid: int) -> float:
    """Percent of a core."""
    process = psutil.Process(pid)
    begun, before = time.monotonic(), process.cpu_times()
    await asyncio.sleep(LOOKING)
    after = process.cpu_times()
    return round((after.user + after.system - before.user - before.system) / (time.monotonic() - begun) * 100, 2)


async def redis() -> dict[str, float]:
    """Bytes of Redis for an event, beside its JSON."""
    data = "x" * 198  # and two quotes
    with tempfile.TemporaryDirectory() as directory:
        async with redis_server(Path(directory), NOTHING_KEPT) as server:
            options = Options(channels=("a",), broker=server.url, history_count=KEPT, history_total=KEPT, history_bytes=1 << 30)
            hub = Hub(options)
            await hub.open()
            before = await used(server)
            for _ in range(KEPT // 100):
                await asyncio.gather(*[hub.publish("a", data) for _ in range(100)])
            after = await used(server)
            await hub.close()
    return {"json": 200, "beside": round((after - before) / KEPT - 200, 1)}


async def used(server: Any) -> int:
    """Bytes of its memory."""
    return int(re.search(rb"used_memory:(\d+)", await server.ask("INFO", "memory"))[1])


# --- heads of requests


async def heads() -> dict[str, float]:
    """Microseconds to read a request of a poll, by the front's reader and by h11."""
    import h11

    sent = b"GET /poll?channels=a&since=k3f9.7 HTTP/1.1\r\nHost: live.example\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n"

    def ours() -> None:
        list(Requests().feed(sent))

    def theirs() -> None:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(sent)
        while not isinstance(connection.next_event(), h11.EndOfMessage):
            pass

    found: dict[str, list[float]] = {"front": [], "h11": []}
    for _ in range(ROUNDS):
        for name, read in (("front", ours), ("h11", theirs)):
            found[name].append(each_of(read))
    return {name: round(statistics.median(taken), 2) for name, taken in found.items()}


def each_of(act: Callable[[], None]) -> float:
    """Microseconds of CPU."""
    begun = time.process_time()
    for _ in range(TIMES):
        act()
    return (time.process_time() - begun) / TIMES * 1e6


# --- the comparison


async def drawn() -> dict[str, float]:
    """In how many of 100 draws of recorded rounds a difference is claimed: where there is none, and where one was added."""
    from test_planted import found

    none = sum(found(0, times=DRAWS).values())
    asked = {"none": none, "some": found(300)["sse"], "half": found(500)["sse"], "ten": found(300, repeats=10)["sse"]}
    return {name: round(share * 100, 1) for name, share in asked.items()}


async def planted(us: int) -> dict[str, str]:
    """What `everywire compare` says of two transports of a server that does nothing, one of them later by so much."""
    from locustfiles import samples
    from locustfiles.judging.verdict import judge

    with tempfile.TemporaryDirectory() as directory:
        subject = ["--subject", f"null:longpoll={us}", "--transport", "websocket", "--transport", "longpoll"]
        await said(sys.executable, "-m", "quart_app", "compare", *subject, *COMPARED, "--output", directory, codes=(0, 4))
        run = samples.decode((Path(directory) / "run.json").read_bytes())
    verdicts = judge(run)
    sentence = " ".join(each.sentence for each in verdicts.each)
    if not verdicts.trustworthy:
        raise RuntimeError(sentence)
    return {"sentence": sentence}


# --- what is shown


STEPS: list[pages.Step] = [
    ("HAProxy", haproxy),
    ("Locust", locust),
    ("SQLite", sqlite),
    ("redis", redis),
    ("heads", heads),
    ("drawn", drawn),
    *((f"planted: {us}", partial(planted, us)) for us in (300, 0)),
]


def rows(found: pages.Found) -> Iterator[tuple[str, str]]:
    """What was measured, and the figure."""
    if part := found.get("HAProxy"):
        for name, delays in part.items():
            half, late = (ms(delays[which]) for which in ("half", "late"))
            yield f"an event over SSE behind HAProxy, {name} `{NO_DELAY}`", f"half within {half}, 95 % within {late}"
    if part := found.get("Locust"):
        yield "Locust is told of an event", f"{part['telling']:.1f} µs of CPU; the event is read in {part['reading']:.1f}"
    if part := found.get("SQLite"):
        calm, brisk = (f"{part[name]:.1f} %" for name in ("calm", "brisk"))
        yield "a process looks what others wrote into a file of SQLite", f"{calm} of a core, {brisk} while somebody publishes"
    if part := found.get("redis"):
        yield f"memory of Redis for an event with {part['json']} bytes of data", f"{part['beside']:.0f} bytes beside these"
    if part := found.get("heads"):
        yield "the head of a poll is read", f"{part['front']:.1f} µs of CPU by the front, {part['h11']:.1f} by h11"
    if part := found.get("drawn"):
        yield "a difference is claimed where there is none, with five repeats", of_hundred(part["none"])
        yield "0.3 ms are found, with five repeats", of_hundred(part["some"])
        yield "0.5 ms are found, with five", of_hundred(part["half"])
        yield "0.3 ms are found, with ten", of_hundred(part["ten"])


def ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def of_hundred(value: float) -> str:
    return f"{value:.3g} of 100"


def tables(found: pages.Found) -> dict[str, str]:
    """The table of the page."""
    made = list(rows(found))
    return {"details": pages.table([["what", "figure"], *made])} if made else {}


def figures(found: pages.Found) -> dict[str, str]:
    """What stands in sentences of other pages."""
    lease = Options().presence_lease / 3  # renewed so often
    made = {"renewals": f"{10_000 * 1_000 / lease / 1e6:.1f} MB/s"}
    if part := found.get("HAProxy"):
        made |= {f"haproxy-{name}-{which}": ms(delay) for name, delays in part.items() for which, delay in delays.items()}
    if part := found.get("Locust"):
        made |= {"locust": f"{part['telling']:.0f} µs", "locust-reading": f"{part['reading']:.0f} µs"}
    if part := found.get("SQLite"):
        made |= {f"sqlite-{name}": f"{share:.{0 if share >= 1 else 1}f} %" for name, share in part.items()}
    if part := found.get("redis"):
        whole = (part["json"] + part["beside"]) * Options().history_total / 1e6
        made |= {"redis": f"{part['beside']:.0f} bytes", "redis-usual": f"{whole:.0f} MB"}
    if part := found.get("heads"):
        made |= {"h11": f"{part['h11']:.0f} µs", "front": f"{part['front']:.0f} µs"}
    if part := found.get("drawn"):
        made |= {f"drawn-{name}": of_hundred(value) for name, value in part.items()}
    for us in (300, 0):
        if part := found.get(f"planted: {us}"):
            made[f"planted-{us}"] = part["sentence"]
    return made


SHEET = pages.Sheet(__file__, "details.md", tables, "Hypercorn", "locust", "h11", figures=figures, patience=600.0)

if __name__ == "__main__":
    SHEET.run(pages.parser(__doc__).parse_args(), STEPS)
