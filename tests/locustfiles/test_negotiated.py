"""The negotiated client within Locust: it works, it lets the others work, and what passes its sockets is counted."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from played import Round, play, serving

from locustfiles.plan import Plan
from locustfiles.samples import Tally
from transports.networks import Network

pytestmark = pytest.mark.real
REPOSITORY = Path(__file__).parents[2]

SCENARIO = """
from locustfiles import rounds
from locustfiles.negotiated import NegotiatedUser
from locustfiles.users import SSEUser

class NegotiatedReader(NegotiatedUser):
    pass

class SSEReader(SSEUser):
    pass
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    (tmp_path / "negotiated_and_sse.py").write_text(SCENARIO)
    return str(tmp_path / "negotiated_and_sse.py")


@pytest.fixture(scope="module")
def server():
    with serving("everywire") as running:
        yield running


def test_fifty_readers_get_everything_and_starve_nobody(server, scenario: str, tmp_path: Path):
    plan = Plan(readers=50, rate=20, seconds=2, transports=("negotiated",))
    sample = play(tmp_path, plan, server.url, "NegotiatedReader", file=scenario)
    assert (sample.ready, sample.tally) == (50, Tally(expected=2000, delivered=2000))
    assert sample.chosen == {"websocket": 50}
    assert sample.clock == "process"
    assert len(sample.lag) > 50  # of the 200 times that another greenlet wanted to wake up
    assert sample.traffic.payload == 2000 * 100
    assert 0 < sample.traffic.framing < 2000 * 150
    assert len(sample.phases.hello) == 50
    assert len(sample.phases.connect) == 0  # the client does not tell


def test_they_share_a_process_with_raw_readers(server, scenario: str, tmp_path: Path):
    sample = play(tmp_path, Plan(readers=10, rate=20, seconds=1), server.url, file=scenario)
    assert sample.tally == Tally(expected=200, delivered=200)
    assert sample.chosen == {"websocket": 5}
    assert sample.clock == "process"


async def test_it_chooses_another_transport_where_there_is_no_upgrade(server, scenario: str, tmp_path: Path):
    plan = Plan(readers=3, rate=20, seconds=1, transports=("negotiated",))
    async with Network("no-upgrade", upstream=f"{server.url}/live") as url:
        arguments = ["--publish-to", server.url, "NegotiatedReader"]
        sample = await asyncio.to_thread(play, tmp_path, plan, url.removesuffix("/live"), *arguments, file=scenario)
    assert sample.tally == Tally(expected=60, delivered=60)
    assert sample.chosen == {"sse": 3}


def test_names_are_looked_up(server, scenario: str, tmp_path: Path):
    host = f"http://localhost:{server.port}"
    sample = play(tmp_path, Plan(readers=2, rate=20, seconds=0.5), host, "NegotiatedReader", file=scenario)
    assert sample.tally == Tally(expected=20, delivered=20)


async def test_a_proxy_of_the_environment_is_used(server, scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    passed = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request in absolute form, and then whatever comes."""
        head = await reader.readuntil(b"\r\n\r\n")
        passed.append(head.split(b" ")[1])
        upstream = await asyncio.open_connection("127.0.0.1", server.port)
        if head.startswith(b"CONNECT"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            upstream[1].write(head.replace(b"http://nowhere.invalid", b"", 1).replace(b"nowhere.invalid", b"127.0.0.1", 1))
        await asyncio.gather(pumped(reader, upstream[1]), pumped(upstream[0], writer))

    async def pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    arguments = ["--publish-to", server.url, "NegotiatedReader"]
    plan = Plan(readers=2, rate=20, seconds=0.5)
    sample = await asyncio.to_thread(play, tmp_path, plan, "http://nowhere.invalid", *arguments, file=scenario)
    listening.close()
    assert sample.tally == Tally(expected=20, delivered=20)
    assert passed


def test_a_host_that_is_none_is_one_clear_line(scenario: str, tmp_path: Path):
    round_ = Round(tmp_path, Plan(readers=1, patience=1), "nonsense", "NegotiatedReader", file=scenario)
    sample = round_.sample()
    assert sample.ready == 0
    assert [reason for reason in sample.failures if "is not the URL of a mount" in reason]


SELECTORS = """
import gevent.monkey
gevent.monkey.patch_all()
import asyncio, sys, gevent
from locustfiles.measuring import selector

kind = getattr(selector, sys.argv[1])
loop = asyncio.SelectorEventLoop(kind())
others = 0

def other():
    global others
    while True:
        gevent.sleep(0.001)
        others += 1

async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
    writer.close()

async def busy():
    while others < 20:  # never idle: without a turn for the others it would not end
        await asyncio.sleep(0)

async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"x" * 50)
    assert await reader.readexactly(50) == b"x" * 50
    await asyncio.wait_for(busy(), 30)
    writer.close()
    assert await reader.read() == b""
    return "done"

gevent.spawn(other)
greenlet = gevent.spawn(loop.run_until_complete, main())
print(greenlet.get(timeout=60))
"""


@pytest.mark.parametrize("selector", ["Polled", "Yielding"])
def test_a_loop_that_is_never_idle_lets_other_greenlets_work(selector: str):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", SELECTORS, selector]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.stdout == "done\n", done.stderr
