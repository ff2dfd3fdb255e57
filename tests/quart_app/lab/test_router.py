"""One origin for many places: what was asked arrives where it should, however it was cut, and ends as it ended there."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quart_app.lab.router import Router, names_of, route
from transports.networks import Head
from transports.networks.pieces import Splitter
from transports.networks.sockets import reset
from transports.serve import listen
from transports.testing import until

LANES = frozenset({"sse", "websocket"})
PATHS = {
    "lab": b"/lab/state",
    "server": b"/live/poll?wait=1",
    "sse": b"/lab/lanes/sse/live/sse",
    "websocket": b"/lab/lanes/websocket/x",
}


@pytest.mark.parametrize(
    ("target", "place", "there"),
    [
        (b"/", "lab", b"/"),
        (b"/?a=1", "lab", b"/?a=1"),
        (b"/lab", "lab", b"/lab"),
        (b"/lab/", "lab", b"/lab/"),
        (b"/lab/static/page.js?v=1", "lab", b"/lab/static/page.js?v=1"),
        (b"/docs/index.html", "lab", b"/docs/index.html"),
        (b"/labour", "server", b"/labour"),
        (b"/docsy", "server", b"/docsy"),
        (b"/live/ws?since=a.1", "server", b"/live/ws?since=a.1"),
        (b"/lab/lanes/sse/live/sse?channels=lab", "sse", b"/live/sse?channels=lab"),
        (b"/lab/lanes/sse", "lab", b"/lab/lanes/sse"),
        (b"/lab/lanes/elsewhere/live", "lab", b"/lab/lanes/elsewhere/live"),
        (b"/lab/lanes/sse/lab/lanes/sse/x", "sse", b"/lab/lanes/sse/x"),
        (b"http://a/lab/", "server", b"http://a/lab/"),
        (b"*", "server", b"*"),
    ],
)
def test_a_target_says_where_it_leads(target: bytes, place: str, there: bytes) -> None:
    assert route(target, LANES) == (place, there)


@dataclass
class Place:
    """A server that answers with its name, the target and the body, and notes how many connections it had."""

    name: str
    opened: int = 0
    open: int = 0
    reset: bool = False
    server: asyncio.Server = field(init=False)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self.open += 1
        requests, head, body = Splitter(), Head((b"", b"", b""), ()), b""
        try:
            while data := await reader.read(65_536):
                for piece in requests.feed(data):
                    head = Head.parse(piece.raw) if piece.kind == "head" else head
                    body = b"" if piece.kind == "head" else body + piece.payload
                    if piece.kind == "end" and head.get(b"upgrade"):
                        await self.echo(reader, writer)
                        return
                    if piece.kind == "end" and head.start[1].endswith(b"/reset"):
                        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                        await writer.drain()
                        await asyncio.sleep(0.01)
                        reset(writer)
                        return
                    if piece.kind == "end":
                        said = b"%s %s %s" % (self.name.encode(), head.start[1], body)
                        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))
        except OSError:
            self.reset = True
        finally:
            self.open -= 1
            writer.close()

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        while data := await reader.read(65_536):
            writer.write(data)


Routed: TypeAlias = tuple[tuple[str, int], dict[str, Place]]


@asynccontextmanager
async def routed(*without: str, hosts: Sequence[str] = (), patience: float = 20.0) -> AsyncIterator[Routed]:
    places = {name: Place(name) for name in PATHS}
    for place in places.values():
        place.server = await asyncio.start_server(place.serve, "127.0.0.1", 0)
    addresses = {name: place.server.sockets[0].getsockname() for name, place in places.items()}
    for name in without:
        places[name].server.close()
    router, listening = Router(addresses.__getitem__, LANES, hosts, patience), listen("127.0.0.1", 0)
    where = listening.getsockname()
    await router.open(listening)
    try:
        yield where, places
    finally:
        await router.close()
        await until(lambda: not any(place.open for place in places.values()))
        for place in places.values():
            place.server.close()


def request(place: str, body: bytes = b"", *, chunked: bool = False) -> bytes:
    head = b"POST %s HTTP/1.1\r\nHost: lab\r\nX-Is: /lab/lanes/sse/ \r\n" % PATHS[place]
    if chunked:
        return (
            head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        )
    return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def answer(place: str, body: bytes = b"") -> bytes:
    said = b"%s %s %s" % (place.encode(), route(PATHS[place], LANES)[1], body)
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said)


ASKED = st.lists(st.tuples(st.sampled_from(sorted(PATHS)), st.binary(max_size=40), st.booleans()), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ASKED, st.lists(st.integers(0, 1500), max_size=10))
def test_requests_are_answered_in_order_by_whom_they_are_for(asked: list[tuple[str, bytes, bool]], cuts: list[int]) -> None:
    async def play() -> None:
        whole = b"".join(request(place, body, chunked=chunked) for place, body, chunked in asked)
        places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
        async with routed() as (where, _), asyncio.timeout(20):
            reader, writer = await asyncio.open_connection(*where)
            for begin, end in itertools.pairwise(places):
                writer.write(whole[begin:end])
                await asyncio.sleep(0)
            wanted = b"".join(answer(place, body) for place, body, _ in asked)
            assert await reader.readexactly(len(wanted)) == wanted
            writer.close()

    asyncio.run(play())


async def test_a_kept_connection_leads_elsewhere_when_it_is_asked_to_and_only_then() -> None:
    async with routed() as (where, places), asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*where)
        for place in ("lab", "lab", "sse", "sse", "lab"):
            writer.write(request(place))
            assert await reader.readexactly(len(answer(place))) == answer(place)
        assert (places["lab"].opened, places["sse"].opened) == (2, 1)
        await until(lambda: (places["lab"].open, places["sse"].open) == (1, 0))
        writer.close()


async def test_behind_a_101_everything_is_piped_whatever_it_looks_like() -> None:
    async with routed() as (where, places), asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*where)
        writer.write(b"GET /lab/lanes/websocket/live/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        early = request("lab") + b"\x81\x00\x00\r\n\r\n"  # and a client that does not wait for it
        writer.write(early)
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(early)) == early
        writer.write(request("server"))
        assert await reader.readexactly(len(request("server"))) == request("server")
        assert (places["lab"].opened, places["server"].opened) == (0, 0)
        writer.close()


async def test_a_reset_there_is_a_reset_here() -> None:
    async with routed() as (where, _), asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*where)
        writer.write(b"GET /lab/lanes/sse/reset HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"half")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_reset_here_is_a_reset_there() -> None:
    async with routed() as (where, places), asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*where)
        writer.write(request("sse"))
        await reader.readexactly(len(answer("sse")))
        reset(writer)
        await until(lambda: places["sse"].reset)


async def test_where_nobody_is_the_connection_is_reset() -> None:
    async with routed("server") as (where, _), asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*where)
        writer.write(request("server"))
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_what_is_no_request_is_answered_and_ends() -> None:
    async with routed() as (where, _), asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*where)
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_a_client_that_has_said_all_it_wanted_gets_its_answer() -> None:
    async with routed() as (where, _), asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*where)
        writer.write(request("lab", b"all"))
        writer.write_eof()
        assert await reader.read() == answer("lab", b"all")


async def test_what_is_said_behind_a_clients_last_word_still_comes() -> None:
    async with routed() as (where, _), asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*where)
        writer.write(b"GET /live/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"goodbye")
        writer.write_eof()
        assert await reader.read() == b"goodbye"


async def test_the_end_of_the_router_is_the_end_of_its_connections() -> None:
    async with routed() as (where, _):
        reader, writer = await asyncio.open_connection(*where)
        writer.write(request("lab"))
        await reader.readexactly(len(answer("lab")))
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


NAMES = [
    (b"127.0.0.1:8000", True),
    (b"LOCALHOST", True),
    (b"[::1]:8000", True),
    (b"", True),
    (b"evil.example:8000", False),
    (b"127.0.0.1.evil.example", False),
    (b"localhost:8000@evil.example", False),
    (b"127.0.0.1\xff", False),
]


@pytest.mark.parametrize(("name", "ours"), NAMES)
@pytest.mark.parametrize("place", sorted(PATHS))
async def test_by_another_name_nobody_is_asked(name: bytes, ours: bool, place: str) -> None:
    async with routed(hosts=names_of("127.0.0.1")) as (where, places), asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*where)
        writer.write(b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (PATHS[place], name))
        start = await reader.readuntil(b"\r\n")
        assert start.split()[1] == (b"200" if ours else b"421")
        assert sum(each.opened for each in places.values()) == ours
        writer.close()


async def test_another_name_behind_ours_on_one_connection_is_not_asked_either() -> None:
    async with routed(hosts=names_of("127.0.0.1")) as (where, _), asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*where)
        first, second = (b"GET /lab/state HTTP/1.1\r\nHost: %s\r\n\r\n" % host for host in (b"localhost", b"evil.example"))
        writer.write(first + second)
        answers = await reader.read()
        assert answers.startswith(answer("lab") + b"HTTP/1.1 421 ")
        assert b"127.0.0.1 or localhost" in answers
        writer.close()


@pytest.mark.parametrize(
    ("host", "name", "ours"), [("127.0.0.2", "127.0.0.2", True), ("::1", "[::1]", True), ("127.0.0.1", "127.0.0.2", False)]
)
def test_the_names_of_a_lab_are_those_of_this_machine_alone(host: str, name: str, ours: bool) -> None:
    assert (name in names_of(host)) == ours
    assert names_of("0.0.0.0") == ()  # others reach that one, and call it what they like


async def test_a_head_that_does_not_end_is_told_and_one_that_does_not_begin_is_closed() -> None:
    async with routed(patience=0.05) as (where, _), asyncio.timeout(20):
        late = b"HTTP/1.1 408 "
        for said, told in ((b"", b""), (b"GET / HT", late), (request("lab") + b"GET /", answer("lab") + late)):
            reader, writer = await asyncio.open_connection(*where)
            writer.write(said)
            heard = await reader.read()
            assert heard.startswith(told)
            assert bool(heard) == bool(told)
            writer.close()


async def test_who_waits_for_an_answer_may_take_time_with_the_next_head() -> None:
    async with routed(patience=0.02) as (where, _), asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*where)
        writer.write(request("lab"))
        assert await reader.readexactly(len(answer("lab"))) == answer("lab")
        writer.write(b"GET /live/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for part in (b"GET", b" / HTTP/1.1\r\n"):  # whatever it looks like
            writer.write(part)
            assert await reader.readexactly(len(part)) == part
            await asyncio.sleep(0.05)
        writer.close()
