"""Capacity: the search against servers of which it is known how many readers they bear."""

import random
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from runs import a_round, histogram

from locustfiles.judging.capacity import CLOSE, STEPS, capacity, next_step, step
from locustfiles.samples import Lane, Step, Tally

SSE, WEBSOCKET = Lane("open", "everywire", "sse"), Lane("open", "everywire", "websocket")
GOAL = 50.0

Server = Callable[[int], int]  # readers → p99 in µs


def bears(limit: int) -> Server:
    """A server whose delay explodes beyond `limit` readers, as queues do."""
    return lambda readers: round(50_000 * min(100.0, 0.5 + 0.4999 * readers / limit)) if readers <= limit else 60_000


def search(server: Server, *, start: int = 100, most: int = 100_000, lane: Lane = SSE) -> list[Step]:
    steps: list[Step] = []
    while (readers := next_step(steps, lane, GOAL, start, most)) is not None:
        p99 = server(readers)
        steps.append(Step(lane=lane, readers=readers, p99=p99, lost=0, held=p99 < GOAL * 1000))
        assert len(steps) <= STEPS
    return steps


def test_doubling_then_halving():
    steps = search(bears(700))
    assert [each.readers for each in steps] == [100, 200, 400, 800, 800, 600, 700, 750, 750]
    assert capacity(steps, SSE) == (700, 750)


@given(st.integers(1, 50_000), st.integers(16, 5_000))
@example(1, 4_096)
@example(1, 5_000)
@settings(max_examples=300)
def test_what_is_found_is_close_to_what_there_is(limit: int, start: int):
    held, failed = capacity(search(bears(limit), start=start), SSE)
    assert held <= limit
    assert failed is not None
    assert failed > limit
    assert failed <= held * CLOSE or failed - held == 1


def test_a_server_that_bears_nobody():
    steps = search(lambda _: 60_000)
    assert [each.readers for each in steps] == [100, 100, 25, 25, 6, 6, 1, 1]
    assert capacity(steps, SSE) == (0, 1)


def test_never_more_than_there_may_be():
    steps = search(lambda _: 1_000, most=1_000)
    assert [each.readers for each in steps] == [100, 200, 400, 800, 1_000]
    assert capacity(steps, SSE) == (1_000, None)
    assert search(lambda _: 1_000, start=500, most=50)[0].readers == 50


def test_one_bad_moment_does_not_decide():
    bad = iter([False, True] + [False] * 50)
    steps = search(lambda readers: 90_000 if next(bad) else bears(700)(readers))
    assert [each.readers for each in steps][:4] == [100, 200, 200, 400]
    assert capacity(steps, SSE) == (700, 750)


def test_with_noise_it_ends_near_what_there_is():
    """One round in twenty is spoilt, and delays scatter by 5 %. Tried once more, a number fails wrongly once in 400."""
    found = []
    for seed in range(200):
        luck = random.Random(seed)

        def noisy(readers: int, luck: random.Random = luck) -> int:
            return 90_000 if luck.random() < 0.05 else round(bears(1_000)(readers) * luck.lognormvariate(0, 0.05))

        found.append(capacity(search(noisy), SSE)[0])
    assert max(found) <= 1_100
    assert sum(held >= 850 for held in found) >= 190


def test_lanes_are_searched_one_by_one():
    steps = search(bears(700))
    assert next_step(steps, WEBSOCKET, GOAL, 100, 1_000) == 100
    assert capacity(steps, WEBSOCKET) == (0, None)


def test_the_instrument_s_own_limit_ends_the_search():
    steps = [Step(lane=SSE, readers=100, p99=1_000, lost=0, held=True)]
    steps.append(Step(lane=SSE, readers=200, p99=70_000, lost=0, held=False, doubts=["the load generator was saturated"]))
    assert next_step(steps, SSE, GOAL, 100, 1_000) is None
    assert capacity(steps, SSE) == (100, None)
    steps[1] = Step(lane=SSE, readers=200, p99=40_000, lost=0, held=True, doubts=["the load generator was saturated"])
    assert next_step(steps, SSE, GOAL, 100, 1_000) is None
    assert capacity(steps, SSE) == (200, None)


def test_a_step_is_judged_by_the_goal_that_is_asked_for_now():
    steps = [Step(lane=SSE, readers=100, p99=30_000, lost=0, held=True)]
    assert next_step(steps, SSE, 50.0, 100, 1_000) == 200
    assert next_step(steps, SSE, 20.0, 100, 1_000) == 100


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({}, True),
        ({"delays": histogram(1_000, 60_000)}, False),
        ({"delays": histogram()}, False),
        ({"tally": Tally(expected=40, delivered=39, lost=1)}, False),
        ({"ready": 1}, False),
    ],
)
def test_a_step_holds_if_all_came_in_time(changes: dict[str, object], held: bool):
    found = step(a_round("sse", 1, 1_000, **changes), GOAL)
    assert (found.held, found.doubts, found.readers, found.lane) == (held, [], 2, SSE)


def test_a_busy_generator_is_no_limit_of_the_server():
    assert step(a_round("sse", 1, 60_000, cpu=0.95), GOAL).doubts == ["the load generator was saturated"]
