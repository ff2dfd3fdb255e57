"""Samples: what is recorded of a measurement, and the file it is kept in.

A reader keeps a `Record` of each channel, judged by the publisher's sequence numbers alone, so that a transport cannot hide what
it lost. A Locust process leaves one `Sample`, `compare` puts it beside the server's `Usage` into a `Round`, and all rounds
together are a `Run`, the file `run.json`. Reports are made from that file, later and as often as wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from transports.items import Lost

from .histogram import Histogram

SCHEMA: Final = "everywire.run/1"
TRANSPORTS: Final = ("websocket", "sse", "longpoll")

Finding: TypeAlias = Literal["", "lost", "declared", "doubled", "disordered"]


class SampleError(ValueError):
    """A file is not a run that this version can read; the message says what it is instead."""


class Tally(msgspec.Struct, kw_only=True):
    """What became of the events, summed over readers. A disordered event is delivered, and so is a doubled one, once."""

    expected: int = 0
    delivered: int = 0
    lost: int = 0  # never came
    declared: int = 0  # of these, the server said so
    doubled: int = 0  # deliveries of an event beyond the first
    disordered: int = 0  # events that came after a later one

    def add(self, other: Tally) -> None:
        """Count what `other` has counted."""
        for field in self.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))


class _Gap(NamedTuple):
    """Numbers from `first` to `last` that have not come (yet)."""

    first: int
    last: int
    declared: bool


class Record:
    """What one reader has seen of one channel, whose events are numbered without holes.

    Args:
        channel: its name.
        delays: where delays are counted; readers may share one.
    """

    def __init__(self, channel: str, delays: Histogram | None = None) -> None:
        self.channel = channel
        self.delays = Histogram() if delays is None else delays
        self.ranges: list[Lost] = []  # as the server declared them
        self.next: int | None = None  # the number that has to come now
        self._first = 0  # the lowest number seen
        self._gaps: list[_Gap] = []
        self._told = False  # a `lost` came since the last event: the next gap is a declared one
        self._head_told = False
        self._delivered = self._doubled = self._disordered = 0

    def event(self, n: int, delay: int) -> Finding:
        """Event number `n` came, `delay` microseconds after it was meant to be published. Returns what is wrong with that."""
        if n == self.next:
            finding: Finding = ""
            self.next = n + 1
        elif self.next is None or n > self.next:
            finding = self._ahead(n)
        elif self._fills_gap(n):
            finding = "disordered"
            self._disordered += 1
        else:
            self._doubled += 1
            return "doubled"
        self._told = False
        self._delivered += 1
        self.delays.record(delay)
        return finding

    def lost(self, item: Lost) -> None:
        """The server declared a range as gone."""
        self.ranges.append(item)
        self._told = True

    def tally(self, first: int | None = None, last: int | None = None) -> Tally:
        """The judgement, when all of `first` to `last` should have come; where None, from or through what was seen."""
        gaps = list(self._gaps)
        if self.next is None:
            if first is not None and last is not None and first <= last:
                gaps.append(_Gap(first, last, self._told))
        else:
            if first is not None and first < self._first:
                gaps.append(_Gap(first, self._first - 1, self._head_told))
            if last is not None and last >= self.next:
                gaps.append(_Gap(self.next, last, self._told))
        lost = sum(gap.last - gap.first + 1 for gap in gaps)
        return Tally(
            expected=self._delivered + lost,
            delivered=self._delivered,
            lost=lost,
            declared=sum(gap.last - gap.first + 1 for gap in gaps if gap.declared),
            doubled=self._doubled,
            disordered=self._disordered,
        )

    def _ahead(self, n: int) -> Finding:
        skipped, self.next = self.next, n + 1
        if skipped is None:
            self._first, self._head_told = n, self._told
            return ""
        self._gaps.append(_Gap(skipped, n - 1, self._told))
        return "declared" if self._told else "lost"

    def _fills_gap(self, n: int) -> bool:
        """A late one: take it out of its gap. One before the first that was seen opens the gap between them."""
        if n < self._first:
            self._gaps += _holes(n + 1, self._first - 1, declared=False)
            self._first = n
            return True
        for place, gap in enumerate(self._gaps):
            if gap.first <= n <= gap.last:
                self._gaps[place : place + 1] = [
                    *_holes(gap.first, n - 1, declared=gap.declared),
                    *_holes(n + 1, gap.last, declared=gap.declared),
                ]
                return True
        return False


def _holes(first: int, last: int, *, declared: bool) -> list[_Gap]:
    return [_Gap(first, last, declared)] if first <= last else []


class Traffic(msgspec.Struct):
    """What went over the sockets of the readers, in bytes as the socket takes and gives them (no TCP or IP headers)."""

    down: int = 0
    up: int = 0
    requests: int = 0
    opened: int = 0  # connections

    def plus(self, other: Traffic) -> Traffic:
        """Both together."""
        return Traffic(self.down + other.down, self.up + other.up, self.requests + other.requests, self.opened + other.opened)

    def minus(self, earlier: Traffic) -> Traffic:
        """What came since `earlier`."""
        return Traffic(
            self.down - earlier.down,
            self.up - earlier.up,
            self.requests - earlier.requests,
            self.opened - earlier.opened,
        )


class Published(msgspec.Struct, kw_only=True):
    """What the publisher did."""

    rate: float  # events per second that were intended
    size: int  # bytes of one event's data
    first: int = 0  # the sequence numbers
    last: int = -1
    started: int = 0  # when the first was due, in microseconds of CLOCK_MONOTONIC
    refused: dict[str, int] = {}  # by reason
    lag: Histogram = msgspec.field(default_factory=Histogram)  # how late a request began though nothing held it up
    answers: Histogram = msgspec.field(default_factory=Histogram)  # how long the server took to answer one
    seconds: float = 0.0


class Sample(msgspec.Struct, kw_only=True):
    """One round as one Locust process saw it. Times are microseconds of CLOCK_MONOTONIC, which processes of one host share."""

    transport: str
    readers: int  # wanted
    ready: int  # that had their `hello` when publishing began
    started: int  # when the first event was due
    ended: int  # when the last event arrived
    tally: Tally
    delays: Histogram
    traffic: Traffic  # between `started` and the end of the round, without the opening of the wires
    published: Published
    lag: Histogram  # by how much the generator's event loop woke up too late
    cpu: float  # share of one core that the generator used
    clock: str  # "kernel": arrival as the kernel stamped it; "process": as the generator noticed it
    failures: dict[str, int] = {}  # cuts and what else readers complained of, by reason

    @property
    def seconds(self) -> float:
        """From when the first event was due until the last was in, with the pause that belongs to it."""
        return max(1e-6, (self.ended - self.started) / 1e6 + 1 / self.published.rate)


class Usage(msgspec.Struct):
    """What the server used between a sample's `started` and `ended`."""

    cpu: float  # seconds, user and system
    rss: int  # bytes, the most that was seen
    rss_before: int  # bytes, when publishing began, with all readers connected
    machine: float  # share of all cores in use, by whomever


