"""Stores: where brokers of each kind keep their events, for the contract of all brokers.

    async with STORES["memory"].fresh(tmp_path, request) as store:
        broker = store.broker(history_count=3)

A new broker is a class here and a line in `STORES`: `tests/transports/brokers/test_contract.py` then runs over it.
"""

from __future__ import annotations

import runpy
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.documents import ROOT
from tests.redis_server import RedisServer, redis_server
from transports import Options
from transports.brokers import Broker, Record, broker_from
from transports.brokers.memory import MemoryBroker
from transports.brokers.sqlite import SqliteBroker


class Clock:
    """Seconds since 1970, as a test says."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Where the brokers of one test keep their events; derive one for each kind."""

    lasting = True  # what is kept outlives the broker
    shared = True  # several brokers may be open at once

    @classmethod
    @asynccontextmanager
    async def fresh(cls, directory: Path, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
        """An empty one, for one test. Skips where what it needs is not installed."""
        yield cls()

    def broker(self, **settings: object) -> Broker:
        """A broker over it that is not open yet, with `Options(**settings)`."""
        raise NotImplementedError

    async def later(self, seconds: float) -> None:
        """Time passes: for stamps and for the windows of keys."""
        raise NotImplementedError


class MemoryStore(Store):
    """None: each broker has what it was told."""

    lasting = shared = False

    def __init__(self) -> None:
        self.clock = Clock()

    def broker(self, **settings: object) -> Broker:
        options = Options(**settings)
        return MemoryBroker(key_window=options.key_window, key_count=options.key_count, clock=self.clock)

    async def later(self, seconds: float) -> None:
        self.clock.now += seconds


class SqliteStore(Store):
    """A file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()

    @classmethod
    @asynccontextmanager
    async def fresh(cls, directory: Path, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
        yield cls(directory / "events.db")

    def broker(self, **settings: object) -> Broker:
        return SqliteBroker.from_options(Options(broker=f"sqlite:///{self.path}", **settings), clock=self.clock)

    async def later(self, seconds: float) -> None:
        self.clock.now += seconds


class LinesStore(Store):
    """A file of lines, for the broker that the documentation builds as its example."""

    shared = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.broker_type = runpy.run_path(str(ROOT / "docs" / "how-to" / "lines.py"))["LinesBroker"]

    @classmethod
    @asynccontextmanager
    async def fresh(cls, directory: Path, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
        yield cls(directory / "events.lines")

    def broker(self, **settings: object) -> Broker:
        return self.broker_type(self.path, key_window=Options(**settings).key_window, clock=self.clock)

    async def later(self, seconds: float) -> None:
        self.clock.now += seconds


class RedisStore(Store):
    """A stream in a Redis of its own."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    @classmethod
    @asynccontextmanager
    async def fresh(cls, directory: Path, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
        async with redis_server(directory) as server:
            yield cls(server)

    def broker(self, **settings: object) -> Broker:
        return broker_from(Options(broker=self.server.url, **settings))

    async def later(self, seconds: float) -> None:
        """Its clock is the machine's: what is kept of keys becomes older instead."""
        await self.server.ask("EVAL", _OLDER, 1, "everywire:{everywire}:offsets", int(seconds * 1000))


_OLDER = """
for _, member in ipairs(redis.call('HKEYS', KEYS[1])) do
  local ms, offset = string.match(redis.call('HGET', KEYS[1], member), '(%d+) (%d+)')
  redis.call('HSET', KEYS[1], member, string.format('%.0f %s', ms - ARGV[1], offset))
end
"""

STORES: dict[str, type[Store]] = {"memory": MemoryStore, "sqlite": SqliteStore, "lines": LinesStore, "redis": RedisStore}


class Followed:
    """A follower that keeps what it was told, and finds fault with what contradicts it."""

    def __init__(self) -> None:
        self.epochs: list[str] = []
        self.gone = 0  # of any channel
        self.forgotten: dict[str, int] = {}
        self.records: list[Record] = []
        self.through = 0  # what was told of last

    @property
    def epoch(self) -> str:
        return self.epochs[-1]

    def begin(self, epoch: str, gone: int = 0) -> None:
        if not self.epochs or self.epochs[-1] != epoch:
            self.epochs.append(epoch)
            self.through, self.gone, self.forgotten, self.records = 0, 0, {}, []
        self._on(gone)
        self.gone = max(self.gone, gone)

    def forget(self, channel: str, through: int) -> None:
        assert self.epochs, "`begin` comes first"
        self._on(through)
        self.forgotten[channel] = max(self.forgotten.get(channel, 0), through)

    def take(self, records: Sequence[Record]) -> None:
        assert self.epochs, "`begin` comes first"
        for record in records:
            assert record.offset > self.through, "behind all that came before"
            self._on(record.offset)
        self.records += records

    def _on(self, offset: int) -> None:
        self.through = max(self.through, offset)

    def lacks(self, published: dict[int, str]) -> set[int]:
        """Of `published` (offset -> channel), what it neither has nor was told to be gone."""
        told = {o for o, channel in published.items() if o <= max(self.gone, self.forgotten.get(channel, 0))}
        return set(published) - told - {record.offset for record in self.records}
