"""Returns: how readers came back after each fault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...histogram import Histogram, merged
from ...judging.names import lane_name
from ...samples import Lane, Round, Run
from ..charts import Scale, Tick, zero_scale
from ..table import NONE, tally
from .places import Table, kind


class Back(NamedTuple):
    """How one lane came back after one mark: from the first half of the readers to the last of them."""

    name: str
    kind: str
    half: int | None
    last: int
    text: str


class Returns(NamedTuple):
    """How readers fared after each mark."""

    groups: list[tuple[str, list[Back]]]
    ticks: list[Tick]
    placed: bool  # names hold the network
    table: Table


def returns(run: Run) -> Returns | None:
    """All repeats together."""
    found = [(place, do, lanes) for place, do, lanes in _marked(run) if lanes]
    if not found:
        return None
    scale = zero_scale([(back.most or 0) / 1e6 for _, _, lanes in found for back, _ in lanes.values()])
    pictures, tables = [], []
    for place, do, lanes in found:
        title = f"{place + 1}. {do}"
        pictures.append((title, [_back(run, lane, *fared, scale) for lane, fared in lanes.items()]))
        tables.append((title, [(_where(run, lane), _fared(run.of(lane), *fared)) for lane, fared in lanes.items()]))
    head = ["Lane", "Half were back", "95 %", "The last", "Never", "Lost", "Doubled"]
    caption = (
        "Seconds after the fault was over until a reader had an event again, over all repeats. "
        "Never: readers. Lost and doubled: events of the whole rounds."
    )
    return Returns(pictures, scale.ticks(), len(run.networks()) > 1, Table(caption, head, tables))


def _marked(run: Run) -> Iterator[tuple[int, str, dict[Lane, tuple[Histogram, int]]]]:
    """For each mark of the plan's faults, in their order: what was done, and how each lane fared."""
    most = max((len(each.marks) for each in run.rounds), default=0)
    for place in range(most):
        lanes, do = {}, ""
        for lane in run.lanes():
            fared = [one for each in run.of(lane) for one in each.recoveries if one.mark == place]
            do = next((each.marks[place].do for each in run.of(lane) if len(each.marks) > place), do)
            if fared:
                lanes[lane] = merged(one.back for one in fared), sum(one.never for one in fared)
        yield place, do, lanes


def _where(run: Run, lane: Lane) -> str:
    name = lane_name(lane, run.plan)
    return f"{name}, {lane.network}" if len(run.networks()) > 1 else name


def _back(run: Run, lane: Lane, back: Histogram, never: int, scale: Scale) -> Back:
    half, last = back.percentile(50), back.most
    if half is None or last is None:
        return Back(_where(run, lane), kind(lane), None, 0, f"{never:,} never came back")
    text = f"{_span(half)}, the last {_span(last)}" + (f"; {never:,} never" if never else "")
    return Back(_where(run, lane), kind(lane), scale(half / 1e6), scale(last / 1e6), text)


def _span(us: int) -> str:
    return f"{us / 1e6:.2f} s" if us >= 1e6 else f"{us / 1000:.0f} ms"


def _fared(rounds: Sequence[Round], back: Histogram, never: int) -> list[str]:
    times = [NONE if us is None else f"{us / 1e6:.3f}" for us in map(back.percentile, (50, 95, 100))]
    return [*times, f"{never:,}", f"{tally(rounds).lost:,}", f"{tally(rounds).doubled:,}"]
