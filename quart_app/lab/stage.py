"""Stage: the server under test, and four lanes to it, each through a network of its own. It knows no HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from transports.networks import NETWORKS, Network, Profile, network
from transports.networks.behaviours import Behaviour, Delay, How, Narrow

from .server import Server

LANES: Final = ("websocket", "sse", "longpoll", "auto")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a network does beside what it is by name: nothing, unless it is said."""

    delay_ms: float = 0.0  # there and back
    jitter_ms: float = 0.0  # at random, each way
    bytes_per_second: float = 0.0  # each way of each connection; 0: as many as come


class Stage:
    """The server and its lanes.

    Args:
        changed: called whenever `state` is another.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.server = Server(changed)
        host, port = self.server.address
        self.lanes = {lane: Network(upstream=f"{host}:{port}") for lane in LANES}
        self._settings = dict.fromkeys(LANES, Settings())
        self._named = dict.fromkeys(LANES, "open")
        self._since = dict.fromkeys(LANES, 0.0)
        self.changed = changed
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the lanes, and start the server. Raises: NotServingError."""
        self._open.push_async_callback(self.server.close)
        try:
            for lane in self.lanes.values():
                await self._open.enter_async_context(lane)
            await self.server.start()
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop the server, and end the lanes and all connections in them."""
        await self._open.aclose()

    def address(self, lane: str) -> tuple[str, int]:
        """Where a lane begins."""
        host, _, port = self.lanes[lane].url.removeprefix("http://").partition(":")
        return host, int(port)

    def switch(self, lanes: Iterable[str], names: str, settings: Settings) -> None:
        """Make the networks of `lanes` the one of that name, also for connections that are open. Raises: ConfigError."""
        profile = _with(network(names), settings)
        for lane in lanes:
            self.lanes[lane].switch(profile)
            if (self._named[lane], self._settings[lane]) != (names, settings):
                self._named[lane], self._settings[lane], self._since[lane] = names, settings, time.time()
        self.changed()

    def cut(self, lanes: Iterable[str], how: How) -> dict[str, int]:
        """End all connections in `lanes`; how many in each."""
        return {lane: self.lanes[lane].cut(how) for lane in lanes}

    def state(self) -> dict[str, Any]:
        """How things stand, in JSON."""
        return {
            "lanes": {
                lane: {
                    "network": self._named[lane],
                    "does": each.profile.does,
                    "settings": self._settings[lane],
                    "since": self._since[lane],
                }
                for lane, each in self.lanes.items()
            },
            "server": {"state": self.server.state, "pid": self.server.pid, "starts": self.server.starts},
        }


def table() -> list[dict[str, str]]:
    """All networks. A lane can become those without a `way`: clients reach them as they reach any server."""
    return [
        {"name": each.name, "story": each.story, "does": each.does, "wins": each.wins, "way": _way(each)}
        for each in NETWORKS.values()
    ]


def _way(profile: Profile) -> str:
    """How clients come in, if it is another way."""
    return "forward" if profile.forward else "http2" if profile.http2 else "tls" if profile.tls else ""


def _with(profile: Profile, settings: Settings) -> Profile:
    more: list[Behaviour] = []
    if settings.delay_ms or settings.jitter_ms:
        more.append(Delay(settings.delay_ms / 1000, settings.jitter_ms / 1000))
    if settings.bytes_per_second:
        more.append(Narrow(settings.bytes_per_second))
    return replace(profile, behaviours=(*profile.behaviours, *more)) if more else profile
