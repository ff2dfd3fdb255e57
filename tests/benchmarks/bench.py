"""Bench: has the subjects take turns, repeat by repeat, and keeps what came of it."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from . import machine, plan
from .measures import DISTURBED, MEASURES, Lane, Memory, failing_alone
from .program import compile_c
from .results import Results, Sample
from .rows import Subject
from .stage import Stage, cores

Tell = Callable[[str], None]
Lanes = Sequence[tuple[plan.Plan, Subject, str]]
_TRIES = 3


def run(lanes: Lanes, *, repeats: int, quick: bool, tell: Tell) -> Results:
    """Measure all `lanes`, `repeats` times, one after the other in each repeat.

    Args:
        lanes: see `plan.chosen`; those whose subject is not installed are left out, and named in the results.
        repeats: how often; a plan may want fewer.
        quick: how long a measurement takes: half of what the plan says.
        tell: is told what happens.

    Ctrl-C ends it, and what was measured until then is the result.

    Raises:
        ProgramError: there is no compiler, or one core alone.
    """
    began, clock, here = datetime.now(UTC), time.monotonic(), machine.describe()
    if (busy := machine.unquiet()) is not None:
        tell(f"warning: this machine is not quiet: {busy}. The figures will say more about the others")
    rows = {row.name: row for _, row, _ in lanes}
    missing = {name: lack for name, row in rows.items() if (lack := row.missing()) is not None}
    for name, lack in missing.items():
        tell(f"not measured: {name}. It needs {lack}")
    playable = [lane for lane in lanes if lane[1].name not in missing]
    with tempfile.TemporaryDirectory() as directory:
        stage = Stage(compile_c(Path(directory), "load", "reference"), *cores())
        samples: list[Sample] = []
        stopped = False
        try:
            _rounds(stage, playable, repeats, 0.5 if quick else 1.0, tell, samples)
        except KeyboardInterrupt:
            stopped = True
            tell("stopped: what was measured until now is kept")
    return Results(
        began=began.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 1),
        repeats=repeats,
        quick=quick,
        machine=here,
        versions={name: row.versions() for name, row in rows.items() if name not in missing},
        missing=missing,
        samples=samples,
        stopped=stopped,
    )


def _rounds(stage: Stage, lanes: Lanes, repeats: int, share: float, tell: Tell, samples: list[Sample]) -> None:
    """Measure, and put each sample behind those in `samples` as it comes."""
    known = Memory()
    for repeat in range(repeats):
        for what, subject, wire in lanes:
            if repeat >= what.repeats:
                continue
            began, already = time.monotonic(), len(samples)
            lane = Lane(subject, wire, what.seconds * share)
            samples.extend(least_disturbed(partial(_measured, stage, what.measure, lane, repeat, known)))
            tell(_line(samples[already:], repeat, repeats, time.monotonic() - began))


def _measured(stage: Stage, measure: str, lane: Lane, repeat: int, known: Memory) -> list[Sample]:
    samples: list[Sample] = []
    with failing_alone(lane, measure, repeat, samples):
        samples.extend(MEASURES[measure](stage, lane, repeat, known))
    return samples


def least_disturbed(measured: Callable[[], list[Sample]]) -> list[Sample]:
    """What is measured while others leave the cores alone, or, of a few tries, that from which they took least. The figures
    themselves choose nothing.
    """
    best = measured()
    for _ in range(_TRIES - 1):
        if _disturbed(best) <= DISTURBED:
            break
        best = min(best, measured(), key=_disturbed)
    return best


def _disturbed(samples: Sequence[Sample]) -> float:
    return max((sample.waited for sample in samples), default=0.0)


def _line(samples: Sequence[Sample], repeat: int, repeats: int, seconds: float) -> str:
    if not samples:
        return ""
    first = samples[0]
    said = ", ".join(
        f"{each.at:g}: " * bool(each.at) + (each.why if each.value is None else f"{each.value:.4g}") for each in samples
    )
    return f"[{repeat + 1}/{repeats}] {first.measure} {first.subject} {first.wire}".rstrip() + f"  {said}  ({seconds:.1f} s)"


def to_stderr(line: str) -> None:
    """Tell a person who watches."""
    print(line, file=sys.stderr, flush=True)
