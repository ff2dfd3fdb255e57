"""Several servers that share a log, behind each proxy that we recommend: whoever is asked, the answer is the same."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import aiohttp
import pytest

from tests.hosts import hosts
from tests.middleboxes import SEVERAL, Middlebox
from tests.networks.test_middleboxes import COUNT
from transports.client import connect

pytestmark = [pytest.mark.real]


@pytest.mark.parametrize("box", SEVERAL.values(), ids=str)
async def test_one_of_three_leaves_and_nobody_loses_anything(box: Middlebox, tmp_path: Path) -> None:
    broker = f"sqlite:///{tmp_path}/log.db"
    async with hosts(broker, 3, tmp_path) as three, box.running(*[each.url for each in three]) as way:
        trusted = ssl.create_default_context(cafile=way.ca) if way.ca else None
        connector = aiohttp.TCPConnector(force_close=True, **({"ssl": trusted} if trusted else {}))
        async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as group:
            streams = [connect(f"{way.url}/live", ["a"], ca=way.ca, memory={}) for _ in range(6)]
            ready = [asyncio.Event() for _ in streams]

            async def read(place: int) -> list[int]:
                async with streams[place] as stream:
                    ready[place].set()
                    return [(await anext(stream)).data for _ in range(COUNT)]

            readers = [group.create_task(read(place)) for place in range(len(streams))]
            await asyncio.wait_for(asyncio.gather(*[each.wait() for each in ready]), 30)
            for n in range(COUNT):
                if n == COUNT // 2:
                    group.create_task(three[1].stop())
                await publish(http, f"{way.url}/live/commands", n)
            async with asyncio.timeout(60):
                assert [await each for each in readers] == [list(range(COUNT))] * len(readers)


async def publish(http: aiohttp.ClientSession, url: str, n: int) -> None:
    """Insist until it is acknowledged."""
    command = json.dumps([{"do": "publish", "ref": 1, "channel": "a", "data": n, "key": f"n:{n}"}])
    for _ in range(600):
        async with http.post(url, data=command, headers={"content-type": "application/json"}) as response:
            if response.status == 200 and (await response.json(content_type=None))[0]["ok"]:
                return
        await asyncio.sleep(0.05)  # the pace
    raise AssertionError(f"{n} was not taken")
