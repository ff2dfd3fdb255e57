"""Bells: who is rung for which channel, at once or when a window is over in which events are collected."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from .feed import Feed
from .subscriptions import Patterns, Selection


class Bells:
    """A bell of each feed at each channel that it follows.

    Args:
        coalesce: seconds for which events are collected once somebody was told of one; 0: nobody waits.
    """

    def __init__(self, coalesce: float) -> None:
        self._coalesce = coalesce
        self._feeds: dict[str, set[Feed]] = {}  # channel -> those who follow it
        self._patterns: Patterns[Feed] = Patterns()
        self._quiet: asyncio.TimerHandle | None = None  # the end of a window in which events are collected
        self._quiet_until = 0.0  # on the loop's clock
        self._rung: set[str] = set()  # channels of the events collected

    def __len__(self) -> int:
        """How many channels somebody follows."""
        return len(self._feeds)

    def hang(self, feed: Feed) -> None:
        """Ring for `feed` where its selection says."""
        for name in feed.selection.channels:
            self._feeds.setdefault(name, set()).add(feed)
        if feed.selection.patterns:
            self._patterns.add(feed.selection.patterns, feed)

    def widen(self, feed: Feed, selection: Selection, channel: str) -> None:
        """Let `feed` follow `channel` too, which makes `selection` of what it followed."""
        feed.selection = selection
        self._feeds.setdefault(channel, set()).add(feed)

    def unhang(self, feed: Feed) -> None:
        """Ring for `feed` no longer."""
        self._patterns.remove(feed.selection.patterns, feed)
        for name in feed.selection.channels:
            if feeds := self._feeds.get(name):
                feeds.discard(feed)
                if not feeds:
                    del self._feeds[name]

    def turn(self, feed: Feed, selection: Selection) -> None:
        """Let `feed` follow `selection` instead of what it followed."""
        self.unhang(feed)
        feed.selection = selection
        self.hang(feed)

    def matching(self, channel: str) -> Iterator[Feed]:
        """Those who follow a pattern that takes in `channel`."""
        return self._patterns.matching(channel)

    def ring_or_collect(self, channel: str) -> None:
        """An event has come to `channel`: ring at once, or when the window is over in which it was collected with others."""
        if self._coalesce and (self._quiet or not self._window_over()):
            self._rung.add(channel)
        else:
            self.ring(channel)

    def ring(self, channel: str) -> None:
        """Ring for those who follow `channel`, now."""
        for feed in self._feeds.get(channel, ()):
            feed.ring()

    def stop(self) -> None:
        """Nobody reads any more; another life may have another event loop, with another clock."""
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet, self._quiet_until = None, 0.0
        self._rung.clear()

    def _window_over(self) -> bool:
        """Whether an event may be told at once; if not, all that come are told together when the window is over."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= self._quiet_until:
            self._quiet_until = now + self._coalesce
            return True
        self._quiet = loop.call_at(self._quiet_until, self._ring_all)
        return False

    def _ring_all(self) -> None:
        self._quiet = None
        self._quiet_until = asyncio.get_running_loop().time() + self._coalesce
        rung, self._rung = self._rung, set()
        for feed in {feed for channel in rung for feed in self._feeds.get(channel, ())}:
            feed.ring()
