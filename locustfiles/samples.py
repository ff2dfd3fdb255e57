"""Samples: what is recorded of a measurement, and the file it is kept in.

Locust leaves one `Sample` of a round. `compare` puts it beside what the server used meanwhile (`Usage`) and what was done to the
network (`Mark`) into a `Round`, and all rounds together are a `Run`, the file `run.json`. Verdicts, reports and advice are made
from that file, later and as often as wanted.

Times are microseconds of CLOCK_MONOTONIC of the host that publishes, unless a field says otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Annotated, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from .histogram import Count, Histogram, Micros
from .plan import Plan, Rate, Some

SCHEMA: Final = "everywire.run/2"
Number: TypeAlias = Annotated[float, Meta(ge=-1e12, le=1e12)]


class SampleError(ValueError):
    """A file is not a run that this version can read; the message says what it is instead."""


class Lane(NamedTuple):
    """What is compared: one transport of one server through one network."""

    network: str
    subject: str
    transport: str


class Tally(msgspec.Struct, kw_only=True):
    """What became of the events, summed over readers. A disordered event is delivered, and so is a doubled one, once."""

    expected: Count = 0
    delivered: Count = 0
    lost: Count = 0  # never came
    declared: Count = 0  # of these, the server said so
    doubled: Count = 0  # deliveries of an event beyond the first
    disordered: Count = 0  # events that came after a later one

    def add(self, other: Tally) -> None:
        """Count what `other` has counted."""
        for field in self.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))


class Traffic(msgspec.Struct):
    """What went over the sockets of the readers, in bytes as the socket takes and gives them (no TCP, IP or TLS headers)."""

    down: Micros = 0
    up: Micros = 0
    headers: Micros = 0  # of these, heads of HTTP requests and answers, in both directions
    payload: Micros = 0  # of these, the data of events
    requests: Micros = 0
    opened: Micros = 0  # connections

    @property
    def framing(self) -> int:
        """What is neither heads nor data: frames, chunks, fields, envelopes, beats."""
        return self.down + self.up - self.headers - self.payload

    def plus(self, other: Traffic) -> Traffic:
        """Both together."""
        return Traffic(*(getattr(self, field) + getattr(other, field) for field in self.__struct_fields__))

    def minus(self, earlier: Traffic) -> Traffic:
        """What came since `earlier`."""
        return Traffic(*(getattr(self, field) - getattr(earlier, field) for field in self.__struct_fields__))


class Published(msgspec.Struct, kw_only=True):
    """What the publisher did."""

    rate: Rate  # events per second that were intended
    size: Count  # bytes of one event's data
    first: Micros = 0  # the sequence numbers
    last: Micros = -1
    started: Micros = 0  # when the first was due
    refused: dict[str, Count] = {}  # by reason
    retried: Count = 0  # requests that failed and were sent again
    lag: Histogram = msgspec.field(default_factory=Histogram)  # µs by which a request began late though nothing held it up
    answers: Histogram = msgspec.field(default_factory=Histogram)  # µs that the server took to answer one
    seconds: Number = 0.0


class Phases(msgspec.Struct):
    """How long the steps of opening a wire took, in µs: each a histogram over all that were opened before publishing began."""

    connect: Histogram = msgspec.field(default_factory=Histogram)  # TCP
    tls: Histogram = msgspec.field(default_factory=Histogram)  # handshake; empty over plain HTTP
    answer: Histogram = msgspec.field(default_factory=Histogram)  # from the request to the head of its answer
    hello: Histogram = msgspec.field(default_factory=Histogram)  # from the beginning to the first item


class Slot(msgspec.Struct, array_like=True):
    """Events that were due within one stretch of time, over all readers."""

    at: Number  # seconds since the first event was due, the beginning of the stretch
    expected: Count  # deliveries
    delivered: Count
    least: Micros  # µs of delay
    mean: Micros
    most: Micros


class Pause(msgspec.Struct, array_like=True):
    """A reader got nothing for clearly longer than the publisher's pace explains: 100 ms and three times its interval.

    One that never was back ends when the round did, which is later than the sample's `ended`.
    """

    reader: Count
    began: Micros  # the arrival before it
    ended: Micros | None  # the arrival after it; None: nothing more came before the round ended


class Sample(msgspec.Struct, kw_only=True):
    """One round as the readers saw it; of several Locust processes, all together."""

    readers: Some  # wanted
    ready: Count  # that had their first item when publishing began
    started: Micros  # when the first event was due
    ended: Micros  # when the last event arrived
    tally: Tally
    delays: Histogram  # µs from when an event was due to its arrival; not of readers that are slow by intent
    traffic: Traffic  # between `started` and the end of the round, without the opening of the wires before
    published: Published
    lag: Histogram  # µs by which the generator's event loop woke up too late
    cpu: Number  # share of one core that the generator used; of several processes, the most
    clock: Annotated[
        str, Meta(pattern="^(kernel|process)$")
    ]  # "kernel": arrival as the kernel stamped it; "process": as the generator noticed it
    phases: Phases = msgspec.field(default_factory=Phases)
    timeline: list[Slot] = []
    pauses: list[Pause] = []
    acknowledged: Histogram = msgspec.field(default_factory=Histogram)  # µs from a reader's own publish to its answer
    chosen: dict[str, Count] = {}  # of readers that choose for themselves: how many ended on each transport
    slow: Histogram = msgspec.field(default_factory=Histogram)  # µs of delay at readers that take their time: it is their own
    slow_tally: Tally = msgspec.field(default_factory=Tally)  # of `tally`, the part of those readers
    failures: dict[str, Count] = {}  # cuts and what else readers complained of, by reason: `cut: …`, `lost: …`
    processes: Count = 1
    clock_error: Count = 0  # µs by which clocks of other hosts may be wrong after correction

    @property
    def seconds(self) -> float:
        """From when the first event was due until the last was in, with the pause that belongs to it."""
        return max(1e-6, (self.ended - self.started) / 1e6 + 1 / self.published.rate)


class Look(msgspec.Struct, array_like=True):
    """The server at one moment."""

    at: Number  # seconds since the first event was due
    cpu: Number  # share of one core since the look before
    rss: Count  # bytes
    sockets: Count


class Usage(msgspec.Struct):
    """What the server used between a sample's `started` and `ended`."""

    cpu: Number  # seconds, user and system
    rss: Count  # bytes, the most that was seen
    rss_before: Count  # bytes, before the first reader came
    machine: Number  # share of all cores in use, by whomever
    sockets: Count = 0  # the most that were open
    looks: list[Look] = []


