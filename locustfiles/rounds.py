"""Round: readers in place, publisher on, last event in, sample written. A scenario imports it, and Locust plays it at each start
of a test.

It gives Locust the options of the group everywire. With `--seconds`, or with a `--plan`, a round has an end and Locust quits
with it (what `everywire compare` does); without, events are published for as long as the test runs (what one wants in the web
interface).

With Locust's workers, on this host or others, the master publishes and asks their stations.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import gevent
import msgspec
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from .measuring import clocks, parts, schedule, stations, timeline
from .measuring.clocks import Offset
from .measuring.publisher import Progress
from .measuring.questions import Begin, Glance, Glimpse, Hush, Part, Said, Start, Stock
from .measuring.stations import Asked
from .plan import Plan, Scenario
from .samples import Published, Sample
from .subjects import SubjectError, load, subject
from .users import StreamUser

_PROBE = 0.02  # seconds between two looks
_DRAIN_WAIT = 2.0  # seconds without any arrival after which what has not come is lost
_DRAIN_WAIT_FAULTS = 6.0  # the same where connections break: a forgotten one is noticed after two beats
_BEAT = 2.0  # seconds; what readers ask for where connections break
_TELL_EVERY = 0.5  # seconds
_log = logging.getLogger("everywire")
_playing: list[gevent.Greenlet] = []


class RoundError(RuntimeError):
    """The round cannot be played, or its figures would not be true; the message says why."""


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("everywire", "What is not given is as the scenario says.")
    shown = [
        group.add_argument("--channel", default="compare", help="Channel to publish to and to read; of several, a prefix"),
        group.add_argument("--rate", type=float, default=0.0, help="Events per second to publish"),
        group.add_argument("--seconds", type=float, default=0.0, help="Publish so long, then quit. 0: while the test runs"),
        group.add_argument("--size", type=int, default=0, help="Bytes of one event's data"),
        group.add_argument("--subject", default="", help="What serves at --host: a name, or a .py file with a SUBJECT"),
        group.add_argument("--clock-limit", type=float, default=clocks.LIMIT / 1000, help="ms that a worker's clock may be off"),
    ]
    for action in shown:  # Locust shows on its page only what was not added to a group
        vars(action).update(include_in_web_ui=True, is_secret=False, is_required=False, is_multiple=False)
    for name, text in _HIDDEN.items():
        group.add_argument(name, default="", help=text)


_HIDDEN = {
    "--plan": "JSON of a plan, which goes before the numbers of the scenario",
    "--publish-to": "URL of the server for the publisher, which does not go through the network. Default: --host",
    "--publish-patience": "Seconds for which the server may be away before the publisher gives up. Default: 30",
    "--samples": "Write the sample of the round to this file, and spare Locust's statistics",
    "--events": "Write a row of CSV for each event to this file",
    "--progress": "File descriptor for a line of JSON twice a second",
    "--plan-body": "The plan itself; the master gives it to its workers",
}


@events.init.add_listener  # type: ignore[untyped-decorator]
def _init(environment: Any, runner: Any, **_: Any) -> None:
    stations.listen(runner)
    if not isinstance(runner, WorkerRunner):
        try:
            given = _given(environment)
        except (OSError, msgspec.DecodeError) as error:
            sys.exit(f"--plan: {error}")
        environment.parsed_options.plan_body = msgspec.json.encode(given).decode()


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _start(environment: Any, **_: Any) -> None:
    if not isinstance(environment.runner, MasterRunner):
        try:
            _assign(environment)
        except SubjectError as error:
            sys.exit(f"--subject: {error}")
        stations.renew()
    if not isinstance(environment.runner, WorkerRunner):  # one publisher, wherever the readers are
        _playing.append(gevent.spawn(play, environment))


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def _stop(**_: Any) -> None:
    while _playing:
        _playing.pop().kill()


def plan(environment: Any) -> Plan:
    """What is to be played: the plan or the scenario, with what the options change."""
    options = environment.parsed_options
    known = msgspec.json.decode(options.plan_body, type=Plan)
    return msgspec.structs.replace(known, **{name: value for name in ("rate", "size") if (value := getattr(options, name))})


def play(environment: Any) -> None:
    """One round; runs beside the users."""
    options, runner = environment.parsed_options, environment.runner
    ends = bool(options.seconds or options.plan)
    try:
        sample, rows = Play(environment).play()
        if options.samples:
            Path(options.samples).write_bytes(msgspec.json.encode(sample))
        if options.events:
            Path(options.events).write_text("".join(f"{line}\n" for line in timeline.csv(rows, sample.started)), encoding="utf-8")
    except (OSError, RuntimeError, msgspec.DecodeError) as error:
        _log.error("the round failed: %s", error)
        environment.process_exit_code = 1
    _playing.clear()  # what follows stops the test, and that would end this very greenlet in the middle of it
    (runner.quit if ends else runner.stop)()


class Play:
    """One round, conducted from the process that publishes.

    Args:
        environment: Locust's.
    """

    def __init__(self, environment: Any) -> None:
        self.options, self.runner, self.host = environment.parsed_options, environment.runner, environment.host
        self.plan = plan(environment)
        self.seconds = self.options.seconds or (self.plan.seconds if self.options.plan else 0.0)
        self.channels = channels(self.plan, self.options.channel)
        self.phase, self.started, self.sent = "opening", 0, 0
        self.stations: Sequence[Asked] = []
        self._tell: gevent.Greenlet | None = None

    def play(self) -> tuple[Sample, list[timeline.Row]]:
        """Play it. Raises: RoundError; RuntimeError, a part of it failed."""
        with self._progress():
            self.stations = self._in_place()
            applied = self._clocks()
            ready = sum(each.ready for each in self.glances())
            users = max(1, self.runner.target_user_count)
            if not ready:
                return parts.nothing(self.plan, users, stations.all_of(self.stations, Stock({}, {}))), []
            keep = bool(self.options.samples)
            interval = None if not self.seconds else 1e6 * self._interval
            stations.all_of(self.stations, [Begin(each.ahead, interval, keep) for each in applied])
            self._enter("publishing")
            published = self._published()
            said = self._drained(published)
            sample, rows = self._sample(published, said)
            sample.ready, sample.readers = ready, users
            sample.clock_error = self._uncertainty(applied)
            self._enter("done")
        return sample, rows

    def glances(self, last: dict[str, int] | None = None) -> list[Glimpse]:
        """How far all stations are."""
        return stations.all_of(self.stations, Glance(last or {}))

    # ---------------------------------------------------------------------------------------------------------- its steps

    def _in_place(self) -> Sequence[Asked]:
        """The stations, when all readers are in place, or patience is over."""
        found: Sequence[Asked] = []

        def met() -> bool:
            self.stations = found = stations.stations(self.runner)
            return bool(found) and sum(each.ready for each in self.glances()) >= (self.runner.target_user_count or 1)

        _until(met, self.plan.patience)
        found = stations.stations(self.runner)
        if not found:
            raise RoundError("there is no worker to read")
        return found

    def _clocks(self) -> list[Offset]:
        """By what to correct each station's times."""
        applied = [each.applied for each in stations.offsets(self.stations)]
        for each in applied:
            self._check(each.error)
        return applied

    def _uncertainty(self, applied: Sequence[Offset]) -> int:
        """By how much times may be wrong, in microseconds."""
        later = stations.offsets(self.stations)
        worst = max(clocks.uncertainty(*both) for both in zip(applied, later, strict=True))
        self._check(worst)
        return worst

    def _check(self, error: int) -> None:
        if error > self.options.clock_limit * 1000:
            raise RoundError(
                f"a worker's clock is known to {error / 1000:.1f} ms only, more than --clock-limit {self.options.clock_limit:g}"
            )

    @property
    def _interval(self) -> float:
        """Seconds between two arrivals at a reader, if all is well."""
        share = self.plan.follows / self.plan.channels
        return max(self.plan.burst, 1 / share) / self.plan.rate

    def _published(self) -> Published:
        """Run the publisher in a process of its own until it has done or this greenlet is killed."""
        with _publisher(self._command()) as lines:
            for line in lines:
                told = msgspec.json.decode(line, type=Progress)
                self.sent = told.sent
                if not self.started:
                    self._first_is_due(told.started)
                if told.published is not None:
                    return told.published
        raise RoundError("the publisher failed; what it said stands above")

    def _first_is_due(self, at: int) -> None:
        self.started = at
        until = at + round(self.seconds * 1e6) if self.seconds else None
        stations.all_of(self.stations, Start(at, until, self.plan.says, self.plan.size))
        self._enter("publishing")

    def _command(self) -> list[str]:
        plan, mount = self.plan, StreamUser.assigned.mount or _mount(self.options)
        command = [
            sys.executable,
            "-m",
            "locustfiles.measuring.publisher",
            "--url",
            f"{self.options.publish_to or self.host}{mount}",
        ]
        command += ["--rate", str(plan.rate), "--burst", str(plan.burst), "--size", str(plan.size)]
        command += [part for name in self.channels for part in ("--channel", name)]
        if self.options.publish_patience:
            command += ["--patience", self.options.publish_patience]
        if self.seconds:
            command += ["--count", str(max(1, round(plan.rate * self.seconds)))]
        return command

    def _drained(self, published: Published) -> list[Said]:
        """What readers have said, when all that was published has come, or nothing comes any more."""
        self._enter("draining")
        stations.all_of(self.stations, Hush())  # slow readers hurry
        kept = self._schedule(published)
        last = {name: kept.last(name, published.last) for name in self.channels}
        glances: list[Glimpse] = []

        def met() -> bool:
            glances[:] = self.glances(last)
            return all(each.there and each.silent for each in glances)

        patience = _DRAIN_WAIT_FAULTS if self.plan.faults else _DRAIN_WAIT
        _until(met, patience, lambda: max((each.received for each in glances), default=0))
        said = [each for answer in stations.all_of(self.stations, Hush()) for each in answer]
        if said:  # the last words of readers are not known before; give them their time
            last |= {each.source: len(each.dues) - 1 for each in said}
            _until(met, _DRAIN_WAIT, lambda: max((each.received for each in glances), default=0))
        return said

    def _schedule(self, published: Published) -> schedule.Schedule:
        return schedule.of(published, self.channels, self.plan.burst)

    def _sample(self, published: Published, said: Sequence[Said]) -> tuple[Sample, list[timeline.Row]]:
        kept = self._schedule(published)
        last = {name: kept.last(name, published.last) for name in self.channels}
        last |= {each.source: len(each.dues) - 1 for each in said}
        speaks = {name: name for name in self.channels} | {each.source: each.channel for each in said}
        found: list[Part] = stations.all_of(self.stations, Stock(last, speaks))
        due = [(event.channel, event.n, event.due) for event in kept.events(published.last)]
        due += [(each.source, n, at) for each in said for n, at in enumerate(each.dues)]
        return parts.together(found, published, due, speaks)

    # ------------------------------------------------------------------------------------------------------- its progress

    def _enter(self, phase: str) -> None:
        self.phase = phase
        self._say()

    @contextmanager
    def _progress(self) -> Iterator[None]:
        """Lines of JSON, twice a second and at each change of phase."""
        teller = gevent.spawn(self._say_often) if self.options.progress else None
        try:
            yield
        finally:
            if teller is not None:
                teller.kill()

    def _say_often(self) -> None:
        while True:
            self._say()
            gevent.sleep(_TELL_EVERY)

    def _say(self) -> None:
        if not self.options.progress:
            return
        glances = self.glances() if self.stations else []
        line = {
            "phase": self.phase,
            "readers": self.runner.target_user_count or 0,
            "ready": sum(each.ready for each in glances),
            "started": self.started or None,
            "sent": self.sent,
            "delivered": sum(each.delivered for each in glances),
            "cpu": round(max((each.cpu for each in glances), default=0.0), 3),
            "lag": max((each.lag for each in glances), default=0),
        }
        with suppress(OSError):  # nobody listens any more
            os.write(int(self.options.progress), msgspec.json.encode(line) + b"\n")


