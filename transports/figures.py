"""Figures: what happens in one process, in numbers that only grow, and what they are called where an operator reads them.

Whoever does something adds to them: once for a connection, a batch or a command, never once for an event and a reader. What
is read of them is a `Snapshot`: that of one process, or of several, added up. `metrics.py` writes it as Prometheus reads it.

The number of labels never depends on what clients say: there is none for a channel, for who somebody is or an address.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from .items import Encoded, Lost, Skipped, decode_item

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Labels: TypeAlias = tuple[str, ...]
Value: TypeAlias = float | list[float]  # of a histogram: how many up to each of its bounds, and beyond, then their sum

IN_STEP: Final = "in_step"  # together with others who read the same, as soon as it is there
ALONE: Final = "alone"  # what it came back for, or could not take at once
OK: Final = "ok"
ANSWERED: Final = "answered"  # why a poll that waited is there no more

DELAYS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds
SIZES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)  # items
LAGS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds


class Figure(NamedTuple):
    """A number that is told.

    Attributes:
        name: as Prometheus wants it, with its unit.
        kind: a counter only grows; a gauge is what it is now, in each worker; a histogram counts values up to each of `bounds`.
        labels: what it is told apart by. Gauges have the worker besides.
        meaning: in one sentence.
        bounds: of a histogram.
        adds: two processes with the same number, one of which takes the other's place: whether they come to the sum, or to the
            greater.
    """

    name: str
    kind: Kind
    labels: Labels
    meaning: str
    bounds: tuple[float, ...] = ()
    adds: bool = True


FIGURES: Final = (
    Figure("everywire_connections", "gauge", ("transport",), "connections that are open: streams, and polls that wait"),
    Figure("everywire_connections_opened_total", "counter", ("transport",), "connections that were let in"),
    Figure(
        "everywire_connections_closed_total",
        "counter",
        ("transport", "reason"),
        "connections that ended: a code's name, `went` without a word, `answered` for a poll",
    ),
    Figure("everywire_refused_total", "counter", ("code",), "requests and connections that were refused, by the code's name"),
    Figure("everywire_limited_total", "counter", ("limit",), "what a limit refused, by the setting that says how much it may be"),
    Figure("everywire_polls_total", "counter", ("answer",), "polls that were answered `at_once`, or after they had `waited`"),
    Figure(
        "everywire_published_total",
        "counter",
        ("outcome",),
        "events that were published in this process: `ok`, or the name of the code that refused it",
    ),
    Figure("everywire_events_total", "counter", (), "events that came into the log, from whichever process"),
    Figure("everywire_batches_total", "counter", ("transport", "phase"), "batches that were written, one for each reader"),
    Figure("everywire_items_total", "counter", ("transport", "phase"), "items that were written"),
    Figure("everywire_bytes_total", "counter", ("transport", "phase"), "bytes that were written, as framed"),
    Figure(
        "everywire_delivery_delay_seconds",
        "histogram",
        ("transport", "phase"),
        "from the publish of the oldest event of a batch until it was written, for each reader",
        DELAYS,
    ),
    Figure("everywire_batch_items", "histogram", ("transport", "phase"), "items in a batch with events, for each reader", SIZES),
    Figure("everywire_lost_total", "counter", ("reason",), "`lost` items that readers were told, by their reason"),
    Figure("everywire_skipped_total", "counter", ("reason",), "`skipped` items that readers were told, by the policy"),
    Figure(
        "everywire_commands_total",
        "counter",
        ("command", "outcome"),
        "commands that came up: `ok`, or the name of the code that refused it",
    ),
    Figure("everywire_wires_opened_total", "counter", ("transport",), "wires that clients opened; a poller opens one"),
    Figure("everywire_wires_why_total", "counter", ("why",), "the same, by why, as they say"),
    Figure(
        "everywire_verdicts_total",
        "counter",
        ("transport", "verdict"),
        "what clients found out about other transports before they came",
    ),
    Figure("everywire_moved_total", "counter", ("code",), "readers that were told to go on at another process"),
    Figure("everywire_log_events", "gauge", (), "events that the log keeps", adds=False),
    Figure("everywire_log_bytes", "gauge", (), "bytes of JSON that the log keeps", adds=False),
    Figure("everywire_log_offset", "gauge", (), "the highest offset that has come here", adds=False),
    Figure("everywire_channels", "gauge", (), "channels that have ever been published to", adds=False),
    Figure("everywire_broker_up", "gauge", (), "1 when the last that was asked of the broker was done, 0 when not", adds=False),
    Figure("everywire_loop_lag_seconds", "histogram", (), "how much later than it should a timer was called", LAGS),
    Figure("everywire_log_lines_left_out_total", "counter", ("code",), "lines about refusals that were left out of the logs"),
)

BY_NAME: Final = {figure.name: figure for figure in FIGURES}

Snapshot: TypeAlias = dict[str, dict[Labels, Value]]
"""Figures at one moment, by name and labels. Gauges have the worker as their last label."""


class Histogram:
    """How many values there were up to each of some bounds.

    Args:
        bounds: from the lowest.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """So many more of `value`."""
        self.counts[bisect_left(self._bounds, value)] += times
        self.total += value * times

    def value(self) -> list[float]:
        """See `Value`."""
        return [*self.counts, self.total]


