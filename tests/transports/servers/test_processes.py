"""`everywire serve --server … --loop …`, as processes: they start, say `bye` when they are stopped, and end well."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.transports.conftest import request_head
from transports import LADDER
from transports.servers import find_loop

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_factories=["asyncio"])]
STARTED = [
    ("hypercorn", "uvloop", signal.SIGTERM),
    ("uvicorn", "asyncio", signal.SIGINT),
    ("uvicorn", "uvloop", signal.SIGTERM),
    ("granian", "asyncio", signal.SIGTERM),
    ("granian", "uvloop", signal.SIGINT),
]


@asynccontextmanager
async def everywire(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    command = [sys.executable, "-m", "quart_app", "serve", "--port", "0", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def stream_of(process: asyncio.subprocess.Process) -> str:
    line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
    return line.split("stream at ")[1].split(",")[0]


async def readers(http: aiohttp.ClientSession, url: str) -> int | None:
    """How many there are; None, when nobody more is let in."""
    try:
        async with http.get(f"{url}/poll?channels=vitals") as poll, http.get(f"{url}/status") as status:
            return (await status.json())["readers"] if poll.status == 200 else None
    except aiohttp.ClientError:
        return None


@pytest.mark.parametrize(("server", "loop", "number"), STARTED)
async def test_readers_are_told_and_nothing_else_is(server: str, loop: str, number: signal.Signals) -> None:
    pytest.importorskip(server)
    pytest.importorskip(loop)
    async with everywire("--server", server, "--loop", loop, "--channel", "quiet") as process, aiohttp.ClientSession() as http:
        url = await stream_of(process)
        async with http.get(f"{url}/poll?channels=quiet") as response:
            since = (await response.json())[0]["id"]
        async with http.ws_connect(f"{url}/ws?channels=quiet") as ws, http.get(f"{url}/sse?channels=quiet") as sse:
            await ws.receive()
            await sse.content.readuntil(b"\n\n")
            poll = asyncio.create_task(http.get(f"{url}/poll?channels=quiet&since={since}"))
            while await readers(http, url) < 3:
                pass
            process.send_signal(number)
            assert '"code":4503' in (await ws.receive()).data
            assert (await ws.receive()).data == 4503
            assert b'"code":4503' in await sse.content.read()
            async with await poll as answer:
                assert '"code":4503' in await answer.text()
        assert await asyncio.wait_for(process.wait(), 20) == 0
        assert await process.stderr.read() == b""
        assert await process.stdout.read() == b""


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn", "granian"])
async def test_a_second_signal_ends_it_at_once(server: str) -> None:
    pytest.importorskip(server)
    async with everywire("--server", server) as process:
        url = await stream_of(process)
        host, port = url.removeprefix("http://").removesuffix("/live").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1)
        head = request_head(LADDER[1], "channels=a").replace(b"GET /", b"GET /live/")
        writer.write(head)
        await reader.read(1)
        writer.transport.pause_reading()
        async with aiohttp.ClientSession() as http:
            for _ in range(400):  # 24 MB, more than the system takes for a client that takes nothing
                async with http.post(f"{url}/commands", json={"do": "publish", "channel": "a", "data": "x" * 60_000}) as response:
                    assert response.status == 200
            process.send_signal(signal.SIGTERM)
            while await readers(http, url) is not None:
                pass
        assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == -signal.SIGTERM
        assert await process.stderr.read() == b""
        writer.transport.abort()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--server", "uvicorn"], "pip install 'everywire[uvicorn]'"),
        (["--server", "granian"], "pip install 'everywire[granian]'"),
        (["--loop", "uvloop"], "pip install 'everywire[uvloop]'"),
    ],
)
async def test_what_is_not_installed_is_told_in_one_line(arguments: list[str], words: str) -> None:
    hide = f"import sys; sys.modules[{arguments[1]!r}] = None; from quart_app.cli import cli; cli()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", hide, "serve", "--port", "0", *arguments, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert errors.decode().count("\n") == 1
    assert words in errors.decode()


@pytest.mark.parametrize("there", [True, False])
async def test_the_faster_loop_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    if not there:
        monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = find_loop()()
    try:
        assert type(loop).__module__.startswith("uvloop" if there else "asyncio")
    finally:
        loop.close()


async def test_the_front_is_with_hypercorn_alone() -> None:
    async with everywire("--server", "uvicorn", "--front", "on") as process:
        assert await asyncio.wait_for(process.wait(), 30) == 2
        assert b"the front is Hypercorn's" in await process.stderr.read()
