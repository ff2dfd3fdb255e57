"""Charts: everything stays inside the box and in order."""

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st
from runs import histogram

from locustfiles.reporting.charts import (
    BOX,
    CountScale,
    LogScale,
    RatioScale,
    Scale,
    band,
    joined,
    path,
    percentile_chart,
    segments,
    upside,
    zero_scale,
)

DELAYS = st.lists(st.integers(1, 10**8), min_size=1, max_size=30)
RATIOS = st.lists(st.floats(0.001, 1000), min_size=1, max_size=9)
POINTS = st.lists(st.tuples(st.integers(0, BOX), st.integers(0, BOX)), min_size=1, max_size=20)


def drawn(d: str) -> list[tuple[int, int]]:
    """The points of a path as `path` writes it, found by following its steps."""
    start, _, steps = d.removesuffix("z").removesuffix("h0")[1:].partition("l")
    x, y = map(int, start.split())
    found = [(x, y)]
    numbers = [int(number) for number in re.findall(r"-?\d+", steps)]
    for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
        x, y = x + dx, y + dy
        found.append((x, y))
    return found


@given(DELAYS)
def test_a_log_scale_holds_its_values_and_keeps_their_order(values: list[int]):
    scale = LogScale(values)
    places = [scale(value) for value in sorted(values)]
    assert places == sorted(places)
    assert places[0] >= 0
    assert places[-1] <= BOX


@given(DELAYS)
def test_ticks_lie_on_the_scale(values: list[int]):
    for scale in (LogScale(values), CountScale(values), zero_scale(values), RatioScale(values)):
        ticks = scale.ticks()
        assert 1 <= len(ticks) <= 10
        assert [tick.at for tick in ticks] == sorted({tick.at for tick in ticks})
        assert all(0 <= tick.at <= BOX for tick in ticks)


@given(st.floats(0.001, 1e9))
def test_a_scale_from_nothing_has_round_ticks_where_they_belong(most: float):
    scale = zero_scale([most])
    ticks = scale.ticks()
    assert 3 <= len(ticks) <= 7
    assert ticks[0].text == "0"
    assert all(abs(scale(float(tick.text.replace(",", ""))) - tick.at) <= 1 for tick in ticks)


def test_equal_ratios_are_equal_distances():
    scale = LogScale([1000, 99_999])
    assert (scale(1000), scale(10_000), scale(100_000)) == (0, 500, 1000)
    assert [tick.text for tick in scale.ticks()] == ["1", "2", "5", "10", "20", "50", "100"]


@given(RATIOS)
def test_twice_and_half_are_equally_far_from_one(values: list[float]):
    scale = RatioScale([0.2, 5, *values])
    assert abs((scale(2) - scale(1)) - (scale(1) - scale(0.5))) <= 1
    assert "1" in [tick.text for tick in scale.ticks()]


@given(POINTS)
def test_a_path_goes_through_its_points(points: list[tuple[int, int]]):
    assert drawn(path(points)) == [point for point, _ in itertools.groupby(points)]


def test_a_line_is_broken_where_there_is_no_point():
    assert joined([(1, 2), None, None, (3, 4), (5, 6)]) == "M1 2h0M3 4l2 2"
    assert joined([None]) == ""


def test_a_band_goes_there_and_back():
    assert drawn(band([(0, 5, 1), (10, 6, 2)])) == [(0, 5), (10, 6), (10, 2), (0, 1)]
    assert band([]) == ""


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), DELAYS, min_size=1))
def test_curves_and_bands_stay_inside_and_names_apart(delays: dict[str, list[int]]):
    made = {name: (histogram(*each), [histogram(*each), histogram(*each[:1])]) for name, each in delays.items()}
    (panel,) = percentile_chart({"": made}).panels
    for curve in panel.curves:
        points = drawn(curve.path)
        assert all(0 <= x <= BOX and 0 <= y <= BOX for x, y in [*points, *drawn(curve.band)])
        assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)  # later percentiles are later
        assert curve.end == points[-1]
    labels = sorted(curve.label for curve in panel.curves)
    assert all(below - above >= 74 for above, below in itertools.pairwise(labels))
    assert all(label <= BOX for label in labels)


def test_a_curve_stands_at_its_percentiles():
    whole = histogram(*range(1000, 2000))
    chart = percentile_chart({"": {"a": (whole, [whole])}}, points=3)
    scale = LogScale([1000, 1999])
    (least, ninety, ninety_nine, most) = drawn(chart.panels[0].curves[0].path)
    at = {tick.text: tick.at for tick in chart.x_ticks}
    assert least == (at["0"], BOX - scale(1000))
    assert ninety == (at["90"], BOX - scale(whole.percentile(90) or 0))
    assert ninety_nine == (at["99"], BOX - scale(whole.percentile(99) or 0))
    assert most[1] == BOX - scale(1999)


def test_the_band_reaches_from_the_lowest_to_the_highest_repeat():
    low, high = histogram(*[1000] * 50), histogram(*[3000] * 50)
    curve = percentile_chart({"": {"a": (histogram(*[1000] * 50, *[3000] * 50), [high, low])}}).panels[0].curves[0]
    scale = LogScale([1000, 3000])
    assert {y for _, y in drawn(curve.band)} == {BOX - scale(1000), BOX - scale(3000)}


def test_panels_share_their_scales():
    chart = percentile_chart({"x": {"a": (histogram(1000), [])}, "y": {"a": (histogram(100_000), [])}})
    assert chart.panels[0].curves[0].end[1] > chart.panels[1].curves[0].end[1]


def test_a_transport_without_deliveries_has_no_curve():
    (panel,) = percentile_chart({"": {"a": (histogram(), []), "b": (histogram(5), [histogram(5)])}}).panels
    assert [curve.name for curve in panel.curves] == ["b"]


def test_parts_of_a_bar_follow_each_other():
    assert segments([("a", 10), ("b", 0), ("c", 30)], Scale(0, 100)) == [("a", 0, 100), ("c", 100, 300)]


def test_upside_is_down():
    assert [tick.at for tick in upside(Scale(0, 4).ticks())] == [1000, 750, 500, 250, 0]
