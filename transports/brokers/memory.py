"""The broker of a single process: a counter, and a memory of recent keys. Nothing survives the process, so every
life has an epoch of its own.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from ..position import Position
from . import Follower, Record, new_epoch


class MemoryBroker:
    """Offsets from a counter; every publish is handed over before it returns.

    Args:
        key_window: seconds for which a key is remembered.
        key_count: keys remembered at the most, oldest forgotten first.
        clock: seconds since 1970.
    """

    shared = False

    def __init__(self, *, key_window: float = 120.0, key_count: int = 100_000, clock: Callable[[], float] = time.time) -> None:
        self._window = key_window
        self._count = key_count
        self._clock = clock
        self._offset = 0
        self._keys: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()  # -> when, offset; oldest first
        self._epoch = ""
        self._follower: Follower | None = None

    async def tail(self, follower: Follower) -> None:
        """See `Broker.tail`. There is nothing from before."""
        self._follower = follower
        self._keys.clear()  # their offsets were those of another epoch
        self._epoch, self._offset = new_epoch(), 0
        follower.begin(self._epoch)

    async def publish(self, channel: str, data: bytes, key: str | None, about: str | None = None) -> int:
        """See `Broker.publish`."""
        now = self._clock()
        known = None if key is None else self._keys.get((channel, key))
        if known is not None and known[0] >= now - self._window:
            return known[1]
        self._offset += 1
        if key is not None:
            self._remember((channel, key), now)
        if self._follower is not None:
            self._follower.take((Record(self._offset, channel, now, data, about),))
        return self._offset

    async def head(self) -> Position:
        """See `Broker.head`."""
        return Position(self._epoch, self._offset)

    async def close(self) -> None:
        """See `Broker.close`."""
        self._follower = None

    def _remember(self, key: tuple[str, str], now: float) -> None:
        """Keep the offset that `key` got, and let go of those whose time is over or for whom there is no room."""
        self._keys.pop(key, None)
        self._keys[key] = now, self._offset
        while len(self._keys) > self._count or next(iter(self._keys.values()))[0] < now - self._window:
            self._keys.popitem(last=False)