class Outlet:
    """What goes down over one transport in one phase."""

    __slots__ = ("_figures", "at_once", "batches", "bytes", "delay", "items", "sizes")

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self.batches = self.items = self.bytes = 0
        self.at_once = 0  # polls that did not have to wait
        self.delay, self.sizes = Histogram(DELAYS), Histogram(SIZES)

    def wrote(self, items: Sequence[Encoded], size: int, now: float, readers: int = 1) -> None:
        """A batch was written.

        Args:
            items: that are in it. What was lost or skipped comes before the first event, which is the oldest: nothing behind that
                is looked at.
            size: bytes, as framed.
            now: seconds since 1970.
            readers: to whom.
        """
        number = len(items)
        self.batches += readers
        self.items += number * readers
        self.bytes += size * readers
        for item in items:
            if item.kind == "event":  # as most do, so this is written out
                late, delay, sizes = now - item.at, self.delay, self.sizes
                delay.counts[bisect_left(DELAYS, late)] += readers
                if late > 0.0:  # clocks of several hosts differ
                    delay.total += late * readers
                sizes.counts[bisect_left(SIZES, number)] += readers
                sizes.total += number * readers
                return
            if item.kind != "beat":
                self._figures.told(item, readers)

    def again(self, number: int, size: int) -> None:
        """A poll is answered with a batch of `number` items that was looked at when another asked the same."""
        self.at_once += 1
        self.batches += 1
        self.items += number
        self.bytes += size


