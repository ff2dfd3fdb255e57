"""Timeline: every delivery of a round, kept by event, and what is made of that: histograms, slots, and rows for `events.csv`.

While events flow, a delivery is one step into an array of 8-byte integers; all arithmetic waits until the round is over.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Final, TypeAlias

import msgspec

from ..histogram import Histogram
from ..samples import Slot

SLOTS: Final = 120  # at the most

Cells: TypeAlias = dict[int, "array[int]"]
"""Of one source: the number of an event, to when it was due and then the delay of each delivery, all in microseconds."""


class Arrivals:
    """All deliveries of the readers that share it."""

    def __init__(self) -> None:
        self.sources: dict[str, Cells] = {}

    def source(self, name: str) -> Cells:
        """Where those of one source go."""
        return self.sources.setdefault(name, {})

    def delays(self) -> Histogram:
        """All delays."""
        counts: Counter[int] = Counter()
        for cells in self.sources.values():
            for cell in cells.values():
                counts.update(cell[1:])
        made = Histogram()
        for delay, times in counts.items():
            made.record(delay, times)
        return made

    def rows(self) -> list[Row]:
        """One for each event that was delivered at all; nothing is known of what was expected."""
        return [
            Row(source, n, cell[0], 0, len(cell) - 1, min(cell[1:]), sum(cell[1:]), max(cell[1:]))
            for source, cells in self.sources.items()
            for n, cell in cells.items()
        ]


class Row(msgspec.Struct, array_like=True):
    """One event, over all readers."""

    source: str
    n: int
    due: int  # µs of CLOCK_MONOTONIC
    expected: int  # deliveries
    delivered: int
    least: int  # µs of delay; 0 where nothing was delivered
    sum: int
    most: int


def merged(parts: Iterable[Iterable[Row]]) -> list[Row]:
    """The rows of several processes as one list, by when they were due."""
    whole: dict[tuple[str, int], Row] = {}
    for part in parts:
        for row in part:
            known = whole.setdefault((row.source, row.n), row)
            if known is not row:
                _add(known, row)
    return sorted(whole.values(), key=lambda row: (row.due, row.source, row.n))


def completed(rows: Iterable[Row], events: Iterable[tuple[str, int, int]], readers: Mapping[str, int]) -> list[Row]:
    """The rows, with those that nobody got and with what was expected.

    Args:
        rows: of what was delivered.
        events: source, number and time of each event that was published.
        readers: of each source, how many were to get it.
    """
    known = {(row.source, row.n): row for row in rows}
    for source, n, due in events:
        row = known.setdefault((source, n), Row(source, n, due, 0, 0, 0, 0, 0))
        row.expected = readers.get(source, 0)
    return merged([known.values()])


def slots(rows: Iterable[Row], started: int, most: int = SLOTS) -> list[Slot]:
    """The round in at most `most` stretches of equal length, without those in which nothing was due."""
    found = sorted(rows, key=lambda row: row.due)
    if not found:
        return []
    length = max(1, -(-(found[-1].due - started + 1) // most))  # µs, rounded up
    groups = groupby(found, lambda row: (row.due - started) // length)
    return [_slot(place * length / 1e6, list(group)) for place, group in groups]


def csv(rows: Iterable[Row], started: int) -> Iterator[str]:
    """Lines without their ends: `n,source,due_s,expected,delivered,least_us,mean_us,most_us`, the last three empty where
    nothing came.
    """
    for row in rows:
        delays = f"{row.least},{round(row.sum / row.delivered)},{row.most}" if row.delivered else ",,"
        yield f"{row.n},{_field(row.source)},{(row.due - started) / 1e6:.6f},{row.expected},{row.delivered},{delays}"


def _add(known: Row, row: Row) -> None:
    if row.delivered:
        known.least = min(known.least, row.least) if known.delivered else row.least
        known.most = max(known.most, row.most) if known.delivered else row.most
    known.expected += row.expected
    known.delivered += row.delivered
    known.sum += row.sum


def _slot(at: float, rows: list[Row]) -> Slot:
    came = [row for row in rows if row.delivered]
    delivered = sum(row.delivered for row in came)
    return Slot(
        at,
        sum(row.expected for row in rows),
        delivered,
        min((row.least for row in came), default=0),
        round(sum(row.sum for row in came) / delivered) if delivered else 0,
        max((row.most for row in came), default=0),
    )


def _field(text: str) -> str:
    """As RFC 4180 has it."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text
