"""Advice: what a measurement, or the counters of a running server, say about settings. Each piece names the figure behind it, and
where no figure speaks for a change, none is advised.

The settings are those of everywire: `beat`, `poll_wait`, `history_count` and `history_age` of `transports.Options`, and
`transports=` of the clients. What was measured of another server advises nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from transports.errors import ConfigError
from transports.evidence import VERDICTS
from transports.ladder import LADDER
from transports.networks.behaviours import CutIdle, CutRequest
from transports.networks.profiles import network as profile
from transports.options import Options

from ..histogram import Count
from ..plan import Plan
from ..samples import Lane, Round, Run
from .doubts import shut_out
from .figures import FIGURES, of_lane
from .names import NAMES, amount, listed, network_name
from .noise import Difference
from .slo import slo
from .verdict import judge, pair

WORTH: Final = 1.0  # ms; no order of transports is changed for less
OFTEN: Final = 20  # wires that must have been opened before their fate says anything about those to come
_SAFE: Final = 0.6  # of the silence that a path bears; the rest is for lateness, as in the clients
_MARGIN: Final = 2.0  # times the longest outage that was seen: the next one may be longer
_COALESCE: Final = 4  # events that would have to go into one write for a window to be worth its delay
_USUAL: Final = Options()
_OURS: Final = "everywire"
_INNOCENT: Final = frozenset(
    {"ok", "ended", "unsupported", "disabled", "unreachable", "captive_portal"}
)  # say nothing of a transport


class Advice(NamedTuple):
    """One setting to change."""

    setting: str
    value: str
    because: str


def advise(run: Run) -> list[Advice]:
    """What a run says. Nothing, if it is not trustworthy or holds no lane of an everywire server."""
    ours = [lane for lane in run.lanes() if _is_ours(run, lane.subject)]
    if not judge(run).trustworthy or not ours:
        return []
    return [*_order(run, ours), *_silences(run, ours), *_coalescing(run, ours), *_history(run, ours)]


class _Status(msgspec.Struct):
    opened: dict[str, Count]
    verdicts: dict[str, dict[str, Count]]


def advise_status(status: Any) -> list[Advice]:
    """What `/status` says: which wires clients opened, and what they found out about the others.

    Args:
        status: as `transports.Counts` puts it: `{"opened": {"sse": 30}, "verdicts": {"websocket": {"refused_http": 25}}}`.

    Raises:
        ConfigError: it is not the status of an everywire server.
    """
    try:
        counts = msgspec.convert(status, _Status)
    except msgspec.ValidationError as error:
        raise ConfigError(f"this is not the status of an everywire server, with `opened` and `verdicts`: {error}") from error
    wires = sum(counts.opened.values())
    if wires < OFTEN:
        return []
    return [*_order_by_verdicts(counts.opened, counts.verdicts), *_silences_by_verdicts(wires, counts.verdicts)]


def text(advice: Sequence[Advice], run: Run | None = None) -> str:
    """For the terminal."""
    if run is not None and not (found := judge(run)).trustworthy:
        reasons = found.doubts + [doubt for each in found.each for doubt in each.doubts]
        return f"No advice, because the run is not trustworthy: {reasons[0] if reasons else 'nothing was measured'}."
    if not advice:
        return "Nothing that was found speaks for a change of settings."
    return "\n".join(f"{each.setting} = {each.value}\n    {each.because}." for each in advice)


def _is_ours(run: Run, subject: str) -> bool:
    """By its name, or by what its counters look like."""
    status = run.counts.get(subject)
    return subject == _OURS or (isinstance(status, dict) and "verdicts" in status)


# ---------------------------------------------------------------------------------------------------------- transports


def _order(run: Run, ours: Sequence[Lane]) -> list[Advice]:
    """Another order of transports, if one that stands further down does better somewhere and worse nowhere."""
    order = [each.name for each in LADDER if any(lane.transport == each.name for lane in ours)]
    reasons: list[str] = []
    for _ in order:  # as often as it takes for the last to become the first
        for place in range(len(order) - 1):
            upper, lower = order[place : place + 2]
            if reason := _better(run, ours, lower, upper):
                order[place : place + 2] = [lower, upper]
                reasons.append(reason)
    return [Advice("transports", ", ".join(order), "; ".join(reasons))] if reasons else []


def _better(run: Run, ours: Sequence[Lane], lower: str, upper: str) -> str:
    """Why `lower` should stand before `upper`; empty if it should not.

    What gets through somewhere is left to the clients: they find out by themselves where it does not.
    """
    pairs = [(one, other) for one in ours for other in ours if (one.transport, other.transport) == (upper, lower)]
    pairs = [(one, other) for one, other in pairs if one[:2] == other[:2]]
    through = [[not shut_out(run.of(both[side])) for both in pairs] for side in (0, 1)]
    if not any(through[0]) and any(through[1]):
        where = listed([network_name(one.network) for (one, _), works in zip(pairs, through[1], strict=True) if works])
        return f"{NAMES[upper]} did not get through anywhere, and {NAMES[lower]} did {where}"
    reasons = [_beside(run, *both) for both, *works in zip(pairs, *through, strict=True) if all(works)]
    return "" if any(said < 0 for said, _ in reasons) else "; ".join(reason for _, reason in reasons if reason)


def _beside(run: Run, upper: Lane, lower: Lane) -> tuple[int, str]:
    """1 and a reason: `lower` did better; -1: worse; 0: neither."""
    found = pair(run, lower, upper, FIGURES["p50"])
    if found.difference is None or not found.difference.beyond_noise or abs(found.difference.by.mid) < max(found.floor, WORTH):
        return 0, ""
    if found.difference.by.mid < 0:
        return -1, ""
    return 1, f"{network_name(upper.network)}, {_sooner(found.difference, upper, lower)}"


def _sooner(found: Difference, upper: Lane, lower: Lane) -> str:
    by = found.by
    interval = f"{amount(by.mid, 'ms')} ({amount(by.low, '')} to {amount(by.high, '')})"
    return f"half of the events came {interval} sooner over {NAMES[lower.transport]} than over {NAMES[upper.transport]}"


def _order_by_verdicts(opened: Mapping[str, int], verdicts: Mapping[str, Mapping[str, int]]) -> list[Advice]:
    """What fails more often than it works goes behind what works."""
    against = {name: _against(verdicts.get(name, {})) for name in (each.name for each in LADDER)}
    failing = [name for name, times in against.items() if times > max(OFTEN, opened.get(name, 0))]
    working = [name for name in against if name not in failing]
    order = [*working, *failing]
    if not failing or not any(opened.get(name, 0) for name in working) or order == list(against):
        return []
    said = [
        f"{NAMES[name]} failed {against[name]:,} times ({_mostly(verdicts[name])}) and was opened {opened.get(name, 0):,} times"
        for name in failing
    ]
    return [Advice("transports", ", ".join(order), listed(said))]


def _against(verdicts: Mapping[str, int]) -> int:
    return sum(times for verdict, times in verdicts.items() if verdict not in _INNOCENT)


def _mostly(verdicts: Mapping[str, int]) -> str:
    """The verdict that was found most often."""
    most = max((each for each in verdicts if each not in _INNOCENT), key=lambda each: verdicts[each])
    return f"mostly {most}" if most in VERDICTS else "mostly for reasons that are not known"


# ------------------------------------------------------------------------------------------------------------ silences


def _silences(run: Run, ours: Sequence[Lane]) -> list[Advice]:
    """A beat and a wait that are short enough for the paths that cut what is silent, or what takes long."""
    streams = [each for lane in ours if lane.transport != "longpoll" for each in _cuts(run, lane, CutIdle)]
    polls = [each for lane in ours if lane.transport == "longpoll" for each in _cuts(run, lane, CutIdle, CutRequest)]
    found = []
    for setting, usual, cuts in (("beat", _USUAL.beat, streams), ("poll_wait", _USUAL.poll_wait, polls)):
        if cuts and (least := min(cuts))[0] <= usual:
            found.append(Advice(setting, f"{least[0] * _SAFE:g}", least[1]))
    return found


def _cuts(run: Run, lane: Lane, *kinds: type[CutIdle] | type[CutRequest]) -> Iterator[tuple[float, str]]:
    """The seconds after which the network of a lane cuts, and how often it did."""
    times = sum(n for each in run.of(lane) for reason, n in each.sample.failures.items() if reason.startswith("cut"))
    for behaviour in _behaviours(lane.network):
        if times and isinstance(behaviour, kinds):
            what = "what is silent" if isinstance(behaviour, CutIdle) else "a request"
            where = f"{network_name(lane.network)}, which cuts {what} after {behaviour.after:g} s"
            yield behaviour.after, f"{where}, {NAMES[lane.transport]} was cut {times:,} times"


def _behaviours(network: str) -> Sequence[object]:
    """What a network does, as far as this version knows it."""
    try:
        return profile(network).behaviours
    except ConfigError:
        return ()


def _silences_by_verdicts(wires: int, verdicts: Mapping[str, Mapping[str, int]]) -> list[Advice]:
    """Wires that were cut when nothing came, often enough to care: one in twenty."""
    found = []
    for setting, usual, rungs in (("beat", _USUAL.beat, ("websocket", "sse")), ("poll_wait", _USUAL.poll_wait, ("longpoll",))):
        cut = sum(verdicts.get(rung, {}).get("cut_idle", 0) for rung in rungs)
        if cut * 20 >= wires:
            because = f"{cut:,} wires were cut when nothing came, and {wires:,} were opened; this is half of the default"
            found.append(Advice(setting, f"{usual / 2:g}", because))
    return found


# ---------------------------------------------------------------------------------------------------------- coalescing


def _coalescing(run: Run, ours: Sequence[Lane]) -> list[Advice]:
    """Half of what is left of a delay that may be, if enough events come in that time."""
    budget, slowest = _budget(run.plan), [of_lane(FIGURES["p99"], run.of(lane)) for lane in ours]
    measured = [value for value in slowest if value is not None]
    if budget is None or not measured or run.plan.burst > 1:
        return []
    spacing, window = 1000 * run.plan.channels / run.plan.rate, (budget - max(measured)) / 2
    together = math.floor(window / spacing) if window > 0 else 0
    if together < _COALESCE:
        return []
    because = (
        f"events came every {amount(spacing, 'ms')} and 99 of 100 arrived within "
        f"{amount(max(measured), 'ms')}, where {amount(budget, 'ms')} are allowed, so {together} events could share a write"
    )
    return [Advice("coalesce", f"{window / 1000:.2g}", because)]


def _budget(plan: Plan) -> float | None:
    """ms that a delay may be, as far as the plan says so."""
    limits = [found.value for found in map(slo, plan.slo) if found.metric.startswith("p") and found.op in ("<", "<=")]
    return min([*limits, *([plan.goal] if plan.goal is not None else [])], default=None)


# ------------------------------------------------------------------------------------------------------------- history


def _history(run: Run, ours: Sequence[Lane]) -> list[Advice]:
    """A log that is long enough for the longest outage that was seen, with a margin."""
    rounds = [each for lane in ours for each in run.of(lane)]
    outage = max((_outage(each) for each in rounds), default=0.0)
    rate = (run.plan.rate + run.plan.says * run.plan.readers) / run.plan.channels
    declared = sum(each.sample.tally.declared for each in rounds)
    lost = f", and {declared:,} events were declared lost" if declared else ""
    found = []
    if (count := math.ceil(rate * outage * _MARGIN)) > _USUAL.history_count:
        because = f"a reader was without events for {amount(outage, 's')}, at {amount(rate, 'events/s')} on a channel{lost}"
        found.append(Advice("history_count", str(_rounded_up(count)), f"{because}; this is twice that many"))
    if outage * _MARGIN > _USUAL.history_age:
        because = f"a reader was without events for {amount(outage, 's')}{lost}; this is twice as long"
        found.append(Advice("history_age", f"{math.ceil(outage * _MARGIN)}", because))
    return found


def _outage(each: Round) -> float:
    """Seconds of the longest pause of a reader; of one that did not end, as far as it was seen."""
    sample = each.sample
    return max((((pause.ended or max(sample.ended, pause.began)) - pause.began) / 1e6 for pause in sample.pauses), default=0.0)


def _rounded_up(count: int) -> int:
    """Two digits: `1,234` is `1,300`."""
    step = int(10 ** max(0, len(str(count)) - 2))
    return -(-count // step) * step
