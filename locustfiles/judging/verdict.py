"""Verdict: what a run allows to be said, a sentence for each network. Two lanes differ only if they do so by more than repeats
alone would bring about, by more than can be seen, and by more than the instrument itself favours one of them.

A measurement that was disturbed says nothing about transports, so it is first asked for its doubts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ..plan import Fault, Plan
from ..samples import Lane, Round, Run, Tally, total
from . import doubts
from .capacity import CLOSE, capacity
from .figures import FIGURES, Figure, by_repeat, least, of_lane
from .names import NAMES, amount, capital, lane_name, listed, network_name
from .noise import Difference, Interval, paired, step_down


class Point(NamedTuple):
    """What answers a question, and how a difference in it is said."""

    figure: str
    label: str
    more: str  # with the difference: `came … later`
    times: str  # after `1.4 times`


POINTS: Final = {
    "delay": Point("p50", "median delay", "came {} later", "as late"),
    "tail": Point("p99", "delay within which 99 of 100 events arrived", "took {} longer", "as long"),
    "recovery": Point("recovery", "time until 95 of 100 readers were back", "took {} longer", "as long"),
    "memory": Point("footprint", "memory of the server per reader", "took {} more", "as much"),
    "acknowledgement": Point("ack", "median time to an acknowledgement", "took {} longer", "as long"),
    "capacity": Point("p99", "delay within which 99 of 100 events arrived", "took {} longer", "as long"),
}


class Comparison(NamedTuple):
    """A lane beside the one that did best in its network."""

    best: Lane
    lane: Lane
    difference: Difference | None  # None: too few repeats
    floor: float  # in the unit of the figure: no smaller difference is credited
    bias: float  # of this, what the instrument adds to one of the two

    @property
    def credited(self) -> bool:
        """The two differ."""
        return self.difference is not None and self.difference.beyond_noise and self.difference.by.mid > self.floor


class Verdict(NamedTuple):
    """One sentence about one network, and why it should not be believed, if so."""

    network: str
    sentence: str
    doubts: list[str]  # not empty: not trustworthy
    notes: list[str]  # disturbances of single rounds, which medians do not follow

    @property
    def trustworthy(self) -> bool:
        """Nothing speaks against it."""
        return not self.doubts


class Verdicts(NamedTuple):
    """On a whole run."""

    each: list[Verdict]
    doubts: list[str]  # about all of it
    notes: list[str]

    @property
    def trustworthy(self) -> bool:
        """Nothing speaks against any of it."""
        return bool(self.each) and not self.doubts and all(one.trustworthy for one in self.each)


def judge(run: Run) -> Verdicts:
    """The verdict on a run."""
    whole = doubts.of_run(run)
    return Verdicts([_on(run, network, whole.grave) for network in run.networks()], whole.grave, whole.notes)


def compared(run: Run, network: str, figure: Figure) -> list[Comparison]:
    """Each lane of a network that has the figure, beside the one that has least of it, which stands first and beside itself.

    Any two might have been said to differ, since the best is chosen by what was measured: so all pairs count.
    """
    rounds = {lane: run.of(lane) for lane in run.lanes(network)}
    values = {lane: of_lane(figure, rounds[lane]) for lane in rounds}
    found = {lane: value for lane, value in values.items() if value is not None and math.isfinite(value)}
    ranked, repeats = sorted(found, key=lambda lane: found[lane]), {lane: by_repeat(figure, rounds[lane]) for lane in found}
    pairs = {(one, other): paired(repeats[one], repeats[other]) for one, other in itertools.combinations(ranked, 2)}
    together = step_down({each: 1.0 if known is None else known.p for each, known in pairs.items()}, len(ranked))
    return [pair(run, ranked[0], lane, figure, comparisons=together.get((ranked[0], lane), 1)) for lane in ranked]


def pair(run: Run, best: Lane, lane: Lane, figure: Figure, *, comparisons: int = 1) -> Comparison:
    """Two lanes beside each other, one of `comparisons` that are made at a time."""
    ours, theirs = (run.of(each) for each in (best, lane))
    difference = paired(by_repeat(figure, ours), by_repeat(figure, theirs), comparisons=comparisons)
    adds = bias(run, best.transport, lane.transport, figure)
    clock = max((each.sample.clock_error for each in (*ours, *theirs)), default=0) / 1000 if figure.unit == "ms" else 0.0
    return Comparison(best, lane, difference, max(figure.resolution, adds, clock), adds)


def bias(run: Run, one: str, other: str, figure: Figure) -> float:
    """By how much the instrument favours one of two transports, in the unit of the figure: what the calibration shows of them,
    the least of the repeats of each.

    The negotiated client is not calibrated: for it the largest difference between any two counts. Only times can be the
    instrument's: bytes and CPU of a server that does nothing are those of the wire and of that server.
    """
    if one == other or figure.unit != "ms":
        return 0.0
    transports = dict.fromkeys(each.lane.transport for each in run.calibration)
    found = {name: least(figure, [each for each in run.calibration if each.lane.transport == name]) for name in transports}
    known = {name: value for name, value in found.items() if value is not None}
    chosen = [known[name] for name in (one, other)] if one in known and other in known else list(known.values())
    return max(chosen, default=0.0) - min(chosen, default=0.0)


def _on(run: Run, network: str, of_run: list[str]) -> Verdict:
    own = doubts.of_network(run, network)
    condition = f"{capital(network_name(network))}, {_condition(run.plan)}"
    if reasons := of_run + own.grave:
        return Verdict(network, f"{condition}: not trustworthy, because {reasons[0]}.", own.grave, own.notes)
    through = [lane for lane in run.lanes(network) if not doubts.shut_out(run.of(lane))]
    shut = [lane_name(lane, run.plan) for lane in run.lanes(network) if lane not in through]
    if not through:
        return Verdict(network, f"{condition}: nothing gets through.", own.grave, own.notes)
    said, notes = _answer(run, network)
    parts = [said, *_aside(run, through), _completeness(run, through)]
    if shut:
        parts.append(f"{listed(shut)} did not get through")
    return Verdict(network, f"{condition}: {'; '.join(part for part in parts if part)}.", own.grave, own.notes + notes)


def _condition(plan: Plan) -> str:
    """`with 100 readers at 50 events/s of 100 bytes`, and what else is special."""
    reading = f"with {plan.readers:,} reader{'s' * (plan.readers > 1)}"
    if plan.goal is not None:
        reading = f"asked for 99 of 100 events within {plan.goal:g} ms"
    parts = [f"{reading} at {plan.rate:g} events/s of {plan.size:,} bytes"]
    if plan.burst > 1:
        parts.append(f"{plan.burst:,} at a time")
    if plan.channels > 1:
        parts.append(f"on {plan.channels:,} channels of which each reader follows {plan.follows:,}")
    if plan.slow:
        parts.append(f"{plan.slow * 100:.3g} % of the readers slow")
    if plan.says:
        parts.append(f"each reader publishing {plan.says:g} events/s")
    return ", ".join(parts + [_fault(each) for each in plan.faults])


def _fault(fault: Fault) -> str:
    """What is done, and when."""
    done = {
        "cut": "all connections reset",
        "close": "all connections closed",
        "forget": "all connections dropped without a word",
        "restart": "the server restarted",
        "kill": "the server killed and started again",
    }
    if fault.do in done:
        return f"{done[fault.do]} after {fault.at:g} s"
    return f"{fault.do} from {fault.at:g} to {fault.at + fault.lasts:g} s"


def _answer(run: Run, network: str) -> tuple[str, list[str]]:
    """What the scenario asked, and what to know about it."""
    point = run.plan.answered_by
    if point == "capacity" and run.steps:
        return _capacities(run, network)
    comparisons = compared(run, network, FIGURES[POINTS[point].figure])
    return _comparison(run, comparisons, POINTS[point]), _uncredited(run, comparisons, POINTS[point])


def _comparison(run: Run, comparisons: list[Comparison], point: Point) -> str:
    """How the lanes compare in what matters."""
    figure = FIGURES[point.figure]
    if not comparisons:
        return "no event arrived" if figure.name in ("p50", "p99") else f"there is no {point.label} to tell"

    def said(each: Comparison) -> str:
        return amount(of_lane(figure, run.of(each.lane)) or 0.0, figure.unit)

    def name(each: Comparison) -> str:
        return lane_name(each.lane, run.plan)

    if len(comparisons) == 1:
        return f"the {point.label} was {said(comparisons[0])} over {name(comparisons[0])}"
    everything = ", ".join(f"{name(each)} {said(each)}" for each in comparisons)
    if any(each.difference is None for each in comparisons):
        return f"one repeat shows no noise, so nothing can be compared ({point.label}: {everything})"
    level = [each for each in comparisons if not each.credited]
    apart = [f"{name(each)} {_later(each, point, figure.unit)}" for each in comparisons if each.credited]
    later = ", and ".join(apart)
    limit = "the noise or what can be seen" if any(_too_small(each) for each in level) else "the noise"
    if not later:
        return f"no difference larger than {limit} in the {point.label} ({everything})"
    if len(level) == 1:
        return f"{name(level[0])} had the least {point.label} ({said(level[0])}), {later}"
    alike, values = listed([name(each) for each in level]), listed([said(each) for each in level])
    return f"{alike} differ by no more than {limit} in their {point.label} ({values}), {later}"


def _later(each: Comparison, point: Point, unit: str) -> str:
    """`came 0.31 ms (0.25 to 0.38) later, 1.4 times as late`: with the interval of what decided that they differ."""
    assert each.difference is not None  # noqa: S101 - credited
    by, times = each.difference.by, each.difference.times
    if each.difference.multiplies and times is not None:
        low, mid, high = (amount(value, "") for value in times)
        return f"{point.more.format(amount(by.mid, unit))}, {mid} times ({low} to {high}) {point.times}"
    more = point.more.format(_interval(by, unit))
    return more if times is None or times.mid < 1.05 else f"{more}, {times.mid:.2g} times {point.times}"


def _interval(by: Interval, unit: str) -> str:
    digits = 2 if abs(by.mid) < 10 else 1 if abs(by.mid) < 100 else 0
    low, mid, high = (f"{value:,.{digits}f}" for value in by)
    return f"{mid} {unit} ({low} to {high})"


def _uncredited(run: Run, comparisons: list[Comparison], point: Point) -> list[str]:
    """Differences that repeats agree on and that are not told all the same."""
    unit = FIGURES[point.figure].unit
    small = [each for each in comparisons if _too_small(each)]
    return [f"{lane_name(each.lane, run.plan)} {_later(each, point, unit)}, but {_why(each, unit)}" for each in small]


def _too_small(each: Comparison) -> bool:
    """Repeats agree on the difference, but it is below the floor."""
    return each.difference is not None and each.difference.beyond_noise and not each.credited


def _why(each: Comparison, unit: str) -> str:
    if each.bias >= each.floor:
        return f"the instrument itself makes a difference of {each.bias:.2g} {unit} between the two"
    return f"differences up to {each.floor:.2g} {unit} cannot be told from the scatter of clocks and wake-ups"


def _capacities(run: Run, network: str) -> tuple[str, list[str]]:
    """How many readers each lane bears. The search ends within a tenth, so closer ones are alike."""
    found = {lane: capacity(run.steps, lane) for lane in run.lanes(network)}
    ranked = sorted(found, key=lambda lane: -found[lane][0])
    said = [f"{lane_name(lane, run.plan)} {_held(*found[lane])}" for lane in ranked]
    close = len(ranked) > 1 and found[ranked[0]][0] <= found[ranked[-1]][0] * CLOSE
    notes = [
        f"the search over {lane_name(lane, run.plan)} ended because {step.doubts[0]}, so it may bear more"
        for lane in ranked
        for step in run.steps
        if step.lane == lane and step.doubts
    ]
    return listed(said) + (", which the search cannot tell apart" if close else ""), notes


def _held(held: int, failed: int | None) -> str:
    if not held:
        return "bore not a single reader" if failed == 1 else f"did not bear {failed:,} readers" if failed else "told nothing"
    return f"bore {held:,} reader{'s' * (held > 1)}" + (f" and not {failed:,}" if failed else ", and more were not tried")


def _aside(run: Run, lanes: list[Lane]) -> list[str]:
    """What belongs to the answer besides the figure that matters most."""
    parts = []
    if run.plan.answered_by == "memory":
        hello = FIGURES["hello"]
        each = [(lane_name(lane, run.plan), of_lane(hello, run.of(lane))) for lane in lanes]
        if said := [f"{name} {amount(value, hello.unit)}" for name, value in each if value is not None]:
            parts.append(f"half of the wires were set up within ({', '.join(said)})")
    parts += [text for lane in lanes if (text := _never(lane_name(lane, run.plan), run.of(lane)))]
    return parts + [text for lane in lanes if (text := _choices(lane_name(lane, run.plan), run.of(lane)))]


def _never(name: str, rounds: Sequence[Round]) -> str:
    """Readers that a fault took for good."""
    never = sum(one.never for each in rounds for one in each.recoveries)
    readers = never + sum(len(one.back) for each in rounds for one in each.recoveries)
    return f"{never:,} of {readers:,} readers over {name} were not back when the round ended" if never else ""


def _choices(name: str, rounds: Sequence[Round]) -> str:
    """What readers that choose for themselves ended on."""
    chosen: dict[str, int] = {}
    for each in rounds:
        for transport, readers in each.sample.chosen.items():
            chosen[transport] = chosen.get(transport, 0) + readers
    ranked = sorted(chosen, key=lambda transport: -chosen[transport])
    if len(ranked) < 2:
        return f"{name} chose {NAMES.get(ranked[0], ranked[0])}" if ranked else ""
    return f"{name} chose {listed([f'{NAMES.get(each, each)} {chosen[each]:,} times' for each in ranked])}"


def _completeness(run: Run, lanes: list[Lane]) -> str:
    """What became of the events. A search for the capacity goes on until some are lost, so there it says nothing."""
    if run.plan.answered_by == "capacity":
        return ""
    faults = [text for lane in lanes if (text := _faults(lane_name(lane, run.plan), run.of(lane)))]
    return listed(faults) or "nothing was lost, doubled or out of order"


def _faults(name: str, rounds: Sequence[Round]) -> str:
    tally: Tally = total(each.sample.tally for each in rounds)
    missing = sum(each.sample.readers - each.sample.ready for each in rounds)
    kinds: list[tuple[int, Callable[[int], str]]] = [
        (tally.lost - tally.declared, lambda n: f"{n:,} lost in silence"),
        (tally.declared, lambda n: f"{n:,} declared lost"),
        (tally.doubled, lambda n: f"{n:,} doubled"),
        (tally.disordered, lambda n: f"{n:,} out of order"),
    ]
    said = (
        [f"{name} had {listed(told)} of {tally.expected:,}"] if (told := [text(count) for count, text in kinds if count]) else []
    )
    if missing:
        said.append(f"{missing:,} of {sum(each.sample.readers for each in rounds):,} readers over {name} did not get in")
    return listed(said)
