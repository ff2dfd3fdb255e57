"""How many workers a crowd of readers needs, and what breaks first: measured on one core, simulated for all others.

    python docs/explanation/experiments/capacity.py measure    # what one worker pays on this machine: capacity.json
    python docs/explanation/experiments/capacity.py plan --readers 100000 --rate 5 --size 200

`measure` needs a C compiler and two cores: the load client of the benchmarks reads. It also measures
operating points as a whole, so that the error of what is simulated is known. The simulations
are in `worker.py` and `storm.py`, and `figures.py` puts the tables into `capacity.md`.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import pages

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(ROOT)]

from storm import storm
from worker import Costs, Delays, Outcome, Worker, at_once, regular, spread, through_broker

MEASURED, PAGE = HERE / "capacity.json", HERE.parent / "capacity.md"
SEED = 20_260
REDIS = json.loads((HERE / "redis_latency.json").read_text("utf-8"))
HANDED = round(statistics.median(REDIS["handing"]["found"]["rate"]))  # events a second, by one Redis
LATENCY = statistics.median(REDIS["nothing"]["found"]["redis-py"]["p50"]) / 1e6  # seconds, from XADD to XREAD

# --- what is measured


class Check(msgspec.Struct):
    """An operating point: seconds of delay, share of the core."""

    readers: int
    rate: float
    size: int
    p50: float
    p99: float
    cpu: float


class Round(msgspec.Struct):
    """All that is measured, once."""

    costs: Costs
    crowd: float  # seconds until 2,000 readers that came at once were all open
    checks: list[Check]


class Measured(msgspec.Struct):
    """What `measure` found. What is said of it are the medians of its rounds."""

    processor: str
    python: str
    rounds: list[Round]

    @property
    def costs(self) -> Costs:
        """What one worker pays."""
        return Costs(*map(statistics.median, zip(*(each.costs for each in self.rounds), strict=True)))

    @property
    def crowd(self) -> float:
        """Seconds until the crowd was open."""
        return statistics.median(each.crowd for each in self.rounds)

    @property
    def checks(self) -> list[Check]:
        """The points."""
        return [middle_of(some) for some in zip(*(each.checks for each in self.rounds), strict=True)]


class DisturbedError(Exception):
    """Others want the cores, again and again: what is measured now is not worth keeping."""


POINTS = ((200, 100, 100), (200, 2_000, 100), (200, 20_000, 100), (1_000, 50, 1_000), (2_000, 50, 100), (5_000, 10, 100))
# readers, events a second, bytes
TICK = 0.001  # seconds between two looks of the publisher in the benchmarks' server
CROWD = 2_000
SECONDS = 2.0  # of a measurement; what is rare takes longer
DISTURBED = 0.02  # of the time, for which the server has to wait for its core: others want it


class Bench:
    """The server of the benchmarks on one core, the load client on another. `front`: which edge of ours serves."""

    def __init__(self, directory: Path, front: str) -> None:
        from tests.benchmarks.program import compile_c
        from tests.benchmarks.stage import cores

        self.front = front
        self.server_core, self.client_core = cores()
        self.program = compile_c(directory, "load")["load"]

    @contextmanager
    def playing(self, wire: str, more: str = "") -> Iterator[Played]:
        """A server that has just been started, and a load client. `more`: behind the path."""
        from tests.benchmarks.load import Load
        from tests.benchmarks.program import Program

        argv = [sys.executable, "-m", "tests.benchmarks.subjects.everywire", "--front", self.front]
        flags = ("--hello",) if wire in ("ws", "sse") else ()
        with Program(argv, self.server_core) as server:
            said = server.hear()
            path = said["paths"][wire] + more
            with Load(self.program, said["listening"], path, wire, flags=flags, core=self.client_core) as load:
                yield Played(server, load)


class Played(NamedTuple):
    """A server and its load client."""

    server: object
    load: object

    def publish(self, **order: object) -> tuple[float, object]:
        """Seconds of the server's CPU for each event of a round, and what was counted. A round in which others took the
        core is played again, a few times.
        """
        for _ in range(4):
            disturbed, each, counted = self._play(order)
            if disturbed < DISTURBED:
                return each, counted
        raise DisturbedError(f"others want the core, for {disturbed:.0%} of the time: this round is played again")

    def _play(self, order: dict[str, object]) -> tuple[float, float, object]:
        cpu, waited, began = self.server.cpu(), self.server.kept_waiting(), time.monotonic()
        self.load.begin(order["size"])
        sent = self.server.ask(order, 120.0)["sent"]
        counted = self.load.expect(sent)
        share = (self.server.kept_waiting() - waited) / (time.monotonic() - began)
        return share, (self.server.cpu() - cpu) / sent, counted


def measure(bench: Bench, repeats: int, keep: Callable[[Measured], None]) -> Measured:
    """So many rounds; `keep` is called after each. They wait until nobody else wants the cores."""
    from tests.benchmarks.machine import describe, unquiet

    machine = describe()
    found = Measured(machine.processor, machine.python, [])
    while len(found.rounds) < repeats:
        while why := unquiet():
            print(f"waiting: {why}", flush=True)
            time.sleep(10.0)
        try:
            found.rounds.append(Round(costs(bench), crowd_of(bench), [check(bench, *point) for point in POINTS]))
        except DisturbedError as error:
            print(error, flush=True)
        else:
            keep(found)
    return found


def costs(bench: Bench) -> Costs:
    """What one worker pays, measured once."""
    publish = bare_publish(bench)
    few, _ = one_by_one(bench, 50, 100)
    many, counted = one_by_one(bench, 1_000, 100)
    large, larger = one_by_one(bench, 1_000, 4_000)
    envelope = counted.bytes / counted.delivered - 100
    byte = (large - many) / 1_000 / (larger.bytes / larger.delivered - counted.bytes / counted.delivered)
    write = (many - few) / 950 - byte * (100 + envelope)
    turn = max(0.0, few - publish - 50 * (write + byte * (100 + envelope)))
    connect, memory = coming(bench)
    cold = max(0.0, seldom(bench) - (many / 1_000))
    before = Costs(
        publish, turn, 0.0, write, cold, byte, polling(bench), connect, handshaking(), beating(bench), envelope, memory
    )
    return before._replace(item=batched(bench, before))


def bare_publish(bench: Bench) -> float:
    """Seconds of CPU for an event that nobody reads, made and published."""
    with bench.playing("ws") as played:
        cpu = played.server.cpu()
        sent = played.server.ask({"rate": 20_000, "seconds": SECONDS, "size": 100}, 60.0)["sent"]
        return (played.server.cpu() - cpu) / sent


def one_by_one(bench: Bench, readers: int, size: int) -> tuple[float, object]:
    """Seconds of CPU for an event that is written to so many by itself."""
    with bench.playing("ws") as played:
        played.load.add(readers)
        return played.publish(single=True, seconds=SECONDS, size=size)


def seldom(bench: Bench) -> float:
    """Seconds of CPU for each reader that is written to, where the core has rested before."""
    with bench.playing("ws") as played:
        played.load.add(1_000)
        each, _ = played.publish(rate=10.0, seconds=1.5 * SECONDS, size=100)
        return each / 1_000


def batched(bench: Bench, before: Costs) -> float:
    """Seconds of CPU for an event of many that go out together, beside what is known already."""
    with bench.playing("ws") as played:
        played.load.add(200)
        each, counted = played.publish(rate=20_000.0, seconds=SECONDS, size=100)
        batch = counted.delivered / counted.frames
        known = (
            before.publish + before.pass_of(200, 1, 100) / batch + 200 * before.byte * (100 + before.envelope) * (1 - 1 / batch)
        )
        return max(0.0, each - known)


def polling(bench: Bench) -> float:
    """Seconds of CPU for a poll that is answered at once."""
    with bench.playing("poll") as played:
        played.load.add(100)
        played.load.poll(0.2)
        cpu = played.server.cpu()
        answered = played.load.poll(SECONDS).polls
        return (played.server.cpu() - cpu) / answered


def coming(bench: Bench) -> tuple[float, float]:
    """Seconds of CPU, and bytes of memory, for a reader who comes."""
    with bench.playing("ws") as played:
        played.load.add(100)
        cpu, memory = played.server.cpu(), played.server.rss()
        played.load.add(CROWD)
        return (played.server.cpu() - cpu) / CROWD, (played.server.rss() - memory) / CROWD


def handshaking(times: int = 300) -> float:
    """Seconds of CPU of OpenSSL, on the server's side, for a TLS handshake with an ECDSA certificate. asyncio's come on top."""
    import trustme

    authority, server, client = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return sum(_handshake(server, client) for _ in range(times)) / times


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> float:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(up, down, server_side=True)
    there = client.wrap_bio(down, up, server_hostname="localhost")
    spent, done = 0.0, {}
    while len(done) < 2:
        for side in (there, here):
            began = time.process_time()
            try:
                side.do_handshake()
                done[side] = True
            except ssl.SSLWantReadError:
                pass
            spent += time.process_time() - began if side is here else 0.0
    return spent


def beating(bench: Bench) -> float:
    """Seconds of CPU for a beat of a second, with the pong that comes back."""
    with bench.playing("ws", "&beat=1") as played:
        played.load.add(2_000)
        time.sleep(1.2)
        cpu, began = played.server.cpu(), time.monotonic()
        time.sleep(2 * SECONDS)
        return (played.server.cpu() - cpu) / (time.monotonic() - began) / 2_000


def crowd_of(bench: Bench) -> float:
    """Seconds until a crowd that comes at once is open."""
    with bench.playing("ws") as played:
        played.load.add(10)
        return float(played.load.add(CROWD, CROWD).seconds)


def check(bench: Bench, readers: int, rate: float, size: int) -> Check:
    """A point, measured."""
    seconds = 1.5 * SECONDS
    with bench.playing("ws") as played:
        played.load.add(readers)
        played.publish(rate=float(rate), seconds=SECONDS / 4, size=size)
        each, counted = played.publish(rate=float(rate), seconds=seconds, size=size)
        if not counted.whole:
            raise SystemExit(f"{readers} readers at {rate}/s: something was lost: {counted}")
        return Check(
            readers, rate, size, counted.p50 / 1e9, counted.p99 / 1e9, each * rate * seconds / max(seconds, counted.seconds)
        )


def middle_of(checks: Sequence[Check]) -> Check:
    """The medians."""
    middle = {name: statistics.median(getattr(each, name) for each in checks) for name in Check.__struct_fields__}
    return Check(**{**middle, "readers": int(middle["readers"]), "size": int(middle["size"])})


def simulated_check(costs: Costs, point: Check) -> Check:
    """The same point, simulated."""
    found = Worker(costs, point.readers, point.size, tick=TICK).run(at_once(regular(point.rate, 3.0)))
    p50, p99 = found.delays.percentile(0.5), found.delays.percentile(0.99)
    return Check(point.readers, point.rate, point.size, p50, p99, found.cpu / max(3.0, found.seconds))


def simulated_crowd(costs: Costs) -> float:
    """The same crowd, simulated: the load client asks once, and waits."""
    return storm([0.0] * CROWD, costs.connect, random.Random(SEED), backlog=4_096, rungs=1).share(1.0)


# --- what is planned


class Asked(NamedTuple):
    """What is to be served, and on what."""

    readers: int
    rate: float  # events a second, over all channels
    size: int  # bytes of an event's data
    channels: int = 1  # each reader follows one
    coalesce: float = 0.0  # seconds; the setting
    polls: bool = False
    beat: float = 15.0  # seconds; the setting
    shards: int = 1  # hubs, each with channels of its own
    late: float = 0.1  # seconds that 99 of 100 deliveries take at the most
    core: float = 0.7  # share of a core that is used: a restart elsewhere, a burst, the garbage collector want some, too
    descriptors: int = 20_000  # connections of one process: also how many come back at once when it ends
    cores: int = 8  # of a host
    host_memory: float = 16e9  # bytes
    network: float = 10e9  # bits a second
    packets: float = 1e6  # a second, that a host sends without special means
    broker: float = HANDED  # events a second that one Redis hands out


class Share(NamedTuple):
    """How much of something is used: 1 is all there is."""

    what: str
    share: float
    remedy: str


class Plan(NamedTuple):
    """A layout that does it."""

    asked: Asked
    workers: int
    hosts: int
    p50: float
    p99: float
    cpu: float  # of one core, the busiest worker's
    bits: float  # a second, of all hosts
    shares: list[Share]  # most used first


def plan(costs: Costs, asked: Asked) -> Plan:
    """The fewest workers that keep the promises, and what would break first then. Raises: ValueError, when none do."""
    workers = fewest(partial(fits, costs, asked), asked.shards * math.ceil(asked.readers / asked.shards / asked.descriptors))
    return laid_out(costs, asked, workers)


def fewest(good: Callable[[int], bool], start: int) -> int:
    """The smallest number from `start` on that is good, if all larger ones are. Raises: ValueError."""
    low, high = start - 1, start
    while not good(high):
        if high > 100_000:
            raise ValueError("no number of workers does it: each has to take every event of its shard; use more shards")
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if good(middle) else (middle, high)
    return high


def fits(costs: Costs, asked: Asked, workers: int) -> bool:
    """Whether the fullest of so many workers keeps the promises."""
    readers = max(shares_of(asked, workers))
    if readers > asked.descriptors or too_much(costs, asked, readers):
        return False
    found = simulated(costs, asked, readers)
    return found.delays.percentile(0.99) <= asked.late and used(costs, asked, readers, found) <= asked.core


def too_much(costs: Costs, asked: Asked, readers: int) -> bool:
    """Whether it is clear without a simulation that it does not fit: publishing alone, or beats alone, take the core."""
    return asked.rate / asked.shards * costs.publish + readers * costs.beat / asked.beat > asked.core


def shares_of(asked: Asked, workers: int) -> list[int]:
    """Readers of each worker."""
    return spread(asked.readers, workers, random.Random(SEED))


def used(costs: Costs, asked: Asked, readers: int, found: Outcome) -> float:
    """Share of a core, with beats where events do not make them needless."""
    quiet = asked.rate / asked.channels * asked.beat < 1
    return found.cpu / found.seconds + (readers * costs.beat / asked.beat if quiet else 0.0)


@cache
def simulated(costs: Costs, asked: Asked, readers: int) -> Outcome:
    """One worker with so many readers."""
    rate, luck = asked.rate / asked.shards, random.Random(SEED)
    seconds = min(max(60 / rate, 1.0), max(1_500 / rate, 0.25))
    events = through_broker(regular(rate, seconds), LATENCY, luck, max(1, asked.channels // asked.shards))
    channels = max(1, asked.channels // asked.shards)
    found = Worker(costs, readers, asked.size, channels=channels, polls=asked.polls, coalesce=asked.coalesce).run(events)
    return found._replace(seconds=max(found.seconds, seconds))


def laid_out(costs: Costs, asked: Asked, workers: int) -> Plan:
    """So many workers, and how much of everything they use."""
    shares = sorted(shares_of(asked, workers))
    some = shares if workers <= 16 else [shares[place * (workers - 1) // 15] for place in range(16)]
    found = [simulated(costs, asked, readers) for readers in some]
    delays = Delays()
    for each in found:
        delays.merge(each.delays)
    fullest = found[-1]
    hosts = math.ceil(workers / asked.cores)
    each = asked.rate / asked.channels  # events a second that one reader gets
    batch = max(1.0, asked.rate / asked.shards / (fullest.passes / fullest.seconds) / max(1, asked.channels // asked.shards))
    packets = asked.readers * each / batch
    bits = 8 * (asked.readers * each * (asked.size + costs.envelope) + packets * 66)
    cpu, late = used(costs, asked, shares[-1], fullest), delays.percentile(0.99)
    publishing = asked.rate / asked.shards * costs.publish
    memory = min(workers, asked.cores) * (60e6 + shares[-1] * costs.memory)
    every = [
        Share("CPU of a core", cpu / asked.core, "more workers; `coalesce`"),
        Share("delay", late / asked.late, "more workers: each has fewer readers to go through"),
        Share("connections of a process", shares[-1] / asked.descriptors, "more workers; `ulimit -n`"),
        Share("memory of a host", memory / asked.host_memory, "more hosts"),
        Share("network of a host", bits / hosts / asked.network, "more hosts; `coalesce` saves headers"),
        Share("packets of a host", packets / hosts / asked.packets, "more hosts; `coalesce`"),
        Share("publishing, in every worker", publishing / asked.core, "shards: more hubs, each with channels of its own"),
        Share("broker", asked.rate * workers / asked.shards / asked.broker, "shards; fewer workers"),
    ]
    every.sort(key=lambda share: -share.share)
    return Plan(asked, workers, hosts, delays.percentile(0.5), late, cpu, bits, every)


# --- a restart


@cache
def coming_back(costs: Costs, readers: int, how: str) -> tuple[float, float, int, int]:
    """Seconds until half and all but 1 % of a worker's readers are back; connections in vain, and tries not heard."""
    luck = random.Random(SEED)
    down, starts = RESTARTS[how](costs, readers, luck)
    found = storm(starts, costs.connect, luck, down=down, busy=BUSY)
    return found.share(0.5), found.share(0.99), found.in_vain, found.unheard


