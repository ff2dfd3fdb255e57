"""Charts: figures to coordinates. The templates draw them; here is only arithmetic.

A plot is a box of 1,000 by 1,000 without text, stretched to whatever place there is; what is written beside it stands in
HTML, at the same thousandths, so that letters and dots keep their size on every screen. x grows to the right and y downwards,
as in SVG.

Delays are drawn on a logarithmic scale, because a wire that is twice as late is as far away at 1 ms as at 100. Percentiles
stand at equal distances for 90, 99, 99.9 …, because the few late events are the ones that people notice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from ..histogram import Histogram

BOX = 1000
_EDGE = 12  # thousandths that curves stay away from the sides, so that a thick line is not cut


class Tick(NamedTuple):
    """A line of the grid, and what is written beside it."""

    at: int
    text: str
    minor: bool = False  # may be left out where there is little place


class Scale:
    """From values to thousandths of the box, growing with the value.

    Args:
        low, high: what stands at the sides.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, value: float) -> int:
        """Where `value` stands; at a side, if it is beyond."""
        share = (value - self.low) / (self.high - self.low)
        return round(min(1.0, max(0.0, share)) * BOX)

    def ticks(self) -> list[Tick]:
        """Round numbers, three to seven of them."""
        step = _step((self.high - self.low) / 2.5)
        first = math.ceil(self.low / step - 1e-9)
        values = [place * step for place in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [Tick(self(value), plain(value)) for value in values]


class LogScale(Scale):
    """From durations in microseconds to thousandths of the box, each factor the same distance.

    Args:
        values: what has to fit in.
    """

    def __init__(self, values: Iterable[float]) -> None:
        found = [max(1.0, value) for value in values] or [1.0]
        super().__init__(_floor(min(found)), _ceil(max(found)))

    def __call__(self, value: float) -> int:
        """Where `value` stands."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return round(min(1.0, share) * BOX)

    def ticks(self) -> list[Tick]:
        """In milliseconds: 1, 2 and 5 of each power of ten; only the powers when there are many."""
        return [Tick(self(step), plain(step / 1000)) for step in self.steps()]

    def steps(self) -> list[float]:
        """The values at the ticks."""
        steps = [step for step in _steps(self.low, self.high) if self.low <= step <= self.high]
        return [step for step in steps if math.log10(step) == round(math.log10(step))] if len(steps) > 8 else steps


class CountScale(LogScale):
    """The same for numbers of things, which are written as they are."""

    def ticks(self) -> list[Tick]:
        """1, 2 and 5 of each power of ten."""
        return [Tick(self(step), f"{step:,.0f}") for step in self.steps()]


class RatioScale(Scale):
    """Ratios around 1, equally far to both sides for twice and half.

    Args:
        values: what has to fit in, above 0; more than a hundredfold is drawn at the side.
    """

    def __init__(self, values: Iterable[float]) -> None:
        found = [min(100.0, max(0.01, value)) for value in values]
        low, high = min([1 / 1.05, *found]), max([1.05, *found])
        super().__init__(math.log(low) - 0.03, math.log(high) + 0.03)

    def __call__(self, value: float) -> int:
        """Where `value` stands."""
        return super().__call__(math.log(max(1e-9, value)))

    def ticks(self) -> list[Tick]:
        """A round number every fifth of the width or so."""
        low, high = math.exp(self.low), math.exp(self.high)
        for steps in _RATIOS:
            values = [value for value in steps if low <= value <= high]
            if len(values) >= 3:
                break
        return [Tick(self(value), plain(value)) for value in values]


_RATIOS = (
    (0.01, 0.1, 1, 10, 100),
    (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50),
    (0.25, 0.5, 0.7, 1, 1.5, 2, 3, 4),
    (0.8, 0.9, 1, 1.1, 1.2, 1.3),
    (0.96, 0.98, 1, 1.02, 1.04),
)


def plain(value: float) -> str:
    """A round number as people write it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def zero_scale(values: Iterable[float]) -> Scale:
    """From nothing to a little more than the most of `values`."""
    return Scale(0, _roof(max(values, default=0.0)))


def upside(ticks: Iterable[Tick]) -> list[Tick]:
    """The same ticks along a side where values grow upwards."""
    return [tick._replace(at=BOX - tick.at) for tick in ticks]


class Curve(NamedTuple):
    """One transport: a path, the band around it, and where its name stands."""

    name: str
    path: str
    band: str
    end: tuple[int, int]
    label: int = 0  # y of its name, apart from the others


class Panel(NamedTuple):
    """Some curves in one box."""

    title: str
    curves: list[Curve]


class PercentileChart(NamedTuple):
    """Delay by percentile, a panel for each network and subject; all with the same scales."""

    panels: list[Panel]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


Delays = Mapping[str, tuple[Histogram, Sequence[Histogram]]]  # by transport: all repeats together, and each of them


def percentile_chart(panels: Mapping[str, Delays], points: int = 48) -> PercentileChart:
    """The curve of each transport, and a band from the lowest to the highest repeat around it."""
    wholes = [whole for delays in panels.values() for whole, _ in delays.values() if len(whole)]
    far = math.log10(max([10, *map(len, wholes)]))
    y = LogScale([edge for whole in wholes for edge in (whole.least, whole.most) if edge is not None])
    drawn = [Panel(title, _percentile_curves(delays, far, y, points)) for title, delays in panels.items()]
    x_ticks = [Tick(_across(nines, far), text, minor) for nines, text, minor in _NINES if nines <= far]
    return PercentileChart(drawn, x_ticks, upside(y.ticks()))


def _percentile_curves(delays: Delays, far: float, y: Scale, points: int) -> list[Curve]:
    curves = []
    for name, (whole, repeats) in delays.items():
        if len(whole):
            line = _percentile_points(whole, far, y, points)
            curves.append(
                Curve(name, path(line), _repeat_band([each for each in repeats if len(each)], far, y, points), line[-1])
            )
    return labelled(curves)


def _percentile_points(histogram: Histogram, far: float, y: Scale, points: int) -> list[tuple[int, int]]:
    """From the least to the one value that is beyond all others."""
    reach = min(far, math.log10(max(2, len(histogram))))
    nines = [step * reach / points for step in range(points + 1)]
    return [(_across(each, far), BOX - y(us)) for each, us in zip(nines, _values(histogram, nines), strict=True)]


def _repeat_band(repeats: Sequence[Histogram], far: float, y: Scale, points: int) -> str:
    """Between the lowest and the highest repeat, as far as the shortest of them reaches."""
    if len(repeats) < 2:
        return ""
    reach = min(far, math.log10(max(2, min(map(len, repeats)))))
    nines = [step * reach / points for step in range(points + 1)]
    columns = list(zip(*(_values(each, nines) for each in repeats), strict=True))
    xs = [_across(each, far) for each in nines]
    return band([(x, BOX - y(min(us)), BOX - y(max(us))) for x, us in zip(xs, columns, strict=True)])


def _values(histogram: Histogram, nines: Sequence[float]) -> list[int]:
    """The percentiles at rising `nines`, in one pass over the buckets."""
    total, edges, values = len(histogram), sorted(histogram.counts), []
    place, upto = 0, 0
    for each in nines:
        rank = math.ceil(round((1 - 10**-each) * total, 6))
        while upto < rank and place < len(edges):
            upto += histogram.counts[edges[place]]
            place += 1
        found = max(edges[max(0, place - 1)], histogram.least or 0)
        values.append((histogram.least or 0) if rank <= 0 else (histogram.most or 0) if rank >= total else found)
    return values


def labelled(curves: Sequence[Curve], least: int = 75) -> list[Curve]:
    """The same curves, their names moved down, then up, where two would stand on each other."""
    lowest, placed = -math.inf, {}
    for curve in sorted(curves, key=lambda curve: curve.end[1]):
        lowest = placed[curve.name] = max(curve.end[1], lowest + least)
    beyond = max(0, max(placed.values(), default=0) - BOX)
    return [curve._replace(label=round(placed[curve.name] - beyond)) for curve in curves]


def path(points: Iterable[tuple[int, int]]) -> str:
    """A line through points, in as few letters as SVG needs: after the first only the distances."""
    found = _distinct(points)
    if len(found) < 2:
        return f"M{found[0][0]} {found[0][1]}h0" if found else ""
    steps = " ".join(f"{b[0] - a[0]} {b[1] - a[1]}" for a, b in pairwise(found))
    return f"M{found[0][0]} {found[0][1]}l" + steps.replace(" -", "-")


def band(columns: Sequence[tuple[int, int, int]]) -> str:
    """The area between two lines: (x, y of the one, y of the other)."""
    if not columns:
        return ""
    there = [(x, one) for x, one, _ in columns]
    back = [(x, other) for x, _, other in reversed(columns)]
    return f"{path([*there, *back])}z"


def _distinct(points: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for point in points:
        if not found or found[-1] != point:
            found.append(point)
    return found


def joined(points: Iterable[tuple[int, int] | None]) -> str:
    """A line that is broken where there is no point."""
    pieces: list[list[tuple[int, int]]] = [[]]
    for point in points:
        if point is not None:
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
    return "".join(path(piece) for piece in pieces if piece)


class Segment(NamedTuple):
    """A part of a bar, from the left."""

    kind: str
    at: int
    width: int


def segments(parts: Sequence[tuple[str, float]], scale: Scale) -> list[Segment]:
    """Parts of a bar one after the other."""
    drawn, sofar = [], 0.0
    for kind, value in parts:
        left, right = scale(sofar), scale(sofar + max(0.0, value))
        sofar += max(0.0, value)
        if right > left:
            drawn.append(Segment(kind, left, right - left))
    return drawn


_NINES = [
    (0.0, "0", False),
    (math.log10(2), "50", False),
    (1.0, "90", False),
    (2.0, "99", False),
    (3.0, "99.9", False),
    (4.0, "99.99", True),
    (5.0, "99.999", False),
    (6.0, "99.9999", True),
]


def _across(nines: float, far: float) -> int:
    return round(_EDGE + nines / far * (BOX - 2 * _EDGE))


def _step(most: float) -> float:
    """1, 2 or 5 times a power of ten, at most `most`."""
    power = 10.0 ** math.floor(math.log10(most))
    return next(digit * power for digit in (5, 2, 1) if digit * power <= most * 1.001)


def _roof(most: float) -> float:
    """The end of a scale from 0: some space above `most`."""
    return most * 1.08 or 1.0


def _steps(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [digit * 10.0**power for power in powers for digit in (1, 2, 5)]


def _floor(value: float) -> float:
    return max(step for step in _steps(value, value) if step <= value)


def _ceil(value: float) -> float:
    return min(step for step in _steps(value, value * 10) if step > value)
