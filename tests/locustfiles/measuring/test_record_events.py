"""Record: planted faults are found, and where none is planted none is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locustfiles.measuring.record import Record
from locustfiles.measuring.timeline import Cells
from locustfiles.samples import Tally


def judged(numbers: list[int], first: int | None = None, last: int | None = None) -> Tally:
    record = Record("c")
    for n in numbers:
        record.event(n, 0, 1000)
    return record.tally(first, last)


def test_nothing_planted_nothing_found():
    assert judged(list(range(100)), 0, 99) == Tally(expected=100, delivered=100)


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ([0, 1, 3, 4], {"lost": 1}),
        ([1, 2, 3, 4], {"lost": 1}),  # the head
        ([0, 1, 2, 3], {"lost": 1}),  # the tail
        ([], {"lost": 5}),
        ([0, 1, 1, 2, 3, 4], {"doubled": 1}),
        ([0, 1, 2, 3, 4, 0, 1], {"doubled": 2}),
        ([0, 2, 1, 3, 4], {"disordered": 1}),
        ([1, 0, 2, 3, 4], {"disordered": 1}),
        ([4, 0], {"disordered": 1, "lost": 3}),
        ([0, 3, 2, 1, 4], {"disordered": 2}),
        ([0, 2, 1, 1, 3, 4], {"disordered": 1, "doubled": 1}),
        ([0, 4, 4, 1], {"lost": 2, "doubled": 1, "disordered": 1}),
    ],
)
def test_planted_faults_are_found(numbers: list[int], found: dict[str, int]):
    tally = judged(numbers, 0, 4)
    assert (tally.lost, tally.doubled, tally.disordered) == tuple(
        found.get(kind, 0) for kind in ("lost", "doubled", "disordered")
    )
    assert tally.delivered == len(set(numbers))
    assert tally.expected == 5


def test_without_a_first_number_reading_begins_where_it_begins():
    assert judged([7, 8, 9]) == Tally(expected=3, delivered=3)


def test_a_declared_gap_is_told_apart_from_a_silent_one():
    record = Record("c")
    record.event(0, 0, 1)
    record.lost()
    assert record.event(5, 0, 1) == "declared"
    assert record.event(7, 0, 1) == "lost"
    tally = record.tally(0, 7)
    assert (tally.lost, tally.declared) == (5, 4)


def test_a_declaration_at_the_head_or_the_tail_covers_what_is_missing_there():
    record = Record("c")
    record.lost()
    record.event(3, 0, 1)
    record.lost()
    tally = record.tally(0, 9)
    assert (tally.lost, tally.declared) == (9, 9)


def test_each_event_says_what_is_wrong_with_it():
    record = Record("c")
    assert [record.event(n, 0, 1) for n in (0, 1, 3, 2, 3, 4)] == ["", "", "lost", "disordered", "doubled", ""]


def test_a_doubled_event_adds_no_delay():
    cells: Cells = {}
    record = Record("c", cells)
    record.event(0, 5, 10)
    record.event(0, 5, 99_999)
    assert {n: list(cell) for n, cell in cells.items()} == {0: [5, 10]}
    assert record.delivered == 1


def test_an_event_of_somebody_else_counts_as_nothing():
    record = Record("c", {})
    found = [record.event(n, due, 1) for n, due in ((0, 10), (1, 20), (0, 11), (4, 50), (2, 30), (4, 51))]
    assert found == ["", "", "alien", "lost", "disordered", "alien"]
    tally = record.tally(0, 4)
    assert (tally.expected, tally.delivered, tally.lost, tally.doubled, tally.disordered) == (5, 4, 1, 0, 1)


def test_nobody_misses_what_nobody_has_published():
    assert judged([0, 1, 10**9], 0, 4) == Tally(expected=6, delivered=3, lost=3)
    assert judged([10**9], 0, 4).lost == 5


def test_readers_share_where_deliveries_are_kept():
    cells: Cells = {}
    for delay in (30, 10, 20):
        Record("c", cells).event(7, 1000, delay)
    assert list(cells[7]) == [1000, 30, 10, 20]


@given(st.permutations(range(12)))
def test_any_order_of_all_events_loses_and_doubles_nothing(numbers: list[int]):
    tally = judged(numbers, 0, 11)
    assert (tally.delivered, tally.lost, tally.doubled) == (12, 0, 0)
    late = sum(n < max(numbers[:place], default=-1) for place, n in enumerate(numbers))
    assert tally.disordered == late


@given(st.lists(st.integers(0, 9)))
def test_every_number_is_delivered_or_lost_and_every_repeat_is_counted(numbers: list[int]):
    tally = judged(numbers, 0, 9)
    assert tally.delivered == len(set(numbers))
    assert tally.lost == 10 - len(set(numbers))
    assert tally.doubled == len(numbers) - len(set(numbers))
