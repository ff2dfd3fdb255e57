"""Pages that show who is there, at servers that share a log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.static.test_switches import HERE, NODE, said
from tests.transports.test_moving import served
from transports import Hub, Options


@asynccontextmanager
async def page(url: str, channel: str = "room") -> AsyncIterator[tuple[Callable, Callable]]:
    """A page in Node: what tells it what to do, and what waits until it has said something."""
    command = (NODE, HERE / "presence.js", url, channel)
    node = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)

    def do(*words: str) -> None:
        assert node.stdin is not None
        node.stdin.write(f"{' '.join(words)}\n".encode())

    async def until_said(what: dict) -> list[dict]:
        """All that was said until then."""
        all_said = []
        while not all_said or all_said[-1] != what:
            all_said.append(await said(node))
        return all_said

    try:
        yield do, until_said
        do("end")
        assert await asyncio.wait_for(node.wait(), 30) == 0
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()


async def test_pages_at_two_servers_show_the_same(tmp_path: Path) -> None:
    options = Options(channels=("room",), broker=f"sqlite:///{tmp_path}/log.db", presence_lease=1.5, presence_delay=0.1)
    first, second = Hub(options), Hub(options)
    await first.open()
    await second.open()
    async with (
        served(first, "front") as one,
        served(second, "asgi") as other,
        page(one) as (do, until_said),
        page(other) as (_, until_other_said),
    ):
        await until_said({"list": []})
        await until_other_said({"list": []})
        do("join", "bob", one, "null")
        await until_said({"list": [["bob", None]]})
        do("join", "ann", other, '{"mood":"fine"}')
        for until in (until_said, until_other_said):
            await until({"list": [["ann", {"mood": "fine"}], ["bob", None]]})
        do("say", "ann", '{"mood":"busy"}')
        for until in (until_said, until_other_said):
            await until({"list": [["ann", {"mood": "busy"}], ["bob", None]]})
        do("vanish", "bob")
        for until in (until_said, until_other_said):
            shown = await until({"list": [["ann", {"mood": "busy"}]]})
            assert len(shown) == 1  # she is renewed all the while
        do("leave", "ann")
        for until in (until_said, until_other_said):
            await until({"list": []})


async def test_who_is_refused_is_told(tmp_path: Path) -> None:
    hub = Hub(Options(channels=("room",)))
    await hub.open()
    async with served(hub, "front") as url, page(url) as (do, until_said):
        await until_said({"list": []})
        do("join", "ann", url, f'"{"x" * 1100}"')
        await until_said({"refused": 4413})