class Mark(msgspec.Struct, kw_only=True):
    """Something that was done to the network or the server in a round."""

    do: str  # as in the plan's `Fault`
    began: Micros  # when it was done
    ended: Micros  # when it was over, as far as we are concerned: the network as before, the server answering again


class Recovery(msgspec.Struct, kw_only=True):
    """How the readers fared after one mark."""

    mark: Count  # index
    back: Histogram  # µs from the end of the mark to the first event that came after it; 0: a reader that missed nothing
    never: Count = 0  # readers that were not back when the round ended


class Round(msgspec.Struct, kw_only=True):
    """One lane, measured once."""

    lane: Lane
    repeat: Some  # from 1
    sample: Sample
    server: Usage | None = None  # None: the server is not ours to watch
    marks: list[Mark] = []
    recoveries: list[Recovery] = []
    relay: Number | None = None  # share of one core that the process used that plays the network; None: there is none


class Step(msgspec.Struct, kw_only=True):
    """One try of a search for the capacity of a lane."""

    lane: Lane
    readers: Some
    p99: Micros | None  # µs; None: nothing arrived
    lost: Count
    held: bool  # within the goal
    doubts: list[str] = []  # not empty: the step tells of the instrument, not of the lane, and ends the search


class Run(msgspec.Struct, kw_only=True):
    """The whole comparison: the content of `run.json`."""

    schema: str = SCHEMA
    started: str  # ISO 8601
    command: str
    plan: Plan
    environment: dict[str, str]
    complete: bool = False  # all rounds were played
    wanted: int = 0  # how many rounds those are; 0: a search, whose end is not known before
    calibration: list[Round] = []  # the same readers and publisher at a server that does nothing
    rounds: list[Round] = []
    steps: list[Step] = []
    counts: dict[str, object] = {}  # by subject, what its /status said at the end, if it has one

    def of(self, lane: Lane) -> list[Round]:
        """The rounds of one lane."""
        return [each for each in self.rounds if each.lane == lane]

    def lanes(self, network: str | None = None) -> list[Lane]:
        """Those that were measured, in the order of the plan; in one network, if it is named."""
        played = {each.lane for each in self.rounds} | {each.lane for each in self.steps}
        return [lane for lane in plan_lanes(self.plan) if lane in played and network in (None, lane.network)]

    def networks(self) -> list[str]:
        """Those in which something was measured."""
        return [name for name in self.plan.networks if self.lanes(name)]


class _Schema(msgspec.Struct):
    schema: str = ""


def plan_lanes(plan: Plan) -> list[Lane]:
    """All that a plan asks for, in its order. A server need not have every transport, so some may never be played."""
    return [Lane(*each) for each in itertools.product(plan.networks, plan.subjects, plan.transports)]


def encode(run: Run) -> bytes:
    """A run as it is kept."""
    return msgspec.json.encode(run)


def is_run(body: bytes) -> bool:
    """Whether `body` is a run, of whichever version."""
    try:
        return msgspec.json.decode(body, type=_Schema).schema.startswith(SCHEMA.partition("/")[0] + "/")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SampleError(f"not a recorded run: {error}") from error


def total(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    whole = Tally()
    for each in tallies:
        whole.add(each)
    return whole
