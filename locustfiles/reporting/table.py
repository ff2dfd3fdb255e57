"""Table: what was measured, a figure for each quantity and lane.

Counts are sums over the repeats; everything else is their median, but for what is called longest or most. A quantity of
which no lane has anything to say is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Final, NamedTuple

from ..histogram import Histogram, merged
from ..judging.figures import FIGURES, of_lane
from ..judging.names import NAMES
from ..samples import Lane, Round, Run, Tally, total

NONE: Final = "–"

COUNTING: Final = (
    "Counts are sums over the repeats; everything else is the median of the repeats, but for what is called longest or most."
)

Shown = Callable[[Sequence[Round]], str]  # of at least one round


class Quantity(NamedTuple):
    """What a line of the table is about."""

    label: str
    unit: str
    shown: Shown
    key: bool = False  # kept where there is place for a few only


class Line(NamedTuple):
    """A quantity, and a figure for each lane."""

    label: str
    unit: str
    figures: list[str]
    key: bool


def table(run: Run, lanes: Sequence[Lane]) -> list[Line]:
    """Every quantity, beside each other for the lanes."""
    rounds = [run.of(lane) for lane in lanes]
    lines = [
        Line(each.label, each.unit, [each.shown(found) if found else NONE for found in rounds], each.key) for each in QUANTITIES
    ]
    return [line for line in lines if set(line.figures) != {NONE}]


def whole(rounds: Sequence[Round]) -> Histogram:
    """The delays of all repeats together."""
    return merged(each.sample.delays for each in rounds)


def tally(rounds: Sequence[Round]) -> Tally:
    """What became of the events in all repeats."""
    return total(each.sample.tally for each in rounds)


def ms(us: float | None) -> str:
    """Microseconds as milliseconds. Long ones lose the digits that a histogram does not keep."""
    if us is None:
        return NONE
    digits = 3 if abs(us) < 100_000 else 1 if abs(us) < 1_000_000 else 0
    return f"{us / 1000:,.{digits}f}"


def form(value: float | None, pattern: str) -> str:
    """A figure, if there is one."""
    return NONE if value is None else format(value, pattern)


def offered(each: Round) -> float:
    """Deliveries per second that were asked for."""
    return each.sample.tally.expected / each.sample.seconds


def achieved(each: Round) -> float:
    """Deliveries per second that came."""
    return each.sample.tally.delivered / each.sample.seconds


def ready(rounds: Sequence[Round]) -> int:
    """Readers that were in place, in the repeat that had fewest."""
    return min(each.sample.ready for each in rounds)


def figure(name: str, rounds: Sequence[Round]) -> str:
    """One of `FIGURES`, in as many digits as suit its unit."""
    value = of_lane(FIGURES[name], rounds) if rounds else None
    if FIGURES[name].unit == "ms":
        return "never" if value == float("inf") else ms(None if value is None else value * 1000)
    return form(value, _PATTERNS.get(name, ",.0f"))


_PATTERNS: Final = {"bytes": ",.0f", "requests": ",.3f", "cpu": ",.3f", "memory": ",.1f", "footprint": ",.1f"}


def _quantity(name: str, label: str = "", *, key: bool = False) -> Quantity:
    known = FIGURES[name]
    return Quantity(label or known.label, known.unit, lambda rounds: figure(name, rounds), key)


def _middle(value: Callable[[Round], float], pattern: str) -> Shown:
    return lambda rounds: format(median(map(value, rounds)), pattern)


def _count(value: Callable[[Tally], int]) -> Shown:
    return lambda rounds: f"{value(tally(rounds)):,}"


def _places(rounds: Sequence[Round]) -> str:
    wanted = rounds[0].sample.readers
    return f"{wanted:,}" if ready(rounds) >= wanted else f"{ready(rounds):,} of {wanted:,}"


def _cuts(rounds: Sequence[Round]) -> str:
    return f"{sum(n for each in rounds for reason, n in each.sample.failures.items() if reason.startswith('cut')):,}"


def _pause(rounds: Sequence[Round]) -> str:
    pauses = [pause for each in rounds for pause in each.sample.pauses]
    if any(pause.ended is None for pause in pauses):
        return "to the end"
    return ms(max((pause.ended - pause.began for pause in pauses if pause.ended is not None), default=None))


def _chosen(rounds: Sequence[Round]) -> str:
    """On which transports readers that choose for themselves ended, over all repeats."""
    counts: dict[str, int] = {}
    for each in rounds:
        for name, readers in each.sample.chosen.items():
            counts[name] = counts.get(name, 0) + readers
    everybody = sum(counts.values())
    most_first = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{NAMES.get(name, name)} {count / everybody:.0%}" for name, count in most_first if count) or NONE


def _slow(percent: float) -> Shown:
    return lambda rounds: ms(merged(each.sample.slow for each in rounds).percentile(percent))


def _slow_lost(rounds: Sequence[Round]) -> str:
    slow = total(each.sample.slow_tally for each in rounds)
    return f"{slow.lost:,}" if slow.expected else NONE


def _sockets(rounds: Sequence[Round]) -> str:
    return form(max((each.server.sockets for each in rounds if each.server), default=0) or None, ",d")


QUANTITIES: Final = (
    Quantity("Readers in place", "", _places, key=True),
    Quantity("Deliveries offered", "/s", _middle(offered, ",.0f")),
    Quantity("Deliveries achieved", "/s", _middle(achieved, ",.0f"), key=True),
    Quantity("Delivered", "", _count(lambda counts: counts.delivered)),
    _quantity("silent", key=True),
    Quantity("Lost and declared", "", _count(lambda counts: counts.declared)),
    _quantity("doubled", key=True),
    _quantity("disordered"),
    Quantity("Connections cut", "", _cuts),
    _quantity("p50", key=True),
    _quantity("p90"),
    _quantity("p99", key=True),
    _quantity("max", key=True),
    Quantity("Longest pause", "ms", _pause),
    _quantity("recovery"),
    Quantity("Slow readers: delay p50", "ms", _slow(50)),
    Quantity("Slow readers: lost", "", _slow_lost),
    _quantity("hello", "First item after, p50"),
    _quantity("ack", "Own publish answered, p50"),
    Quantity("Chosen", "", _chosen),
    _quantity("requests", key=True),
    _quantity("bytes", key=True),
    Quantity("… of which its data", "B", lambda rounds: f"{rounds[0].sample.published.size:,}"),
    _quantity("cpu", key=True),
    _quantity("memory"),
    _quantity("footprint"),
    Quantity("Server sockets, most", "", _sockets),
)
