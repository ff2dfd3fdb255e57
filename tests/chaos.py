"""Chaos: many readers through a proxy at several servers, a publisher that insists, and everything that can end meanwhile.

Readers are of two kinds: our Python client, and light ones, which do what any client does that knows the protocol (read on
from the last position, whatever happened) and cost little, so that two cores bear hundreds.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import time
from contextlib import suppress

import aiohttp
import msgspec

from tests.hosts import Host
from tests.redis_server import RedisServer
from transports import LADDER, EverywireError, Lost, Transport
from transports.client import connect
from transports.position import parse
from transports.testing import until

EACH = 50  # times a second that what is due is published: events go in requests of several


class Tally:
    """What one reader got: numbers, each with the position behind it."""

    def __init__(self, transport: Transport, total: int) -> None:
        self.transport = transport
        self.seen = bytearray(total)
        self.count = self.doubled = self.disordered = 0
        self.lost: list[str] = []
        self.late = 0.0  # seconds, the longest from the server's taking of an event to its coming
        self.silence = 0.0  # seconds, the longest between two moments at which something came
        self._came = 0.0
        self._last = ("", 0)

    def take(self, number: int, place: str, at: float) -> None:
        """One event."""
        position = parse(place)
        epoch, last = self._last
        self.disordered += position.epoch == epoch and position.offset <= last
        self._last = (position.epoch, position.offset)
        self.doubled += self.seen[number]
        self.count += not self.seen[number]
        self.seen[number] = 1
        now = time.time()
        self.late = max(self.late, now - at)
        if self._came:
            self.silence = max(self.silence, now - self._came)
        self._came = now

    def lose(self, lost: Lost) -> None:
        """A loss that was told."""
        self.lost.append(f"{lost.after}..{lost.through} {lost.reason}")


async def read_lightly(tally: Tally, http: aiohttp.ClientSession, url: str, since: str) -> None:
    """Read for ever."""
    transport = tally.transport
    place = since
    while True:
        where = f"{url}/{transport.path}?channels=a&since={place}"
        reader = transport.reader()
        try:
            if transport.commands_up:
                async with http.ws_connect(where, timeout=aiohttp.ClientWSTimeout(ws_close=1.0)) as ws:
                    async for message in ws:
                        place = _taken(tally, reader.feed(message.data.encode()), place)
            else:
                async with http.get(where, timeout=aiohttp.ClientTimeout(total=None, sock_read=40)) as response:
                    response.raise_for_status()
                    if transport.many:
                        async for data in response.content.iter_any():
                            place = _taken(tally, reader.feed(data), place)
                    else:
                        place = _taken(tally, reader.feed(await response.read()), place)
                        continue
        except (aiohttp.ClientError, OSError, EverywireError):  # a TimeoutError is one
            pass
        await asyncio.sleep(random.uniform(0.05, 0.5))  # as the protocol wants it


def _taken(tally: Tally, items: list[object], place: str) -> str:
    for item in items:
        kind = item.kind
        if kind == "event":
            tally.take(item.data, item.id, item.at)
        elif kind == "lost":
            tally.lose(item)
        if kind not in ("bye", "reply"):
            place = item.id
    return place


async def read_as_people_do(tally: Tally, url: str, since: str) -> None:
    """Read for ever, with the Python client."""
    while True:
        with suppress(EverywireError):  # it gave up: somebody starts the program again
            async with connect(url, ["a"], since=since, transports=[tally.transport], on_lost=tally.lose, memory={}) as stream:
                async for event in stream:
                    tally.take(event.data, event.id, event.at)
                    since = event.id
        await asyncio.sleep(0.5)


class Publisher:
    """Publishes the numbers from 0, so many a second, and insists until each is acknowledged."""

    def __init__(self, url: str, rate: int, total: int) -> None:
        self._url, self._rate, self._total = url, rate, total
        self.ids: list[str] = []  # of those that were acknowledged, by number
        self.tries = self.refused = 0

    async def run(self, http: aiohttp.ClientSession) -> None:
        """Until all are acknowledged."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while len(self.ids) < self._total:
            due = min(self._total, int((loop.time() - began) * self._rate))
            if due > len(self.ids):
                await self._offer(http, range(len(self.ids), min(due, len(self.ids) + 100)))
            await asyncio.sleep(1 / EACH)  # the pace

    async def _offer(self, http: aiohttp.ClientSession, numbers: range) -> None:
        commands = [{"do": "publish", "ref": n, "channel": "a", "data": n, "key": f"chaos:{n}"} for n in numbers]
        self.tries += 1
        try:
            timeout = aiohttp.ClientTimeout(total=10)
            async with http.post(f"{self._url}/commands", json=commands, timeout=timeout) as response:
                replies = await response.json(content_type=None) if response.status == 200 else []
        except (aiohttp.ClientError, OSError, ValueError):
            replies = []
        for reply in replies:
            if not reply["ok"]:
                self.refused += 1
                break
            assert reply["ref"] == len(self.ids)
            self.ids.append(reply["id"])


