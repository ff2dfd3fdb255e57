"""Verdict: difference against noise, faults first, and what makes a run worthless."""

import pytest
from runs import a_run, histogram

from locustfiles.samples import Published, Tally
from locustfiles.verdict import Spread, judge, spread

APART = {"websocket": [1000, 1100, 1200], "sse": [2000, 2100, 2200], "longpoll": [4000, 5000, 6000]}


def test_the_spread_is_least_median_most():
    assert spread([3, 1, 2]) == Spread(1, 2, 3)


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        (Spread(1, 2, 3), Spread(4, 5, 6), True),
        (Spread(4, 5, 6), Spread(1, 2, 3), True),
        (Spread(1, 2, 4), Spread(4, 5, 6), False),
    ],
)
def test_ranges_that_touch_are_not_apart(one: Spread, other: Spread, apart: bool):
    assert one.apart(other) is apart


def test_a_difference_below_the_resolution_is_none():
    assert not Spread(1000, 1010, 1020).apart(Spread(1030, 1040, 1050), 100)


def test_the_soonest_is_named():
    verdict = judge(a_run(APART))
    assert verdict.trustworthy
    assert verdict.sentence.startswith("WebSocket delivered soonest, with a median delay of 1.1")
    assert verdict.sentence.endswith("nothing was lost, doubled or out of order.")


def test_no_difference_larger_than_the_noise():
    verdict = judge(a_run({"websocket": [1000, 3000, 2000], "sse": [1500, 1600, 2500]}))
    assert verdict.sentence.startswith("No difference larger than the noise")


def test_two_alike_and_one_later():
    verdict = judge(a_run({**APART, "sse": [1000, 1150, 1300]}))
    assert "WebSocket" in verdict.sentence
    assert "differ by no more than the noise" in verdict.sentence
    assert verdict.sentence.index("came later") > verdict.sentence.index("long-polling")


def test_one_repeat_compares_nothing():
    assert judge(a_run({"websocket": [1000], "sse": [9000]})).sentence.startswith("One repeat shows no noise")


def test_faults_are_named_with_their_transport():
    run = a_run(APART)
    run.of("sse")[0].sample.tally = Tally(expected=40, delivered=37, lost=3, declared=1, doubled=2, disordered=1)
    assert "SSE had 2 lost in silence, 1 declared lost, 2 doubled, 1 out of order of 120" in judge(run).sentence


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cpu": 0.9}, "saturated"),
        ({"lag": histogram(*[30_000] * 10)}, "generator woke up too late"),
        ({"clock": "process", "lag": histogram(*[6_000] * 10)}, "generator woke up too late"),
        ({"published": Published(rate=20, size=100, lag=histogram(*[20_000] * 10))}, "publisher woke up too late"),
        ({"ready": 1}, "not in place"),
        ({"delays": histogram(-5_000, 1_000)}, "before they were published"),
        ({"tally": Tally()}, "nothing was published"),
        ({"published": Published(rate=20, size=100, refused={"too many": 2})}, "refused to publish (too many)"),
    ],
)
def test_doubts_make_a_run_worthless(changes: dict[str, object], reason: str):
    verdict = judge(a_run(APART, **changes))
    assert not verdict.trustworthy
    assert verdict.sentence.startswith("Not trustworthy: ")
    assert reason in verdict.sentence


def test_lag_of_the_generator_matters_less_where_the_kernel_tells_the_time():
    assert judge(a_run(APART, lag=histogram(*[6_000] * 10))).trustworthy


def test_a_single_disturbed_round_is_noted_and_the_median_stands():
    run = a_run(APART)
    run.of("sse")[1].sample.cpu = 1.0
    verdict = judge(run)
    assert verdict.trustworthy
    assert verdict.notes == ["the load generator was saturated in 1 of 3 rounds of SSE"]


def test_a_reader_that_was_missing_once_is_enough():
    run = a_run(APART)
    run.of("sse")[1].sample.ready = 1
    assert not judge(run).trustworthy
