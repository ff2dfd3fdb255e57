"""Runs as large and as rich as they become, made by chance that is the same every time."""

from __future__ import annotations

import random

from locustfiles.histogram import Histogram
from locustfiles.plan import Fault, Plan
from locustfiles.samples import (
    Lane,
    Look,
    Mark,
    Phases,
    Published,
    Recovery,
    Round,
    Run,
    Sample,
    Slot,
    Step,
    Tally,
    Traffic,
    Usage,
)

NETWORKS = ("open", "no-upgrade", "buffering", "latency-200ms", "flaky", "h2-edge")
TRANSPORTS = ("websocket", "sse", "longpoll", "negotiated")
BASE = {"websocket": 900, "sse": 1000, "longpoll": 2100, "negotiated": 950}  # µs, median
AWAY = {"latency-200ms": 100_000, "flaky": 40_000}  # µs that a network adds
SHUT = {("no-upgrade", "websocket"), ("buffering", "websocket"), ("buffering", "sse")}
HEADERS = {"longpoll": 420}  # bytes for each delivery
FAULTS = (Fault(at=3.0, do="cut"), Fault(at=6.0, do="network no-upgrade", lasts=1.5))


def a_big_run(
    networks: tuple[str, ...] = NETWORKS,
    subjects: tuple[str, ...] = ("everywire",),
    transports: tuple[str, ...] = TRANSPORTS,
    repeats: int = 5,
    faults: tuple[Fault, ...] = (),
    slo: tuple[str, ...] = (),
    seed: int = 1,
) -> Run:
    chance = random.Random(seed)
    plan = Plan(
        scenario="fanout",
        question="When one event goes to many readers at once, how late does it arrive over each wire, and what does it cost?",
        networks=networks,
        subjects=subjects,
        transports=transports,
        repeats=repeats,
        faults=faults,
        slo=slo,
    )
    run = Run(
        started="2026-01-02T03:04:05+00:00",
        command=f"everywire compare {' '.join(f'--network {name}' for name in networks)}",
        plan=plan,
        environment={
            "python": "CPython 3.13.1",
            "system": "Linux 6.12 x86_64",
            "processor": "Example 9",
            "cores": "8",
            "everywire": "0.1.0",
        },
        complete=True,
    )
    lanes = [Lane(network, subject, each) for network in networks for subject in subjects for each in transports]
    run.rounds = [a_big_round(lane, repeat, plan, chance) for repeat in range(1, repeats + 1) for lane in lanes]
    run.calibration = [
        a_big_round(Lane("open", "null", each), 1, plan, chance, floor=300) for each in transports if each != "negotiated"
    ]
    run.counts = {"readers": 0, "dropped": 0}
    return run


def a_big_round(lane: Lane, repeat: int, plan: Plan, chance: random.Random, floor: int = 0) -> Round:
    shut = (lane.network, lane.transport) in SHUT
    middle = floor or BASE[lane.transport] + AWAY.get(lane.network, 0) + (800 if lane.subject != "everywire" else 0)
    middle = round(middle * chance.uniform(0.95, 1.05))
    faults = () if floor or shut else plan.faults
    marks = [Mark(do=fault.do, began=round(fault.at * 1e6), ended=round((fault.at + fault.lasts) * 1e6)) for fault in faults]
    sample = _nobody(plan) if shut else _sample(lane.transport, middle, marks, plan, chance)
    recoveries = [
        Recovery(
            mark=place, back=_spread(middle * 30, plan.readers, chance), never=int(place == 1 and lane.transport == "longpoll")
        )
        for place in range(len(marks))
    ]
    looks = [
        Look(at / 2, chance.uniform(0.2, 0.3), (60 << 20) + at * 40_000, plan.readers + 3) for at in range(int(plan.seconds * 2))
    ]
    return Round(
        lane=lane,
        repeat=repeat,
        sample=sample,
        server=Usage(2.4 * middle / 1000, 61 << 20, 45 << 20, 0.4, plan.readers + 3, looks),
        marks=marks,
        recoveries=recoveries,
        relay=None if lane.network == "open" else chance.uniform(0.1, 0.3),
    )


def _sample(transport: str, middle: int, marks: list[Mark], plan: Plan, chance: random.Random) -> Sample:
    events = round(plan.rate * plan.seconds)
    expected = events * plan.readers
    lost = 7 if transport == "longpoll" and marks else 0
    delays = _spread(middle, expected - lost, chance)
    timeline = [_slot(at / 5, expected // 50, middle, marks, chance) for at in range(int(plan.seconds * 5))]
    return Sample(
        readers=plan.readers,
        ready=plan.readers,
        started=0,
        ended=round(plan.seconds * 1e6),
        tally=Tally(expected=expected, delivered=expected - lost, lost=lost, doubled=3 if marks and transport == "sse" else 0),
        delays=delays,
        traffic=_traffic(transport, expected - lost, plan),
        published=Published(
            rate=plan.rate,
            size=plan.size,
            last=events - 1,
            lag=_spread(200, events, chance),
            answers=_spread(900, events, chance),
            seconds=plan.seconds,
        ),
        lag=_spread(150, 500, chance),
        cpu=chance.uniform(0.3, 0.5),
        clock="kernel",
        phases=Phases(*(_spread(us, plan.readers, chance) for us in (120, 0, 1500, 2200))),
        timeline=timeline,
        chosen={"websocket": plan.readers - 2, "sse": 2} if transport == "negotiated" else {},
        failures={"cut: reset": plan.readers} if marks else {},
    )


def _traffic(transport: str, delivered: int, plan: Plan) -> Traffic:
    headers = delivered * HEADERS.get(transport, 0)
    payload = delivered * plan.size
    return Traffic(payload + delivered * 40 + headers * 3 // 4, headers // 4, headers, payload, delivered if headers else 0, 0)


def _nobody(plan: Plan) -> Sample:
    """A network that lets nobody through."""
    return Sample(
        readers=plan.readers,
        ready=0,
        started=0,
        ended=0,
        tally=Tally(),
        delays=Histogram(),
        traffic=Traffic(),
        published=Published(rate=plan.rate, size=plan.size),
        lag=Histogram(),
        cpu=0.1,
        clock="kernel",
        failures={"cut: 400 Bad Request": plan.readers},
    )


def _slot(at: float, expected: int, middle: int, marks: list[Mark], chance: random.Random) -> Slot:
    during = next((mark for mark in marks if mark.began / 1e6 - 0.2 < at <= mark.ended / 1e6 + 0.2), None)
    mean = round(middle * chance.uniform(0.9, 1.2) + (300_000 if during else 0))
    return Slot(at, expected, expected - (7 if during else 0), mean // 2, mean, mean * 3)


def _spread(middle: int, count: int, chance: random.Random) -> Histogram:
    """Durations around `middle` µs with a long tail; few enough to be drawn quickly, counted as many as asked."""
    made = Histogram()
    draws = min(count, 400)
    for place in range(draws if middle else 0):
        made.record(round(middle * chance.lognormvariate(0, 0.35)), count // draws + (place < count % draws))
    return made


def with_steps(run: Run) -> Run:
    """The same, as if the most readers had been looked for."""
    for place, lane in enumerate(run.lanes()):
        limit = 400 * (place + 1)
        tried = [100 * 2**step for step in range(8) if 100 * 2**step <= limit * 2]
        run.steps += [Step(lane=lane, readers=n, p99=n * 40_000 // limit, lost=0, held=n <= limit) for n in tried]
    return run
