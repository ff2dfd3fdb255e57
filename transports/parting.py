"""Parting: what readers are told who have to go, or come too late, and when each may come back. See `leaving` for the times."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from functools import partial

from .errors import Code, Refusal
from .feed import Feed
from .items import Encoded, encode
from .leaving import Departure, Slots
from .options import Options


class Parting:
    """Readers are sent to other processes, or this is the end for all of them.

    Args:
        options: `reconnects` and `stays`.
        feeds: the hub's own collection of those who read, as it changes.
        moved: told why, for each reader who is sent away.
    """

    def __init__(self, options: Options, feeds: Collection[Feed], moved: Callable[[Code], object]) -> None:
        self._options, self._feeds, self._moved = options, feeds, moved
        self.ended: Code | None = None  # why it is the end: nobody reads here any more
        self._departure: Departure | None = None  # readers are being sent to other processes, whoever comes still, too
        self._slots: Slots | None = None  # for those who are told that this is the end

    @property
    def begun(self) -> bool:
        """Whether all are sent away, in one way or the other."""
        return self.ended is not None or self._departure is not None

    @property
    def refusal(self) -> Refusal | None:
        """Why new readers had better go elsewhere, for load balancers. As long as readers are being sent to other processes, who
        comes all the same is let in and sent after them; at the end, this is what it is told.
        """
        if self.ended is not None:
            return self.spread(self.ended)
        return None if self._departure is None else self.spread(self._departure.code)

    def check(self) -> None:
        """Raises: Refusal 4503, this is the end."""
        if self.ended is not None:
            raise self.spread(self.ended)

    @property
    def streams(self) -> int:
        """How many could be sent away. Polls are left alone: the next one may land anywhere."""
        return sum(feed.readers for feed in self._feeds if not feed.once)

    def send_all(self) -> float:
        """Send everybody to other processes. Returns: seconds until the last is there, or may be."""
        options, now = self._options, asyncio.get_running_loop().time()
        leaving = self._departure = Departure(
            Code.DRAINING, self.streams, options.reconnects, now=now, most=options.stays, luck=random.random()
        )
        for feed in list(self._feeds):
            feed.tell(partial(self._bye, leaving), feed.readers)
        return leaving.stays

    def send(self, number: int, over: float) -> None:
        """Send so many to other processes, spread over so many seconds."""
        now, ceiling = asyncio.get_running_loop().time(), self._options.reconnects
        departure = Departure(Code.REBALANCE, number, ceiling, now=now, over=over, luck=random.random())
        for feed in [feed for feed in self._feeds if not feed.once and feed.open and not feed.told]:
            told = min(number, feed.readers)
            if not told:
                return
            feed.tell(partial(self._bye, departure), told)
            number -= told

    def send_after(self, feed: Feed) -> None:
        """Send `feed`, which has come since, after those who are sent to other processes."""
        if self._departure is not None:
            feed.tell(partial(self._bye, self._departure))

    def finish(self, code: Code) -> None:
        """Tell everybody that this is the end."""
        self.ended = code
        begin = asyncio.get_running_loop().time() + (code.retry or 0) / 2
        readers = sum(feed.readers for feed in self._feeds)
        self._slots = Slots(readers, self._options.reconnects, begin=begin, luck=random.random())
        for feed in list(self._feeds):
            feed.end(self._farewell(code))

    def finish_like(self, own: Feed, bye: Refusal) -> None:
        """Tell `own`, which was one of those who were told `bye` together, as well, with a time of its own."""
        own.end(self.spread(bye.code, bye.reason) if self._slots is None else self._farewell(bye.code))

    def begin_anew(self) -> None:
        """Nobody has to go any more, and who is refused is spread as at the beginning."""
        self.ended = self._departure = self._slots = None

    def spread(self, code: Code, reason: str = "") -> Refusal:
        """A refusal with a `retry` by chance, within the time in which those who were here come back: many may be told at once,
        and are not to come back together.
        """
        window = 1.0 if self._slots is None else self._slots.window
        return Refusal(code, reason, retry=None if code.retry is None else round(code.retry / 2 + window * random.random(), 3))

    def _farewell(self, code: Code) -> Refusal:
        """The last word for the next reader, with a time of its own to come back."""
        assert self._slots is not None  # noqa: S101 - made when it ends
        return Refusal(code, retry=None if code.retry is None else self._slots.take(asyncio.get_running_loop().time()))

    def _bye(self, departure: Departure) -> Encoded:
        self._moved(departure.code)
        return encode(departure.bye(asyncio.get_running_loop().time()))
