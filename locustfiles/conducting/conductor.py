"""Conductor: who plays when. The instrument is calibrated first; then the lanes take turns, and each repeat begins with another
one, so that whatever changes on the machine meanwhile meets all of them.

Each round has a server and a network of its own, fresh: what one round left in memory is no part of the next, and a network
that changes with time begins at its beginning.
"""

from __future__ import annotations

import contextlib
import resource
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from transports.networks import network

from ..judging.capacity import capacity, next_step, step
from ..judging.recovery import recoveries
from ..plan import NEGOTIATED, TRANSPORTS, Plan
from ..samples import Lane, Round, Run, Sample
from ..subjects import Subject, subject
from .archive import Archive
from .faults import Faults, needs_relay
from .progress import Progress, Turn, named, outcome
from .stage import Relay, Server, StageError, Stop, UnreachableError, trusting
from .swarm import Beat, Script, Swarm, Target
from .watch import Watch

NULL: Final = "null"  # the subject that shows what the instrument adds
OPEN: Final = "open"
_CALIBRATION_SECONDS: Final = 3.0  # of publishing in each of its rounds, at the most
_CALIBRATION_REPEATS: Final = 3  # at the most
_PATIENCE_AGAIN: Final = 6.0  # seconds for readers of a lane that let none in before, at the most
_FILES: Final = 65_536  # open files that are enough for a process
_THROUGH_RELAY: Final = 1_900  # readers; the process that plays the network takes 2,000 connections


class Cast(NamedTuple):
    """Who plays."""

    script: Path  # the scenario's file
    users: Mapping[str, str]  # transport: class in that file
    subjects: Mapping[str, Subject]  # by what they are called in the plan


def lanes(plan: Plan, cast: Cast) -> list[Lane]:
    """What there is to measure: a subject need not have every transport, and a forward proxy only lets the negotiated client
    in.
    """
    return [
        Lane(name, each, transport)
        for name in plan.networks
        for each in plan.subjects
        for transport in plan.transports
        if transport in cast.subjects[each].transports and transport in cast.users and _enters(name, transport)
    ]


def _enters(name: str, transport: str) -> bool:
    return transport == NEGOTIATED or not network(name).forward


def turn(lanes: Sequence[Lane], repeat: int) -> list[Lane]:
    """The order of one repeat, from 1: each begins with another lane, so that none is always first."""
    start = (repeat - 1) % len(lanes)
    return [*lanes[start:], *lanes[:start]]


def calibration(plan: Plan, cast: Cast) -> Plan:
    """What is played to the instrument itself: the same, but shorter, and with nothing done meanwhile. The client that chooses
    may be on any transport, so for its sake all are played.
    """
    wanted = TRANSPORTS if NEGOTIATED in plan.transports else plan.transports
    return msgspec.structs.replace(
        plan,
        subjects=(NULL,),
        networks=(OPEN,),
        transports=tuple(name for name in wanted if name in cast.users),
        seconds=min(plan.seconds, _CALIBRATION_SECONDS),
        repeats=min(plan.repeats, _CALIBRATION_REPEATS),
        faults=(),
        slow=0.0,
        says=0.0,
        goal=None,
    )


