"""Noise: intervals that hold the truth as often as they say, whatever the unit and the direction."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locustfiles.judging.noise import LEVEL, Difference, paired, step_down, student, unpaired

# NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2, "Critical Values of the Student's-t Distribution", column 0.975.
PRINTED = """12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262 2.228 2.201 2.179 2.160 2.145 2.131 2.120 2.110 2.101 2.093
2.086 2.080 2.074 2.069 2.064 2.060 2.056 2.052 2.048 2.045 2.042"""
POSITIVE = st.floats(0.001, 1e6)
PAIRS = st.lists(st.tuples(POSITIVE, POSITIVE), min_size=2, max_size=12)


def numbered(*values: float | None) -> dict[int, float | None]:
    return dict(enumerate(values, 1))


@pytest.mark.parametrize(("df", "quantile"), list(enumerate(map(float, PRINTED.split()), 1)))
def test_quantiles_are_those_that_are_printed(df: int, quantile: float):
    assert round(student(df), 3) == quantile


@pytest.mark.parametrize(
    ("df", "level", "quantile"), [(4, 0.99, 4.604), (2, 0.998, 22.327), (10, 0.8, 1.372), (5000, 0.95, 1.960)]
)
def test_other_levels_too(df: int, level: float, quantile: float):
    assert round(student(df, level), 3) == quantile


def test_many_degrees_of_freedom_pass_into_the_normal_distribution():
    assert student(199) == pytest.approx(student(200), rel=0.01)


# --- what is compared


def test_a_difference_that_each_repeat_shows():
    found = paired(numbered(1.0, 2.0, 4.0), numbered(1.3, 2.3, 4.3))
    assert found is not None
    assert found.by == pytest.approx((0.3, 0.3, 0.3))
    assert found.beyond_noise


def test_a_drift_that_meets_both_is_no_noise():
    ours = numbered(1.0, 2.0, 3.0, 4.0, 5.0)
    theirs = numbered(1.31, 2.29, 3.30, 4.32, 5.28)
    assert _of(paired(ours, theirs)).beyond_noise
    assert not _of(unpaired(list(ours.values()), list(theirs.values()))).beyond_noise


def test_the_same_figures_by_hand():
    by = _of(paired(numbered(1.0, 1.0, 1.0), numbered(2.0, 3.0, 4.0))).by  # differences 1, 2, 3: mean 2, error 1/sqrt(3)
    assert by == pytest.approx((2 - 4.30265 / math.sqrt(3), 2, 2 + 4.30265 / math.sqrt(3)), rel=1e-5)


def test_welch_by_hand():
    # Variances 1 and 4, three and three: error sqrt(5/3), freedom (5/3)^2 / (1/9/2 + 16/9/2) = 2.94, rounded down to 2.
    by = _of(unpaired([1.0, 2.0, 3.0], [4.0, 6.0, 8.0])).by
    assert by == pytest.approx((4 - 4.30265 * math.sqrt(5 / 3), 4, 4 + 4.30265 * math.sqrt(5 / 3)), rel=1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs"), [((1.0,), (2.0,)), ((), ()), ((1.0, None, 3.0), (None, 2.0, 4.0)), ((1.0, None), (2.0, 3.0))]
)
def test_one_repeat_compares_nothing(ours: tuple[float | None, ...], theirs: tuple[float | None, ...]):
    assert paired(numbered(*ours), numbered(*theirs)) is None


def test_one_repeat_of_either_run_compares_nothing():
    assert unpaired([1.0], [2.0, 3.0]) is None
    assert unpaired([1.0, 2.0], [None, 3.0]) is None


def test_a_repeat_that_is_missing_leaves_the_others():
    found = _of(paired({1: 1.0, 2: 1.0, 3: None, 4: 1.0}, {1: 2.0, 3: 9.0, 4: 2.1, 5: 9.0}))
    assert found.repeats == 2
    assert found.by.mid == pytest.approx(1.05)


def test_zero_has_no_ratio_and_still_a_difference():
    found = _of(paired(numbered(0, 0, 0), numbered(5, 6, 7)))
    assert found.times is None
    assert found.beyond_noise
    assert _of(unpaired([0, 0], [5, 5])).times is None


def test_no_difference_at_all():
    same = numbered(1.1, 2.2, 3.3)
    assert not _of(paired(same, same)).beyond_noise
    assert not _of(unpaired([1.0, 1.0], [1.0, 1.0])).beyond_noise


def test_more_comparisons_ask_for_more():
    ours, theirs = numbered(1.0, 1.1, 1.2, 1.0), numbered(1.1, 1.3, 1.25, 1.1)
    one, many = _of(paired(ours, theirs)), _of(paired(ours, theirs, comparisons=15))
    assert one.beyond_noise
    assert not many.beyond_noise
    assert one.by.mid == many.by.mid


# --- what holds for all figures


@given(PAIRS)
def test_seen_from_the_other_side_it_is_the_reverse(pairs: list[tuple[float, float]]):
    ours, theirs = (numbered(*values) for values in zip(*pairs, strict=True))
    one, other = _of(paired(ours, theirs)), _of(paired(theirs, ours))
    assert other.by == pytest.approx((-one.by.high, -one.by.mid, -one.by.low))
    assert _ratio(other) == pytest.approx(tuple(1 / each for each in reversed(_ratio(one))), rel=1e-6)


@given(PAIRS, st.sampled_from([0.001, 8.0, 1000.0]))
def test_the_unit_does_not_matter(pairs: list[tuple[float, float]], scale: float):
    ours, theirs = (numbered(*values) for values in zip(*pairs, strict=True))
    larger = [{n: (v or 0) * scale for n, v in each.items()} for each in (ours, theirs)]
    one, other = _of(paired(ours, theirs)), _of(paired(larger[0], larger[1]))
    assert _ratio(other) == pytest.approx(_ratio(one), rel=1e-6)
    assert other.by == pytest.approx(tuple(each * scale for each in one.by), rel=1e-6, abs=1e-6 * scale)


@given(PAIRS)
def test_the_figure_lies_within_its_interval(pairs: list[tuple[float, float]]):
    ours, theirs = (numbered(*values) for values in zip(*pairs, strict=True))
    for found in (_of(paired(ours, theirs)), _of(unpaired(list(ours.values()), list(theirs.values())))):
        assert found.by.low <= found.by.mid <= found.by.high
        low, mid, high = _ratio(found)
        assert low <= mid <= high


@pytest.mark.parametrize("repeats", [3, 5, 10])
@pytest.mark.parametrize("form", ["paired", "unpaired"])
def test_intervals_hold_the_truth_as_often_as_they_say(repeats: int, form: str):
    """2,000 comparisons of lanes that scatter by 10 %, the one 1.3 times the other: 95 % of 2,000 is 1,900, give or take 10.

    Welch's form is a little too wide for so few repeats, because degrees of freedom are rounded down.
    """
    luck = random.Random(repeats)
    held = 0
    for _ in range(2000):
        ours = [luck.lognormvariate(0, 0.1) for _ in range(repeats)]
        theirs = [1.3 * luck.lognormvariate(0, 0.1) for _ in range(repeats)]
        found = paired(numbered(*ours), numbered(*theirs)) if form == "paired" else unpaired(ours, theirs)
        low, _, high = _ratio(_of(found))
        held += low <= 1.3 <= high
    assert LEVEL - 0.015 < held / 2000 < (LEVEL + 0.015 if form == "paired" else 0.985)


@pytest.mark.parametrize("sizes", [(1.0, 1.0, 1.0), (1.0, 1.0, 2.0), (1.0, 1.0, 2.0, 2.0)])
def test_what_is_said_of_several_lanes_is_right_together_as_often_as_it_says(sizes: tuple[float, ...]):
    """1,500 times: lanes that are alike are told apart in about 5 % of them, lanes that are not in all."""
    luck, pairs = random.Random(len(sizes)), list(itertools.combinations(range(len(sizes)), 2))
    wrong = missed = 0
    for _ in range(1500):
        lanes = [numbered(*(size * luck.lognormvariate(0, 0.1) for _ in range(5))) for size in sizes]
        together = step_down({(a, b): _of(paired(lanes[a], lanes[b])).p for a, b in pairs}, len(lanes))
        apart = {(a, b): _of(paired(lanes[a], lanes[b], comparisons=together[a, b])).beyond_noise for a, b in pairs}
        wrong += any(found for (a, b), found in apart.items() if sizes[a] == sizes[b])
        missed += any(not found for (a, b), found in apart.items() if sizes[a] != sizes[b])
    assert 0.02 < wrong / 1500 < 0.065
    assert missed <= 15


@pytest.mark.parametrize(
    ("lanes", "ps", "together"),
    [
        (2, [0.04], [1]),
        (3, [0.001, 0.03, 0.2], [3, 1, 1]),
        (3, [0.03, 0.04, 0.04], [3, 3, 3]),  # the clearest is not clear enough for three
        (4, [0.001] * 6, [6, 3, 3, 3, 2, 1]),
        (4, [0.001, 0.02, 0.03, 0.04, 0.05, 0.06], [6, 3, 3, 3, 3, 3]),
    ],
)
def test_for_how_many_comparisons_a_difference_answers(lanes: int, ps: list[float], together: list[int]):
    assert list(step_down(dict(enumerate(ps)), lanes).values()) == together


@pytest.mark.parametrize("comparisons", [1, 3, 15])
@given(PAIRS)
def test_p_and_interval_say_the_same(comparisons: int, pairs: list[tuple[float, float]]):
    ours, theirs = (numbered(*values) for values in zip(*pairs, strict=True))
    for form in (
        paired(ours, theirs, comparisons=comparisons),
        unpaired(list(ours.values()), list(theirs.values()), comparisons=comparisons),
    ):
        found = _of(form)
        if abs(found.p - 0.05 / comparisons) > 1e-9:
            assert found.beyond_noise is (found.p < 0.05 / comparisons)


def _of(found: Difference | None) -> Difference:
    assert found is not None
    return found


def _ratio(found: Difference) -> tuple[float, float, float]:
    assert found.times is not None
    return found.times