class Round(msgspec.Struct):
    """One transport, measured once."""

    transport: str
    repeat: int  # from 1
    sample: Sample
    server: Usage | None = None  # None: the server is not ours to watch


class Plan(msgspec.Struct, kw_only=True):
    """What was asked for."""

    readers: int
    rate: float  # events per second
    seconds: float  # of publishing in each round
    repeats: int
    size: int = 100  # bytes of one event's data
    transports: tuple[str, ...] = TRANSPORTS
    url: str | None = None  # None: a server of our own


class Run(msgspec.Struct, kw_only=True):
    """The whole comparison: the content of `run.json`."""

    schema: str = SCHEMA
    started: str  # ISO 8601
    command: str
    plan: Plan
    environment: dict[str, str]
    rounds: list[Round] = []

    def of(self, transport: str) -> list[Round]:
        """The rounds of one transport."""
        return [each for each in self.rounds if each.transport == transport]

    def transports(self) -> list[str]:
        """Those that were measured, in the order of the plan."""
        return [name for name in self.plan.transports if self.of(name)]


class _Schema(msgspec.Struct):
    schema: str = ""


def encode(run: Run) -> bytes:
    """A run as it is kept."""
    return msgspec.json.format(msgspec.json.encode(run), indent=1)


def decode(body: bytes) -> Run:
    """The run in `body`.

    Raises:
        SampleError: it is none, or of another version.
    """
    try:
        found = msgspec.json.decode(body, type=_Schema).schema
        if found != SCHEMA:
            raise SampleError(f"this is {found or 'something else'!r}, not {SCHEMA!r}")
        return msgspec.json.decode(body, type=Run)
    except msgspec.DecodeError as error:
        raise SampleError(f"not a recorded run: {error}") from error


def total(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    whole = Tally()
    for each in tallies:
        whole.add(each)
    return whole
