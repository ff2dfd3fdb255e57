"""Rides: a client follows a stream through a network for a while, and what came of it is written down.

Every network of the table and every real middlebox is ridden through with both clients; the tests judge the outcomes, and
`make networks` makes the page of the documentation from them.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec
from playwright.async_api import ProxySettings

from tests.browser.conftest import ARGS, chromium, executable
from tests.documents import ROOT
from tests.middleboxes import BOXES, Middlebox
from tests.restrictions import answer
from tests.ways import Way
from transports import Hub, Options
from transports.asgi import Endpoints
from transports.client import connect
from transports.networks import NETWORKS, Network
from transports.testing import serving

Client: TypeAlias = Literal["python", "chromium"]

RATE = 20.0  # events a second
SECONDS = 30.0  # of a ride, at least
_LOGS_IN = 8.0  # seconds after which somebody logs in to a network that wants it
_BURST, _SILENCE = 8.0, 10.0  # seconds, of the channel that pauses: longer than idle connections are suffered to live
_STAGGER = 0.75  # seconds from the start of one ride to that of the next
_PATIENCE = 60.0  # seconds beyond a ride's own, for all to come
_LOST = 180.0  # seconds until a frame that tells nothing is given up

_PAGE = b"""<!doctype html><html lang="en"><title>ride</title><script type="module">
import { connect } from "/live/client.js";
// It speaks with the server of the rides directly, whatever network its own stream goes through.
const [home, number] = location.hash.slice(1).split("|");
const say = async (what, told) =>
  (await fetch(`${home}/${what}/${number}`, { method: "POST", body: JSON.stringify(told ?? null) })).json();
