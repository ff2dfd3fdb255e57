"""Make before break in the browser client: whatever is switched, cut, delayed and repeated: complete, in order, once."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

import pytest

from tests.transports.test_switching import EVENTS, PAIRS, publish, troubled, walk

HERE = Path(__file__).parent
NODE = Path(sys.executable).with_name("node")


async def said(node: asyncio.subprocess.Process) -> dict:
    assert node.stdout is not None
    async with asyncio.timeout(60):
        return json.loads(await node.stdout.readline())


@pytest.mark.parametrize("seed", range(2))
async def test_a_hundred_thousand_events_over_all_pairs_of_transports(seed: int) -> None:
    chance, steps, sent, seen, at = random.Random(seed), walk(seed), 0, set(), "websocket"
    async with troubled(seed) as (hub, url):
        command = (NODE, HERE / "switch.js", url, f"{hub.log.epoch}.0", str(EVENTS))
        node = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        assert node.stdin is not None
        try:
            for left, to in zip(range(len(steps), 0, -1), steps, strict=True):
                part = (EVENTS - sent) // left
                middle = sent + chance.randrange(part)
                await publish(hub, range(sent, middle))
                node.stdin.write(f"{to}\n".encode())
                rest = asyncio.create_task(publish(hub, range(middle, sent + part)) if left > 1 else asyncio.sleep(0))
                assert await said(node) == {"now": to}
                await rest
                sent = middle if left == 1 else sent + part
                seen.add((at, to))
                at = to
            await publish(hub, range(sent, EVENTS))
            result = await said(node)
            assert (result["came"], result["misplaced"]) == (EVENTS, [])
            assert seen == PAIRS
            assert await node.wait() == 0
        finally:
            if node.returncode is None:
                node.kill()
                await node.wait()
