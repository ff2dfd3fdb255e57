"""What does it cost to know who comes?

    python docs/explanation/experiments/who_and_what.py

Four figures, each the median of rounds in which what is compared takes turns, within one process and without a network:

* asking: a poll that is answered at once, with nobody to ask, with an `authenticate` of one line, and with the same within a
  context of Quart's, which has a session to read.
* sharing: an event to 2,000 readers in step who are nobody, who are 2,000 people, and who are 2,000 people that follow a pattern.
* asking again: a pass over 100,000 pairs of who and channel, 10 channels each, and its longest piece.
* tickets: one given and redeemed.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

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
_, SSE, LONGPOLL = LADDER


async def asking() -> dict[str, float]:
    """Microseconds of a poll."""
    app = Quart("experiment")
    app.secret_key = "s"
    cookie = SecureCookieSessionInterface().get_signing_serializer(app).dumps({"user": "ann"})
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

    rounds: dict[str, list[float]] = {name: [] for name in lives}
    for _ in range(ROUNDS):
        for name, live in lives.items():
            rounds[name].append(await poll(live))
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


async def sharing() -> dict[str, float]:
    """Microseconds of an event, for each of the readers."""
    crowds = {
        "nobody": await crowd(lambda place: None, "a", READERS),
        "people": await crowd(lambda place: place, "a", READERS),
        "people, by pattern": await crowd(lambda place: place, "a*", READERS),
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
    return medians(rounds)


async def asking_again() -> dict[str, float]:
    """Milliseconds of work, all in all and of the longest piece, and of a whole pass, which leaves others their time."""
    hub, _ = await crowd(lambda place: place, "a", PAIRS // 10, each=10)
    pieces: list[float] = []
    for review in hub.rights._reviews(None):
        begun = time.process_time()
        review()
        pieces.append(time.process_time() - begun)
    begun = time.perf_counter()
    await hub.rights._ask(None)
    whole = time.perf_counter() - begun
    return {"work, ms": sum(pieces) * 1e3, "longest piece, ms": max(pieces) * 1e3, "whole, ms": whole * 1e3}


async def tickets() -> dict[str, float]:
    """Microseconds."""
    live = Live(channels=["a"])
    await live.hub.open()
    given = live.asgi.admission.tickets
    rounds: dict[str, list[float]] = {"given and redeemed": []}
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(200):
            given.redeem(given.give(Identity("ann"), "sse")[0], "sse")
        rounds["given and redeemed"].append((time.perf_counter() - begun) / 200 * 1e6)
    return medians(rounds)


def medians(rounds: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(times) for name, times in rounds.items()}


async def main() -> None:
    for title, found in (
        ("asking, us a poll", await asking()),
        ("sharing, us an event and reader", await sharing()),
        ("asking again about 100,000 pairs", await asking_again()),
        ("tickets, us", await tickets()),
    ):
        print(title)
        for name, value in found.items():
            print(f"  {name:24} {value:10.3f}")


if __name__ == "__main__":
    asyncio.run(main())
