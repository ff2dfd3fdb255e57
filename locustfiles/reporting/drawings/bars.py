"""Bars: what has parts, those of setting up a wire and those of what goes over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

from ...judging.figures import FIGURES, of_lane
from ...judging.names import lane_name
from ...samples import Lane, Round, Run
from ..charts import Scale, Segment, Tick, segments
from ..table import figure, ms
from .places import Table, networks, table_of


class Bar(NamedTuple):
    """Parts one after the other, and what is written behind them."""

    name: str
    parts: list[Segment]
    text: str


class Bars(NamedTuple):
    """Something that has parts, a bar for each lane."""

    kinds: list[str]
    groups: list[tuple[str, list[Bar]]]
    ticks: list[Tick]
    table: Table


def _bars(
    run: Run, kinds: Sequence[str], found: Mapping[Lane, tuple[float, ...]], text: Callable[[Lane], str], table: Table
) -> Bars | None:
    """`found`: for each lane as many values as there are kinds."""
    if not any(sum(values) for values in found.values()):
        return None
    used = [name for place, name in enumerate(kinds) if any(values[place] > 0 for values in found.values())]
    scale = Scale(0, max(sum(values) for values in found.values()) or 1.0)
    groups = []
    for title, lanes in networks(run):
        bars = [_bar_of(run, lane, kinds, found[lane], text(lane), scale) for lane in lanes if lane in found]
        if bars:
            groups.append((title, bars))
    return Bars(used, groups, scale.ticks(), table)


def _bar_of(run: Run, lane: Lane, kinds: Sequence[str], values: Sequence[float], text: str, scale: Scale) -> Bar:
    parts = segments(list(zip(kinds, values, strict=True)), scale)
    return Bar(lane_name(lane, run.plan), parts, text)


SETUP: Final = ("connect", "TLS", "answer", "first item")


def setup(run: Run) -> Bars | None:
    """The steps until a reader has its first item: medians over the readers, and of these the median over the repeats."""
    medians = {lane: _phases(run.of(lane)) for lane in run.lanes()}
    found = {lane: _steps(values) for lane, values in medians.items() if values[3] is not None}
    caption = (
        "Milliseconds. The first item counts from the beginning; p99 is that of 99 of 100 readers, everything else the median."
    )
    head = ["Lane", "Connect", "TLS", "Answer", "First item", "First item p99"]

    def cells(lane: Lane) -> list[str] | None:
        if lane not in found:
            return None
        return [*map(ms, medians[lane]), ms(_phase(run.of(lane), "hello", 99))]

    table = table_of(run, caption, head, cells)
    return _bars(run, SETUP, found, lambda lane: f"{ms(medians[lane][3])} ms", table)


def _phase(rounds: Sequence[Round], name: str, percent: float = 50) -> float | None:
    """A percentile in µs, the median of the repeats that have one."""
    found = [getattr(each.sample.phases, name).percentile(percent) for each in rounds]
    known = [us for us in found if us is not None]
    return median(known) if known else None


def _phases(rounds: Sequence[Round]) -> list[float | None]:
    return [_phase(rounds, name) for name in ("connect", "tls", "answer", "hello")]


def _steps(medians: Sequence[float | None]) -> tuple[float, ...]:
    """In ms; the last step is what the first three leave of the whole."""
    connect, tls, answer, hello = ((us or 0) / 1000 for us in medians)
    return connect, tls, answer, max(0.0, hello - connect - tls - answer)


BYTES: Final = ("data", "framing", "HTTP heads")


def wire(run: Run) -> Bars | None:
    """Bytes and requests for each delivery, the median of the repeats."""
    found = {lane: parts for lane in run.lanes() if (parts := _bytes(run.of(lane)))}

    def cells(lane: Lane) -> list[str] | None:
        if lane not in found:
            return None
        rounds = run.of(lane)
        return [*(f"{value:,.1f}" for value in found[lane]), figure("bytes", rounds), figure("requests", rounds)]

    def text(lane: Lane) -> str:
        requests = of_lane(FIGURES["requests"], run.of(lane)) or 0.0
        asked = f", {requests:.2g} requests" if requests >= 0.001 else ""
        return f"{figure('bytes', run.of(lane))} B{asked}"

    head = ["Lane", "Data", "Framing", "HTTP heads", "All", "Requests"]
    return _bars(
        run,
        BYTES,
        found,
        text,
        table_of(run, "For each event that one reader got; bytes in both directions, the median of the repeats.", head, cells),
    )


def _bytes(rounds: Sequence[Round]) -> tuple[float, float, float] | None:
    """Of each part the median over the repeats; None if a repeat delivered nothing."""
    traffic = [(each.sample.traffic, each.sample.tally.delivered) for each in rounds]
    if not traffic or not all(delivered for _, delivered in traffic):
        return None
    data, framing, heads = (
        median(getattr(each, name) / delivered for each, delivered in traffic) for name in ("payload", "framing", "headers")
    )
    return data, framing, heads