BUSY = 0.3  # of a core, with those who are back
SPREAD = 0.5, 1.5  # seconds, when all are told to come back in one
DOWN = 1.0  # seconds from the end of a worker until it listens again
BACK = 10.0  # seconds until 99 of 100 of its readers are back, at the most
Starts = tuple[float, list[float]]


def after_bye(costs: Costs, readers: int, luck: random.Random) -> Starts:
    """All were told to come back in 1 s, half as much more or less."""
    return DOWN, [luck.uniform(*SPREAD) for _ in range(readers)]


def after_crash(costs: Costs, readers: int, luck: random.Random) -> Starts:
    """Nobody was told anything: all come back at once."""
    return DOWN, [luck.uniform(0.0, 0.1) for _ in range(readers)]


def after_wide_bye(costs: Costs, readers: int, luck: random.Random) -> Starts:
    """All were told to come back within twice the time that it takes to let them in."""
    return DOWN, [luck.uniform(0.5, 0.5 + max(1.0, 2 * readers * costs.connect)) for _ in range(readers)]


RESTARTS = {"bye": after_bye, "crash": after_crash, "wide": after_wide_bye}


def breaking(costs: Costs, found: Plan) -> list[Share]:
    """What is used how much, most first, with the way back after a restart."""
    fullest = max(shares_of(found.asked, found.workers))
    back = Share(
        "way back after a restart", coming_back(costs, fullest, "bye")[1] / BACK, "fewer readers in a worker; spread `retry`"
    )
    return sorted([*found.shares, back], key=lambda share: -share.share)


