"""SLO: what a lane has to keep, as text, and whether it did.

    p99<50ms                       every lane
    sse:p99<50ms                   of one transport
    everywire/sse:lost==0          of one server
    no-upgrade/everywire/p50<=5ms  of one network

A server's name may hold slashes (a path, a URL); a network's never does. A quantity that was not measured is not kept: a
threshold that passes because nothing was looked at is worse than none.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from transports.errors import ConfigError

from ..plan import Plan
from ..samples import Lane, Run, plan_lanes
from .capacity import capacity
from .doubts import shut_out
from .figures import FIGURES, of_lane
from .names import NAMES, amount, lane_name, network_name, subject_name

CAPACITY: Final = "capacity"  # readers; the one figure of which more is better, and that is of a search, not of rounds
METRICS: Final = (*FIGURES, CAPACITY)
OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_UNITS: Final[dict[str, dict[str, float]]] = {  # what may follow the number, and how much it is in the figure's own unit
    "ms": {"": 1.0, "us": 0.001, "\u00b5s": 0.001, "\u03bcs": 0.001, "ms": 1.0, "s": 1000.0},
    "s": {"": 1.0, "ms": 0.001, "s": 1.0},
    "B": {"": 1.0, "B": 1.0, "KiB": 1024.0},
    "KiB": {"": 1.0, "KiB": 1.0, "MiB": 1024.0},
    "MiB": {"": 1.0, "KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0},
    "": {"": 1.0},
}
_PARTS: Final = re.compile(
    r"(?P<where>.*?)(?P<metric>[^\s/:<>=]+)\s*(?P<op><=|>=|==|<|>)\s*(?P<value>[0-9.]+)\s*(?P<unit>[^\s0-9.]*)"
)


class Slo(NamedTuple):
    """One threshold."""

    text: str
    where: str  # a network, a server, or `network/server`; empty: everywhere
    transport: str  # empty: each
    metric: str
    op: str
    value: float  # in the figure's own unit

    def concerns(self, lane: Lane) -> bool:
        """Whether it is about this lane."""
        return self.where in _places(lane) and self.transport in ("", lane.transport)


class Result(NamedTuple):
    """How a lane fared with a threshold."""

    slo: Slo
    lane: Lane | None  # None: no lane that it is about was measured
    value: float | None  # None: not measured
    met: bool
    sentence: str


def slo(text: str, plan: Plan | None = None) -> Slo:
    """The threshold that `text` says.

    Args:
        text: as above.
        plan: of which it must be about something.

    Raises:
        ConfigError: it says none, or is about nothing that is measured; the message names what is wrong and what there is.
    """
    found = _PARTS.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"{text!r} is no threshold; one looks like p99<50ms, sse:lost==0 or open/everywire/sse:p50<=5ms")
    metric, (where, transport) = _metric(text, found["metric"]), _where(found["where"])
    value = _number(text, found["value"]) * _scale(text, metric, found["unit"])
    made = Slo(text.strip(), where, transport, metric, found["op"], value)
    if transport not in ("", *NAMES):
        raise ConfigError(f"{text!r}: there is no transport {transport!r}; there are {', '.join(NAMES)}")
    if plan is not None and not any(made.concerns(lane) for lane in plan_lanes(plan)):
        raise ConfigError(f"{text!r}: nothing that it is about is measured; there are {_there(plan)}")
    return made


def check(run: Run, slos: Iterable[Slo]) -> list[Result]:
    """Each threshold against each lane that it is about."""
    return [result for each in slos for result in _results(run, each)]


def text(results: Iterable[Result]) -> str:
    """For the terminal, what was not kept first."""
    return "\n".join(each.sentence for each in sorted(results, key=lambda each: each.met))


def _results(run: Run, one: Slo) -> list[Result]:
    lanes = [lane for lane in run.lanes() if one.concerns(lane)]
    if not lanes:
        return [Result(one, None, None, False, f"not kept: {one.text}; no lane that it is about was measured")]
    return [_result(run, one, lane) for lane in lanes]


def _result(run: Run, one: Slo, lane: Lane) -> Result:
    value = _value(run, one.metric, lane)
    met = value is not None and OPERATORS[one.op](value, one.value)
    where = lane_name(lane, run.plan) + (f" {network_name(lane.network)}" if len(run.plan.networks) > 1 else "")
    return Result(one, lane, value, met, f"{'kept' if met else 'not kept'}: {one.text}; {where}: {_said(run, one, lane, value)}")


def _value(run: Run, metric: str, lane: Lane) -> float | None:
    """What was measured. Of events that nobody was there to get, none were lost: such a lane has no figures."""
    if metric == CAPACITY:
        ours = [each for each in run.steps if each.lane == lane]
        return float(capacity(ours, lane)[0]) if ours else None
    rounds = [each for each in run.of(lane) if each.sample.ready]
    if len(rounds) < len(run.of(lane)) or not any(each.sample.tally.expected for each in rounds):
        return None
    return of_lane(FIGURES[metric], rounds)


def _said(run: Run, one: Slo, lane: Lane, value: float | None) -> str:
    if value is None:
        return "does not get through" if shut_out(run.of(lane)) else f"{one.metric} was not measured"
    if math.isinf(value):
        return "never"
    return amount(value, FIGURES[one.metric].unit if one.metric in FIGURES else "readers")


def _metric(text: str, name: str) -> str:
    if name in METRICS:
        return name
    near = difflib.get_close_matches(name, METRICS, 1)
    hint = f"the nearest is {near[0]}; " if near else ""
    raise ConfigError(f"{text!r}: there is no figure {name!r}; {hint}there are {', '.join(METRICS)}")


def _scale(text: str, metric: str, unit: str) -> float:
    """How much one of what was written is in the figure's own unit."""
    units = _UNITS[FIGURES[metric].unit if metric in FIGURES else ""]
    if unit not in units:
        there = f"there are {', '.join(name for name in units if name)}" if len(units) > 1 else "it is a plain number"
        raise ConfigError(f"{text!r}: {metric} is not measured in {unit}; {there}")
    return units[unit]


def _number(text: str, digits: str) -> float:
    try:
        return float(digits)
    except ValueError:
        raise ConfigError(f"{text!r}: {digits!r} is no number") from None


def _where(before: str) -> tuple[str, str]:
    """Place and transport of `[network/][subject/][transport:]`."""
    place, transport = before.strip(), ""
    if place.endswith(":"):
        place, slash, transport = place[:-1].rpartition("/")
        place += slash
    return place.removesuffix("/"), transport


def _places(lane: Lane) -> set[str]:
    """All that may stand for where a lane is."""
    subjects = {lane.subject.rstrip("/"), subject_name(lane.subject)}
    return {"", lane.network} | subjects | {f"{lane.network}/{each}" for each in subjects}


def _there(plan: Plan) -> str:
    """What thresholds may name."""
    return ", ".join(dict.fromkeys((*plan.networks, *map(subject_name, plan.subjects), *plan.transports)))
