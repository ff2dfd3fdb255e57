"""Histogram: known answers, and the promise of its error bound."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from locustfiles.histogram import Histogram, bucket, merged

DURATIONS = st.integers(0, 3_600_000_000)


def of(*values: int) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def test_percentiles_are_nearest_rank():
    hundred = of(*range(1, 101))
    assert [hundred.percentile(p) for p in (0, 1, 50, 90, 99, 99.9, 100)] == [1, 1, 50, 90, 99, 100, 100]


def test_a_percentile_that_falls_on_a_rank_is_not_pushed_beyond_it_by_floats():
    assert of(*range(1, 1001)).percentile(99.9) == 999


def test_one_value_is_every_percentile():
    assert {of(1234).percentile(p) for p in (0, 50, 100)} == {1234}


def test_nothing_recorded_has_no_percentiles():
    assert Histogram().percentile(50) is None
    assert len(Histogram()) == 0


def test_extremes_are_exact_where_buckets_are_not():
    wide = of(1_234_567, 9_876_543)
    assert (wide.percentile(0), wide.percentile(100)) == (1_234_567, 9_876_543)


def test_a_negative_duration_stays_visible():
    assert of(-5, 10).percentile(0) == -5


@given(DURATIONS)
def test_a_bucket_is_at_most_a_thousandth_too_low(us: int):
    assert 0 <= us - bucket(us) <= us / 1000
    assert us > 2047 or bucket(us) == us


@given(st.lists(DURATIONS, min_size=1), st.floats(0, 100))
def test_percentiles_agree_with_the_sorted_list(values: list[int], percent: float):
    ranked = sorted(values)
    found = of(*values).percentile(percent)
    rank = max(1, -(-round(percent * len(ranked) / 100, 6) // 1))
    exact = ranked[min(len(ranked), int(rank)) - 1]
    assert found is not None
    assert found <= exact <= found * 1.001


@given(st.lists(DURATIONS), st.lists(DURATIONS))
def test_merging_is_recording_all(left: list[int], right: list[int]):
    assert merged([of(*left), of(*right)]) == of(*left, *right)


def test_memory_is_bounded_by_the_buckets():
    assert len({bucket(us) for us in range(1_000_000, 2_000_000)}) <= 2048


@given(st.lists(DURATIONS))
def test_json_keeps_it(values: list[int]):
    assert msgspec.json.decode(msgspec.json.encode(of(*values)), type=Histogram) == of(*values)
