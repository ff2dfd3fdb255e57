"""Pauses: when a reader got nothing for clearly longer than the publisher's pace explains."""

from __future__ import annotations

import math
from typing import Final

_BEATS: Final = 3  # of the publisher's pace
_SLACK: Final = 100_000  # µs; a machine that is busy elsewhere makes shorter ones


class Watch:
    """Looks at one reader's arrivals.

    Args:
        interval: microseconds between arrivals, if all is well; infinite: it is not known, and nothing is a pause.
    """

    def __init__(self, interval: float = math.inf) -> None:
        self.last = 0  # the last arrival, or the start
        self.arrived = 0  # the same, 0 before the first
        self.pauses: list[tuple[int, int]] = []  # when each began and ended
        self._most = interval * _BEATS + _SLACK

    def start(self, at: int) -> None:
        """The first event is due at `at`, in microseconds."""
        self.last = self.last or at

    def came(self, received: int) -> None:
        """Something arrived."""
        if received - self.last > self._most and self.last:
            self.pauses.append((self.last, received))
        self.last = self.arrived = received

    def closed(self, ended: int, *, complete: bool) -> list[tuple[int, int]]:
        """All pauses, when the round has ended. A reader that waits no more (`complete`) has no pause at its end."""
        if not complete and ended - self.last > self._most:
            return [*self.pauses, (self.last, ended)]
        return self.pauses