# --- words


def told(costs: Costs, found: Plan) -> Iterator[str]:
    """A plan in lines."""
    asked = found.asked
    yield f"{asked.readers:,} readers, {asked.rate:g} events/s of {asked.size} bytes, {asked.channels} channel(s)"
    yield f"  {found.workers} workers on {found.hosts} host(s) of {asked.cores} cores, at most {asked.descriptors:,} readers each"
    yield f"  delay p50 {found.p50 * 1e3:.1f} ms, p99 {found.p99 * 1e3:.1f} ms; CPU of the busiest worker {found.cpu:.0%}"
    yield f"  {bits(found.bits)} in all; {asked.readers * asked.rate / asked.channels:,.0f} deliveries/s"
    yield "  what breaks first:"
    for share in breaking(costs, found)[:4]:
        yield f"    {share.share:6.1%} of {share.what}: {share.remedy}"
    if found.workers > 1:
        yield "  more than one worker needs a broker that they share"


def bits(number: float) -> str:
    """So many bits a second."""
    return f"{number / 1e9:.1f} Gbit/s" if number >= 1e9 else f"{number / 1e6:.1f} Mbit/s"


SIZES, RATES = (1_000, 10_000, 100_000, 1_000_000), (1, 5, 20, 100)


def kept() -> Measured:
    """What was measured last."""
    return msgspec.json.decode(MEASURED.read_bytes(), type=Measured)


