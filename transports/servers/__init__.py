"""The servers that an application can run under, and the event loops that they can run on, by name.

All of them take what `transports.serve.configuration` made, drain while connections still work, and end. What each of
them offers beyond that is in `docs/how-to/choose-a-server.md`.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from ..errors import MissingExtraError
from ..serve import Settings, serve


class Serve(Protocol):
    """What every server is here; see `transports.serve.serve`."""

    async def __call__(
        self,
        app: Any,
        config: Settings,
        drain: Callable[[], Awaitable[None]],
        *,
        stop: asyncio.Event | None = None,
        ready: Callable[[], object] = ...,
    ) -> None:
        """Serve until `stop` is set or, without one, SIGINT or SIGTERM comes; then `drain` and end. Call `ready` when
        connections are taken.
        """


SERVERS: Final = ("hypercorn", "uvicorn", "granian")  # each but the first is an extra, and a module of this package
LOOPS: Final = ("auto", "asyncio", "uvloop")  # the last is an extra, and what the first is where that is installed


def find_server(name: str) -> Serve:
    """How to serve under one of `SERVERS`. Raises: MissingExtraError, it is not installed."""
    if name == SERVERS[0]:
        return serve
    try:
        found: Serve = importlib.import_module(f".{name}", __name__).serve
    except ModuleNotFoundError as error:
        raise MissingExtraError(name, error.name or name) from error
    return found


def find_loop(name: str = "auto") -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes an event loop, for `asyncio.Runner`; one of `LOOPS`. Raises: MissingExtraError, it is not installed."""
    if name == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ModuleNotFoundError as error:
        if name == "auto":
            return asyncio.new_event_loop
        raise MissingExtraError(name, name) from error
    found: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return found
