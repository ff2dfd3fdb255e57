"""Schedule: on time, in order, and numbered without holes in each channel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locustfiles.measuring.schedule import Due, Schedule, of
from locustfiles.samples import Published


def test_a_schedule_does_not_drift():
    schedule = Schedule(0, 3.0)
    assert [schedule.due(n) for n in (0, 1, 2, 3, 3_000_000)] == [0, 333_333, 666_667, 1_000_000, 1_000_000_000_000]


def test_what_came_due_meanwhile_keeps_its_time():
    schedule = Schedule(1000, 1000.0, 5)

    def taken(at: int, most: int) -> list[tuple[int, int]]:
        return [(event.k, event.due) for event in schedule.take(at, most)]

    assert taken(999, 10) == []
    assert taken(1000, 10) == [(0, 1000)]
    assert taken(9000, 3) == [(1, 2000), (2, 3000), (3, 4000)]
    assert taken(9000, 3) == [(4, 5000)]
    assert schedule.over


@given(st.lists(st.integers(0, 20_000)), st.integers(1, 7))
def test_every_event_is_taken_once_and_in_order(looks: list[int], most: int):
    schedule = Schedule(0, 1000.0)
    taken = [event.k for look in sorted(looks) for event in schedule.take(look, most)]
    assert taken == list(range(len(taken)))


def test_a_burst_is_due_at_one_moment_and_the_rate_stays():
    schedule = Schedule(0, 10.0, burst=5)
    assert [schedule.due(k) for k in range(11)] == [0] * 5 + [500_000] * 5 + [1_000_000]


@given(st.integers(1, 9), st.integers(-1, 60))
def test_each_channel_is_numbered_without_holes(count: int, last: int):
    schedule = Schedule(0, 10.0, channels=[f"c{place}" for place in range(count)])
    for channel in schedule.channels:
        numbers = [event.n for event in schedule.events(last) if event.channel == channel]
        assert numbers == list(range(schedule.last(channel, last) + 1))


@pytest.mark.parametrize("burst", [1, 4])
def test_the_judge_knows_the_schedule_that_the_publisher_kept(burst: int):
    kept = Schedule(77, 50.0, 9, channels=("a", "b"), burst=burst)
    known = of(Published(rate=50.0, size=100, last=8, started=77), ("a", "b"), burst)
    assert list(known.events(8)) == kept.take(10**9, 100)
    assert list(known.events(0)) == [Due(0, 0, "a", 77)]