@cache  # what is simulated takes a while
def tables() -> dict[str, str]:
    """The tables of the page, by the names of their places."""
    measured = kept()
    return {
        "machine": f"Measured on {measured.processor}, Python {measured.python}; medians of {len(measured.rounds)} rounds.",
        "costs": costs_table(measured),
        "checks": checks_table(measured),
        "workers": workers_table(measured.costs, 0.0),
        "coalesced": workers_table(measured.costs, 0.1),
        "first": first_table(measured.costs),
        "restarts": restarts_table(measured.costs),
    }


def costs_table(measured: Measured) -> str:
    costs = measured.costs
    micro = lambda seconds: f"{seconds * 1e6:.1f} µs"  # noqa: E731
    rows = [
        ["an event, in every worker", micro(costs.publish)],
        ["a turn: to write what has come", micro(costs.turn)],
        ["an event in it", micro(costs.item)],
        ["a reader that is written to, however many events it gets", micro(costs.write)],
        ["that after a rest of 10 ms and more, beside it", micro(costs.cold)],
        ["1,000 bytes to one reader", micro(costs.byte * 1000)],
        ["a poll that is answered", micro(costs.poll)],
        ["a reader who comes", micro(costs.connect)],
        ["a TLS handshake before that, OpenSSL's part", micro(costs.handshake)],
        ["a beat, with the pong", micro(costs.beat)],
        ["bytes around an event's data, on the wire", f"{costs.envelope:.0f}"],
        ["memory of an idle reader", f"{costs.memory / 1000:.1f} KB"],
    ]
    return pages.table([["what", "cost"], *rows])