if (number) {
  const { channel, since, last } = await say("ready");
  const began = performance.now(), got = [], lost = [], said = new Set();
  let first = null;
  const live = connect("/live", { channels: [channel], since });
  live.on("state", (state) => said.add(state.sentence));
  live.on("lost", (item) => lost.push(item));
  await new Promise((done) => {
    setTimeout(done, 110_000);
    live.on("event", (event) => {
      first ??= (performance.now() - began) / 1000;
      got.push(event.data);
      if (event.data === last) done();
    });
  });
  const { evidence } = live;
  live.close();
  await say("done", { first, got, lost: lost.length, said: [...said], evidence });
}
</script>"""


_HALL = b"""<!doctype html><html lang="en"><title>rides</title>
<style>iframe { width: 40px; height: 40px; border: 0 }</style><!-- a browser slows down the timers of frames that nobody sees -->
<script type="module">
const frames = await (await fetch("/frames")).json();
for (const url of frames) {
  const frame = document.createElement("iframe");
  frame.src = url;
  document.body.append(frame);
  await new Promise((done) => setTimeout(done, STAGGER));
}
</script>""".replace(b"STAGGER", str(_STAGGER * 1000).encode())


class Outcome(msgspec.Struct):
    """What came of a ride. `missing`, `doubled` and `disordered` count events; `first` is in seconds."""

    network: str
    story: str
    client: Client
    expected: str
    chosen: str
    first: float | None
    missing: int
    doubled: int
    disordered: int
    lost: int
    connections: int | None  # that were made through a network of ours
    requests: int | None
    sentence: str  # at the end
    said: list[str]  # all sentences, each once
    verdicts: list[str]


class Ride(msgspec.Struct, frozen=True):
    """One to be made."""

    network: str
    client: Client
    expected: str
    seconds: float
    pauses: bool  # follows the channel that is silent now and then

    def __str__(self) -> str:
        return f"{self.network}-{self.client}"


def rides(client: Client) -> list[Ride]:
    """All that there are for a client."""
    ours = [
        Ride(each.name, client, each.wins or "websocket", max(SECONDS, each.settles + 5), "idle" in each.name)
        for each in NETWORKS.values()
    ]
    real = [Ride(name, client, box.wins, SECONDS, name.endswith("-short")) for name, box in BOXES.items()]
    return [msgspec.structs.replace(each, seconds=max(each.seconds, 40.0)) if each.pauses else each for each in [*ours, *real]]


class Road:
    """A server with two channels that tick, `steady` and `pauses`, and a page at `/` for browsers."""

    def __init__(self) -> None:
        self.options = Options(channels=("steady", "pauses"), history_count=4_000)
        self.hub = Hub(self.options)
        self.url = ""
        self.boarded: list[Boarded] = []
        self._endpoints = Endpoints(self.hub)
        self._count = {"steady": 0, "pauses": 0}
        self._last: dict[str, str] = {}  # the ids of the last events
        self._before: dict[str, str] = {}  # and of those before

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Road]:
        """Serve, and tick."""
        await self.hub.open()
        async with serving(self, drain=self.hub.close, options=self.options) as self.url:
            for _ in range(2):
                for channel in self._count:
                    await self._tick(channel)
            ticking = asyncio.create_task(self._run())
            try:
                yield self
            finally:
                ticking.cancel()
                await asyncio.wait([ticking])

    def begin(self, ride: Ride) -> tuple[str, str, int, int]:
        """Channel, position, and the numbers of the first and the last event of a ride that begins now."""
        channel = "pauses" if ride.pauses else "steady"
        ticking = ride.seconds * (_BURST / (_BURST + _SILENCE) if ride.pauses else 1)
        first = self._count[channel] - 1
        return channel, self._before[channel], first, first + int(ticking * RATE)

    async def _tick(self, channel: str) -> None:
        self._before[channel] = self._last.get(channel, "")
        self._last[channel] = await self.hub.publish(channel, self._count[channel])
        self._count[channel] += 1

    async def _run(self) -> None:
        began = time.monotonic()
        for tick in range(1_000_000):
            at = tick / RATE
            await asyncio.sleep(began + at - time.monotonic())
            await self._tick("steady")
            if at % (_BURST + _SILENCE) < _BURST:
                await self._tick("pauses")

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/live"):
            await self._page(scope["path"], receive, send)
        else:
            await self._endpoints({**scope, "root_path": "/live"}, receive, send)

    async def _page(self, path: str, receive: Any, send: Any) -> None:
        body, message = b"", await receive()
        while body := body + message.get("body", b""):
            if not message.get("more_body"):
                break
            message = await receive()
        match path.strip("/").split("/"):
            case ["ready", number]:
                told: Any = self.boarded[int(number)].begin(self)
            case ["done", number]:
                told = self.boarded[int(number)].went.set_result(json.loads(body))
            case ["frames"]:
                told = [
                    f"{each.way.url}/#{self.url}|{place}" for place, each in enumerate(self.boarded) if each.way.proxy is None
                ]
            case ["hall"]:
                return await answer(send, 200, b"text/html", _HALL)
            case _:
                return await answer(send, 200, b"text/html", _PAGE)
        return await answer(send, 200, b"application/json", json.dumps(told).encode(), (b"access-control-allow-origin", b"*"))


class Boarded:
    """A ride of a browser's that waits for its frame, and then for what it tells."""

    def __init__(self, ride: Ride, way: Way, network: Network | None) -> None:
        self.ride, self.way, self.network = ride, way, network
        self.wanted = range(0)
        self.went: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def begin(self, road: Road) -> dict[str, Any]:
        """The page is loaded: from here on the network is the one that is meant."""
        channel, since, first, last = road.begin(self.ride)
        self.wanted = range(first, last + 1)
        if self.network is not None:
            _become(self.network, self.ride)
        return {"channel": channel, "since": since, "last": last}

    async def outcome(self) -> Outcome:
        """What came of it. Raises: TimeoutError, its frame never told."""
        async with asyncio.timeout(_LOST):
            return _outcome(self.ride, self.network, await self.went, self.wanted)


@asynccontextmanager
async def way_through(name: str, upstream: str) -> AsyncIterator[tuple[Way, Network | None]]:
    """The way through a network of ours, which is still `open`, or through a real middlebox."""
    box: Middlebox | None = BOXES.get(name)
    if box is not None:
        async with box.running(upstream) as way:
            yield way, None
        return
    profile = NETWORKS[name]
    start = profile if profile.tls or profile.forward else "open"
    network = Network(start, upstream=upstream, seed=1)
    with tempfile.TemporaryDirectory() as directory:
        async with network as url:
            ca = str(network.save_authority(Path(directory) / "authority.pem")) if profile.tls else None
            proxy = network.proxy and network.proxy.replace("//", "//user:secret@")
            yield Way(url, proxy, ca), network


async def ride_python(ride: Ride, road: Road, way: Way, network: Network | None) -> Outcome:
    """With the Python client. Where a proxy has to be named it is a process of its own: the environment names them."""
    channel, since, first, last = road.begin(ride)
    asked = {"url": f"{way.url}/live", "ca": way.ca, "channel": channel, "since": since, "last": last, "limit": _limit(ride)}
    if network is not None:
        _become(network, ride)
    went = await (_follow_elsewhere(asked, way.proxy) if way.proxy else follow(**asked))
    return _outcome(ride, network, went, range(first, last + 1))


