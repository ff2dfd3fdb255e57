"""Timeline: nothing that was delivered gets lost on its way into histograms, slots and rows."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locustfiles.measuring.timeline import Arrivals, Row, completed, csv, merged, slots
from locustfiles.samples import Slot

DELAYS = st.integers(-50, 10_000_000)
EVENTS = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 30)), st.lists(DELAYS, min_size=1, max_size=5), max_size=30
)


def arrivals(events: dict[tuple[str, int], list[int]]) -> Arrivals:
    """Event n of a source is due at 1,000 n µs."""
    made = Arrivals()
    for (source, n), delays in events.items():
        made.source(source)[n] = array("q", [n * 1000, *delays])
    return made


@given(EVENTS)
def test_the_histogram_has_every_delivery(events: dict[tuple[str, int], list[int]]):
    found = arrivals(events).delays()
    every = [delay for delays in events.values() for delay in delays]
    assert len(found) == len(every)
    assert (found.least, found.most) == ((min(every), max(every)) if every else (None, None))


@given(EVENTS, EVENTS)
def test_rows_of_two_processes_are_those_of_one(one: dict, other: dict):
    together = {key: one.get(key, []) + other.get(key, []) for key in {*one, *other}}
    found = merged([arrivals(one).rows(), arrivals(other).rows()])
    assert found == merged([arrivals(together).rows()])
    assert [row.due for row in found] == sorted(row.due for row in found)


@given(EVENTS, st.integers(1, 200))
def test_slots_add_up_to_the_rows(events: dict, most: int):
    rows = arrivals(events).rows()
    found = slots(rows, 0, most)
    assert len(found) <= most
    assert sum(slot.delivered for slot in found) == sum(row.delivered for row in rows)
    assert [slot.at for slot in found] == sorted({slot.at for slot in found})
    if rows:
        assert min(slot.least for slot in found) == min(row.least for row in rows)
        assert max(slot.most for slot in found) == max(row.most for row in rows)


def test_events_that_nobody_got_have_a_row_and_a_slot():
    rows = completed(arrivals({("a", 0): [10, 30]}).rows(), [("a", 0, 0), ("a", 1, 500_000), ("b", 0, 250_000)], {"a": 2, "b": 1})
    assert [(row.source, row.n, row.expected, row.delivered) for row in rows] == [("a", 0, 2, 2), ("b", 0, 1, 0), ("a", 1, 2, 0)]
    assert slots(rows, 0, 2) == [Slot(0.0, 3, 2, 10, 20, 30), Slot(0.250001, 2, 0, 0, 0, 0)]


@pytest.mark.parametrize("source", ["plain", 'with "quotes", and a comma'])
def test_rows_are_csv(source: str):
    import csv as reference

    lines = list(csv([Row(source, 3, 1_500_000, 2, 2, 10, 35, 25), Row(source, 4, 1_600_000, 2, 0, 0, 0, 0)], 500_000))
    assert list(reference.reader(lines)) == [
        ["3", source, "1.000000", "2", "2", "10", "18", "25"],
        ["4", source, "1.100000", "2", "0", "", "", ""],
    ]
