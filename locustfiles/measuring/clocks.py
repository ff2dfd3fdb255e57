"""Clocks: how far that of another host is ahead of ours, and how sure we are, from messages that went there and back.

CLOCK_MONOTONIC begins wherever a host likes. A question that we sent at `sent`, that was answered `there` and whose answer came
`back` says that, at some moment between our two times, their clock showed `there`: it is ahead by no less than `there - back`
and no more than `there - sent`. Each round trip gives such a range, the truth lies in all of them, and the middle of what they
have in common is the estimate. It is at least as sure as the shortest trip alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

TRIPS: Final = 40
LIMIT: Final = 2_000  # µs; more would hide what is compared


class Trip(NamedTuple):
    """A message there and back. All times in microseconds; `there` of their clock, the others of ours."""

    sent: int
    there: int
    back: int


class Offset(NamedTuple):
    """How far a clock is ahead of ours, in microseconds, and by how much that may be wrong."""

    ahead: int
    error: int

    @property
    def applied(self) -> Offset:
        """What to correct by: nothing, if the two may be the same clock. What is not corrected counts as an error."""
        return self if abs(self.ahead) > self.error else Offset(0, self.error + abs(self.ahead))


def offset(trips: Iterable[Trip]) -> Offset:
    """The estimate from at least one trip."""
    known = list(trips)
    least, most = max(each.there - each.back for each in known), min(each.there - each.sent for each in known)
    if least > most:  # a clock was set, or runs at another speed: the shortest trip has the least of that
        best = min(known, key=lambda each: each.back - each.sent)
        least, most = best.there - best.back, best.there - best.sent
    return Offset((least + most) // 2, (most - least + 1) // 2)


def uncertainty(applied: Offset, later: Offset) -> int:
    """By how much times may be wrong that were corrected by `applied`, when another look at the end found `later`; in
    microseconds.
    """
    return max(applied.error, abs(later.ahead - applied.ahead) + later.error)
