"""Pauses: found where they are, and nowhere else."""

import math

import pytest

from locustfiles.measuring.pauses import Watch


def watch(interval: float, *arrivals: int) -> Watch:
    made = Watch(interval)
    made.start(1_000_000)
    for at in arrivals:
        made.came(at)
    return made


def test_the_publishers_pace_is_no_pause():
    made = watch(500_000, *range(1_000_000, 9_000_000, 500_000))
    assert made.closed(9_000_000, complete=False) == []


@pytest.mark.parametrize("interval", [1_000, 100_000])
def test_a_pause_has_its_beginning_and_its_end(interval: int):
    ended = 2_000_000 + 3 * interval + 100_001
    assert watch(interval, 1_000_000 + interval, 2_000_000, ended).pauses[-1] == (2_000_000, ended)
    assert (2_000_000, ended - 1) not in watch(interval, 1_000_000 + interval, 2_000_000, ended - 1).pauses


def test_who_gets_nothing_pauses_from_the_start_to_the_end():
    assert watch(1_000).closed(5_000_000, complete=False) == [(1_000_000, 5_000_000)]


def test_who_has_everything_waits_for_nothing():
    assert watch(1_000, 1_000_000).closed(5_000_000, complete=True) == []
    assert watch(1_000, 1_000_000).closed(5_000_000, complete=False) == [(1_000_000, 5_000_000)]


def test_an_arrival_before_the_start_was_told_of_is_not_forgotten():
    made = Watch(1_000)
    made.came(1_000_500)
    made.start(1_000_000)
    made.came(1_050_000)
    assert made.pauses == []
    assert made.arrived == 1_050_000


def test_without_a_pace_nothing_is_a_pause():
    assert watch(math.inf, 10**12).closed(10**13, complete=False) == []
