"""Runs to judge and to show, without measuring anything."""

from locustfiles.histogram import Histogram
from locustfiles.samples import Plan, Published, Round, Run, Sample, Tally, Traffic, Usage


def histogram(*values: int) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


def a_round(transport: str, repeat: int, median: int, **changes: object) -> Round:
    sample = Sample(
        transport=transport,
        readers=2,
        ready=2,
        started=0,
        ended=950_000,
        tally=Tally(expected=40, delivered=40),
        delays=histogram(*(median + step * median // 20 for step in range(-19, 21))),
        traffic=Traffic(8000, 400, 40 if transport == "longpoll" else 0),
        published=Published(rate=20, size=100, last=19, lag=histogram(50, 200), answers=histogram(900), seconds=1.0),
        lag=histogram(10, 300),
        cpu=0.2,
        clock="kernel",
    )
    for name, value in changes.items():
        setattr(sample, name, value)
    return Round(transport, repeat, sample, Usage(0.02, 40 << 20, 39 << 20, 0.5))


def a_run(medians: dict[str, list[int]], **changes: object) -> Run:
    """A run with these median delays in microseconds for each repeat of each transport."""
    repeats = max(map(len, medians.values()))
    plan = Plan(readers=2, rate=20, seconds=1, repeats=repeats, transports=tuple(medians))
    run = Run(
        started="2026-01-02T03:04:05+00:00", command="everywire compare <x>", plan=plan, environment={"python": "3", "cores": "2"}
    )
    run.rounds = [a_round(name, place + 1, us, **changes) for name, each in medians.items() for place, us in enumerate(each)]
    return run