def checks_table(measured: Measured) -> str:
    rows = []
    for each in measured.checks:
        found = simulated_check(measured.costs, each)
        rows.append(
            [
                f"{each.readers:,} readers, {each.rate:,.0f} events/s of {each.size:,} bytes",
                f"{each.p50 * 1e3:.1f} / {found.p50 * 1e3:.1f} ms",
                f"{each.p99 * 1e3:.1f} / {found.p99 * 1e3:.1f} ms",
                f"{each.cpu:.0%} / {found.cpu:.0%}",
            ]
        )
    rows.append(
        [f"{CROWD:,} readers who come at once", "", f"{measured.crowd:.2f} / {simulated_crowd(measured.costs):.2f} s", ""]
    )
    return pages.table([["measured / simulated", "p50", "p99", "CPU"], *rows])


def workers_table(costs: Costs, coalesce: float) -> str:
    rows = []
    for readers in SIZES:
        found = [plan(costs, Asked(readers, rate, 200, coalesce=coalesce, late=0.1 + coalesce)) for rate in RATES]
        rows.append([f"{readers:,}", *(f"{each.workers:,} · {each.p99 * 1e3:.0f} ms" for each in found)])
    return pages.table([["readers", *(f"{rate}/s" for rate in RATES)], *rows])


def first_table(costs: Costs) -> str:
    rows = []
    for readers in SIZES:
        found = plan(costs, Asked(readers, 5, 200))
        every = breaking(costs, found)
        first = "; ".join(f"{share.what} {share.share:.0%}" for share in every[:4])
        rows.append([f"{readers:,}", f"{found.workers:,} on {found.hosts:,}", bits(found.bits), first, every[0].remedy])
    return pages.table([["readers", "workers on hosts", "network", "how much is used of what", "what to do"], *rows])


