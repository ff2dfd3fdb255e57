"""Trust: what a reader of the report has to know to believe it. Each check with its limit, and whether it held.

The limits are those of `doubts`; what is passed in single rounds only is told, but medians do not follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Final, Literal, NamedTuple

from ...judging import doubts
from ...judging.figures import FIGURES, RESOLUTION, of_lane
from ...judging.names import NAMES, lane_name
from ...judging.verdict import bias
from ...samples import Lane, Round, Run, Sample
from ..table import NONE, ms
from .places import Table, table_of

State = Literal["holds", "single rounds", "fails", "told"]


class Check(NamedTuple):
    """Something that would spoil the figures."""

    name: str
    why: str
    worst: str
    limit: str
    state: State  # `told`: there is no limit


class Trust(NamedTuple):
    """All checks, the rounds they are about, and what complaints there were."""

    checks: list[Check]
    rounds: Table
    failures: Table | None

    @property
    def holding(self) -> int:
        """How many of those that have a limit held."""
        return sum(each.state == "holds" for each in self.checks)

    @property
    def limited(self) -> int:
        """How many have a limit."""
        return sum(each.state != "told" for each in self.checks)


class _Measure(NamedTuple):
    """A figure of each round that must not exceed a limit."""

    name: str
    why: str
    value: Callable[[Round], float | None]  # None: not measured
    limit: Callable[[Round], float]
    text: Callable[[float], str]
    fatal: bool = False  # a single round is enough


def trust(run: Run) -> Trust:
    """The panel."""
    rounds = [each for each in run.rounds if not doubts.shut_out(run.of(each.lane))]
    checks = [_completeness(run), _places(run, rounds), *(_check(measure, rounds) for measure in _MEASURES)]
    return Trust([each for each in (*checks, *_calibration(run)) if each], _rounds(run), _failures(run))


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _lag(each: Round) -> float:
    return each.sample.lag.percentile(99) or 0


def _early(each: Round) -> float:
    return -(each.sample.delays.least or 0)


def _ms(us: float) -> str:
    return f"{us / 1000:,.4g} ms"


_MEASURES: Final = (
    _Measure(
        "Generator CPU",
        "A generator that is busy measures itself. Share of one core.",
        lambda each: each.sample.cpu,
        lambda each: doubts.GENERATOR_CPU,
        _percent,
    ),
    _Measure(
        "Generator lag",
        "How late its event loop woke up, 99 of 100 times.",
        _lag,
        lambda each: doubts.GENERATOR_LAG[each.sample.clock],
        _ms,
    ),
    _Measure(
        "Publisher lag",
        "How late a request began though nothing held it up, 99 of 100 times.",
        lambda each: each.sample.published.lag.percentile(99) or 0,
        lambda each: doubts.PUBLISHER_LAG,
        _ms,
    ),
    _Measure(
        "Machine",
        "Share of all its cores in use, by whomever.",
        lambda each: each.server.machine if each.server else None,
        lambda each: doubts.MACHINE,
        _percent,
    ),
    _Measure(
        "Relay",
        "The process that plays the network. Share of one core.",
        lambda each: each.relay,
        lambda each: doubts.RELAY_CPU,
        _percent,
    ),
    _Measure(
        "Clock error",
        "By how much the clocks of other hosts may be wrong after correction.",
        lambda each: each.sample.clock_error,
        lambda each: doubts.CLOCK_ERROR,
        _ms,
        fatal=True,
    ),
    _Measure(
        "Events before their time",
        "Nothing arrives before it was due, unless a clock was set.",
        lambda each: max(0.0, _early(each)),
        lambda each: RESOLUTION * 1000 + each.sample.clock_error,
        _ms,
        fatal=True,
    ),
    _Measure(
        "Publishes refused",
        "Events that the server did not take.",
        lambda each: sum(each.sample.published.refused.values()),
        lambda each: 0,
        lambda count: f"{count:,.0f}",
        fatal=True,
    ),
)


def _check(measure: _Measure, rounds: Sequence[Round]) -> Check | None:
    """The round that comes nearest to its limit, or passes it most."""
    found = [(value, measure.limit(each)) for each in rounds if (value := measure.value(each)) is not None]
    if not found:
        return None
    worst, limit = max(found, key=lambda one: (one[0] - one[1], one[0]))
    state = _state(((each.lane, (measure.value(each) or 0) > measure.limit(each)) for each in rounds), fatal=measure.fatal)
    return Check(measure.name, measure.why, measure.text(worst), f"at most {measure.text(limit)}", state)


def _state(passed: Iterable[tuple[Lane, bool]], *, fatal: bool) -> State:
    """A lane is doubted when most of its rounds are, or one if that is enough."""
    lanes: dict[Lane, list[bool]] = {}
    for lane, beyond in passed:
        lanes.setdefault(lane, []).append(beyond)
    if any((fatal and any(each)) or sum(each) * 2 > len(each) for each in lanes.values()):
        return "fails"
    return "single rounds" if any(map(any, lanes.values())) else "holds"


def _completeness(run: Run) -> Check:
    plan = run.plan
    text = f"{len(run.rounds):,} rounds" + (f", {len(run.steps):,} steps" if run.steps else "")
    missing = plan.goal is None and any(len(run.of(lane)) < plan.repeats for lane in run.lanes())
    state: State = "holds" if run.complete and not missing else "fails"
    limit = f"{plan.repeats} of each lane" if plan.goal is None else "until the search ends"
    return Check("Rounds played", "A run that was broken off has not met what was planned.", text, limit, state)


def _places(run: Run, rounds: Sequence[Round]) -> Check | None:
    """On an open network all have to be there; another one may well keep some out, which is a finding."""
    open_ones = [each for each in rounds if each.lane.network == "open"] or list(rounds)
    if not open_ones:
        return None
    worst = min(open_ones, key=lambda each: each.sample.ready / each.sample.readers).sample
    missing = ((each.lane, each.sample.ready < each.sample.readers) for each in open_ones if each.lane.network == "open")
    state = _state(missing, fatal=True)
    text = f"{worst.ready:,} of {worst.readers:,}"
    return Check("Readers in place", "When publishing began.", text, "all, on an open network", state)


def _calibration(run: Run) -> list[Check]:
    """What the instrument itself shows, at a server that does nothing."""
    wanted: State = "fails" if run.plan.calibrate and not run.calibration else "told"
    name, why = "Calibration", "The same readers and publisher at a server that does nothing: no smaller delay can be seen."
    if not run.calibration:
        return [Check(name, why, "none", "made, unless it is left out", wanted)]
    transports = dict.fromkeys(each.lane.transport for each in run.calibration)
    floors = {
        each: of_lane(FIGURES["p50"], [one for one in run.calibration if one.lane.transport == each]) for each in transports
    }
    known = {each: value for each, value in floors.items() if value is not None}
    said = ", ".join(f"{NAMES.get(each, each)} {value:.3f} ms" for each, value in known.items()) or NONE
    most = max((bias(run, *pair, FIGURES["p50"]) for pair in combinations(known, 2)), default=0.0)
    favours = "At the most, by how much it favours one of two transports in p50; no smaller difference of the two is credited."
    beside = Check("Instrument's bias", favours, f"{most:.3f} ms", "", "told")
    return [Check(name, why, said, "made", "holds"), *([beside] if len(known) > 1 else [])]


def _rounds(run: Run) -> Table:
    """Every round, with what might have disturbed it."""
    head = ["Round", "Delay p50", "Delay p99", "Lost", "Generator CPU", "Generator lag p99", "Publisher lag p99"]
    head += ["Publish answered p50", "Server CPU", "Machine", "Relay"]
    groups = []
    for network in run.networks():
        rows = [
            (f"{lane_name(each.lane, run.plan)} {each.repeat}", _round(each))
            for each in run.rounds
            if each.lane.network == network
        ]
        groups.append((network if len(run.networks()) > 1 else "", rows))
    caption = (
        "In the order in which they were played. Times in milliseconds; CPU as a share of one core, the machine's of all cores."
    )
    return Table(caption, head, [group for group in groups if group[1]])


def _round(each: Round) -> list[str]:
    sample, server = each.sample, each.server
    return [
        ms(sample.delays.percentile(50)),
        ms(sample.delays.percentile(99)),
        f"{sample.tally.lost:,}",
        f"{sample.cpu:.0%}",
        ms(sample.lag.percentile(99)),
        ms(sample.published.lag.percentile(99)),
        ms(sample.published.answers.percentile(50)),
        f"{server.cpu / sample.seconds:.0%}" if server else NONE,
        f"{server.machine:.0%}" if server else NONE,
        NONE if each.relay is None else f"{each.relay:.0%}",
    ]


def _failures(run: Run) -> Table | None:
    """What readers and publisher complained of, the most frequent first."""

    def cells(lane: Lane) -> list[str] | None:
        counts: dict[str, int] = {}
        for each in run.of(lane):
            for reason, times in _complaints(each.sample):
                counts[reason] = counts.get(reason, 0) + times
        worst = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        more = f"; and {len(worst) - _REASONS} others" if len(worst) > _REASONS else ""
        return ["; ".join(f"{reason} ({times:,})" for reason, times in worst[:_REASONS]) + more] if worst else None

    table = table_of(run, "What readers and the publisher complained of, and how often.", ["Lane", "Complaint"], cells)
    return table if table.groups else None


_REASONS = 5  # of one lane
_LETTERS = 120  # of one reason


def _complaints(sample: Sample) -> Iterable[tuple[str, int]]:
    yield from ((reason[:_LETTERS], times) for reason, times in sample.failures.items())
    yield from ((f"publish refused: {reason}"[:_LETTERS], times) for reason, times in sample.published.refused.items())
    if sample.published.retried:
        yield "publish sent again", sample.published.retried