def channels(plan: Plan, name: str) -> tuple[str, ...]:
    """The channels of a plan: `name`, or `name-0` and so on."""
    return (name,) if plan.channels == 1 else tuple(f"{name}-{place}" for place in range(plan.channels))


def _given(environment: Any) -> Plan:
    """The plan of the file that is named, or that of the scenario that Locust was started with. Raises: OSError,
    msgspec.DecodeError.
    """
    if file := environment.parsed_options.plan:
        return msgspec.json.decode(Path(file).read_bytes(), type=Plan)
    modules = [sys.modules.get(Path(path).stem) for path in environment.parsed_locustfiles or ()]
    found = next((each for module in modules if isinstance(each := getattr(module, "SCENARIO", None), Scenario)), Scenario())
    return msgspec.convert(msgspec.to_builtins(found), Plan)


def _assign(environment: Any) -> None:
    """Tell the users of this process what they are to do. Raises: SubjectError."""
    options, wanted, runner = environment.parsed_options, plan(environment), environment.runner
    assigned = StreamUser.assigned
    assigned.channels, assigned.follows = channels(wanted, options.channel), min(wanted.follows, wanted.channels)
    assigned.slow, assigned.beat = wanted.slow, _BEAT if wanted.faults else None
    assigned.place = max(0, getattr(runner, "worker_index", 0))
    assigned.mount = _mount(options)
    if options.subject:
        assigned.readers = {name: load(where) for name, where in subject(options.subject).readers.items()}
    StreamUser.restart()


def _mount(options: Any) -> str:
    return subject(options.subject).mount if options.subject else StreamUser.mount


@contextmanager
def _publisher(command: list[str]) -> Iterator[Any]:
    """Its lines. It ends with this block, because its standard input does."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own module
        try:
            yield process.stdout
        finally:
            process.terminate()


def _until(met: Callable[[], bool], patience: float, progress: Callable[[], object] = lambda: None) -> bool:
    """Wait until `met`; give up when `progress` has not changed for `patience` seconds."""
    seen, end = progress(), time.monotonic() + patience
    while not met():
        if (now := progress()) != seen:
            seen, end = now, time.monotonic() + patience
        if time.monotonic() > end:
            return False
        gevent.sleep(_PROBE)
    return True
