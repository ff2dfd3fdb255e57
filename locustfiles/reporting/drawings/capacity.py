"""Capacity: the search for the most readers, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...judging.capacity import capacity
from ...judging.names import lane_name
from ...samples import Lane, Run, Step
from ..charts import CountScale, LogScale, Tick, upside
from ..table import ms
from .places import Table, kind, networks


class Try(NamedTuple):
    """A number of readers, and how late the last of 100 events was."""

    x: int
    y: int
    held: bool


class Search(NamedTuple):
    """The tries of one lane."""

    name: str
    kind: str
    tries: list[Try]


class Capacity(NamedTuple):
    """Delay by number of readers, a box for each network."""

    panels: list[tuple[str, list[Search]]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    goal: int | None  # y
    results: list[tuple[str, list[tuple[str, str]]]]  # for each network: each lane and what it bore
    table: Table


def searches(run: Run) -> Capacity | None:
    """Steps at which nothing arrived stand at the top."""
    if not run.steps:
        return None
    goal = (run.plan.goal or 0) * 1000
    x = CountScale([each.readers for each in run.steps])
    y = LogScale([*(each.p99 for each in run.steps if each.p99 is not None), *([goal] if goal else [])])
    panels, results, rows = [], [], []
    for title, lanes in networks(run):
        tried = {lane: steps for lane in lanes if (steps := [each for each in run.steps if each.lane == lane])}
        panels.append(
            (title, [Search(lane_name(lane, run.plan), kind(lane), _tries(steps, x, y)) for lane, steps in tried.items()])
        )
        results.append((title, [(lane_name(lane, run.plan), _result(run.steps, lane)) for lane in tried]))
        rows.append((title, [(lane_name(each.lane, run.plan), _cells(each)) for steps in tried.values() for each in steps]))
    table = Table("Every try, in its order.", ["Lane", "Readers", "Delay p99 in ms", "Lost", "Held"], rows)
    return Capacity(panels, x.ticks(), upside(y.ticks()), 1000 - y(goal) if goal else None, results, table)


def _tries(steps: Sequence[Step], x: CountScale, y: LogScale) -> list[Try]:
    ordered = sorted(steps, key=lambda each: each.readers)
    return [Try(x(each.readers), 0 if each.p99 is None else 1000 - y(each.p99), each.held) for each in ordered]


def _result(steps: Sequence[Step], lane: Lane) -> str:
    held, failed = capacity(steps, lane)
    if failed is None:
        return f"at least {held:,}" if held else "–"
    return f"{held:,}" if held else f"fewer than {failed:,}"


def _cells(each: Step) -> list[str]:
    return [f"{each.readers:,}", ms(each.p99), f"{each.lost:,}", "yes" if each.held else _why(each)]


def _why(each: Step) -> str:
    return f"not told: {each.doubts[0]}" if each.doubts else "no"
