"""The browser client at the end of a server, while another one serves the same log: all of it, once, and open all the time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.static.test_switches import HERE, NODE, said
from tests.transports.test_moving import served
from transports import Hub, Options

EVENTS = 300


@pytest.mark.parametrize(("transport", "edge"), [("websocket", "front"), ("sse", "front"), ("sse", "asgi")])
async def test_nothing_is_missed_while_a_server_drains_and_ends(tmp_path: Path, transport: str, edge: str) -> None:
    options = Options(channels=("a",), broker=f"sqlite:///{tmp_path}/log.db")
    first, second = Hub(options), Hub(options)
    await first.open()
    await second.open()

    async def publish(numbers: range) -> None:
        for number in numbers:
            await second.publish("a", number)
            await asyncio.sleep(0)

    async with served(second, edge) as other:
        async with served(first, edge) as one:
            command = (NODE, HERE / "move.js", transport, one, str(EVENTS))
            node = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
            assert node.stdin is not None
            assert await said(node) == {"now": "open"}
            await publish(range(50))
            assert await said(node) == {"came": 50}
            node.stdin.write(f"{other}\n".encode())
            assert await said(node) == {"mount": other}
            rest = asyncio.create_task(publish(range(50, 250)))
        try:
            assert second.readers == 1, "it is here before the other server has ended"
            await rest
            await publish(range(250, EVENTS))
            while "came" in (result := await said(node)):
                pass
            assert result == {"misplaced": [], "states": ["connecting", "open"], "why": ["race", "move"], "bad": {}}
            assert await node.wait() == 0
        finally:
            if node.returncode is None:
                node.kill()
                await node.wait()
