"""The browser client when what it shows expires: over a WebSocket it shows another in place, and the connection stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from quart import Quart

from tests.static.test_switches import HERE, NODE, said
from tests.transports.test_authentication import EDGES, an_app, served
from transports.quart import Live
from transports.request import Identity, Request


@asynccontextmanager
async def reader(url: str, *lives: float) -> AsyncIterator[asyncio.subprocess.Process]:
    """`renew.js`, which is open."""
    command = (NODE, HERE / "renew.js", url, *map(str, lives))
    node = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    try:
        assert await said(node) == {"now": "connecting"}
        assert await said(node) == {"now": "open"}
        yield node
        assert await node.wait() == 0
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()


def known_until(shown: list[str]) -> tuple[Quart, Live]:
    """An application in which a token says until when it holds."""
    app, live = an_app()

    @live.authenticate
    def who(request: Request) -> Identity:
        shown.append(request.token or "")
        return Identity("ann", float(request.token or 0))

    return app, live


@pytest.mark.parametrize("edge", EDGES)
async def test_the_connection_stays_and_no_event_is_missed(edge: str) -> None:
    shown: list[str] = []
    app, live = known_until(shown)
    async with served(app, live, edge) as url, reader(url, 16, 600) as node:
        (account,) = live.hub.accounts
        first, came, over = account.expires, 0, False
        while not over:  # then once more
            over = account.expires != first or account.closed is not None
            for number in range(came, came + 50):
                await live.publish("a", number)
            came += 50
            assert await said(node) == {"came": came}
        assert [(each.name, each.expires) for each in live.hub.accounts] == [(account.name, float(shown[-1]))]
        assert len(shown) == 2
        assert node.stdin is not None
        node.stdin.close()
        assert await said(node) == {"misplaced": [], "why": ["race"], "sentence": "Live over WebSocket."}
        assert await said(node) == {"now": "closed"}


@pytest.mark.parametrize("edge", EDGES)
async def test_who_is_refused_in_place_and_beside_is_sent_away_when_the_time_is_over(edge: str) -> None:
    shown: list[str] = []
    app, live = known_until(shown)
    async with served(app, live, edge) as url, reader(url, 8, -10) as node:
        for number in range(50):
            await live.publish("a", number)
        assert await said(node) == {"came": 50}
        while (await said(node)) != {"now": "failed"}:
            pass
        result = await said(node)
        assert result["misplaced"] == []
        assert "move" in result["why"], "it was shown on another connection, too"
        assert result["sentence"] == "Refused: what was shown has expired: come back with something newer (4401 unauthorized)."
