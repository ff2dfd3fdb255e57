"""Charts: everything stays inside the picture and in order."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from runs import histogram

from locustfiles.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, LogScale, dot_chart, percentile_chart

DELAYS = st.lists(st.integers(1, 10**8), min_size=1, max_size=30)


@given(DELAYS)
def test_a_log_scale_holds_its_values_and_keeps_their_order(values: list[int]):
    scale = LogScale(values, 0, 100)
    places = [scale(value) for value in sorted(values)]
    assert places == sorted(places)
    assert places[0] >= -0.1
    assert places[-1] <= 100.1


@given(DELAYS)
def test_ticks_lie_on_the_scale(values: list[int]):
    ticks = LogScale(values, 0, 100).ticks()
    assert ticks
    assert all(0 <= tick.at <= 100 for tick in ticks)


def test_equal_ratios_are_equal_distances():
    scale = LogScale([1000, 99_999], 0, 100)
    assert (scale(1000), scale(10_000), scale(100_000)) == (0, 50, 100)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), DELAYS, min_size=1))
def test_curves_stay_inside(delays: dict[str, list[int]]):
    chart = percentile_chart({name: (histogram(*each), [histogram(*each)]) for name, each in delays.items()})
    for curve in chart.curves:
        points = [tuple(map(float, pair.split(","))) for pair in curve.path[1:].split(" L")]
        assert all(LEFT <= x <= WIDTH - RIGHT and TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1 for x, y in points)
    labels = sorted(curve.label for curve in chart.curves)
    assert all(below - above > 15.9 for above, below in itertools.pairwise(labels))


def test_a_transport_without_deliveries_has_no_curve():
    assert percentile_chart({"a": (histogram(), []), "b": (histogram(5), [histogram(5)])}).curves[0].name == "b"


def test_dots_are_sorted():
    assert dot_chart([("a", "p50", [300, 100, 200])]).rows[0].dots == sorted(
        dot_chart([("a", "p50", [300, 100, 200])]).rows[0].dots
    )