class Conductor:
    """Has a plan played.

    Args:
        run: what is played is added to it.
        cast: who plays.
        archive: where it is kept.
        stop: who wants it to end.
    """

    def __init__(self, run: Run, cast: Cast, archive: Archive, stop: Stop) -> None:
        self._run, self._cast, self._archive, self._stop = run, cast, archive, stop
        self._plan = run.plan
        self._lanes = lanes(run.plan, cast)

    def play(self) -> None:
        """Play everything.

        Raises:
            UnreachableError: a server does not answer.
            StageError: a child failed. What was measured until then is kept.
            StoppedError: somebody wants it to end. Kept as well.
        """
        _more_files()
        self._rehearse()
        with Progress(self._turns(), search=self._plan.goal is not None) as self._tell:
            if self._plan.calibrate:
                self._calibrate()
            self._search(self._plan.goal) if self._plan.goal is not None else self._repeat()
        self._run.complete = True
        self._archive.keep(self._run)

    def _rehearse(self) -> None:
        """See that every server can be started and answers, before anything is measured."""
        for each in self._cast.subjects.values():
            with _scratch() as scratch, Server(each, scratch, self._stop) as server:
                server.wait()

    def _turns(self) -> Iterator[Turn]:
        """What will be played, as far as is known."""
        plan = calibration(self._plan, self._cast)
        if self._plan.calibrate:
            for repeat in range(1, plan.repeats + 1):
                for lane in turn(_calibration_lanes(plan), repeat):
                    yield self._turn(lane, plan, repeat, "calibration · ")
        if self._plan.goal is None:
            for repeat in range(1, self._plan.repeats + 1):
                for lane in turn(self._lanes, repeat):
                    yield self._turn(lane, self._plan, repeat)

    def _turn(self, lane: Lane, plan: Plan, repeat: int, prefix: str = "") -> Turn:
        return Turn(f"{prefix}{named(lane, plan)} {repeat}/{plan.repeats}", lane, plan.seconds)

    def _calibrate(self) -> None:
        plan = calibration(self._plan, self._cast)
        cast = self._cast._replace(subjects={NULL: subject(NULL)})
        for repeat in range(1, plan.repeats + 1):
            for lane in turn(_calibration_lanes(plan), repeat):
                played = self._play(plan, cast, lane, repeat)
                self._run.calibration.append(played)
                self._over(played)

    def _repeat(self) -> None:
        self._run.wanted = len(self._lanes) * self._plan.repeats
        for repeat in range(1, self._plan.repeats + 1):
            for lane in turn(self._lanes, repeat):
                played = self._play(self._patient(lane), self._cast, lane, repeat, rows=True)
                self._run.rounds.append(played)
                self._over(played)

    def _patient(self, lane: Lane) -> Plan:
        """The plan for a lane. Where nobody got in once, it is tried again, but not waited for as long."""
        before = self._run.of(lane)
        if not before or any(each.sample.ready for each in before):
            return self._plan
        return msgspec.structs.replace(self._plan, patience=min(self._plan.patience, _PATIENCE_AGAIN))

    def _search(self, goal: float) -> None:
        """Find how many readers each lane bears. The lanes take turns here, too."""
        searched, tried = list(self._lanes), 0
        while searched:
            tried += 1
            for lane in turn(searched, tried):
                readers = next_step(self._run.steps, lane, goal, self._plan.readers, _most(self._plan, lane))
                if readers is None:
                    searched.remove(lane)
                    self._tell.say(f"    {named(lane, self._plan)}: {capacity(self._run.steps, lane)[0]:,} readers held")
                else:
                    self._try(lane, readers, goal)

    def _try(self, lane: Lane, readers: int, goal: float) -> None:
        plan = msgspec.structs.replace(self._plan, readers=readers)
        self._tell.add(Turn(f"{named(lane, self._plan)}, {readers:,} readers", lane, plan.seconds))
        played = self._play(plan, self._cast, lane, 1)
        self._run.steps.append(step(played, goal))
        self._over(played)

    def _over(self, played: Round) -> None:
        self._archive.keep(self._run)
        self._tell.over(outcome(played))

    def _play(self, plan: Plan, cast: Cast, lane: Lane, repeat: int, *, rows: bool = False) -> Round:
        """Play one lane once. `rows`: keep what became of each event."""
        self._tell.begin()
        with (
            _scratch() as scratch,
            Swarm(plan, scratch, self._stop) as swarm,
            _place(cast.subjects[lane.subject], lane, plan, scratch, self._stop) as place,
        ):
            faults = Faults(plan.faults, place.server, place.relay)

            def meanwhile(beat: Beat) -> None:
                self._tell.beat(beat)
                place.check()
                faults.look(beat.started)

            with place.watch as watch:
                script = Script(cast.script, cast.users[lane.transport])
                sample = self._heard(lane, swarm, lambda: swarm.play(script, place.target, meanwhile))
            self._count(lane, place.server)
            if rows:
                self._archive.events(lane, repeat, swarm.rows())
        marks = faults.over(sample.ended)
        return Round(
            lane=lane,
            repeat=repeat,
            sample=sample,
            server=watch.usage(sample.started, sample.ended),
            marks=marks,
            recoveries=recoveries(sample, marks),
            relay=watch.share(sample.started, sample.ended),
        )

    def _heard(self, lane: Lane, swarm: Swarm, play: Callable[[], Sample]) -> Sample:
        """Have it play. What it said goes to the archive if it fails, the reason into the error."""
        try:
            return play()
        except UnreachableError as error:
            raise UnreachableError(f"a round of {named(lane, self._plan)} failed. {error}") from error
        except StageError as error:
            where = self._archive.crash(swarm.said())
            raise StageError(f"a round of {named(lane, self._plan)} failed. {error}\nAll that it said: {where}") from error

    def _count(self, lane: Lane, server: Server) -> None:
        """What its counters say in the end; of several rounds of a server, the last."""
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if lane.subject in self._cast.subjects and (body := server.status()) is not None:
                self._run.counts[lane.subject] = msgspec.json.decode(body)


class _Place(NamedTuple):
    """Where a round is played."""

    server: Server
    relay: Relay | None
    target: Target
    watch: Watch

    def check(self) -> None:
        """Raises: StageError, the server or the network has ended by itself: what is lost by that says nothing of a transport."""
        self.server.check()
        if self.relay is not None:
            self.relay.check()


@contextlib.contextmanager
def _place(subject: Subject, lane: Lane, plan: Plan, scratch: Path, stop: Stop) -> Iterator[_Place]:
    """A server, and in front of it the network, if something is done to connections. Both start at the same time."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(subject, scratch, stop))
        relay = None
        if lane.network != OPEN or needs_relay(plan.faults):
            relay = stack.enter_context(Relay(lane.network, server.url, scratch, stop))
        server.wait()
        if relay is not None:
            relay.wait()
        target = Target(
            host=relay.url if relay else server.url,
            publish_to=server.url,
            subject=lane.subject,
            environment=trusting(relay.authority, relay.proxy) if relay else {},
        )
        yield _Place(server, relay, target, _watch(server, relay))


def _watch(server: Server, relay: Relay | None) -> Watch:
    return Watch((lambda: server.pid) if server.ours else None, (lambda: relay.pid) if relay else None)


def _calibration_lanes(plan: Plan) -> list[Lane]:
    return [Lane(OPEN, NULL, transport) for transport in plan.transports]


def _most(plan: Plan, lane: Lane) -> int:
    """Readers that this machine can have: each is a file of Locust's, and one of the server's."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200
    through_relay = lane.network != OPEN or needs_relay(plan.faults)
    return max(plan.readers, min(files, _THROUGH_RELAY) if through_relay else files)


def _more_files() -> None:
    """Each connection is an open file, of which many systems allow 1,024 unless asked for more. Children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="everywire-") as directory:
        yield Path(directory)
