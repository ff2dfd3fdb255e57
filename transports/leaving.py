"""Leaving: how readers are spread whom a process sends to others, and how many it should send.

Readers who come back all at once are more than those who take them in can bear, and who they leave knows best how many they
are. So each is given a time of its own, and nobody comes in a window of a second who is one too many for the ceiling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from .errors import Code, Refusal
from .items import Bye, bye_of

PROVE = 5.0  # seconds for a reader to open another connection and to see that it works, on whatever network
_LEAST = 1.0  # seconds over which even a few are spread
_TICKS = 1_000_000  # places are counted in microseconds: sums of fractions would let one more into a second


class Slots:
    """Times to come back: one each, evenly spread.

    Args:
        readers: how many are to be spread; more may come.
        ceiling: how many in a second.
        begin: where they begin, in seconds on the clock of `take`.
        most: seconds over which they are spread at the most. Where that is too short, the ceiling yields.
        luck: 0 to 1, where in the first place; so processes that end together do not keep step.
    """

    def __init__(self, readers: int, ceiling: float, *, begin: float, most: float = math.inf, luck: float) -> None:
        self.window = min(max(_LEAST, readers / ceiling), most)
        self._step = max(1, math.ceil(_TICKS * self.window / max(1, readers)))
        self._next = round(_TICKS * begin + self._step * luck)

    def take(self, now: float) -> float:
        """The next place: seconds from `now`."""
        here = round(_TICKS * now)
        place = max(self._next, here)
        self._next = place + self._step
        return (place - here) / _TICKS


class Departure:
    """Readers are sent to other processes while this one goes on serving them.

    Args:
        code: why.
        readers: how many.
        ceiling: reconnects per second.
        now: seconds on any clock, the same as that of `bye`.
        most: seconds for all of it, at the most.
        over: seconds over which they are spread, at the least.
        luck: see `Slots`.
    """

    def __init__(
        self, code: Code, readers: int, ceiling: float, *, now: float, most: float = math.inf, over: float = 0.0, luck: float
    ) -> None:
        room = max(most - PROVE, most / 2)  # for the last of them to prove another connection
        pace = min(ceiling, readers / over) if readers and over else ceiling
        self.code = code
        self._slots = Slots(readers, pace, begin=now, most=room, luck=luck)
        self.stays = min(self._slots.window + PROVE, most)
        self._end = now + self.stays
        self._last = now + self._slots.window  # whoever comes late has to be gone in time, too

    def bye(self, now: float) -> Bye:
        """What the next reader is told."""
        left = max(self._end - now, 0.001)
        retry = min(self._slots.take(now), max(self._last - now, 0.0))
        return bye_of(Refusal(self.code, retry=round(retry, 6)), round(left, 3))


def excess(counts: Mapping[str, int], tolerance: float) -> dict[str, int]:
    """How many readers each process should send away, so that all have the same.

    Args:
        counts: readers of each.
        tolerance: which part of the average a process may have more, and still sends nobody away.
    """
    average = sum(counts.values()) / max(1, len(counts))
    return {name: readers - math.ceil(average) if readers > average * (1 + tolerance) else 0 for name, readers in counts.items()}
