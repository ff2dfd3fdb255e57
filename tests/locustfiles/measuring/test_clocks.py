"""Clocks: the truth lies within what is said of it, whatever the messages did on their way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locustfiles.measuring.clocks import Offset, Trip, offset, uncertainty

WAYS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 50_000), st.integers(0, 50_000)), min_size=1, max_size=20)


def trips(ahead: int, ways: list[tuple[int, int, int]]) -> list[Trip]:
    """Messages sent at some time, that took so long there, and so long back."""
    return [Trip(sent, sent + there + ahead, sent + there + back) for sent, there, back in ways]


@given(st.integers(-(10**12), 10**12), WAYS)
def test_the_truth_is_within_the_error(ahead: int, ways: list[tuple[int, int, int]]):
    found = offset(trips(ahead, ways))
    assert abs(found.ahead - ahead) <= found.error


@given(st.integers(-(10**9), 10**9), WAYS)
def test_many_trips_are_no_worse_than_the_shortest(ahead: int, ways: list[tuple[int, int, int]]):
    shortest = min(there + back for _, there, back in ways)
    assert offset(trips(ahead, ways)).error <= (shortest + 1) // 2 + 1


def test_the_way_there_and_the_way_back_are_told_apart_by_other_trips():
    assert offset(trips(1_000, [(0, 0, 400), (10, 400, 0)])) == Offset(1_000, 0)


def test_a_clock_that_was_set_between_two_trips_is_judged_by_the_shorter():
    found = offset([*trips(0, [(0, 100, 100)]), *trips(5_000, [(1_000, 10, 10)])])
    assert found == Offset(5_000, 10)


def test_what_may_be_the_same_clock_is_not_corrected():
    assert Offset(80, 100).applied == Offset(0, 180)
    assert Offset(-101, 100).applied == Offset(-101, 100)


@pytest.mark.parametrize(
    ("later", "error"),
    [(Offset(5_000, 100), 200), (Offset(5_000, 300), 300), (Offset(5_400, 100), 500), (Offset(4_000, 0), 1_000)],
)
def test_a_clock_that_runs_at_another_speed_is_less_certain(later: Offset, error: int):
    assert uncertainty(Offset(5_000, 200), later) == error
