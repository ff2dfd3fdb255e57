"""Who is slow or mute in any phase is sent away: with the defaults within half a minute, and here within a fraction of that."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import h2.events
import pytest
import trustme

from transports import Options
from transports.front.connection import _LOOKS
from transports.options import idle_seconds

from . import wires
from .target import EDGES, target

HASTE = {"body_timeout": 0.2, "send_timeout": 0.4, "first_command_timeout": 0.3, "handshake_timeout": 0.3, "beat": 1.0}

MUTE = {
    "nothing": b"",
    "half a request line": b"GET /live/po",
    "half a head": wires.opening("poll")[:-2],
    "half a head of a page": wires.request("/")[:-2],
    "half a handshake": wires.opening("ws")[:-2],
    "half a body": wires.commands({"do": "ping"})[:-3],
    "half a body in chunks": wires.request("/live/commands", wires.JSON, "Transfer-Encoding: chunked", method="POST") + b"5\r\n[",
    "half a body of a page": wires.request("/", "Content-Length: 9", method="POST") + b"x",
    "no command": wires.opening("ws", ""),
    "half a command": wires.opening("ws", "") + wires.frame(b'{"do":"ping"}')[:-3],
    "a handshake that was refused": wires.opening("ws").replace(b"Version: 13", b"Version: 8"),
    "too much before a handshake is answered": wires.opening("ws") + wires.frame(b" " * 60_000) * 4,
    "half a preface": b"PRI * HTTP/2.0\r\n\r\nSM",
    "nothing behind a preface": wires.http2().data_to_send(),
}


def half_a_head() -> bytes:
    """HTTP/2: a request that is answered by a stream, and a head that does not end behind it."""
    client = wires.http2()
    wires.asks(client, "/live/sse?channels=a")
    return client.data_to_send() + b"\0\0\4\1\0\0\0\0\3\x82\x86\x84\x41"  # HEADERS on stream 3 without END_HEADERS


@pytest.mark.parametrize("edge", EDGES)
async def test_who_says_nothing_or_not_all_is_sent_away_in_every_phase(edge: str) -> None:
    async with target(edge, **HASTE) as server:
        before = await server.held()
        lines = {name: await wires.connect(server) for name in [*MUTE, "half a head of HTTP/2"]}
        for name, sent in [*MUTE.items(), ("half a head of HTTP/2", half_a_head())]:
            assert await wires.send(lines[name], sent)
        ended = await asyncio.gather(*[ends(line) for line in lines.values()])
        assert not [name for name, end in zip(lines, ended, strict=True) if not end]
        for line in lines.values():
            line.close()
        assert not (await server.back_to(before)).errors


async def ends(line: socket.socket) -> bool:
    try:
        await wires.answered(line, seconds=25)
    except TimeoutError:
        return False
    return True


DRIPS: dict[str, Callable[[int], bytes]] = {
    "a head": lambda n: b"GET /live/poll?channels=a HTTP/1.1\r\nHost: x\r\nX: " if n == 0 else b"x",
    "a head of a page": lambda n: b"GET / HTTP/1.1\r\nHost: x\r\nX: " if n == 0 else b"x",
    "a body": lambda n: wires.commands(body=b" " * 4000)[:-4000] if n == 0 else b" ",
    "a body of a page": lambda n: wires.request("/", "Content-Length: 4000", method="POST") if n == 0 else b"x",
    "a body in chunks": lambda n: (
        wires.request("/live/commands", wires.JSON, "Transfer-Encoding: chunked", method="POST") if n == 0 else b"1\r\n \r\n"
    ),
}


@pytest.mark.parametrize("edge", EDGES)
async def test_who_says_a_byte_now_and_then_gains_no_time_by_it(edge: str) -> None:
    """Slow loris: each byte comes long before anybody would call it silent."""
    async with target(edge, **HASTE) as server:
        before = await server.held()

        async def drip(byte: Callable[[int], bytes]) -> int:
            line, ending = await wires.connect(server), asyncio.get_running_loop().create_future()
            reading = asyncio.create_task(wires.answered(line, seconds=30))
            reading.add_done_callback(lambda _: ending.done() or ending.set_result(None))
            for n in range(1000):
                if not await wires.send(line, byte(n)):
                    break
                if (await asyncio.wait([ending], timeout=0.02))[0]:
                    break
            await reading
            line.close()
            return n

        said = dict(zip(DRIPS, await asyncio.gather(*map(drip, DRIPS.values())), strict=True))
        assert all(n < 999 for n in said.values()), said
        assert not (await server.back_to(before)).errors


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    return path


@pytest.mark.parametrize("edge", EDGES)
async def test_a_tls_handshake_that_does_not_go_on_is_given_up(edge: str, pem: Path) -> None:
    async with target(edge, pem=pem, **HASTE) as server:
        before = await server.held()
        hello, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = ssl._create_unverified_context().wrap_bio(hello, out)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        lines = [await wires.connect(server) for _ in range(2)]
        await wires.send(lines[1], out.read()[:40])
        assert all(await asyncio.gather(*map(ends, lines)))
        for line in lines:
            line.close()
        assert not (await server.back_to(before)).errors


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("way", [*wires.WAYS, "h2", "page over h2"])
async def test_who_takes_nothing_is_given_up(edge: str, way: str) -> None:
    async with target(edge, **HASTE) as server:
        before = await server.held()
        await server.publish(6, 60_000)
        line = await wires.connect(server, room=4096)
        if way in ("h2", "page over h2"):  # a window that is never opened
            client = wires.http2((4, 0))
            wires.asks(client, "/live/sse?channels=a" if way == "h2" else "/live/client.js")
            await wires.send(line, client.data_to_send())
        elif way == "poll":
            await wires.send(line, wires.opening("poll", "channels=a&since=none.0&wait=0") * 200)
        else:
            await wires.send(line, wires.opening(way))
        if way in ("ws", "sse", "h2"):
            while (await server.held()).readers == 0:
                pass
            while (await server.held()).readers:
                await server.publish(6, 60_000)
        reset = asyncio.create_task(wires.answered(line, most=1 << 30)) if "h2" in way else None
        if reset is not None:
            assert await is_reset(reset)
        held = await server.back_to(before._replace(connections=before.connections + (reset is not None), files=before.files + 1))
        assert not held.errors
        line.close()
        await server.back_to(before)


async def is_reset(reading: asyncio.Task[bytes]) -> bool:
    """Whether a stream of HTTP/2 was ended with a word; the connection goes on, and ends when it has been idle."""
    come = await reading
    client = wires.http2()
    wires.asks(client, "/")
    return any(isinstance(event, h2.events.StreamReset) for event in client.receive_data(come))


def test_with_the_defaults_every_phase_ends_within_half_a_minute() -> None:
    options = Options()
    looks = 1 + 1 / _LOOKS  # who took something right behind a look
    assert options.send_timeout * looks + 2.0 <= 30  # and the moment that a WebSocket has to agree to its end
    assert idle_seconds(options) + options.body_timeout <= 30  # a connection that begins a request at the last moment
    assert 2 * options.body_timeout <= 30  # a body for others
    assert options.handshake_timeout <= 30
    assert options.first_command_timeout <= 30
