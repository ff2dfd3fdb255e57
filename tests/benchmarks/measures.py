"""Measures: what is asked of a subject, each a function from a stage, a lane and a repeat to samples.

Each begins with a server that has just been started. What it takes to start one is never measured.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import msgspec

from . import machine, search
from .load import Load, Round
from .program import Program, ProgramError
from .results import Sample
from .rows import BY_NAME, Subject
from .stage import Playing, Stage

READERS = 200
LIMITS = (50, 250)  # milliseconds; the 99th percentile of delays that a rate is still called good with
_WARM = 50  # readers before memory is first looked at: what is loaded once is not theirs
_SETTLE = 20.0  # seconds for a server to take in a crowd
_LOOK = 0.2  # seconds, in which it is seen whether it has something to do
_IDLE = 0.03  # of a core: what a server uses that has nothing to do, at the most
_TRIES = 5
DISTURBED = 0.05  # of the time, for which others kept the server from its core, or the host took one away
_STEP = 2 ** (1 / 8)  # between two rates that are told apart
_RATE_MOST = 400_000.0  # events a second: more than any publisher here makes


class Lane(msgspec.Struct, frozen=True):
    """A subject and a wire, and the seconds that a measurement may take."""

    subject: Subject
    wire: str
    seconds: float


class Memory(dict[tuple[str, str], float]):
    """The rate in events a second that was good last, by subject and wire: where a search begins."""


Measure = Callable[[Stage, Lane, int, Memory], Iterator[Sample]]


def saturation(stage: Stage, lane: Lane, repeat: int, memory: Memory) -> Iterator[Sample]:
    """Deliveries a second to 200 readers, at the highest rate whose 99th percentile of delays is within a limit."""
    with _Probes(stage, lane) as probes:
        start = memory.get((lane.subject.name, lane.wire), 500.0)
        for limit in LIMITS:
            first = 2.0 if limit == LIMITS[0] and not repeat else _STEP  # afterwards it is known about where it lies
            rate = search.highest(probes.within(limit), start, finest=_STEP, first=first, least=8.0, most=_RATE_MOST)
            if rate is None:
                yield _sample("saturation", lane, repeat, None, at=limit, why=f"over {limit} ms at any rate")
                continue
            start = rate
            if limit == LIMITS[0]:
                memory[lane.subject.name, lane.wire] = rate * (_STEP**0.5 if repeat % 2 else _STEP**-0.5)
            yield probes.sample(limit, rate, repeat)


def single(stage: Stage, lane: Lane, repeat: int, memory: Memory) -> Iterator[Sample]:
    """Deliveries a second to 200 readers, one event after the other, each written to all before the next is made."""
    with stage.playing(lane.subject) as playing, playing.readers(lane.wire) as load:
        _open(load, READERS)
        counted, details = _round(playing, load, lane.seconds, size=100, single=True)
        details["events_per_frame"] = counted.delivered / max(1, counted.frames)
        value = counted.delivered / counted.seconds if counted.seconds else None
        if value is not None and not repeat:
            memory.setdefault((lane.subject.name, lane.wire), value / READERS)
        yield _sample("single", lane, repeat, value if counted.whole else None, counted, details, why=_fault(counted))


def polls(stage: Stage, lane: Lane, repeat: int, memory: Memory) -> Iterator[Sample]:
    """Polls a second on 100 kept connections, each answered at once with one event."""
    with stage.playing(lane.subject) as playing, playing.readers("poll") as load:
        _open(load, 100)
        load.poll(0.2)
        clock = _Clock(playing)
        counted = load.poll(lane.seconds)
        details = clock.details(counted)
        good = counted.polls > 0 and not counted.gone and counted.delivered >= counted.polls
        details["cpu_us"] = details["cpu"] / max(1, counted.polls) * 1e6
        value = counted.polls / counted.seconds if good else None
        yield _sample(
            "polls", lane, repeat, value, counted, details, why="" if good else f"{counted.gone} connections were closed"
        )


def memory(stage: Stage, lane: Lane, repeat: int, _: Memory) -> Iterator[Sample]:
    """Bytes of resident memory for each of 2,000 and of 10,000 readers to whom nothing happens."""
    with stage.playing(lane.subject) as playing, playing.readers(lane.wire) as load:
        _open(load, _WARM)
        before = _settled(playing)
        for number in (2_000, 10_000):
            opened = load.add(number - (2_000 if number > 2_000 else _WARM), 256)
            if opened.open < number:
                yield _sample("memory", lane, repeat, None, at=number, why=f"{opened.open} of {number} readers got in")
                return
            yield _sample("memory", lane, repeat, (_settled(playing) - before) / (number - _WARM), at=number)


def connects(stage: Stage, lane: Lane, repeat: int, _: Memory) -> Iterator[Sample]:
    """Seconds until 2,000 readers who come at once are all open."""
    with stage.playing(lane.subject) as playing, playing.readers(lane.wire) as load:
        _open(load, 10)
        clock = _Clock(playing)
        opened = load.add(2_000, 2_000)
        details = {"cpu": clock.cpu, "waited": clock.waited}
        why = f"{opened.failed} of 2,000 did not get in" if opened.failed else ""
        yield _sample("connects", lane, repeat, None if opened.failed else opened.seconds, details=details, why=why)


def cpu(stage: Stage, lane: Lane, repeat: int, _: Memory) -> Iterator[Sample]:
    """Seconds of CPU for a million deliveries, 10 events a second to 1,000 readers."""
    with stage.playing(lane.subject) as playing, playing.readers(lane.wire) as load:
        _open(load, 1_000)
        yield _cost("cpu", playing, load, lane, repeat, rate=10.0, at=0.0)


def flatness(stage: Stage, lane: Lane, repeat: int, _: Memory) -> Iterator[Sample]:
    """Microseconds of CPU for a delivery, over the number of readers: 20,000 deliveries a second in each."""
    with stage.playing(lane.subject) as playing, playing.readers(lane.wire) as load:
        there = 0
        for number in (100, 300, 1_000, 3_000, 10_000) if lane.subject.own else (100, 1_000, 10_000):
            _open(load, number - there)
            there = number
            yield _cost("flatness", playing, load, lane, repeat, rate=20_000 / number, at=number)


def workers(stage: Stage, lane: Lane, repeat: int, _: Memory) -> Iterator[Sample]:
    """Microseconds of CPU for a delivery, of all processes, over the number of workers: 20 events a second to 1,000 readers."""
    for number in (1, 2, 4):
        with stage.playing(lane.subject, "--workers", str(number)) as playing, playing.readers(lane.wire) as load:
            _open(load, 1_000)
            yield _cost("workers", playing, load, lane, repeat, rate=20.0, at=number)


def sizes(stage: Stage, lane: Lane, repeat: int, _: Memory) -> Iterator[Sample]:
    """Microseconds of CPU for a delivery, over the bytes of an event: 50 events a second to 200 readers."""
    with stage.playing(lane.subject) as playing, playing.readers(lane.wire) as load:
        _open(load, READERS)
        for size in (100, 1_000, 10_000, 65_536):
            yield _cost("sizes", playing, load, lane, repeat, rate=50.0, at=size, size=size)


def following(stage: Stage, lane: Lane, repeat: int, _: Memory) -> Iterator[Sample]:
    """Microseconds of CPU for a delivery, over the channels that a reader follows: 100 events a second to 200 readers."""
    for number in (1, 10, 100):
        with stage.playing(lane.subject, "--channels", str(number)) as playing, playing.readers(lane.wire) as load:
            _open(load, READERS)
            yield _cost("following", playing, load, lane, repeat, rate=100.0, at=number)


def publish(stage: Stage, lane: Lane, repeat: int, _: Memory) -> Iterator[Sample]:
    """Microseconds of a publish that nobody reads, in the process."""
    yield _inside(stage, "publish", lane, repeat, 0.0, "publish")


def channels(stage: Stage, lane: Lane, repeat: int, _: Memory) -> Iterator[Sample]:
    """Microseconds of a publish, over the number of channels that have events."""
    for number in (1, 10, 100, 1_000, 10_000, 100_000):
        yield _inside(stage, "channels", lane, repeat, number, "publish", "--channels", str(number))


def history(stage: Stage, lane: Lane, repeat: int, _: Memory) -> Iterator[Sample]:
    """Microseconds for a reader who comes back one event behind, over the events that the log keeps."""
    for number in (100, 1_000, 10_000, 100_000):
        yield _inside(stage, "history", lane, repeat, number, "resume", "--history", str(number))


def ceiling(stage: Stage, lane: Lane, repeat: int, _: Memory) -> Iterator[Sample]:
    """Deliveries a second that the load client can count: the C server sends it what was made beforehand.

    At 100 events a frame, as everywire's items in batches; at 1 event a frame, as a bare event.
    """
    for each in (100, 1):
        with stage.playing(BY_NAME["c"]) as playing, playing.readers(lane.wire) as load:
            _open(load, READERS)
            clock = _Clock(playing)
            load.begin(100)
            counted = load.expect(playing.publish(blast=round(40_000 * lane.seconds), size=100, frame=each))
            value = counted.delivered / counted.seconds if counted.whole else None
            yield _sample("ceiling", lane, repeat, value, counted, clock.details(counted), at=each, why=_fault(counted))


MEASURES: dict[str, Measure] = {
    each.__name__: each
    for each in (
        ceiling, single, saturation, polls, memory, connects, cpu, publish,
        flatness, channels, following, history, workers, sizes,
    )
}  # fmt: skip


class _Probe(NamedTuple):
    """What came of one rate."""

    counted: Round
    details: dict[str, float]
    sent: int

    def within(self, limit: int) -> bool:
        """Whether all came in order, and 99 in 100 within `limit` milliseconds."""
        counted = self.counted
        return counted.whole and counted.delivered == self.sent * READERS and counted.p99 <= limit * 1_000_000


class _Probes:
    """Rates that are tried on one subject and wire; a context manager. Where a reader was cut off, the subject is started
    again. A rate that was bad while others kept the server from its core is tried again, but not for ever.
    """

    def __init__(self, stage: Stage, lane: Lane) -> None:
        self._stage, self._lane = stage, lane
        self._tried: dict[float, list[_Probe]] = {}
        self._open: ExitStack | None = None
        self._playing: tuple[Playing, Load] | None = None

    def __enter__(self) -> _Probes:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def within(self, limit: int) -> search.Good:
        """Whether a rate is good; see `_Probe.within`."""

        def good(rate: float) -> bool:
            tried = self._tried.setdefault(rate, [])
            while not any(probe.within(limit) for probe in tried):
                if len(tried) >= _TRIES or (tried and tried[-1].details["waited"] < DISTURBED):
                    return False
                tried.append(self._try(rate))
            return True

        return good

    def sample(self, limit: int, rate: float, repeat: int) -> Sample:
        """What was measured at `rate`. What came in a second counts, if that is less than what was offered."""
        counted, details, _ = next(probe for probe in self._tried[rate] if probe.within(limit))
        value = min(rate * READERS, counted.delivered / counted.seconds)
        details = {**details, "rate": rate, "events_per_frame": counted.delivered / max(1, counted.frames)}
        return _sample("saturation", self._lane, repeat, value, counted, details, at=limit)

    def _try(self, rate: float) -> _Probe:
        playing, load = self._playing or self._start()
        clock = _Clock(playing)
        load.begin(100)
        sent = playing.publish(rate=rate, seconds=self._lane.seconds, size=100)
        counted = load.expect(sent)
        if counted.gone or counted.lost:
            self._stop()
        return _Probe(counted, clock.details(counted), sent)

    def _start(self) -> tuple[Playing, Load]:
        self._open = ExitStack()
        playing = self._open.enter_context(self._stage.playing(self._lane.subject))
        load = self._open.enter_context(playing.readers(self._lane.wire))
        _open(load, READERS)
        self._playing = playing, load
        return self._playing

    def _stop(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = self._playing = None


class _Clock:
    """What a subject uses from now on."""

    def __init__(self, playing: Playing) -> None:
        self._program = playing.program
        self._cpu, self._kept, self._began = self._program.cpu(), self._kept_waiting(), time.monotonic()

    @property
    def cpu(self) -> float:
        """Seconds of CPU that it used."""
        return self._program.cpu() - self._cpu

    @property
    def waited(self) -> float:
        """The share of the time for which it was kept from its core."""
        return (self._kept_waiting() - self._kept) / (time.monotonic() - self._began)

    def details(self, counted: Round) -> dict[str, float]:
        """Seconds of CPU that the server used, shares of the time, and delays in milliseconds."""
        return {
            "cpu": self.cpu,
            "waited": self.waited,
            "busy": counted.cpu / counted.seconds if counted.seconds else 0.0,
            **{name: getattr(counted, name) / 1e6 for name in ("p50", "p99", "p999", "slowest")},
        }

    def _kept_waiting(self) -> float:
        return self._program.kept_waiting() + machine.stolen()


def _open(load: Load, number: int) -> None:
    opened = load.add(number)
    if opened.failed:
        raise ProgramError(f"{opened.failed} of {number} readers did not get in")


def _round(playing: Playing, load: Load, seconds: float, **order: object) -> tuple[Round, dict[str, float]]:
    """Let it publish, and count."""
    load.begin(int(str(order["size"])))
    clock = _Clock(playing)
    sent = playing.publish(seconds=seconds, **order)
    counted = load.expect(sent)
    return counted, clock.details(counted)


def _cost(
    measure: str, playing: Playing, load: Load, lane: Lane, repeat: int, *, rate: float, at: float, size: int = 100
) -> Sample:
    """Microseconds of CPU for a delivery at `rate`, which is also seconds for a million of them."""
    seconds = max(lane.seconds, 3 / rate)
    counted, details = _round(playing, load, seconds, rate=rate, size=size)
    value = details["cpu"] / counted.delivered * 1e6 if counted.delivered and counted.whole else None
    return _sample(measure, lane, repeat, value, counted, details, at=at, why=_fault(counted))


def _inside(stage: Stage, measure: str, lane: Lane, repeat: int, at: float, *arguments: str) -> Sample:
    argv = [sys.executable, "-m", "tests.benchmarks.inprocess", *arguments, "--seconds", str(lane.seconds)]
    with Program(argv, stage.server_core) as program:
        return _sample(measure, lane, repeat, program.hear(60.0)["microseconds"], at=at)


def _settled(playing: Playing) -> int:
    """Its memory, once it has nothing to do any more: who waits for an answer has only sent a request so far."""
    program, until = playing.program, time.monotonic() + _SETTLE
    while time.monotonic() < until:
        before = program.cpu() + program.kept_waiting()  # what it wanted to do
        time.sleep(_LOOK)
        if program.cpu() + program.kept_waiting() - before < _IDLE * _LOOK:
            break
    return program.rss()


def _fault(counted: Round) -> str:
    """What was wrong with what came."""
    counts = (("lost", counted.lost), ("doubled", counted.doubled), ("out of order", counted.disorder), ("cut off", counted.gone))
    return ", ".join(f"{number} {what}" for what, number in counts if number)


def _sample(
    measure: str,
    lane: Lane,
    repeat: int,
    value: float | None,
    counted: Round | None = None,
    details: dict[str, float] | None = None,
    *,
    at: float = 0.0,
    why: str = "",
) -> Sample:
    details = dict(details or {})
    return Sample(
        measure=measure,
        subject=lane.subject.name,
        wire=lane.wire,
        at=at,
        repeat=repeat,
        value=value,
        why=why,
        busy=details.pop("busy", 0.0),
        waited=details.pop("waited", 0.0),
        details=details,
    )


@contextmanager
def failing_alone(lane: Lane, measure: str, repeat: int, samples: list[Sample]) -> Iterator[None]:
    """A subject that fails is a sample that says why, and not the end of the run."""
    try:
        yield
    except ProgramError as error:
        samples.append(_sample(measure, lane, repeat, None, why=str(error)))
