"""Runs to judge and to show, without measuring anything."""

from locustfiles.histogram import Histogram
from locustfiles.plan import Plan
from locustfiles.samples import Lane, Look, Phases, Published, Round, Run, Sample, Slot, Tally, Traffic, Usage


def histogram(*values: int) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


def a_sample(median: int, transport: str = "sse", **changes: object) -> Sample:
    """20 events to two readers, with delays of 5 to 200 % of `median` microseconds."""
    sample = Sample(
        readers=2,
        ready=2,
        started=0,
        ended=950_000,
        tally=Tally(expected=40, delivered=40),
        delays=histogram(*(median + step * median // 20 for step in range(-19, 21))),
        traffic=Traffic(8000, 400, 2000, 4000, 40 if transport == "longpoll" else 0),
        published=Published(rate=20, size=100, last=19, lag=histogram(50, 200), answers=histogram(900), seconds=1.0),
        lag=histogram(10, 300),
        cpu=0.2,
        clock="kernel",
        phases=Phases(histogram(80), histogram(), histogram(700), histogram(900)),
        timeline=[Slot(at / 10, 4, 4, median // 20, median, median * 2) for at in range(10)],
    )
    for name, value in changes.items():
        setattr(sample, name, value)
    return sample


def a_round(
    transport: str, repeat: int, median: int, *, network: str = "open", subject: str = "everywire", **changes: object
) -> Round:
    usage = Usage(0.02, 40 << 20, 39 << 20, 0.5, 5, [Look(at / 4, 0.1, 40 << 20, 5) for at in range(4)])
    return Round(
        lane=Lane(network, subject, transport), repeat=repeat, sample=a_sample(median, transport, **changes), server=usage
    )


def a_run(
    medians: dict[str, list[int]],
    *,
    networks: tuple[str, ...] = ("open",),
    subjects: tuple[str, ...] = ("everywire",),
    plan: dict[str, object] | None = None,
    instrument: dict[str, int] | None = None,
    **changes: object,
) -> Run:
    """A run with these median delays in microseconds for each repeat of each transport, the same everywhere.

    Args:
        medians: by transport.
        networks: of the plan.
        subjects: of the plan.
        plan: what else of it is not as usual.
        instrument: the median delays that the calibration found, by transport; 100 for each if not told.
        changes: to all samples.
    """
    asked = Plan(
        **{  # type: ignore[arg-type]
            "readers": 2,
            "rate": 20,
            "seconds": 1,
            "repeats": max(map(len, medians.values())),
            "transports": tuple(medians),
            "networks": networks,
            "subjects": subjects,
        }
        | (plan or {})
    )
    run = Run(
        started="2026-01-02T03:04:05+00:00",
        command="everywire compare <x>",
        plan=asked,
        environment={"python": "3", "cores": "2"},
        complete=True,
    )
    if asked.calibrate:
        floors = dict.fromkeys(medians, 100) | (instrument or {})
        run.calibration = [a_round(name, repeat, us, subject="null") for name, us in floors.items() for repeat in (1, 2, 3)]
    run.wanted = len(networks) * len(subjects) * len(medians) * asked.repeats
    run.rounds = [
        a_round(name, place + 1, us, network=network, subject=subject, **changes)
        for network in networks
        for subject in subjects
        for name, each in medians.items()
        for place, us in enumerate(each)
    ]
    return run
