"""What does it cost to know who comes?

    python docs/explanation/experiments/who_and_what.py            # half a minute; prints tables
    python docs/explanation/experiments/who_and_what.py --write    # keeps it in who_and_what.json, for who_and_what.md

Four parts, whose figures are medians of rounds in which what is compared takes turns, within one process and without a network:

* asking: a poll that is answered at once, with nobody to ask, with an `authenticate` of one line, and with the same within a
  context of Quart's, which has a session to read; and the signature of that session's cookie by itself.
* sharing: an event to 2,000 readers in step who are nobody, who are 2,000 people, and who are 2,000 people that follow a pattern.
* again: a pass over 100,000 pairs of who and channel, 10 channels each, and its longest piece.
* tickets: one given and redeemed.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

import pages
import quart
from quart import Quart
from quart.sessions import SecureCookieSessionInterface

from transports import Hub, Identity, Options, Refusal, Request
from transports.admission import Admission, Stream
from transports.group import Groups, Reader
from transports.items import encode_batch
from transports.ladder import LADDER
from transports.options import UNBOUNDED
from transports.quart import Live

ROUNDS, POLLS, READERS, PAIRS = 9, 2000, 2000, 100_000
EACH = 10  # channels that somebody follows, of those pairs
TICKETS = 200  # in a round
_, SSE, LONGPOLL = LADDER


async def asking() -> dict[str, float]:
    """Microseconds of a poll, and of the signature in it."""
    app = Quart("experiment")
    app.secret_key = "s"
    sessions = SecureCookieSessionInterface()
    cookie = sessions.get_signing_serializer(app).dumps({"user": "ann"})
    lives = {"nobody": Live(channels=["a"]), "plain": Live(channels=["a"]), "context": Live(app, channels=["a"])}
    lives["plain"].authenticate(context=False)(lambda request: request.cookies.get("session"))
    lives["context"].authenticate(lambda request: quart.session["user"])
    for live in lives.values():
        await live.hub.open()
        await live.publish("a", 1)

    async def poll(live: Live) -> float:
        admission, since = live.asgi.admission, f"{live.hub.log.epoch}.0"
        begun = time.perf_counter()
        for _ in range(POLLS):
            request = Request(
                "GET", "poll", f"channels=a&since={since}", {"host": "x", "cookie": f"session={cookie}"}, "127.0.0.1"
            )
            if (finding := admission.find_out(request)) is not None:
                await finding
            admission.poll(LONGPOLL, request)
        return (time.perf_counter() - begun) / POLLS * 1e6

    def signature() -> float:
        begun = time.perf_counter()
        for _ in range(POLLS):
            sessions.get_signing_serializer(app).loads(cookie)
        return (time.perf_counter() - begun) / POLLS * 1e6

    rounds: dict[str, list[float]] = {name: [] for name in [*lives, "signature"]}
    for _ in range(ROUNDS):
        for name, live in lives.items():
            rounds[name].append(await poll(live))
        rounds["signature"].append(signature())
    return medians(rounds)


class Wire(Reader):
    """A reader that takes everything."""

    def __init__(self, groups: Groups, stream: Stream, took: Callable[[], Any]) -> None:
        super().__init__(groups, stream.feed, encode_batch, stream.beat, stream.account)
        self.write = lambda data: took()
        self.pump()

    @property
    def blocked(self) -> bool:
        return False

    def ended(self, why: Refusal | None) -> None:
        self.leave()


async def crowd(who: Callable[[int], Any], channels: str, number: int, each: int = 1) -> tuple[Hub, list[int]]:
    """A hub with so many readers in step, and how much they took."""
    hub, took = Hub(Options(channels=("*",), recheck=3600, **UNBOUNDED)), [0]
    hub.authorize = lambda who, action, channel: True
    await hub.open()
    await hub.publish("a", 0)
    admission, groups = Admission(hub), Groups(hub)

    def took_one() -> None:
        took[0] += 1

    for place in range(number):
        names = channels if each == 1 else ",".join(f"{channels}{at}" for at in range(each))
        request = Request("GET", "sse", f"channels={names}", {})
        request.found = Identity(who(place))
        Wire(groups, admission.stream(SSE, request), took_one)
    await asyncio.sleep(0.1)
    return hub, took


async def sharing() -> dict[str, Any]:
    """Microseconds of an event, for each of the readers."""
    crowds = {
        "nobody": await crowd(lambda place: None, "a", READERS),
        "people": await crowd(lambda place: place, "a", READERS),
        "pattern": await crowd(lambda place: place, "a*", READERS),
    }
    rounds: dict[str, list[float]] = {name: [] for name in crowds}
    for _ in range(ROUNDS):
        for name, (hub, took) in crowds.items():
            took[0], begun = 0, time.perf_counter()
            for number in range(10):
                await hub.publish("a", number)
                while took[0] < (number + 1) * READERS:
                    await asyncio.sleep(0)
            rounds[name].append((time.perf_counter() - begun) / 10 / READERS * 1e6)
    return {"readers": READERS, "microseconds": medians(rounds)}


async def asking_again() -> dict[str, float]:
    """Milliseconds of work, all in all and of the longest piece, and of a whole pass, which leaves others their time."""
    hub, _ = await crowd(lambda place: place, "a", PAIRS // EACH, each=EACH)
    pieces: list[float] = []
    for review in hub.rights._reviews(None):
        begun = time.process_time()
        review()
        pieces.append(time.process_time() - begun)
    begun = time.perf_counter()
    await hub.rights._ask(None)
    whole = time.perf_counter() - begun
    found = {"work": sum(pieces), "longest": max(pieces), "whole": whole}
    return {"pairs": PAIRS} | {name: round(seconds * 1e3, 3) for name, seconds in found.items()}


async def tickets() -> float:
    """Microseconds."""
    live = Live(channels=["a"])
    await live.hub.open()
    given = live.asgi.admission.tickets
    rounds: list[float] = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(TICKETS):
            given.redeem(given.give(Identity("ann"), "sse")[0], "sse")
        rounds.append((time.perf_counter() - begun) / TICKETS * 1e6)
    return round(statistics.median(rounds), 3)


def medians(rounds: dict[str, list[float]]) -> dict[str, float]:
    return {name: round(statistics.median(times), 4) for name, times in rounds.items()}


STEPS: list[pages.Step] = [("asking", asking), ("sharing", sharing), ("again", asking_again), ("tickets", tickets)]

ASKED = {
    "nobody": "a poll that is answered at once, nobody is asked",
    "plain": "the same, `authenticate(context=False)`, which reads a cookie",
    "context": "the same within a context of Quart's, which reads its session",
    "signature": "of the last, the signature of the session's cookie",
}
CROWDS = {
    "nobody": "who are nobody",
    "people": "who are each somebody else",
    "pattern": "who are each somebody else, and follow a pattern",
}


def tables(found: pages.Found) -> dict[str, str]:
    """The tables of the page."""
    shown = {}
    if "asking" in found:
        shown["asking"] = pages.table([["", "µs", "times"], *compared(ASKED, found["asking"])])
    if "sharing" in found:
        title = f"an event to {found['sharing']['readers']:,} readers in step"
        shown["sharing"] = pages.table([[title, "µs for each", "times"], *compared(CROWDS, found["sharing"]["microseconds"])])
    if "again" in found:
        shown["again"] = again_table(found["again"])
    if "tickets" in found:
        row = ["a ticket that is given and redeemed, in one process", f"{found['tickets']:.0f}"]
        shown["tickets"] = pages.table([["", "µs"], row])
    return shown


def compared(titles: dict[str, str], found: dict[str, float]) -> list[list[str]]:
    """Rows of what is compared with the first of it."""
    one = next(iter(found.values()))
    return [[titles[name], digits(each), digits(each / one)] for name, each in found.items()]


def digits(value: float) -> str:
    """So many that count."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def again_table(found: dict[str, float]) -> str:
    """What a pass over all rights takes."""
    rows = [
        ["work", f"{found['work']:.0f} ms"],
        ["its longest piece", f"{found['longest']:.1f} ms"],
        ["from the first to the last", f"{found['whole']:.0f} ms"],
        ["so it takes, of the time", f"{found['work'] / found['whole']:.0%}"],
    ]
    return pages.table([[f"to ask `authorize` again about {found['pairs']:,} pairs of who and channel", ""], *rows])


SHEET = pages.Sheet(__file__, "who_and_what.md", tables, "Quart")

if __name__ == "__main__":
    SHEET.run(pages.parser(__doc__).parse_args(), STEPS)
