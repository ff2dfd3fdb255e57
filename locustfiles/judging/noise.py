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
from statistics import NormalDist, fmean, variance
from typing import Final, NamedTuple, TypeVar

Pair = TypeVar("Pair")

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
    p: float  # how often repeats alone would make a difference as large, by whichever of the two decides

    @property
    def multiplies(self) -> bool:
        """The one is at least twice the other: then noise grows with the figure, and the ratio tells more than the difference."""
        return self.times is not None and max(self.times.mid, 1 / self.times.mid) >= _TWICE

    @property
    def beyond_noise(self) -> bool:
        """Repeats alone would not bring it about."""
        return not self.times.holds(1) if self.times is not None and self.multiplies else not self.by.holds(0)


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
    logs = [math.log(b) - math.log(a) for a, b in pairs] if all(a > 0 and b > 0 for a, b in pairs) else None
    return _difference(_mean([b - a for a, b in pairs]), _mean(logs) if logs else None, len(pairs), 1 - (1 - level) / comparisons)


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
    logs = _welch(list(map(math.log, ours)), list(map(math.log, theirs))) if min(*ours, *theirs) > 0 else None
    return _difference(_welch(ours, theirs), logs, min(len(ours), len(theirs)), 1 - (1 - level) / comparisons)


def step_down(pairs: Mapping[Pair, float], lanes: int, level: float = LEVEL) -> dict[Pair, int]:
    """For how many comparisons each pair of lanes has to answer, if all that is said of them is to be right together at `level`.

    The clearest difference answers for all pairs. Once it is established, fewer of the others can still be none: of three lanes
    of which two differ, no more than one pair is alike. (J. P. Shaffer, Modified Sequentially Rejective Multiple Test Procedures,
    Journal of the American Statistical Association 81, 1986.)

    Args:
        pairs: the `p` of each pair's difference.
        lanes: how many there are.
        level: as of `paired`.
    """
    found, among, stopped = {}, len(pairs), False
    for place, pair in enumerate(sorted(pairs, key=lambda pair: pairs[pair])):
        if not stopped:
            among = max((n for n in _alike(lanes) if n <= len(pairs) - place), default=1)
        found[pair] = max(1, among)
        stopped = stopped or pairs[pair] > (1 - level) / found[pair]
    return found


@cache
def _alike(lanes: int) -> frozenset[int]:
    """How many pairs of so many lanes may be alike: each way to split the lanes into groups gives a number."""
    if lanes < 2:
        return frozenset({0})
    return frozenset(size * (size - 1) // 2 + rest for size in range(1, lanes + 1) for rest in _alike(lanes - size))


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


class _Estimate(NamedTuple):
    """A mean, its standard error, and the degrees of freedom of that."""

    mid: float
    error: float
    df: int

    def interval(self, level: float) -> Interval:
        half = student(self.df, level) * self.error
        return Interval(self.mid - half, self.mid, self.mid + half)

    def p(self, none: float = 0.0) -> float:
        """How often chance alone would lead as far from `none`."""
        away = abs(self.mid - none)
        if not self.error:
            return 0.0 if away else 1.0
        if self.df >= _NORMAL_FROM:
            return 2 - 2 * NormalDist().cdf(away / self.error)
        return max(0.0, 1 - _share(self.df, math.atan(away / self.error / math.sqrt(self.df))))


def _difference(by: _Estimate, logs: _Estimate | None, repeats: int, level: float) -> Difference:
    found = Difference(by.interval(level), None if logs is None else _exp(logs.interval(level)), repeats, by.p())
    return found._replace(p=logs.p()) if logs is not None and found.multiplies else found


def _mean(values: Sequence[float]) -> _Estimate:
    mid = fmean(values)
    return _Estimate(mid, math.sqrt(variance(values, mid) / len(values)), len(values) - 1)


def _welch(ours: Sequence[float], theirs: Sequence[float]) -> _Estimate:
    """The difference of the means. Degrees of freedom are rounded down, which errs on the wide side."""
    parts = [(variance(values) / len(values), len(values) - 1) for values in (ours, theirs)]
    error = sum(part for part, _ in parts)
    df = error * error / sum(part * part / freedom for part, freedom in parts) if error else 1
    return _Estimate(fmean(theirs) - fmean(ours), math.sqrt(error), max(1, math.floor(df + 1e-9)))


def _exp(logs: Interval) -> Interval:
    """Back from logarithms; what is beyond all measure stays a number."""
    return Interval(*(math.exp(max(-700.0, min(700.0, value))) for value in logs))
