"""Noise: how much two lanes differ, and how much of that repeats alone would bring about.

Repeats are taken in turns, so whatever happens on the machine meets both lanes at nearly the same time: each repeat gives one
difference, and how these scatter is the noise. Ratios are taken as logarithms, so that `b` against `a` says the reverse of `a`
against `b`, whatever the unit. Two runs have no repeats in common; `unpaired` compares them by how each scatters in itself.

Pure: numbers in, intervals out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from statistics import NormalDist, fmean, median, variance
from typing import Final, NamedTuple

LEVEL: Final = 0.95
_TWICE: Final = 2.0
_NORMAL_FROM: Final = 200  # degrees of freedom; from there on Student's t is the normal distribution to within 1 %


class Interval(NamedTuple):
    """A figure, and between which two it may lie as far as the repeats tell."""

    low: float
    mid: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether `value` would be no surprise."""
        return self.low <= value <= self.high


class Difference(NamedTuple):
    """How one lane compares with another: by how much more, and how many times as much."""

    by: Interval  # in the unit of the figures
    times: Interval | None  # None: there are figures of 0 or below, which have no ratio
    repeats: int  # that were compared; unpaired: of the run that has fewer

    @property
    def multiplies(self) -> bool:
        """The one is at least twice the other: then noise grows with the figure, and the ratio tells more than the difference."""
        return self.times is not None and max(self.times.mid, 1 / self.times.mid) >= _TWICE

    @property
    def beyond_noise(self) -> bool:
        """Repeats alone would not bring it about."""
        return not self.times.holds(1) if self.times is not None and self.multiplies else not self.by.holds(0)


class Spread(NamedTuple):
    """One quantity over the repeats: the least, the median, the most."""

    low: float
    mid: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    return Spread(min(values), median(values), max(values))


def paired(
    base: Mapping[int, float | None], other: Mapping[int, float | None], *, comparisons: int = 1, level: float = LEVEL
) -> Difference | None:
    """How `other` compares with `base`, repeat by repeat.

    Args:
        base: a figure for each repeat, by its number. None, or a repeat that only one of the two has: left out.
        other: the same of the other lane.
        comparisons: how many are made at a time. The intervals become so wide that all of them together are right at `level`:
            who looks at fifteen pairs sees a difference somewhere, even where there is none (Bonferroni).
        level: how often all intervals hold the true figure.

    Returns:
        None if fewer than two repeats can be compared: one shows no noise.
    """
    pairs = [(a, b) for repeat in base if (a := base[repeat]) is not None and (b := other.get(repeat)) is not None]
    if len(pairs) < 2:
        return None
    t = student(len(pairs) - 1, 1 - (1 - level) / comparisons)
    times = None
    if all(a > 0 and b > 0 for a, b in pairs):
        times = _exp(_mean([math.log(b) - math.log(a) for a, b in pairs], t))
    return Difference(_mean([b - a for a, b in pairs], t), times, len(pairs))


def unpaired(
    base: Sequence[float | None], other: Sequence[float | None], *, comparisons: int = 1, level: float = LEVEL
) -> Difference | None:
    """How `other` compares with `base`, where no repeat of the one belongs to one of the other (Welch's t).

    Returns:
        None if either has fewer than two figures.
    """
    ours, theirs = ([value for value in values if value is not None] for values in (base, other))
    if min(len(ours), len(theirs)) < 2:
        return None
    level = 1 - (1 - level) / comparisons
    times = None
    if min(*ours, *theirs) > 0:
        times = _exp(_welch([math.log(a) for a in ours], [math.log(b) for b in theirs], level))
    return Difference(_welch(ours, theirs, level), times, min(len(ours), len(theirs)))


@cache
def student(df: int, level: float = LEVEL) -> float:
    """Between minus and plus this value lies the share `level` of Student's t with `df` degrees of freedom.

    The share has a closed form (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4); it grows with the
    angle, which is found by halving.
    """
    if df >= _NORMAL_FROM:
        return NormalDist().inv_cdf((1 + level) / 2)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _share(df, middle) < level else (low, middle)
    return math.sqrt(df) * math.tan(low)


def _share(df: int, angle: float) -> float:
    """The share of Student's t between minus and plus `tan(angle) * sqrt(df)`."""
    sine, cosine = math.sin(angle), math.cos(angle)
    term, whole = (cosine, 0.0) if df % 2 else (1.0, 0.0)
    for step in range(1 + df % 2, df, 2):
        whole += term
        term *= step / (step + 1) * cosine * cosine
    return 2 / math.pi * (angle + sine * whole) if df % 2 else sine * whole


def _mean(values: Sequence[float], t: float) -> Interval:
    mid = fmean(values)
    half = t * math.sqrt(variance(values, mid) / len(values))
    return Interval(mid - half, mid, mid + half)


def _welch(ours: Sequence[float], theirs: Sequence[float], level: float) -> Interval:
    """The difference of the means. Degrees of freedom are rounded down, which errs on the wide side."""
    mid = fmean(theirs) - fmean(ours)
    parts = [(variance(values) / len(values), len(values) - 1) for values in (ours, theirs)]
    error = sum(part for part, _ in parts)
    if not error:
        return Interval(mid, mid, mid)
    df = error * error / sum(part * part / freedom for part, freedom in parts)
    half = student(max(1, math.floor(df + 1e-9)), level) * math.sqrt(error)
    return Interval(mid - half, mid, mid + half)


def _exp(logs: Interval) -> Interval:
    """Back from logarithms; what is beyond all measure stays a number."""
    return Interval(*(math.exp(max(-700.0, min(700.0, value))) for value in logs))