def _become(network: Network, ride: Ride) -> None:
    """From an open network to the one that is meant. One in which nothing works is left after a while: somebody logs in."""
    if network.profile.name != ride.network:
        network.switch(ride.network)
    if not network.profile.wins:
        asyncio.get_running_loop().call_later(_LOGS_IN, network.switch, "open")


def _limit(ride: Ride) -> float:
    return ride.seconds + _PATIENCE


async def follow(url: str, ca: str | None, channel: str, since: str, last: int, limit: float) -> dict[str, Any]:
    """Follow a channel through its event number `last`."""
    began, first = time.monotonic(), None
    got: list[int] = []
    lost: list[object] = []
    said: dict[str, None] = {}

    def on_state(_: str) -> None:
        said[stream.sentence] = None

    stream = connect(url, [channel], since=since, ca=ca, memory={}, on_lost=lost.append, on_state=on_state, connect_timeout=limit)
    try:
        async with asyncio.timeout(limit), stream:
            async for event in stream:
                first = time.monotonic() - began if first is None else first
                got.append(event.data)
                if event.data == last:
                    break
            told = msgspec.to_builtins(stream.evidence)
    except TimeoutError:
        told = msgspec.to_builtins(stream.evidence)
    return {"first": first, "got": got, "lost": len(lost), "said": list(said), "evidence": told}


async def _follow_elsewhere(asked: dict[str, Any], proxy: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.rides",
        cwd=ROOT,
        env={**environment, "HTTP_PROXY": proxy, "HTTPS_PROXY": proxy},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate(json.dumps(asked).encode())
    assert process.returncode == 0, f"{process.returncode=}"
    return json.loads(said)


@asynccontextmanager
async def _hall(url: str) -> AsyncIterator[None]:
    """A browser with a page that holds a frame for each way; they are of one site, and so of one process.

    It is driven by nothing but its pages: to be told of every frame of dozens of WebSockets would be more work than all the rest.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        process = await asyncio.create_subprocess_exec(
            executable(),
            *(*ARGS, "--headless", "--ignore-certificate-errors", f"--user-data-dir={directory}", f"{url}/hall"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            await process.wait()


def _proxy(way: Way) -> ProxySettings | None:
    if way.proxy is None:
        return None
    parts = urlsplit(way.proxy)
    server, bypass = f"http://{parts.hostname}:{parts.port}", "<-loopback>"
    if parts.username is None:
        return ProxySettings(server=server, bypass=bypass)
    return ProxySettings(server=server, bypass=bypass, username=parts.username, password=parts.password or "")


def _outcome(ride: Ride, network: Network | None, went: dict[str, Any], wanted: range) -> Outcome:
    got, told = went["got"], went["evidence"]
    return Outcome(
        ride.network,
        (NETWORKS.get(ride.network) or BOXES[ride.network]).story,
        ride.client,
        ride.expected,
        told["transport"] or "",
        went["first"],
        len(set(wanted) - set(got)),
        len(got) - len(set(got)),
        sum(after < before for before, after in pairwise(got)),
        went["lost"],
        None if network is None else network.record.connections,
        None if network is None else network.record.requests,
        told["sentence"],
        went["said"],
        [f"{each['rung']} {each['verdict']}" for each in told["attempts"]],
    )


async def ride_all(client: Client, only: Sequence[str] = ()) -> list[Outcome]:
    """All rides of a client, side by side. All ways stand before the first begins."""
    chosen = [ride for ride in rides(client) if not only or ride.network in only]
    async with Road().open() as road, AsyncExitStack() as stack:
        ways = [(ride, *await stack.enter_async_context(way_through(ride.network, road.url))) for ride in chosen]
        if client == "python":
            return await asyncio.gather(*(_later(place, *each, road) for place, each in enumerate(ways)))
        road.boarded = [Boarded(*each) for each in ways]
        await stack.enter_async_context(_hall(road.url))
        browser = await stack.enter_async_context(chromium())
        for place, (_, way, _) in enumerate(ways):
            if way.proxy is not None:  # a setting of a whole browser context
                context = await browser.new_context(proxy=_proxy(way), ignore_https_errors=True)
                page = await context.new_page()
                await page.goto(f"{way.url}/#{road.url}|{place}")
        return await asyncio.gather(*(each.outcome() for each in road.boarded))


async def _later(place: int, ride: Ride, way: Way, network: Network | None, road: Road) -> Outcome:
    await asyncio.sleep(place * _STAGGER)
    return await ride_python(ride, road, way, network)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(follow(**json.loads(sys.stdin.read())))))
