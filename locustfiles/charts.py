"""Charts: figures to coordinates. The template draws them; here is only arithmetic.

Delays are drawn on a logarithmic scale, because a wire that is twice as late is as far away at 1 ms as at 100. Percentiles
stand at equal distances for 90, 99, 99.9 …, because the few late events are the ones that people notice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .histogram import Histogram

WIDTH, HEIGHT = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 62, 118, 14, 44  # margins, for ticks on the left and below and for names on the right
_POINTS = 60  # of a curve
_ROW = 30  # height of a row of dots


class Tick(NamedTuple):
    """A line of the grid, and what is written beside it."""

    at: float
    text: str


class Curve(NamedTuple):
    """One transport: a bold path for all repeats together, thin ones for each, and where its name stands."""

    name: str
    path: str
    thin: list[str]
    end: tuple[float, float]
    label: float  # y; apart from the others


class PercentileChart(NamedTuple):
    """Delay by percentile."""

    curves: list[Curve]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


class Row(NamedTuple):
    """One transport and quantity: a dot for each repeat, with a line from the least to the most."""

    name: str
    quantity: str
    y: float
    dots: list[float]


class DotChart(NamedTuple):
    """Repeats beside each other."""

    rows: list[Row]
    ticks: list[Tick]
    height: float


class LogScale:
    """From microseconds to coordinates.

    Args:
        values: what has to fit in.
        start, end: coordinates of the least and the most.
    """

    def __init__(self, values: Iterable[float], start: float, end: float) -> None:
        found = [max(1.0, value) for value in values] or [1.0]
        self.low, self.high = _floor(min(found)), _ceil(max(found))
        self.start, self.end = start, end

    def __call__(self, us: float) -> float:
        """The coordinate of `us`."""
        share = math.log(max(us, self.low) / self.low) / math.log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[Tick]:
        """1, 2 and 5 of each power of ten; only the powers when there are many."""
        steps = [step for step in _steps(self.low, self.high) if self.low <= step <= self.high]
        if len(steps) > 10:
            steps = [step for step in steps if math.log10(step) == round(math.log10(step))]
        return [Tick(self(step), f"{step / 1000:g}") for step in steps]


def percentile_chart(delays: dict[str, tuple[Histogram, Sequence[Histogram]]]) -> PercentileChart:
    """The curves of each transport: all repeats together, and each of them."""
    drawn = {name: whole for name, (whole, _) in delays.items() if len(whole)}
    far = math.log10(max([10, *map(len, drawn.values())]))
    extremes = [edge for whole in drawn.values() for edge in (whole.least, whole.most) if edge is not None]
    y = LogScale(extremes, HEIGHT - BOTTOM, TOP)

    def points(histogram: Histogram) -> list[tuple[float, float]]:
        reach = min(far, math.log10(max(2, len(histogram))))
        nines = [step * reach / _POINTS for step in range(_POINTS + 1)]
        return [(_across(each, far), y(histogram.percentile(_percent(each)) or 0)) for each in nines]

    ends = {name: points(whole)[-1] for name, whole in drawn.items()}
    labels = _spaced({name: end[1] for name, end in ends.items()})
    curves = [
        Curve(
            name, _path(points(whole)), [_path(points(each)) for each in delays[name][1] if len(each)], ends[name], labels[name]
        )
        for name, whole in drawn.items()
    ]
    return PercentileChart(curves, [Tick(_across(n, far), text) for n, text in _NINES if n <= far], y.ticks())


def dot_chart(values: Sequence[tuple[str, str, Sequence[float]]]) -> DotChart:
    """A row for each (name, quantity, microseconds of each repeat)."""
    x = LogScale([us for _, _, each in values for us in each], LEFT + 110, WIDTH - 20)
    rows = [
        Row(name, quantity, TOP + (place + 0.5) * _ROW, sorted(map(x, each)))
        for place, (name, quantity, each) in enumerate(values)
    ]
    return DotChart(rows, x.ticks(), TOP + len(values) * _ROW + BOTTOM)


_NINES = [(0.0, "0"), (math.log10(2), "50"), (1.0, "90"), (2.0, "99"), (3.0, "99.9"), (4.0, "99.99"), (5.0, "99.999")]


def _percent(nines: float) -> float:
    return 100 * (1 - 10**-nines)


def _across(nines: float, far: float) -> float:
    return round(LEFT + nines / far * (WIDTH - LEFT - RIGHT), 1)


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:g},{y:g}" for x, y in points)


def _spaced(places: dict[str, float], least: float = 16.0) -> dict[str, float]:
    """The same places, moved down where two would stand on each other."""
    spaced: dict[str, float] = {}
    lowest = -math.inf
    for name in sorted(places, key=lambda name: places[name]):
        lowest = spaced[name] = max(places[name], lowest + least)
    return spaced


def _steps(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [digit * 10.0**power for power in powers for digit in (1, 2, 5)]


def _floor(value: float) -> float:
    return max(step for step in _steps(value, value) if step <= value)


def _ceil(value: float) -> float:
    return min(step for step in _steps(value, value * 10) if step > value)