class Outcome(msgspec.Struct):
    """What came of a run. Times are seconds."""

    readers: int
    published: int
    kills: int
    lost: int  # events that a reader did not get, over all readers
    doubled: int
    disordered: int
    told: list[str]  # losses that were told
    unfinished: int  # readers that had not got everything at the end
    tries: int  # requests of the publisher
    silence_p50: float  # of each reader's longest, between two moments at which events came
    silence_p99: float
    silence_most: float
    crowd: int  # the most WebSockets and streams of Server-Sent Events that were opened in one second, after the first of all
    late_p50: float  # of each reader's latest event, from its being taken by the broker
    late_p99: float
    late_most: float
    finished: float  # from the last acknowledgement until everybody had everything


class Crowd:
    """Readers on all transports.

    Args:
        url: of the mount.
        readers: how many, in equal shares of the three transports.
        real: how many of them are our client.
        total: how many events there will be.
    """

    def __init__(self, url: str, readers: int, real: int, total: int) -> None:
        self._url, self._real, self.total = url, real, total
        self.tallies = [Tally(LADDER[number % len(LADDER)], total) for number in range(readers)]

    async def read(self, http: aiohttp.ClientSession, since: str) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number, tally in enumerate(self.tallies):
                work = (
                    read_as_people_do(tally, self._url, since)
                    if number < self._real
                    else read_lightly(tally, http, self._url, since)
                )
                group.create_task(work)

    @property
    def complete(self) -> bool:
        """Whether everybody has got everything."""
        return all(tally.count == self.total for tally in self.tallies)

    def outcome(self, publisher: Publisher, kills: int, finished: float, opened: list[float]) -> Outcome:
        silences = sorted(tally.silence for tally in self.tallies)
        latest = sorted(tally.late for tally in self.tallies)
        return Outcome(
            readers=len(self.tallies),
            published=len(publisher.ids),
            kills=kills,
            lost=sum(self.total - tally.count for tally in self.tallies),
            doubled=sum(tally.doubled for tally in self.tallies),
            disordered=sum(tally.disordered for tally in self.tallies),
            told=[each for tally in self.tallies for each in tally.lost],
            unfinished=sum(tally.count < self.total for tally in self.tallies),
            tries=publisher.tries,
            silence_p50=_part(silences, 0.5),
            silence_p99=_part(silences, 0.99),
            silence_most=silences[-1],
            crowd=crowd(opened),
            late_p50=_part(latest, 0.5),
            late_p99=_part(latest, 0.99),
            late_most=latest[-1],
            finished=finished,
        )


def _part(values: list[float], part: float) -> float:
    """The value that this part of sorted `values` does not exceed."""
    return values[max(0, math.ceil(len(values) * part) - 1)]


def crowd(times: list[float]) -> int:
    """How many at the most lie within one second; `times` are sorted."""
    first, most = 0, 0
    for place, when in enumerate(times):
        while times[first] <= when - 1.0:
            first += 1
        most = max(most, place - first + 1)
    return most


class Disturbance:
    """What happens while events are published; derive one."""

    kills = 0

    async def run(self, hosts: list[Host]) -> None:
        """Disturb."""


class Kills(Disturbance):
    """A worker of chance is ended by SIGKILL, again and again. Who is its parent replaces it."""

    def __init__(self, every: float, count: int, seed: int) -> None:
        self._every, self._count, self._chance = every, count, random.Random(seed)

    async def run(self, hosts: list[Host]) -> None:
        for _ in range(self._count):
            await asyncio.sleep(self._every)  # the pace
            pids = [(host, pid) for host in hosts for pid in host.pids()]
            if pids:
                with suppress(ProcessLookupError):
                    os.kill(self._chance.choice(pids)[1], signal.SIGKILL)
                    self.kills += 1


class Again(Disturbance):
    """A Redis server ends by itself, and begins again with what it has written."""

    def __init__(self, redis: RedisServer) -> None:
        self._redis = redis

    async def run(self, hosts: list[Host]) -> None:
        await self._redis.stop()
        await self._redis.start()


class Restarts(Disturbance):
    """Each host is restarted, one after the other."""

    async def run(self, hosts: list[Host]) -> None:
        for host in hosts:
            await host.restart()
            self.kills += len(host.pids())


async def play(
    url: str,
    three: list[Host],
    disturbances: list[Disturbance],
    *,
    readers: int,
    real: int,
    rate: int,
    seconds: int,
    limit: float,
) -> Outcome:
    """Readers, a publisher and disturbances, one after the other; until everybody has everything, or `limit` seconds after."""
    total = rate * seconds
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        async with http.get(f"{url}/poll?channels=a") as response:
            since = (await response.json(content_type=None))[0]["id"]
        began = time.time()
        crowd, publisher = Crowd(url, readers, real, total), Publisher(url, rate, total)
        reading = asyncio.create_task(crowd.read(http, since))
        publishing = asyncio.create_task(publisher.run(http))
        try:
            await until(lambda: all(tally.count for tally in crowd.tallies), limit)  # all read, and what comes now are events
            began = time.time()
            for each in disturbances:
                await each.run(three)
            await publishing
            loop = asyncio.get_running_loop()
            acknowledged = loop.time()
            with suppress(TimeoutError):
                await until(lambda: crowd.complete or reading.done(), limit)
            finished = loop.time() - acknowledged
        finally:
            publishing.cancel()
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
    lines = [line.split() for host in three for line in host.opened.read_text().splitlines()]
    opened = sorted(float(when) for when, transport in lines if transport != "longpoll" and float(when) > began)
    return crowd.outcome(publisher, sum(each.kills for each in disturbances), finished, opened)
