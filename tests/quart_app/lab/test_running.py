"""The lab as a whole: real lanes to a real server that is really stopped, behind one address."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest
from aiohttp import ClientSession

from quart_app.lab.app import Lab
from quart_app.lab.running import run
from transports.client import connect
from transports.items import Event
from transports.serve import address, listen
from transports.testing import until

pytestmark = pytest.mark.real
LANES = ["websocket", "sse", "longpoll"]


@dataclass
class Running:
    """The lab, and somebody who uses it."""

    url: str
    lab: Lab
    http: ClientSession
    told: list[Any] = field(default_factory=list)

    async def post(self, path: str, said: Any) -> Any:
        async with self.http.post(f"{self.url}/lab/{path}", json=said) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def read(self, lane: str, enough: Callable[[list[Event]], bool], **how: Any) -> tuple[list[Event], Any]:
        """Events of the publisher as a lane has them, until they are enough; and the stream."""
        events: list[Event] = []
        async with asyncio.timeout(60), connect(f"{self.url}/lab/lanes/{lane}/live", channels=["lab"], **how) as stream:
            async for event in stream:
                events.append(event)
                if enough(events):
                    break
        return events, stream

    async def listen(self, channel: str, enough: Callable[[list[Any]], bool]) -> list[Any]:
        """What the page is told, until it is enough."""
        told: list[Any] = []
        async with asyncio.timeout(60), connect(f"{self.url}/lab/live", channels=[channel]) as stream:
            async for event in stream:
                told.append(event.data)
                if enough(told):
                    break
        return told


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    listening, stop = listen("127.0.0.1", 0), asyncio.Event()
    url, ready = address(listening), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run(listening, ready.set_result, stop))
    await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
    async with ClientSession() as http:
        lab = ready.result()
        pid = lab.stage.server.pid
        yield Running(url, lab, http)
    stop.set()
    await asyncio.wait_for(task, 60)
    assert not psutil.pid_exists(pid)


async def test_each_lane_has_the_same_events_and_loses_none_when_it_is_cut(running: Running) -> None:
    await running.post("publisher", {"rate": 50})

    async def follow(lane: str) -> list[Event]:
        cut = asyncio.Event()

        def enough(events: list[Event]) -> bool:
            if len(events) == 5 and not cut.is_set():
                cut.set()
                running.lab.stage.cut([lane], "reset")
            return len(events) >= 15

        return (await running.read(lane, enough, transport=lane))[0]

    for events in await asyncio.gather(*map(follow, LANES)):
        numbers = [event.data["n"] for event in events]
        assert numbers == list(range(numbers[0], numbers[0] + 15))


async def test_a_lane_is_in_its_own_network(running: Running) -> None:
    await running.post("network", {"lanes": ["auto"], "network": "no-upgrade"})
    _, blocked = await running.read("auto", lambda events: len(events) > 1 and stream_is_proven(running))
    await running.post("network", {"lanes": ["auto"]})
    assert blocked.transport in ("sse", "longpoll")
    _, free = await running.read("websocket", lambda events: len(events) > 1, transport="websocket")
    assert free.transport == "websocket"


def stream_is_proven(running: Running) -> bool:
    return running.lab.stage.lanes["auto"].record.requests > 0


async def test_the_page_is_told_what_passed_in_all_lanes(running: Running) -> None:
    def complete(told: list[Any]) -> bool:
        return any(all(lanes >= set(LANES) for lanes in [where]) for where in by_event(told).values())

    def by_event(told: list[Any]) -> dict[str, set[str]]:
        where: dict[str, set[str]] = {}
        for tick in told:
            for record in tick["records"]:
                for item in record["items"]:
                    if item["type"] == "event":
                        where.setdefault(item["id"], set()).add(tick["lane"])
        return where

    readers = [asyncio.create_task(running.read(lane, lambda events: False, transport=lane)) for lane in LANES]
    told = await running.listen("wire", complete)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    kinds = {(tick["lane"], record["kind"]) for tick in told for record in tick["records"] if record["items"]}
    assert kinds >= {("websocket", "frame"), ("sse", "data"), ("longpoll", "data")}
    for tick in told:
        assert tick["left_out"] == 0
        assert tick["sums"]["connections"] >= 1


async def test_the_server_can_be_restarted_and_stopped_and_the_page_is_told(running: Running) -> None:
    before = running.lab.stage.server.pid
    listening = asyncio.create_task(
        running.listen("state", lambda told: [each["server"]["state"] for each in told[-2:]] == ["stopped", "running"])
    )
    await until(lambda: running.lab.live.hub.readers)
    state = await running.post("server", {"do": "restart"})
    assert (state["server"]["state"], state["server"]["starts"]) == ("running", 2)
    assert state["server"]["pid"] != before
    await until(lambda: not psutil.pid_exists(before))
    await running.post("server", {"do": "kill"})
    with pytest.raises(OSError, match=r"reset|disconnected"):
        await running.http.get(f"{running.url}/live/health")
    async with running.http.get(f"{running.url}/lab/lanes/sse/live/health") as answer:
        assert answer.status == 502
    await running.post("server", {"do": "start"})
    async with running.http.get(f"{running.url}/lab/lanes/sse/live/health") as answer:
        assert answer.status == 200
    listening.cancel()


async def test_a_cut_lane_is_a_reset_connection(running: Running) -> None:
    host, _, port = running.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /lab/lanes/sse/live/sse?channels=lab HTTP/1.1\r\nHost: " + f"{host}:{port}".encode() + b"\r\n\r\n")
    await asyncio.wait_for(reader.readuntil(b"event: hello"), 30)
    assert (await running.post("cut", {"lanes": "all"}))["cut"]["sse"] == 1
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 30)
    writer.close()


STRANGE = [
    b'{"type":"event","data":' + b"[" * 60_000,
    b'{"type":"event","data":{"n":' + b"1" * 5_000 + b"}}",
    rb'{"type":"event","id":"\ud800"}',
    b'{"type":"event","id":"\xff"}',
]


@pytest.mark.parametrize("said", STRANGE, ids=["deep", "long number", "half a character", "no UTF-8"])
async def test_whatever_is_sent_through_a_lane_the_lab_goes_on(running: Running, said: bytes) -> None:
    listening = asyncio.create_task(running.listen("wire", lambda told: any(tick["lane"] == "sse" for tick in told)))
    await until(lambda: running.lab.live.hub.readers)
    async with running.http.post(f"{running.url}/lab/lanes/sse/live/commands", data=said) as answer:
        assert answer.status < 500
    assert await listening
    assert (await running.post("cut", {"lanes": "all"}))["cut"]


async def test_by_the_name_of_somebody_else_the_lab_is_not_reached(running: Running) -> None:
    for path in ("/lab/state", "/lab/", "/live/health", "/lab/lanes/sse/live/health"):
        async with running.http.get(running.url + path, headers={"Host": "evil.example"}) as answer:
            assert answer.status == 421
        async with running.http.get(running.url + path, headers={"Host": "localhost"}) as answer:
            assert answer.status == 200


async def test_a_page_that_is_closed_leaves_no_server_that_is_half_started(running: Running) -> None:
    host, _, port = running.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    said = b'{"do":"restart"}'
    head = f"POST /lab/server HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(said)}\r\n\r\n"
    writer.write(head.encode() + said)
    await until(lambda: running.lab.stage.server.state == "starting")
    writer.transport.abort()
    await until(lambda: running.lab.stage.server.state == "running")
    assert running.lab.stage.server.starts == 2


async def started() -> tuple[asyncio.subprocess.Process, psutil.Process, str]:
    command = (sys.executable, "-m", "quart_app", "lab", "--port", "0")
    lab = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    line = (await asyncio.wait_for(lab.stdout.readline(), 60)).decode()
    assert line.startswith("everywire lab at http://127.0.0.1:")
    return lab, psutil.Process(int(line.partition("process ")[2].partition(",")[0])), line.split()[3]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_the_server_ends_with_the_lab_however_that_ends(how: signal.Signals) -> None:
    lab, server, url = await started()
    try:
        async with ClientSession() as http, http.get(url) as page:
            assert page.status == 200
        assert server.is_running()
    finally:
        lab.send_signal(how)
        code = await asyncio.wait_for(lab.wait(), 60)
    assert code == (0 if how != signal.SIGKILL else -signal.SIGKILL)
    await until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)


async def test_a_port_that_is_taken_is_told() -> None:
    with listen("127.0.0.1", 0) as taken:
        command = (sys.executable, "-m", "quart_app", "lab", "--port", str(taken.getsockname()[1]))
        lab = await asyncio.create_subprocess_exec(*command, stderr=PIPE)
        _, said = await asyncio.wait_for(lab.communicate(), 60)
    assert lab.returncode == 1
    assert b"Another --port may be free" in said