class Figures:
    """All that is counted in one process."""

    def __init__(self) -> None:
        self.opened: Counter[str] = Counter()  # by transport
        self.closed: Counter[tuple[str, str]] = Counter()  # by transport and reason
        self.refused: Counter[str] = Counter()  # by the name of the code
        self.published: Counter[str] = Counter()  # by outcome
        self.events = 0
        self.lost: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.commands: Counter[tuple[str, str]] = Counter()
        self.left_out: Counter[str] = Counter()
        self.lag = Histogram(LAGS)
        self._outlets: dict[tuple[str, str], Outlet] = {}

    def outlet(self, transport: str, phase: str) -> Outlet:
        """Where to count what goes down over `transport`, in step or alone."""
        found = self._outlets.get((transport, phase))
        if found is None:
            found = self._outlets[transport, phase] = Outlet(self)
        return found

    def told(self, item: Encoded, readers: int) -> None:
        """So many readers are told of a loss, or of what they did not want."""
        if item.kind in ("lost", "skipped"):
            match decode_item(item.json):
                case Lost(reason=reason):
                    self.lost[reason] += readers
                case Skipped(reason=reason):
                    self.skipped[reason] += readers

    def snapshot(self) -> Snapshot:
        """What can be said of it without anybody else; a copy."""
        outlets = sorted(self._outlets.items())
        gone: Counter[str] = Counter()
        for (transport, _), number in self.closed.items():
            gone[transport] += number
        at_once = sum(each.at_once for _, each in outlets)
        waited = sum(number for (_, reason), number in self.closed.items() if reason == ANSWERED)
        found: Snapshot = {
            "everywire_connections": {(each,): float(number - gone[each]) for each, number in self.opened.items()},
            "everywire_connections_opened_total": by_name(self.opened),
            "everywire_connections_closed_total": {key: float(number) for key, number in self.closed.items()},
            "everywire_refused_total": by_name(self.refused),
            "everywire_polls_total": {("at_once",): float(at_once), ("waited",): float(waited)},
            "everywire_published_total": by_name(self.published),
            "everywire_events_total": {(): float(self.events)},
            "everywire_lost_total": by_name(self.lost),
            "everywire_skipped_total": by_name(self.skipped),
            "everywire_commands_total": {key: float(number) for key, number in self.commands.items()},
            "everywire_loop_lag_seconds": {(): self.lag.value()},
            "everywire_log_lines_left_out_total": by_name(self.left_out),
            "everywire_batches_total": {key: float(each.batches) for key, each in outlets},
            "everywire_items_total": {key: float(each.items) for key, each in outlets},
            "everywire_bytes_total": {key: float(each.bytes) for key, each in outlets},
            "everywire_delivery_delay_seconds": {key: each.delay.value() for key, each in outlets},
            "everywire_batch_items": {key: each.sizes.value() for key, each in outlets},
        }
        return found


def by_name(counter: Mapping[str, int]) -> dict[Labels, Value]:
    """As the values of a figure with one label."""
    return {(name,): float(number) for name, number in counter.items()}


def of_worker(found: Snapshot, worker: str) -> Snapshot:
    """With the worker as the last label of each gauge."""
    return {
        name: {(*labels, worker): value for labels, value in values.items()} if BY_NAME[name].kind == "gauge" else values
        for name, values in found.items()
    }


def total(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Those of several processes, added up; gauges stand beside each other, by worker."""
    found: Snapshot = {}
    for snapshot in snapshots:
        for name, values in snapshot.items():
            into, figure = found.setdefault(name, {}), BY_NAME[name]
            for labels, value in values.items():
                into[labels] = _together(figure, into[labels], value) if labels in into else value
    return found


def without_gauges(found: Snapshot) -> Snapshot:
    """What is left of a process that has ended."""
    return {name: values for name, values in found.items() if BY_NAME[name].kind != "gauge"}


def _together(figure: Figure, one: Value, other: Value) -> Value:
    if isinstance(one, list) and isinstance(other, list):
        return [first + second for first, second in zip(one, other, strict=True)]
    assert not isinstance(one, list) and not isinstance(other, list)  # noqa: S101, PT018 - of the same figure
    return one + other if figure.adds else max(one, other)


_Travelling: TypeAlias = list[tuple[str, Labels, float | list[float]]]
_decoder: msgspec.json.Decoder[_Travelling] = msgspec.json.Decoder(_Travelling)


def encode(found: Snapshot) -> bytes:
    """For another process."""
    return msgspec.json.encode(list(_rows(found)))


def decode(body: bytes) -> Snapshot:
    """The way back; what this version does not know is left out. Raises: msgspec.DecodeError, it is not that."""
    found: Snapshot = {}
    for name, labels, value in _decoder.decode(body):
        if name in BY_NAME:
            found.setdefault(name, {})[labels] = value
    return found


def _rows(found: Snapshot) -> Iterator[tuple[str, Labels, Value]]:
    for name, values in found.items():
        for labels, value in values.items():
            yield name, labels, value
