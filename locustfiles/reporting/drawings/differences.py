"""Differences: each lane beside the best of its network, as a ratio with its noise."""

from __future__ import annotations

from typing import Final, NamedTuple

from ...judging.figures import FIGURES, Figure
from ...judging.names import lane_name
from ...judging.noise import Interval
from ...judging.verdict import Comparison, compared
from ...samples import Run
from ..charts import RatioScale, Tick
from .places import Table, kind

SHOWN: Final = ("p50", "p99", "cpu", "bytes")  # of FIGURES
_MANY: Final = 2  # networks; with more, only delays are shown


class Ratio(NamedTuple):
    """How many times as much one lane has as another, as an interval in thousandths of the box."""

    name: str
    kind: str
    low: int
    mid: int
    high: int
    credited: bool
    text: str


class Differences(NamedTuple):
    """A group for each network and figure."""

    groups: list[tuple[str, list[Ratio]]]
    ticks: list[Tick]
    one: int  # where both would be the same
    table: Table


class _Pair(NamedTuple):
    """A comparison that has a ratio."""

    comparison: Comparison
    figure: Figure
    times: Interval
    by: Interval


def differences(run: Run) -> Differences | None:
    """Only those for which a ratio can be told: at least two repeats, and figures above 0."""
    found = [(_title(run, network, pairs[0]), pairs) for network in run.networks() for pairs in _pairs(run, network)]
    if not found:
        return None
    scale = RatioScale([value for _, pairs in found for each in pairs for value in each.times])
    groups = [(title, [_ratio(run, each, scale) for each in pairs]) for title, pairs in found]
    head = ["Lane", "Times as much", "from", "to", "Difference", "from", "to", "Verdict"]
    rows = [(title, [(lane_name(each.comparison.lane, run.plan), _cells(each)) for each in pairs]) for title, pairs in found]
    caption = "With the 95 % interval over the repeats, widened for the number of comparisons."
    return Differences(groups, scale.ticks(), scale(1.0), Table(caption, head, rows))


def _pairs(run: Run, network: str) -> list[list[_Pair]]:
    """For each figure the lanes that can be compared with the best."""
    shown = SHOWN if len(run.networks()) <= _MANY else SHOWN[:2]
    found = [[pair for each in compared(run, network, FIGURES[name]) if (pair := _pair(each, FIGURES[name]))] for name in shown]
    return [pairs for pairs in found if pairs]


def _pair(each: Comparison, figure: Figure) -> _Pair | None:
    if each.lane == each.best or each.difference is None or each.difference.times is None:
        return None
    return _Pair(each, figure, each.difference.times, each.difference.by)


def _title(run: Run, network: str, pair: _Pair) -> str:
    beside = f"{pair.figure.label} beside {lane_name(pair.comparison.best, run.plan)}"
    return f"{network}: {beside}" if len(run.networks()) > 1 else beside


def _ratio(run: Run, pair: _Pair, scale: RatioScale) -> Ratio:
    lane = pair.comparison.lane
    low, mid, high = (scale(value) for value in pair.times)
    return Ratio(lane_name(lane, run.plan), kind(lane), low, mid, high, pair.comparison.credited, f"{pair.times.mid:.2f} ×")


def _cells(pair: _Pair) -> list[str]:
    return [
        *(f"{value:.3f}" for value in (pair.times.mid, pair.times.low, pair.times.high)),
        *(f"{value:+,.3f} {pair.figure.unit}".strip() for value in (pair.by.mid, pair.by.low, pair.by.high)),
        _verdict(pair.comparison),
    ]


def _verdict(each: Comparison) -> str:
    """What is made of a difference."""
    if each.credited:
        return "more"
    return "less than can be told" if each.difference and each.difference.beyond_noise else "within the noise"