def restarts_table(costs: Costs) -> str:
    rows = []
    for readers in (1_000, 5_000, 10_000, 20_000):
        found = [coming_back(costs, readers, how) for how in RESTARTS]
        rows.append([f"{readers:,}", *(f"{each[0]:.1f} / {each[1]:.1f} s, {each[2] + each[3]:,} in vain" for each in found)])
    return pages.table([["readers of the worker", "told to come back in 1 s", "crashed", "told to spread"], *rows])


@cache
def figures() -> dict[str, str]:
    """What stands in sentences."""
    measured = kept()
    points = [(each, simulated_check(measured.costs, each)) for each in measured.checks]
    _, last, in_vain, unheard = coming_back(measured.costs, 20_000, "bye")
    return {
        "capacity.tails": f"{max(each.p99 / found.p99 for each, found in points):.0f} times",
        "capacity.on-top": f"{max(each.p99 - found.p99 for each, found in points) * 1e3:.0f} ms",
        "capacity.crowd": f"{measured.crowd / simulated_crowd(measured.costs):.1f} times",
        "capacity.poll": f"{measured.costs.poll / measured.costs.write:.1f} times",
        "capacity.third": f"{2 / 3 + measured.costs.poll / measured.costs.write / 3:.1f} times",
        "capacity.in-vain": f"{in_vain + unheard:,}",
        "capacity.last": f"{last:.1f} s",
    }


