"""Figures: what can be read off a lane, by name, each with its unit and how its repeats become one number.

Verdicts, thresholds (`--slo`) and differences between runs all read this one table, so that `p99` is the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final, NamedTuple

from ..histogram import Histogram, merged
from ..samples import Round, Sample

RESOLUTION: Final = 0.1  # ms; wake-ups of publisher and server alone scatter by as much


class Figure(NamedTuple):
    """A quantity of one round, of which less is better."""

    name: str  # as in `--slo`
    label: str
    unit: str
    of: Callable[
        [Round], float | None
    ]  # None: it was not measured, or nothing arrived. Infinite: it would have taken longer than the round
    whole: Callable[[Sequence[float]], float] = median  # of the rounds of a lane
    resolution: float = 0.0  # no smaller difference is seen, in the unit of the figure
    counted: bool = False  # a number of things that should be none, rather than a size


def of_lane(figure: Figure, rounds: Sequence[Round]) -> float | None:
    """One number for all repeats of a lane; None if a single one lacks it, because a median of the lucky ones is none."""
    values = [figure.of(each) for each in rounds]
    found = [value for value in values if value is not None]
    return figure.whole(found) if found and len(found) == len(values) else None


def by_repeat(figure: Figure, rounds: Sequence[Round]) -> dict[int, float | None]:
    """For `noise.paired`: the finite figures of a lane."""
    values = {each.repeat: figure.of(each) for each in rounds}
    return {repeat: value if value is None or math.isfinite(value) else None for repeat, value in values.items()}


def least(figure: Figure, rounds: Sequence[Round]) -> float | None:
    """The best of the repeats. For what a measurement itself adds: disturbances only add to it, so the least is the nearest."""
    return min((value for value in by_repeat(figure, rounds).values() if value is not None), default=None)


def _delay(percent: float) -> Callable[[Round], float | None]:
    """A percentile of the delay of all events that should have come. Who loses the late ones must not look quick for it: a lost
    event came never, so it ranks behind all that arrived.
    """

    def of(each: Round) -> float | None:
        arrived, lost = len(each.sample.delays), each.sample.tally.lost - each.sample.slow_tally.lost
        if not arrived:
            return None
        rank = percent * (arrived + lost) / arrived
        return _ms(each.sample.delays, rank) if rank <= 100 else math.inf

    return of


def _ms(histogram: Histogram, percent: float) -> float | None:
    us = histogram.percentile(percent)
    return None if us is None else us / 1000


def _per_delivery(value: Callable[[Sample], float]) -> Callable[[Round], float | None]:
    return lambda each: value(each.sample) / each.sample.tally.delivered if each.sample.tally.delivered else None


def _cpu(each: Round) -> float | None:
    delivered = each.sample.tally.delivered
    return each.server.cpu * 1000 / delivered if each.server and delivered else None


def _memory(each: Round) -> float | None:
    return each.server.rss / 2**20 if each.server else None


def _footprint(each: Round) -> float | None:
    """Memory that readers took. What a server kept of readers before them is not seen, so it may be too low, never too high."""
    if not each.server or not each.sample.ready:
        return None
    return max(0, each.server.rss - each.server.rss_before) / 1024 / each.sample.ready


def _recovery(each: Round) -> float | None:
    """95 of 100 readers were back; who never was, took for ever."""
    if not each.recoveries:
        return None
    back, never = merged(one.back for one in each.recoveries), sum(one.never for one in each.recoveries)
    if never * 20 > len(back) + never:
        return math.inf
    # Those that never were back are the last 5 of 100: the rank among the others is as much higher.
    return _ms(back, min(100.0, 95.0 * (len(back) + never) / len(back))) if len(back) else None


_ALL: Final = (
    Figure("p50", "Delay p50", "ms", _delay(50), resolution=RESOLUTION),
    Figure("p90", "Delay p90", "ms", _delay(90), resolution=RESOLUTION),
    Figure("p95", "Delay p95", "ms", _delay(95), resolution=RESOLUTION),
    Figure("p99", "Delay p99", "ms", _delay(99), resolution=RESOLUTION),
    Figure("p99.9", "Delay p99.9", "ms", _delay(99.9), resolution=RESOLUTION),
    Figure("max", "Delay, longest", "ms", lambda each: _ms(each.sample.delays, 100), max, resolution=RESOLUTION),
    Figure("lost", "Lost", "", lambda each: each.sample.tally.lost, sum, counted=True),
    Figure("silent", "Lost in silence", "", lambda each: each.sample.tally.lost - each.sample.tally.declared, sum, counted=True),
    Figure("doubled", "Doubled", "", lambda each: each.sample.tally.doubled, sum, counted=True),
    Figure("disordered", "Out of order", "", lambda each: each.sample.tally.disordered, sum, counted=True),
    Figure("bytes", "Bytes per event", "B", _per_delivery(lambda sample: sample.traffic.down + sample.traffic.up)),
    Figure("requests", "Requests per event", "", _per_delivery(lambda sample: sample.traffic.requests)),
    Figure("cpu", "Server CPU per 1,000 deliveries", "s", _cpu),
    Figure("memory", "Server memory, most", "MiB", _memory, max),
    Figure("footprint", "Server memory per reader", "KiB", _footprint),
    Figure("hello", "Set-up", "ms", lambda each: _ms(each.sample.phases.hello, 50), resolution=RESOLUTION),
    Figure("ack", "Acknowledgement", "ms", lambda each: _ms(each.sample.acknowledged, 50), resolution=RESOLUTION),
    Figure("recovery", "Back after a fault", "ms", _recovery, resolution=1.0),
)
FIGURES: Final = {each.name: each for each in _ALL}
