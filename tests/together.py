"""A broker for several hubs of one process, which have what is published at once."""

from __future__ import annotations

import time

from transports.brokers import Follower, Record
from transports.position import Position


class Together:
    """See `Broker`."""

    shared = True

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.followers: list[Follower] = []
        self._keys: dict[tuple[str, str], int] = {}

    async def tail(self, follower: Follower) -> None:
        follower.begin("one")
        follower.take(self.records)
        self.followers.append(follower)

    async def publish(self, channel: str, data: bytes, key: str | None, about: str | None = None) -> int:
        if key is not None and (known := self._keys.get((channel, key))) is not None:
            return known
        self.records.append(Record(len(self.records) + 1, channel, time.time(), data, about))
        if key is not None:
            self._keys[channel, key] = len(self.records)
        for each in self.followers:
            each.take(self.records[-1:])
        return len(self.records)

    async def head(self) -> Position:
        return Position("one", len(self.records))

    async def close(self) -> None:
        """Others go on."""
