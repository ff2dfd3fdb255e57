"""Timeline: the delay while a round went on, and what was done to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

from ...judging.names import lane_name
from ...samples import Lane, Mark, Round, Run, Slot
from ..charts import BOX, LogScale, Scale, Tick, band, joined, upside
from ..table import NONE, ms
from .places import Table, kind, networks, silence, table_of

MOMENTS: Final = 60  # stretches of time that a round is drawn in
STRETCHES: Final = 10  # and told in


class Moment(NamedTuple):
    """A stretch of time, all repeats together."""

    expected: int
    delivered: int
    mean: float | None  # µs; None: nothing of it arrived
    most: int


class Strip(NamedTuple):
    """The delay of one lane over time."""

    name: str
    kind: str
    line: str  # mean
    band: str  # from the least to the most
    missing: str  # bars from below: the share of what did not arrive
    note: str


class Stage(NamedTuple):
    """Something that was done, in thousandths of the time; its number is that of the section about recovery."""

    number: int
    at: int
    width: int
    text: str


class Timeline(NamedTuple):
    """Delay over time, a strip for each lane."""

    groups: list[tuple[str, list[Strip], list[Stage]]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    missing: bool  # something did not arrive
    staged: bool  # something was done
    table: Table


def timeline(run: Run) -> Timeline | None:
    """Repeats are laid over each other."""
    slots = {lane: [slot for each in run.of(lane) for slot in each.sample.timeline] for lane in run.lanes()}
    every = [slot for each in slots.values() for slot in each]
    if not every:
        return None
    seconds = _length(every)
    y = LogScale([us for slot in every if slot.delivered for us in (slot.least, slot.most)])
    x = Scale(0, seconds)
    groups = [
        (title, [_strip(run, lane, slots[lane], seconds, y) for lane in lanes], _stages(run, lanes, x))
        for title, lanes in networks(run)
    ]
    edges = [seconds * place / STRETCHES for place in range(STRETCHES)]
    caption = "Mean delay in milliseconds of the events that were due in each tenth of the time; in brackets the longest."
    table = table_of(run, caption, ["Lane", *(f"from {edge:.3g} s" for edge in edges)], lambda lane: _told(slots[lane], seconds))
    lost = any(slot.delivered < slot.expected for slot in every)
    staged = any(stages for _, _, stages in groups)
    return Timeline(groups, x.ticks(), upside(_few(y)), lost, staged, table)


def _length(slots: Sequence[Slot]) -> float:
    """Seconds that the slots of a round cover; they are equally long."""
    starts = sorted({slot.at for slot in slots})
    return max(1e-6, starts[-1] + (min(b - a for a, b in pairwise(starts)) if len(starts) > 1 else 1.0))


def moments(slots: Sequence[Slot], seconds: float, count: int) -> list[Moment]:
    """`slots` of any number of repeats in `count` equal stretches of time."""
    heaps: list[list[Slot]] = [[] for _ in range(count)]
    for slot in slots:
        heaps[max(0, min(count - 1, int(slot.at / seconds * count + 1e-9)))].append(slot)
    return [_moment(heap) for heap in heaps]


def _moment(slots: Sequence[Slot]) -> Moment:
    delivered = sum(slot.delivered for slot in slots)
    mean = sum(slot.mean * slot.delivered for slot in slots) / delivered if delivered else None
    return Moment(
        sum(slot.expected for slot in slots), delivered, mean, max((slot.most for slot in slots if slot.delivered), default=0)
    )


def _strip(run: Run, lane: Lane, slots: Sequence[Slot], seconds: float, y: Scale) -> Strip:
    count = max(1, min(MOMENTS, len({slot.at for slot in slots})))
    found = moments(slots, seconds, count)
    # A stretch in which no event was due is no gap; one of which nothing arrived is.
    pairs = [(round((place + 0.5) * BOX / count), each) for place, each in enumerate(found) if each.expected]
    line = joined(None if each.mean is None else (x, BOX - y(each.mean)) for x, each in pairs)
    # From the mean to the most: what is below the mean is in the table, and would hide the line.
    area = "".join(_bands([None if each.mean is None else (x, BOX - y(each.mean), BOX - y(each.most)) for x, each in pairs]))
    missing = "".join(
        _bar(x, BOX / count, 1 - each.delivered / each.expected) for x, each in pairs if each.delivered < each.expected
    )
    note = "" if any(each.delivered for each in found) else silence(run.of(lane))
    return Strip(lane_name(lane, run.plan), kind(lane), line, area, missing, note)


def _bands(columns: Sequence[tuple[int, int, int] | None]) -> Iterator[str]:
    """One for each run of columns without a gap."""
    piece: list[tuple[int, int, int]] = []
    for column in [*columns, None]:
        if column is not None:
            piece.append(column)
        elif piece:
            yield band(piece)
            piece = []


def _bar(middle: int, width: float, share: float) -> str:
    """From below, as high as the share, but never too low to be seen."""
    left, right, height = round(middle - width / 2), round(middle + width / 2), max(60, round(share * BOX))
    return f"M{left} {BOX}v-{height}h{right - left}v{height}z"


def _stages(run: Run, lanes: Sequence[Lane], x: Scale) -> list[Stage]:
    """What was done in the rounds of these lanes: the same in all of them, and at nearly the same time."""
    found: dict[int, list[tuple[float, float, str]]] = {}
    for lane in lanes:
        for each in run.of(lane):
            for place, mark in enumerate(each.marks):
                found.setdefault(place, []).append((*_seconds(each, mark), mark.do))
    stages = []
    for place, times in sorted(found.items()):
        began, ended = median(time[0] for time in times), median(time[1] for time in times)
        when = f"at {began:.1f} s" if ended - began < 0.1 else f"from {began:.1f} to {ended:.1f} s"
        stages.append(Stage(place + 1, x(began), max(4, x(ended) - x(began)), f"{times[0][2]} {when}"))
    return stages


def _seconds(each: Round, mark: Mark) -> tuple[float, float]:
    return (mark.began - each.sample.started) / 1e6, (mark.ended - each.sample.started) / 1e6


def _told(slots: Sequence[Slot], seconds: float) -> list[str] | None:
    if not slots:
        return None
    return [f"{ms(each.mean)} ({ms(each.most)})" if each.delivered else NONE for each in moments(slots, seconds, STRETCHES)]


def _few(scale: LogScale) -> list[Tick]:
    """Of the ticks two, away from the sides: as many as a low strip bears."""
    ticks = scale.ticks()
    inner = [tick for tick in ticks if BOX * 0.08 <= tick.at <= BOX * 0.92] or ticks
    return [inner[0], *([inner[-1]] if inner[-1].at - inner[0].at >= BOX * 0.25 else [])]
