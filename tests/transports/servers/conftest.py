"""Each test here runs under every server and on every event loop that is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from transports.servers import LOOPS, SERVERS, Serve, find_loop, find_server


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    return {loop: find_loop(loop) for loop in LOOPS if importlib.util.find_spec(loop)}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Serve:
    pytest.importorskip(request.param)
    return find_server(request.param)


@pytest.fixture(params=[*SERVERS, "front"])
def edge(request: pytest.FixtureRequest) -> Serve | None:
    """A server, or None: Hypercorn and its front, on which all other tests of the library run."""
    if request.param == "front":
        return None
    pytest.importorskip(request.param)
    return find_server(request.param)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever clients do, there is nothing for an operator to read of it."""
    yield
    told = [record.getMessage() for when in ("setup", "call") for record in caplog.get_records(when)]
    assert not told
