"""The Python client behind the real programs that stand between it and its server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.middleboxes import BOXES, DEPLOY, SEVERAL, Middlebox
from transports import Hub, Options
from transports.asgi import Endpoints
from transports.client import Stream, connect
from transports.testing import serving, until

pytestmark = pytest.mark.real

DEPLOYED = {
    "Dockerfile",
    "Dockerfile.dockerignore",
    "compose.yaml",
    "everywire.service",
    "everywire.socket",
    "rolling-restart.sh",
}  # tests/docs/test_deploy.py
COUNT, RATE = 60, 20.0  # events, and how many of them a second


@asynccontextmanager
async def site() -> AsyncIterator[tuple[Hub, str]]:
    """A hub, and the URL of the server that has it below `/live`, as the configurations expect."""
    options = Options(channels=("a",))
    hub = Hub(options)
    await hub.open()
    endpoints = Endpoints(hub)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await endpoints({**scope, "root_path": "/live"}, receive, send)

    async with serving(app, drain=hub.close, options=options) as url:
        yield hub, url


async def publish_paced(hub: Hub, count: int = COUNT, rate: float = RATE) -> None:
    """Publish the numbers from 0, so many a second."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for n in range(count):
        await asyncio.sleep(began + n / rate - loop.time())
        await hub.publish("a", n)


async def read(stream: Stream, count: int = COUNT) -> list[int]:
    """The first `count` numbers that come."""
    async with asyncio.timeout(30):
        return [(await anext(stream)).data for _ in range(count)]


@pytest.mark.parametrize("box", BOXES.values(), ids=str)
async def test_every_event_comes_once_and_in_order_over_the_best_that_passes(
    box: Middlebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site() as (hub, url), box.running(url) as way:
        way.take(monkeypatch)
        async with connect(f"{way.url}/live", ["a"], ca=way.ca, memory={}) as stream:
            publishing = asyncio.create_task(publish_paced(hub))
            assert await read(stream) == list(range(COUNT))
            await publishing
            await until(lambda: (stream.state, stream.transport) == ("open", box.wins))
            last = await stream.publish("a", "the last")  # nothing comes behind the 60 but this
            event = await anext(stream)
            assert (event.id, event.data) == (last, "the last")


def test_every_configuration_that_we_recommend_is_run() -> None:
    ours = {path for path in DEPLOY.iterdir() if path.suffix != ".md" and path.name not in DEPLOYED}
    assert ours == {box.config for box in (BOXES | SEVERAL).values() if isinstance(box.config, Path)}
