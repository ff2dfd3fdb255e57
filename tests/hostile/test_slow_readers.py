"""A hundred readers that take a kilobyte a second, or nothing: what they cost, and that nothing is lost in silence."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import suppress

import pytest

from . import wires
from .fuzz import OPTIONS
from .target import EDGES, Target, target

READERS = 100
MOST = 256 * 1024  # bytes of the server's memory for each
WAYS = ("ws", "sse", "poll", "h2")


async def come(server: Target, way: str) -> socket.socket:
    line = await wires.connect(server, room=4096)
    if way == "h2":
        client = wires.http2((4, 0))
        wires.asks(client, "/live/sse?channels=a")
        await wires.send(line, client.data_to_send())
    elif way == "poll":
        await wires.send(line, wires.opening("poll", "channels=a&since=none.0&wait=0") * 40)
    else:
        await wires.send(line, wires.opening(way))
    return line


@pytest.mark.alone
@pytest.mark.parametrize("rate", [0, 1024])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("edge", EDGES)
async def test_a_hundred_who_take_little_or_nothing_cost_a_quarter_of_a_megabyte_each(edge: str, way: str, rate: int) -> None:
    # Others have a history of their own, so that what the log keeps is no part of what is measured.
    async with target(edge, **OPTIONS | {"send_timeout": 20.0, "history_bytes": 400_000}) as server:
        await server.publish(60, 10_000)  # the log is as full as it gets
        async with wires.Bystander(server) as bystander:
            before = await server.held()
            lines = [await come(server, way) for _ in range(READERS)]
            if way != "poll":
                while (await server.held()).readers < READERS + 1:
                    pass
            offsets, most = [], 0
            for _ in range(20):
                await server.publish(10, 10_000)
                offsets.append(await server.publish(channel="b"))
                if rate:
                    await asyncio.gather(*[sip(line, rate // 20) for line in lines])
                most = max(most, (await server.held()).rss)
            await bystander.has(offsets)
            for line in lines:
                line.close()
        assert most - before.rss < READERS * MOST
        assert not (await server.held()).errors


async def sip(line: socket.socket, size: int) -> None:
    with suppress(TimeoutError, OSError):
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(line, size), 0.05)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("way", ["ws", "sse"])
async def test_who_was_given_up_reads_on_and_is_told_what_is_gone(edge: str, way: str) -> None:
    async with target(edge, send_timeout=0.4, history_count=50) as server:
        line = await come(server, way)
        while (await server.held()).readers == 0:
            pass
        while (await server.held()).readers:
            last = await server.publish(30, 20_000)
        data = await wires.answered(line, most=1 << 30, seconds=20)
        line.close()
        epoch, got = positions(data)
        at = max(got, default=0)
        while at < last:
            line = await wires.connect(server)
            asked = f"/live/poll?channels=a&wait=0&since={epoch}.{at}"
            await wires.send(line, wires.request(asked, "Connection: close"))
            answer = await wires.answered(line)
            line.close()
            _, then = positions(answer)
            assert b'"lost"' in answer or min(then) == at + 1, answer[:300]
            at = max(then)
        assert at == last


def positions(data: bytes) -> tuple[str, set[int]]:
    """The epoch, and the offsets of what came whole."""
    found = re.findall(rb'"id":"([a-z0-9]+)\.(\d+)"|^id: ?([a-z0-9]+)\.(\d+)', data, re.MULTILINE)
    epoch = (found[0][0] or found[0][2]).decode()
    return epoch, {int(first or second) for _, first, _, second in found}
