"""Users for servers of another make, in a locustfile of three lines each, against small servers on aiohttp."""

import asyncio
import json
import sys
import time
from pathlib import Path

import pytest
from aiohttp import web

pytestmark = pytest.mark.real
REPOSITORY = Path(__file__).parents[2]

LOCUSTFILE = """
import json
from locustfiles.users import LongPollUser, SSEUser, Stamp, WebSocketUser

class OverWebSocket(WebSocketUser):
    host, path, greeting = "{url}", "/ws", (b"follow",)
    parse = staticmethod(lambda message: [Stamp(**json.loads(message))] if message != b"ping" else [])
    answer = staticmethod(lambda message: b"pong" if message == b"ping" else None)

class OverSSE(SSEUser):
    host, path = "{url}", "/sse"
    parse = staticmethod(lambda message: [Stamp(**json.loads(message))])

class ByPolling(LongPollUser):
    host, path = "{url}", "/poll?after=-1"
    parse = staticmethod(lambda message: [Stamp(**each) for each in json.loads(message)])
    next_path = staticmethod(lambda body: "/poll?after=%d" % json.loads(body)[-1]["n"])
"""


def stamp(n: int) -> str:
    return json.dumps({"n": n, "t": time.monotonic_ns() // 1000})


async def over_websocket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    assert await socket.receive_str() == "follow"
    for n in range(10**9):
        await socket.send_str("ping")
        assert await socket.receive_str() == "pong"
        await socket.send_str(stamp(n))
        await asyncio.sleep(0.02)  # its pace
    return socket


async def over_sse(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for n in range(10**9):
        await response.write(f"event: tick\r\ndata: {stamp(n)}\r\n\r\n".encode())
        await asyncio.sleep(0.02)  # its pace
    return response


async def by_polling(request: web.Request) -> web.Response:
    await asyncio.sleep(0.02)  # its pace
    return web.Response(text=f"[{stamp(int(request.query['after']) + 1)}]")


async def test_delays_of_foreign_servers_are_measured_in_microseconds(tmp_path: Path):
    app = web.Application()
    app.router.add_get("/ws", over_websocket)
    app.router.add_get("/sse", over_sse)
    app.router.add_get("/poll", by_polling)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    (tmp_path / "mine.py").write_text(LOCUSTFILE.replace("{url}", f"http://127.0.0.1:{port}"))
    stats = await locust(tmp_path / "mine.py", "-u", "3", "-r", "3", "-t", "6s")
    await runner.cleanup()
    assert {name.rpartition(" ")[0] for name in stats} == {"deliver"}  # nothing lost, doubled, disordered or cut
    assert {name.split()[1] for name in stats} == {"websocket", "sse", "longpoll"}
    for entry in stats.values():
        assert entry["num_requests"] > 10
        assert 0 < entry["min_response_time"] < 1000  # ms
        assert any(float(each) % 1 for each in entry["response_times"])  # and parts of them


async def locust(file: Path, *arguments: str) -> dict:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "locust", "-f", str(file), "--headless", "--json", "--loglevel", "WARNING", *arguments),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert out, err.decode()
    return {entry["name"]: entry for entry in json.loads(out)}
