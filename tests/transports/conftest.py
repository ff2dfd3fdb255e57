"""What all tests of the library share: the transports under test, and a hub that is served for real."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from transports import LADDER, Hub, Options, Pace, Transport
from transports.asgi import Endpoints
from transports.facts import State
from transports.front import Front
from transports.negotiator import step
from transports.serve import serve
from transports.servers import Serve
from transports.testing import serving


def _toy() -> Transport:
    """The transport that the documentation builds as its example."""
    path = Path(__file__).parents[2] / "docs" / "how-to" / "ndjson.py"
    spec = importlib.util.spec_from_file_location("ndjson", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NDJSON


TRANSPORTS = (*LADDER, _toy())


EDGE = os.environ.get("EVERYWIRE_TEST_EDGE", "front")  # or "asgi": what `live` is served by

BRISK = Pace(backoff=0.02, backoff_most=0.1, at_once=0.02, gap=0.1, opens=1000, opens_rate=1000)
"""For tests that cut far more often than any network does: come back at once, and as often as it takes."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What an edge cannot do is not asked of it."""
    cannot = [item for item in items if item.get_closest_marker("front_only") and item.callspec.params["edge"] != "front"]
    if cannot:
        config.hook.pytest_deselected(items=cannot)
        items[:] = [item for item in items if item not in set(cannot)]


@pytest.fixture(params=TRANSPORTS, ids=lambda transport: transport.name)
def transport(request: pytest.FixtureRequest) -> Transport:
    return request.param


def request_head(transport: Transport, query: str) -> bytes:
    """The request that opens `transport`, for tests that hold the socket themselves."""
    lines = [f"GET /{transport.path}?{query} HTTP/1.1", "Host: x"]
    if transport.commands_up:
        lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    return "\r\n".join([*lines, "", ""]).encode()


@asynccontextmanager
async def live(
    transports: Sequence[Transport] = TRANSPORTS, *, server: Serve | None = None, **settings: object
) -> AsyncIterator[tuple[Hub, str]]:
    """A hub and the URL at which it is served; any channel is allowed unless the settings say otherwise."""
    options = Options(**{"channels": ("*",), **settings})
    hub = Hub(options)
    await hub.open()
    endpoints = Endpoints(hub, transports=transports)
    front = Front(endpoints.admission, "") if server is None and EDGE == "front" else None
    async with serving(endpoints, drain=hub.close, options=options, front=front, server=server or serve) as url:
        yield hub, url


def replay(rungs: Sequence[str], pace: Pace, log: Iterable[Mapping[str, Any]]) -> State:
    """Where the negotiator ends after the steps of a log."""
    state = State(list(rungs), pace, ["sse"])
    for entry in log:
        state, _ = step(state, entry["fact"], entry["now"], entry["luck"])
    return state
