from __future__ import annotations

import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports import Code
from transports.leaving import PROVE, Departure, Slots, excess

_ceilings = st.floats(0.5, 5000)
_luck = st.floats(0, 1)


def busiest(places: list[float]) -> int:
    """The most that lie in any window of a second, its end left out."""
    ticks = sorted(round(place * 1_000_000) for place in places)
    return max((bisect_left(ticks, tick + 1_000_000) - at for at, tick in enumerate(ticks)), default=0)


@given(st.integers(0, 2000), _ceilings, _luck, st.lists(st.floats(0, 0.5), max_size=50))
def test_no_second_holds_more_than_the_ceiling_whoever_comes_late(
    readers: int, ceiling: float, luck: float, late: list[float]
) -> None:
    slots = Slots(readers, ceiling, begin=100.0, luck=luck)
    places = [100.0 + slots.take(100.0) for _ in range(readers)]
    now = 100.0
    for pause in late:
        now += pause
        places.append(now + slots.take(now))
    assert busiest(places) <= math.ceil(ceiling)


@given(st.integers(1, 500), st.floats(0.5, 5000), _luck)
def test_they_are_spread_over_all_of_the_time_and_not_beyond_it(readers: int, ceiling: float, luck: float) -> None:
    slots = Slots(readers, ceiling, begin=0.0, luck=luck)
    places = [slots.take(0.0) for _ in range(readers)]
    assert min(places) >= 0
    assert max(places) <= slots.window + 0.001
    assert max(places) - min(places) >= slots.window * (1 - 1 / readers) - 0.001
    assert slots.window == max(1.0, readers / ceiling)


@given(st.integers(1, 300), _ceilings, st.floats(0.1, 60), st.lists(st.floats(0, 100), max_size=20).map(sorted), _luck)
def test_who_is_told_comes_back_before_the_end_and_with_time_to_prove_it(
    readers: int, ceiling: float, most: float, late: list[float], luck: float
) -> None:
    departure = Departure(Code.DRAINING, readers, ceiling, now=0.0, most=most, luck=luck)
    assert 0 < departure.stays <= most
    for _ in range(readers):
        bye = departure.bye(0.0)
        assert 0 <= bye.retry < bye.stays
        assert bye.retry <= max(most - PROVE, most / 2)
    for now in late:
        bye = departure.bye(now)
        assert 0 <= bye.retry < bye.stays
        assert now + bye.stays <= max(departure.stays, now + 0.001) + 0.001


def test_a_departure_takes_as_long_as_its_readers_need_and_says_why() -> None:
    departure = Departure(Code.DRAINING, 1000, 100.0, now=0.0, most=60.0, luck=0.0)
    assert departure.stays == 10.0 + PROVE
    first, second = departure.bye(0.0), departure.bye(0.0)
    assert (first.code, first.name, first.retry, first.stays) == (4503, "draining", 0.0, 15.0)
    assert second.retry == 0.01


def test_where_there_is_no_time_for_the_ceiling_they_go_faster() -> None:
    departure = Departure(Code.DRAINING, 1000, 10.0, now=0.0, most=25.0, luck=0.0)
    assert departure.stays == 25.0
    assert max(departure.bye(0.0).retry for _ in range(1000)) == pytest.approx(20.0, abs=0.1)


def test_a_wish_for_more_time_is_granted_and_one_for_less_than_the_ceiling_takes_is_not() -> None:
    slow = Departure(Code.REBALANCE, 10, 100.0, now=0.0, over=20.0, luck=0.0)
    assert slow.stays == 20.0 + PROVE
    fast = Departure(Code.REBALANCE, 1000, 100.0, now=0.0, over=1.0, luck=0.0)
    assert fast.stays == 10.0 + PROVE


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 1000), max_size=8), st.floats(0, 2))
def test_who_has_too_many_keeps_the_average_and_nobody_else_gives_any(counts: dict[str, int], tolerance: float) -> None:
    average = sum(counts.values()) / max(1, len(counts))
    goes = excess(counts, tolerance)
    assert goes.keys() == counts.keys()
    for name, number in goes.items():
        if counts[name] > average * (1 + tolerance):
            assert 0 <= counts[name] - number - average < 1
        else:
            assert number == 0
