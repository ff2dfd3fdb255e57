"""Histogram: durations in whole microseconds, of any number, in bounded memory.

A bucket is named by its own lower edge: the value with all but its 11 leading bits cleared. So a value below 2,048 µs is
kept exactly and any other is at most 0.1 % too low, whatever its size, and recording is one dictionary step. It is the idea
of HdrHistogram (log-linear buckets), whose Python package brings a compiled extension and needs setuptools at run time, for
codecs that nobody would read here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

_BITS = 11  # leading bits kept: 2^10 buckets for each doubling, so an error of at most 2^-10

# What a file may say: numbers that can be reckoned with.
Count: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 53)]
Micros: TypeAlias = Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)]


def bucket(us: int) -> int:
    """The lower edge of the bucket that `us` falls into. A negative duration, two clocks disagreeing, stays visible as it is."""
    shift = max(0, us.bit_length() - _BITS)
    return us >> shift << shift


class Histogram(msgspec.Struct):
    """Counts by bucket, with the exact extremes beside them."""

    counts: dict[Micros, Count] = {}
    least: Micros | None = None  # microseconds, exact; None: nothing was recorded
    most: Micros | None = None

    def __len__(self) -> int:
        return sum(self.counts.values())

    def record(self, us: int, times: int = 1) -> None:
        """Count a duration of `us` microseconds."""
        edge = bucket(us)
        self.counts[edge] = self.counts.get(edge, 0) + times
        if self.least is None or us < self.least:
            self.least = us
        if self.most is None or us > self.most:
            self.most = us

    def merge(self, other: Histogram) -> None:
        """Count all that `other` has counted."""
        for edge, times in other.counts.items():
            self.counts[edge] = self.counts.get(edge, 0) + times
        self.least = min((e for e in (self.least, other.least) if e is not None), default=None)
        self.most = max((e for e in (self.most, other.most) if e is not None), default=None)

    def percentile(self, percent: float) -> int | None:
        """The smallest recorded duration that at least `percent` % do not exceed (nearest rank); None when nothing was recorded.

        0 is the least and 100 the most, both exact.
        """
        if self.least is None or self.most is None:
            return None
        total = len(self)
        rank = math.ceil(round(percent * total / 100, 6))  # rounded: 99.9 % of 1,000 is 999, not 999.0000000001
        if rank <= 0 or rank >= total:
            return self.least if rank <= 0 else self.most
        for edge in sorted(self.counts):
            rank -= self.counts[edge]
            if rank <= 0:
                break
        return max(edge, self.least)


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """One histogram of all that the others have counted."""
    total = Histogram()
    for each in histograms:
        total.merge(each)
    return total