def written(text: str) -> str:
    """The page with its tables, and what the commands in it print."""
    costs = kept().costs
    return _PLANNED.sub(lambda block: f"{block[1]}{planned(costs, block[2])}```\n", pages.put(text, tables()))


_PLANNED = re.compile(r"(```console\n\$ python \S+capacity\.py (plan .*)\n)(?s:.*?)^```\n", re.MULTILINE)


def planned(costs: Costs, words: str) -> str:
    """What the command `plan …` prints."""
    asked = parser().parse_args(words.split())
    return "".join(f"{line}\n" for line in told(costs, plan(costs, asked_for(asked))))


def asked_for(arguments: argparse.Namespace) -> Asked:
    """What the arguments of `plan` ask for."""
    return Asked(**{name: getattr(arguments, name) for name in Asked._fields})


def save(path: Path, measured: Measured) -> None:
    """Keep what has been measured."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(measured)) + b"\n")


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--costs", type=Path, default=MEASURED, help="the file of what was measured")
    does = made.add_subparsers(dest="what", required=True)
    measuring = does.add_parser("measure")
    measuring.add_argument("--repeats", type=int, default=3)
    measuring.add_argument("--front", choices=["on", "off"], default="on")
    planning = does.add_parser("plan")
    for name, kind in (("readers", int), ("rate", float), ("size", int)):
        planning.add_argument(f"--{name}", type=kind, required=True)
    for name, usual in Asked._field_defaults.items():
        if isinstance(usual, bool):
            planning.add_argument(f"--{name}", action="store_true")
        else:
            planning.add_argument(f"--{name.replace('_', '-')}", type=type(usual), default=usual, help=f"{usual:g}")
    return made


def main() -> None:
    """See the top of the file."""
    asked = parser().parse_args()
    if asked.what == "measure":
        with tempfile.TemporaryDirectory() as directory:
            measured = measure(Bench(Path(directory), asked.front), asked.repeats, partial(save, asked.costs))
        print(costs_table(measured), checks_table(measured), sep="\n\n")
        return
    measured = msgspec.json.decode(asked.costs.read_bytes(), type=Measured)
    print(*told(measured.costs, plan(measured.costs, asked_for(asked))), sep="\n")


if __name__ == "__main__":
    main()
