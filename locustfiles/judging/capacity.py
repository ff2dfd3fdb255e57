"""Capacity: how many readers a lane bears before the delay of 99 of 100 events exceeds a goal.

A search by trying: as many as asked for, then twice as many until it fails, then between what held and what failed until the
two are within a tenth of each other. One bad moment of the machine must not decide, so a number that failed is tried once more,
and it holds if either try held. Facts in, the next number of readers out: the same steps give the same next step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..samples import Lane, Round, Step
from .doubts import doubts_of

CLOSE: Final = 1.1  # failed through held: near enough, since repeats of one number scatter by as much
TRIES: Final = 2  # of a number that fails
STEPS: Final = 24  # at the most, for one lane


def next_step(steps: Sequence[Step], lane: Lane, goal: float, start: int, most: int) -> int | None:
    """How many readers to try next.

    Args:
        steps: what was tried, of any lane.
        lane: whose capacity is searched for.
        goal: ms; a step that held at another goal is judged anew.
        start: readers of the first step, at least 1.
        most: readers that there may be: never more are tried.

    Returns:
        None if the search is over: near enough, `most` held, not even one reader did, too many steps, or a step told of the
        instrument.
    """
    ours = [each for each in steps if each.lane == lane]
    if not ours:
        return min(start, most)
    if len(ours) >= STEPS or ours[-1].doubts:
        return None
    if not _held(ours[-1], goal) and _wants_another_try(ours, ours[-1].readers, goal):
        return ours[-1].readers
    held, failed = _bounds(ours, goal)
    if failed is None:
        return min(held * 2, most) if held < most else None
    if failed - held <= 1 or (held and failed <= held * CLOSE):
        return None
    return (held + failed) // 2 if held else max(1, failed // 4)  # far away: in larger steps, since each is tried twice


def capacity(steps: Sequence[Step], lane: Lane) -> tuple[int, int | None]:
    """The most readers that held (0: none did), and the fewest beyond them that did not (None: none were found).

    What held although the instrument was at its limit held; what failed there says nothing.
    """
    return _counted([(each.readers, each.held) for each in steps if each.lane == lane and (each.held or not each.doubts)])


def step(each: Round, goal: float) -> Step:
    """What a round says about its number of readers."""
    sample = each.sample
    p99 = sample.delays.percentile(99)
    complete = sample.ready == sample.readers and not sample.tally.lost and not sample.tally.doubled
    return Step(
        lane=each.lane,
        readers=sample.readers,
        p99=p99,
        lost=sample.tally.lost,
        held=complete and p99 is not None and p99 < goal * 1000,
        doubts=[reason for reason, _ in doubts_of(each) if _of_the_instrument(reason)],
    )


def _of_the_instrument(reason: str) -> bool:
    """Readers that did not get in or events that did not come are the server's, and what is searched for."""
    return "generator" in reason or "publisher woke" in reason or "plays the network" in reason or "clock" in reason


def _held(one: Step, goal: float) -> bool:
    return one.held and one.p99 is not None and one.p99 < goal * 1000


def _wants_another_try(steps: Sequence[Step], readers: int, goal: float) -> bool:
    tries = [_held(each, goal) for each in steps if each.readers == readers]
    return len(tries) < TRIES and not any(tries)


def _bounds(steps: Sequence[Step], goal: float) -> tuple[int, int | None]:
    return _counted([(each.readers, _held(each, goal)) for each in steps])


def _counted(tries: Sequence[tuple[int, bool]]) -> tuple[int, int | None]:
    held = max((readers for readers, fine in tries if fine), default=0)
    return held, min((readers for readers, fine in tries if not fine and readers > held), default=None)
