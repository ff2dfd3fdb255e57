"""Verdict: what a run allows to be said. Two transports differ only if repeats of each differ less than the two do.

A measurement that was disturbed says nothing about transports, so each round is first asked for its doubts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import NamedTuple

from .samples import Round, Run, Tally, total

NAMES = {"websocket": "WebSocket", "sse": "SSE", "longpoll": "long-polling"}

GENERATOR_CPU = 0.85  # of its core; beyond it what is measured is the generator
GENERATOR_LAG = {"kernel": 20_000, "process": 5_000}  # µs at p99; where the kernel stamps arrivals, lag is no part of delays
PUBLISHER_LAG = 10_000  # µs at p99
MACHINE = 0.97  # of all cores: nobody got what he asked for
RESOLUTION = 100  # µs; wake-ups of publisher and server alone scatter by as much


class Spread(NamedTuple):
    """One quantity over the repeats: the least, the median, the most."""

    low: float
    mid: float
    high: float

    def apart(self, other: Spread, resolution: float = 0.0) -> bool:
        """The two ranges do not touch, and the medians differ by more than `resolution`."""
        return (self.high < other.low or other.high < self.low) and abs(self.mid - other.mid) > resolution


class Verdict(NamedTuple):
    """One sentence, and why it should not be believed, if so."""

    sentence: str
    doubts: list[str]  # not empty: not trustworthy
    notes: list[str]  # disturbances of single rounds, which medians do not follow

    @property
    def trustworthy(self) -> bool:
        """Nothing speaks against it."""
        return not self.doubts


def spread(values: Iterable[float]) -> Spread:
    """The spread of at least one value."""
    found = sorted(values)
    return Spread(found[0], median(found), found[-1])


def delays(rounds: Sequence[Round], percent: float) -> Spread | None:
    """A percentile of the delay over the rounds, in microseconds; None when a round delivered nothing."""
    values = [each.sample.delays.percentile(percent) for each in rounds]
    return spread([value for value in values if value is not None]) if values and None not in values else None


def judge(run: Run) -> Verdict:
    """The verdict on a run."""
    doubts, notes = _doubts(run)
    names = run.transports()
    sentence = f"{_comparison(run, names)}; {_completeness(run, names)}."
    if doubts:
        sentence = f"Not trustworthy: {doubts[0]}."
    return Verdict(sentence, doubts, notes)


def doubts_of(each: Round) -> list[tuple[str, bool]]:
    """What speaks against one round, and whether it does so even if it happened only once."""
    sample, published = each.sample, each.sample.published
    lag, own = sample.lag.percentile(99) or 0, published.lag.percentile(99) or 0
    refused = sum(published.refused.values())
    machine = each.server.machine if each.server else 0.0
    checks = [
        (sample.ready < sample.readers, "some readers were not in place when publishing began", True),
        (sample.tally.expected == 0, "nothing was published or nobody read", True),
        ((sample.delays.least or 0) < -RESOLUTION, "events arrived before they were published, so the clock was set", True),
        (refused > 0, f"the server refused to publish ({', '.join(published.refused)[:80]})", True),
        (sample.cpu > GENERATOR_CPU, "the load generator was saturated", False),
        (lag > GENERATOR_LAG[sample.clock], "the load generator woke up too late", False),
        (own > PUBLISHER_LAG, "the publisher woke up too late", False),
        (machine > MACHINE, "the machine had no core to spare", False),
    ]
    return [(reason, fatal) for met, reason, fatal in checks if met]


def _doubts(run: Run) -> tuple[list[str], list[str]]:
    """Those that count, and those of single rounds only: a median follows no minority."""
    doubts: dict[str, list[str]] = {}
    notes: dict[str, list[str]] = {}
    for name in run.transports():
        rounds = run.of(name)
        found = Counter(doubt for each in rounds for doubt in doubts_of(each))
        for (reason, fatal), times in found.items():
            kind = doubts if fatal or times * 2 > len(rounds) else notes
            kind.setdefault(reason, []).append(f"{times} of {len(rounds)} rounds of {NAMES[name]}")
    return _sentences(doubts), _sentences(notes)


def _sentences(found: dict[str, list[str]]) -> list[str]:
    return [f"{reason} in {', '.join(places)}" for reason, places in found.items()]


def _comparison(run: Run, names: list[str]) -> str:
    """How the typical delays compare."""
    typical = {name: found for name in names if (found := delays(run.of(name), 50)) is not None}
    if not typical:
        return "No event arrived"
    ranked = sorted(typical, key=lambda name: typical[name].mid)
    said = {name: _about(typical[name].mid) for name in ranked}
    best = ranked[0]
    if len(ranked) == 1:
        return f"{NAMES[best]}: half of all events arrived within {said[best]}"
    listed = ", ".join(f"{NAMES[name]} {said[name]}" for name in ranked)
    if run.plan.repeats < 2:
        return f"One repeat shows no noise, so nothing can be compared (median delays: {listed})"
    equal = [name for name in ranked if not typical[best].apart(typical[name], RESOLUTION)]
    if len(equal) == len(ranked):
        return f"No difference larger than the noise (median delays: {listed})"
    later = " and ".join(f"{NAMES[name]} ({said[name]})" for name in ranked if name not in equal)
    if len(equal) > 1:
        level = " and ".join(f"{NAMES[name]} ({said[name]})" for name in equal)
        return f"{level} differ by no more than the noise in their median delay, {later} came later"
    return f"{NAMES[best]} delivered soonest, with a median delay of {said[best]}, before {later}"


def _about(us: float) -> str:
    """Three digits: repeats agree on no more."""
    ms = us / 1000
    return f"{ms:,.0f} ms" if ms >= 100 else f"{ms:.3g} ms"


def _completeness(run: Run, names: list[str]) -> str:
    """What became of the events."""
    faults = [text for name in names if (text := _faults(name, total(each.sample.tally for each in run.of(name))))]
    return ", and ".join(faults) or "nothing was lost, doubled or out of order"


def _faults(name: str, tally: Tally) -> str:
    kinds: list[tuple[int, Callable[[int], str]]] = [
        (tally.lost - tally.declared, lambda n: f"{n:,} lost in silence"),
        (tally.declared, lambda n: f"{n:,} declared lost"),
        (tally.doubled, lambda n: f"{n:,} doubled"),
        (tally.disordered, lambda n: f"{n:,} out of order"),
    ]
    said = ", ".join(text(count) for count, text in kinds if count)
    return f"{NAMES[name]} had {said} of {tally.expected:,}" if said else ""
