"""Rates: what was offered, and what came."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from ...judging.names import lane_name
from ...samples import Lane, Round, Run
from ..charts import Scale, Tick, zero_scale
from ..table import NONE, achieved, offered
from .places import Table, kind, networks, silence, table_of


class Rate(NamedTuple):
    """A bar of what came, and where what was offered stands."""

    name: str
    kind: str
    width: int
    offered: int
    text: str


class Rates(NamedTuple):
    """Deliveries per second."""

    groups: list[tuple[str, list[Rate]]]
    ticks: list[Tick]
    table: Table


def rates(run: Run) -> Rates | None:
    """Offered and achieved, the median of the repeats."""
    found = {lane: _rate(run.of(lane)) for lane in run.lanes() if run.of(lane)}
    scale = zero_scale([value for both in found.values() for value in both])
    if not any(value for both in found.values() for value in both):
        return None
    groups = [
        (title, [_rate_bar(run, lane, *found[lane], scale) for lane in lanes if lane in found]) for title, lanes in networks(run)
    ]
    caption = "Deliveries per second, the median of the repeats."

    def cells(lane: Lane) -> list[str] | None:
        if lane not in found:
            return None
        asked, came = found[lane]
        return [f"{asked:,.0f}", f"{came:,.0f}", f"{came / asked:.1%}" if asked else NONE]

    return Rates(groups, scale.ticks(), table_of(run, caption, ["Lane", "Offered", "Achieved", "Share"], cells))


def _rate(rounds: Sequence[Round]) -> tuple[float, float]:
    return median(map(offered, rounds)), median(map(achieved, rounds))


def _rate_bar(run: Run, lane: Lane, asked: float, came: float, scale: Scale) -> Rate:
    text = f"{came:,.0f}" if asked else silence(run.of(lane))
    return Rate(lane_name(lane, run.plan), kind(lane), scale(came), scale(asked), text)
