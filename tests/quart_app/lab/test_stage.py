"""The server under test and the lanes to it: it can be stopped, killed and started, on the port that it keeps."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import psutil
import pytest

from quart_app.lab.server import NotServingError, Server
from quart_app.lab.stage import LANES, Settings, Stage, table
from transports.errors import ConfigError
from transports.networks import NETWORKS
from transports.testing import until

STATES = ["starting", "running"]


async def answers(server: Server) -> bool:
    try:
        reader, writer = await asyncio.open_connection(*server.address)
    except OSError:
        return False
    writer.write(b"GET /live/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    line = await reader.readline()
    writer.close()
    return b" 200" in line


@pytest.mark.real
async def test_it_is_stopped_and_killed_and_started_again_where_it_was() -> None:
    states: list[str] = []
    server = Server(lambda: states.append(server.state))
    try:
        await server.start()
        await server.start()  # it does already
        first = server.pid
        assert (states, server.starts, await answers(server)) == (STATES, 1, True)
        await server.restart()
        assert (states, server.starts, await answers(server)) == ([*STATES, "stopped", *STATES], 2, True)
        assert server.pid != first
        await server.stop()
        await server.stop()
        assert (server.state, server.pid, await answers(server)) == ("stopped", None, False)
        await server.start()
        await server.kill()
        assert (server.state, server.pid, await answers(server)) == ("stopped", None, False)
    finally:
        await server.close()
    assert not psutil.pid_exists(first)


@pytest.mark.real
async def test_its_end_is_seen_whoever_wanted_it() -> None:
    server = Server()
    try:
        await server.start()
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: server.state == "stopped")
    finally:
        await server.close()


@pytest.mark.real
async def test_what_was_asked_for_is_done_though_nobody_waits_for_it() -> None:
    states: list[str] = []
    server = Server(lambda: states.append(server.state))
    try:
        starting = asyncio.create_task(server.start())
        await until(lambda: server.state == "starting")
        starting.cancel()
        await until(lambda: server.state == "running")
        restarting = asyncio.create_task(server.restart())
        await until(lambda: server.state == "stopped")
        restarting.cancel()
        await until(lambda: server.state == "running")
        assert (states, server.starts) == ([*STATES, "stopped", *STATES], 2)
    finally:
        await server.close()


@pytest.mark.real
async def test_the_end_does_not_wait_for_all_that_was_asked_before() -> None:
    server = Server()
    await server.start()
    asked = [asyncio.create_task(server.restart()) for _ in range(50)]
    await asyncio.sleep(0)
    await server.close()
    await asyncio.gather(*asked)
    assert (server.state, server.pid) == ("stopped", None)
    assert server.starts < 5


@pytest.mark.real
async def test_a_broker_that_others_use_is_not_played_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERYWIRE_BROKER", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("EVERYWIRE_SET", "mount=/elsewhere")
    server = Server()
    try:
        await server.start()
        assert await answers(server)
    finally:
        await server.close()


async def test_one_that_does_not_begin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    server = Server()
    with pytest.raises(NotServingError, match="did not start"):
        await server.start()
    assert server.state == "stopped"
    await server.close()


async def test_nobody_takes_its_port_while_it_is_away() -> None:
    server = Server()
    assert not await answers(server)
    with pytest.raises(OSError, match="in use"):
        await asyncio.start_server(lambda *_: None, *server.address, reuse_address=False)
    await server.close()


async def asks(stage: Stage, lane: str, more: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A reader in `lane` that has been told what there is."""
    reader, writer = await asyncio.open_connection(*stage.address(lane))
    path = b"ws" if more else b"sse"
    writer.write(b"GET /live/%s?channels=lab HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n" % (path, more))
    await reader.readuntil(b'"type":"hello"')
    return reader, writer  # without it the connection would end


UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ZXZlcnl3aXJlIGlzIGhlcg==\r\n"
)


@pytest.mark.real
async def test_what_a_stop_a_kill_and_the_time_after_are_to_readers_is_what_the_page_says() -> None:
    async with Stage() as stage:
        readers = [await asks(stage, "websocket", UPGRADE), await asks(stage, "sse")]
        await stage.server.stop()
        frame, block = [await reader.read() for reader, _ in readers]  # a FIN: a reset would be an error
        assert b'{"type":"bye","code":4503,' in frame
        assert frame.endswith(b"\x88\n\x11\x97draining")
        assert b'{"type":"bye","code":4503,' in block
        assert block.endswith(b"\r\n0\r\n\r\n")
        reader, writer = await asyncio.open_connection(*stage.address("sse"))
        writer.write(b"GET /live/sse HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b" 502 " in await reader.readline()
        writer.close()
        await stage.server.start()
        readers = [await asks(stage, "websocket", UPGRADE), await asks(stage, "sse")]
        await stage.server.kill()
        for reader, _ in readers:
            rest = await reader.read()
            assert b"bye" not in rest
            assert not rest.endswith(b"\r\n0\r\n\r\n")


async def test_a_network_is_what_it_was_made_and_nothing_else() -> None:
    changes: list[int] = []
    stage = Stage(lambda: changes.append(1))
    slow = Settings(delay_ms=100, jitter_ms=10, bytes_per_second=5000)
    stage.switch(["sse"], "buffering", slow)
    both = "latency-350ms+no-upgrade"
    stage.switch(["auto", "longpoll"], both, Settings())
    state = stage.state()["lanes"]
    assert [state[lane]["network"] for lane in LANES] == ["open", "buffering", both, both]
    assert state["sse"]["settings"] == slow
    assert (state["websocket"]["since"], state["sse"]["since"] <= state["auto"]["since"]) == (0, True)
    stage.switch(["sse"], "buffering", slow)  # which it is
    assert stage.state()["lanes"]["sse"]["since"] == state["sse"]["since"]
    usual = len(NETWORKS["buffering"].behaviours)
    assert [type(each).__name__ for each in stage.lanes["sse"].profile.behaviours[usual:]] == ["Delay", "Narrow"]
    stage.switch(["sse"], "open", Settings())
    assert stage.lanes["sse"].profile == NETWORKS["open"]
    assert len(changes) == 4
    await stage.server.close()


async def test_a_network_that_is_none_changes_nothing() -> None:
    stage = Stage()
    for name in ("opne", "h2-edge", "proxy-407", "tls-inspection"):
        with pytest.raises(ConfigError):
            stage.switch(["sse"], name, Settings())
    assert stage.state()["lanes"]["sse"]["network"] == "open"
    await stage.server.close()


async def test_the_table_has_all_networks_and_says_which_a_lane_cannot_become() -> None:
    ways = {each["name"]: each["way"] for each in table()}
    assert set(ways) == set(NETWORKS)
    assert {name: way for name, way in ways.items() if way} == {
        "h2-edge": "http2",
        "proxy-407": "forward",
        "tls-inspection": "tls",
    }
    stage = Stage()
    stage.switch(LANES, "+".join(name for name, way in ways.items() if not way), Settings())
    await stage.server.close()
