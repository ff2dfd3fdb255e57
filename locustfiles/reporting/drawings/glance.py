"""Glance: each lane in one line, with a dot for every round."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from ...judging.names import lane_name
from ...samples import Lane, Round, Run
from ..charts import LogScale, Scale, Tick
from ..table import ms
from .places import Table, kind, networks, silence, table_of


class Dots(NamedTuple):
    """A lane with one dot for each round, or a word in their place."""

    name: str
    kind: str
    p50: list[int]
    p99: list[int]
    note: str


class Glance(NamedTuple):
    """Median and 99th percentile of each round."""

    groups: list[tuple[str, list[Dots]]]
    ticks: list[Tick]
    table: Table


def glance(run: Run) -> Glance | None:
    """All lanes on one scale."""
    values = {lane: (_percentile(run.of(lane), 50), _percentile(run.of(lane), 99)) for lane in run.lanes() if run.of(lane)}
    if not values:
        return None
    scale = LogScale(us for both in values.values() for each in both for us in each)
    groups = []
    for title, lanes in networks(run):
        groups.append((title, [_dots(run, lane, values[lane], scale) for lane in lanes if lane in values]))
    head = ["Lane", *(f"{name} {which}" for name in ("p50", "p99") for which in ("least", "middle", "most"))]
    caption = "Delay in milliseconds: the least, the median and the most of the repeats."
    return Glance(groups, scale.ticks(), table_of(run, caption, head, lambda lane: _spreads(values.get(lane))))


def _percentile(rounds: Sequence[Round], percent: float) -> list[int]:
    return sorted(us for each in rounds if (us := each.sample.delays.percentile(percent)) is not None)


def _dots(run: Run, lane: Lane, values: tuple[list[int], list[int]], scale: Scale) -> Dots:
    p50, p99 = ([scale(us) for us in each] for each in values)
    return Dots(lane_name(lane, run.plan), kind(lane), p50, p99, "" if p50 else silence(run.of(lane)))


def _spreads(values: tuple[list[int], list[int]] | None) -> list[str] | None:
    if values is None:
        return None
    return [ms(us) for each in values for us in ((each[0], median(each), each[-1]) if each else (None, None, None))]
