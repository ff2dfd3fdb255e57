"""Figures: what each is of one round and of several, and that what was not measured is None and never 0."""

import math

import pytest
from runs import a_round, histogram

from locustfiles.histogram import Histogram
from locustfiles.judging.figures import FIGURES, by_repeat, of_lane
from locustfiles.samples import Recovery, Tally, Traffic, Usage


def of(name: str, **changes: object) -> float | None:
    return FIGURES[name].of(a_round("sse", 1, 1000, **changes))


def recovery(*each: tuple[Histogram, int]) -> float | None:
    made = a_round("sse", 1, 1000)
    made.recoveries = [Recovery(mark=place, back=back, never=never) for place, (back, never) in enumerate(each)]
    return FIGURES["recovery"].of(made)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("p50", 1.0),
        ("p90", 1.8),
        ("max", 2.0),
        ("lost", 0),
        ("bytes", 210),
        ("requests", 0),
        ("cpu", 0.5),
        ("memory", 40),
        ("footprint", 512),
        ("hello", 0.9),
    ],
)
def test_figures_of_a_round(name: str, value: float):
    assert of(name) == pytest.approx(value)


@pytest.mark.parametrize("name", ["p50", "p99.9", "max", "hello", "ack", "recovery"])
def test_what_was_not_measured_is_none(name: str):
    made = a_round("sse", 1, 1000, delays=histogram())
    made.sample.phases.hello = histogram()
    assert FIGURES[name].of(made) is None


@pytest.mark.parametrize("name", ["bytes", "requests", "cpu"])
def test_nothing_is_divided_among_no_deliveries(name: str):
    assert of(name, tally=Tally(expected=40), traffic=Traffic(100, 100)) is None


@pytest.mark.parametrize("name", ["cpu", "memory", "footprint"])
def test_a_server_that_was_not_watched_used_nothing_that_is_known(name: str):
    made = a_round("sse", 1, 1000)
    made.server = None
    assert FIGURES[name].of(made) is None


def test_losses_are_told_apart():
    tally = Tally(expected=40, delivered=30, lost=10, declared=7, doubled=2, disordered=1)
    assert [of(name, tally=tally) for name in ("lost", "silent", "doubled", "disordered")] == [10, 3, 2, 1]


def test_memory_that_was_given_back_is_none_per_reader():
    made = a_round("sse", 1, 1000)
    made.server = Usage(0.1, 40 << 20, 41 << 20, 0.5)
    assert FIGURES["footprint"].of(made) == 0


def test_recovery_is_that_of_95_of_100_readers():
    assert recovery((histogram(*range(10, 1_010, 10)), 0)) == 0.95
    assert recovery((histogram(*[0] * 96, *[900_000] * 4), 0)) == 0.0


def test_recovery_is_over_all_faults():
    assert recovery((histogram(*[1_000] * 10), 0), (histogram(*[1_500] * 10), 0)) == 1.5


def test_readers_that_never_came_back_are_the_last_of_the_100():
    assert recovery((histogram(*range(10, 970, 10)), 4)) == 0.95
    assert recovery((histogram(*range(10, 960, 10)), 5)) == 0.95
    assert recovery((histogram(*range(10, 950, 10)), 6)) == math.inf
    assert recovery((histogram(), 3)) == math.inf


def test_of_several_rounds():
    rounds = [
        a_round("sse", repeat, us, tally=Tally(expected=40, delivered=39, lost=1))
        for repeat, us in enumerate((1000, 9000, 2000), 1)
    ]
    assert of_lane(FIGURES["p50"], rounds) == 2.1  # of 41: what was lost counts as later than all
    assert of_lane(FIGURES["max"], rounds) == 18.0
    assert of_lane(FIGURES["lost"], rounds) == 3
    assert of_lane(FIGURES["p50"], []) is None
    rounds[0].sample.delays = histogram()
    assert of_lane(FIGURES["p50"], rounds) is None
    assert by_repeat(FIGURES["p50"], rounds) == {1: None, 2: pytest.approx(9.45, rel=0.001), 3: 2.1}


def test_what_took_for_ever_cannot_be_averaged():
    made = a_round("sse", 4, 1000)
    made.recoveries = [Recovery(mark=0, back=histogram(), never=1)]
    assert by_repeat(FIGURES["recovery"], [made]) == {4: None}


def test_who_loses_the_late_ones_is_not_quick_for_it():
    lossy = a_round("sse", 1, 1000, tally=Tally(expected=80, delivered=40, lost=40))
    assert FIGURES["p50"].of(lossy) == 2.0  # the last of the half that came
    assert FIGURES["p99"].of(lossy) == math.inf
    assert FIGURES["max"].of(lossy) == 2.0  # of those that came
    of_slow_ones = a_round("sse", 1, 1000, tally=Tally(expected=80, delivered=40, lost=40), slow_tally=Tally(lost=40))
    assert FIGURES["p99"].of(of_slow_ones) == FIGURES["p99"].of(a_round("sse", 1, 1000))
