"""Doubts: why a measurement says nothing about transports. Each round is asked for its own, and the run as a whole.

A generator that is busy measures itself; each limit here was chosen where a figure begins to be that of the instrument.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

from ..samples import Round, Run
from .figures import RESOLUTION
from .names import lane_name, listed

GENERATOR_CPU: Final = 0.85  # of its core; beyond it what is measured is the generator
GENERATOR_LAG: Final = {
    "kernel": 20_000,
    "process": 5_000,
}  # µs at p99; where the kernel stamps arrivals, lag is no part of delays
PUBLISHER_LAG: Final = 10_000  # µs at p99
MACHINE: Final = 0.97  # of all cores: beyond it nobody gets what they ask for
SERVER_CPU: Final = 0.9  # of a core; beyond it a server of one process is at its limit, and what is measured is its queue
RELAY_CPU: Final = 0.85  # of the core of the process that plays the network
CLOCK_ERROR: Final = 2_000  # µs by which the clocks of several hosts may differ after correction
FEW: Final = 5  # repeats; with fewer, Student's t makes intervals so wide that only large differences are found
_BROKE: Final = "broke: "  # begins a failure that is the reader's own


class Doubts(NamedTuple):
    """What speaks against a measurement."""

    grave: list[str]  # not empty: not trustworthy
    notes: list[str]  # disturbances of single rounds, which medians do not follow, and what else a reader should know


def doubts_of(each: Round) -> list[tuple[str, bool]]:
    """What speaks against one round, and whether it does so even if it happened only once."""
    sample, published, network = each.sample, each.sample.published, each.lane.network
    lag, own = sample.lag.percentile(99) or 0, published.lag.percentile(99) or 0
    refused = sum(published.refused.values())
    alien = any(reason.startswith("alien: ") for reason in sample.failures)
    broke = sorted(reason.removeprefix(_BROKE) for reason in sample.failures if reason.startswith(_BROKE))
    machine = each.server.machine if each.server else 0.0
    early = -(RESOLUTION * 1000 + sample.clock_error)
    checks = [
        (network == "open" and sample.ready < sample.readers, "some readers were not in place when publishing began", True),
        (sample.tally.expected == 0, "nothing was published or nobody read", True),
        ((sample.delays.least or 0) < early, "events arrived before they were published, so the clock was set", True),
        (alien, "somebody else published to the same channel", True),
        (bool(broke), f"a reader's own code failed ({', '.join(broke)[:80]})", True),
        (refused > 0, f"the server refused to publish ({', '.join(published.refused)[:80]})", True),
        (sample.clock_error > CLOCK_ERROR, "the clocks of the hosts did not agree", True),
        (sample.cpu > GENERATOR_CPU, "the load generator was saturated", False),
        (lag > GENERATOR_LAG[sample.clock], "the load generator woke up too late", False),
        (own > PUBLISHER_LAG, "the publisher woke up too late", False),
        (machine > MACHINE, "the machine had no core to spare", False),
        ((each.relay or 0.0) > RELAY_CPU, "the process that plays the network was saturated", False),
    ]
    return [(reason, fatal) for met, reason, fatal in checks if met]


def shut_out(rounds: Sequence[Round]) -> bool:
    """Nobody got through, in a network that may well do that: a finding, no fault."""
    return bool(rounds) and rounds[0].lane.network != "open" and not any(each.sample.ready for each in rounds)


def of_network(run: Run, network: str) -> Doubts:
    """Those that count, and those of single rounds only: a median follows no minority."""
    grave: dict[str, list[str]] = {}
    notes: dict[str, list[str]] = {}
    for lane in run.lanes(network):
        rounds = run.of(lane)
        found = Counter() if shut_out(rounds) else Counter(doubt for each in rounds for doubt in doubts_of(each))
        for (reason, fatal), times in found.items():
            kind = grave if fatal or times * 2 > len(rounds) else notes
            kind.setdefault(reason, []).append(f"{_share(times, len(rounds))} of {lane_name(lane, run.plan)}")
    return Doubts(_sentences(grave), _sentences(notes) + _at_the_limit(run, network))


def _at_the_limit(run: Run, network: str) -> list[str]:
    """Lanes in which the server itself was full: a finding, but one about the load as much as about the transport."""
    busy = {lane: [each.server.cpu / each.sample.seconds for each in run.of(lane) if each.server] for lane in run.lanes(network)}
    full = {lane: median(shares) for lane, shares in busy.items() if shares and median(shares) > SERVER_CPU}
    return [
        f"over {lane_name(lane, run.plan)} the server used {100 * share:.0f} % of a core, so these delays are those of a server "
        "at its limit"
        for lane, share in full.items()
    ]


def _share(times: int, rounds: int) -> str:
    if times == rounds:
        return f"all {rounds} rounds" if rounds > 1 else "the only round"
    return f"{times} of {rounds} rounds"


def of_run(run: Run) -> Doubts:
    """What concerns all networks alike."""
    grave, notes = [], []
    if not run.complete:
        reached = f" after {len(run.rounds)} of {run.wanted} rounds" if run.wanted else ""
        grave.append(f"the run was broken off{reached}")
    elif run.plan.goal is None and (missing := [lane for lane in run.lanes() if len(run.of(lane)) < run.plan.repeats]):
        grave.append(f"rounds of {listed([lane_name(lane, run.plan) for lane in missing])} are missing")
    if run.plan.calibrate and not run.calibration:
        grave.append("the instrument was not calibrated, though it was to be")
    elif not run.calibration:
        notes.append("the instrument was not calibrated, so what it adds to a difference is not known")
    notes += [f"while the instrument was calibrated, {reason}" for reason in _in_calibration(run.calibration)]
    if 1 < run.plan.repeats < FEW and len(run.lanes()) > 1:
        notes.append(f"{run.plan.repeats} repeats find only large differences")
    return Doubts(grave, notes)


def _in_calibration(rounds: Sequence[Round]) -> list[str]:
    found = Counter(reason for each in rounds for reason, _ in doubts_of(each))
    return [reason for reason, times in found.items() if times * 2 > len(rounds)]


def _sentences(found: dict[str, list[str]]) -> list[str]:
    return [f"{reason} in {listed(places)}" for reason, places in found.items()]
