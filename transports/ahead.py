"""Ahead: readers who have read more, from another process, than has come here."""

from __future__ import annotations

import asyncio
from typing import Protocol

from .errors import Refusal
from .feed import Feed
from .log import Log
from .position import Position


class _Hub(Protocol):
    """What is asked of the hub."""

    log: Log

    async def head(self) -> Position: ...


class Ahead:
    """What they have read elsewhere will come here too, unless there is no such thing: the broker knows.

    Args:
        hub: to which they have come.
    """

    def __init__(self, hub: _Hub) -> None:
        self._hub = hub
        self._feeds: set[Feed] = set()
        self._asking: asyncio.Task[None] | None = None  # the broker, how much there is

    def wait_for(self, feed: Feed) -> None:
        """`feed` has been placed anew: if it is ahead, ring for it once its place has come here, or is known to be none."""
        if feed.ahead:
            self._feeds.add(feed)
            if self._asking is None:
                self._asking = asyncio.get_running_loop().create_task(self._ask())

    def leave(self, feed: Feed) -> None:
        """`feed` reads no longer."""
        self._feeds.discard(feed)

    def catch_up(self) -> None:
        """Ring for those who have been caught up with: there is more than before, or another log."""
        for feed in list(self._feeds):
            if not feed.ahead:
                self._feeds.discard(feed)
                feed.ring()

    def stop(self) -> None:
        """Ask no more, and forget who waits: the next life asks anew."""
        if self._asking is not None:
            self._asking.cancel()
        self._asking = None
        self._feeds.clear()

    async def _ask(self) -> None:
        try:
            while asked := self._places():
                try:
                    head = await self._hub.head()
                except Refusal as refusal:
                    await asyncio.sleep(refusal.retry or 1.0)
                    continue
                if head.epoch != self._hub.log.epoch:
                    break  # which will be told, to everybody
                for feed, offset in asked & self._places():
                    if offset > head.offset:
                        self._feeds.discard(feed)
                        feed.move(Position(head.epoch, offset))
                        feed.ring()
                if self._places() <= asked:
                    break  # who is left waits for what is on its way
        finally:
            if self._asking is asyncio.current_task():
                self._asking = None

    def _places(self) -> set[tuple[Feed, int]]:
        """Who waits, and where: whoever is placed anew while the broker is asked may have read more by then."""
        return {(feed, feed.offset) for feed in self._feeds}
