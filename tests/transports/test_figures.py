"""What is counted, and what several processes come to."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports import items
from transports.figures import (
    ALONE,
    BY_NAME,
    DELAYS,
    FIGURES,
    IN_STEP,
    Figures,
    Histogram,
    decode,
    encode,
    of_worker,
    total,
    without_gauges,
)


def event(offset: int, at: float) -> items.Encoded:
    return items.encode_event("e", offset, "a", at, b"1")


@given(st.lists(st.tuples(st.floats(0, 400), st.integers(1, 5))))
def test_a_histogram_counts_each_value_where_it_belongs(values: list[tuple[float, int]]) -> None:
    histogram = Histogram(DELAYS)
    for value, times in values:
        histogram.add(value, times)
    *counts, sum_of_all = histogram.value()
    bounds = [*DELAYS, float("inf")]
    assert sum_of_all == pytest.approx(sum(value * times for value, times in values))
    for place, bound in enumerate(bounds):
        below = bounds[place - 1] if place else -1.0
        assert counts[place] == sum(times for value, times in values if below < value <= bound)


def test_a_batch_is_as_late_as_its_oldest_event_and_counts_for_each_reader() -> None:
    outlet = Figures().outlet("sse", IN_STEP)
    outlet.wrote([event(1, 100.0), event(2, 103.0)], 50, 104.0, readers=3)
    assert (outlet.batches, outlet.items, outlet.bytes) == (3, 6, 150)
    assert outlet.delay.value()[-1] == pytest.approx(3 * 4.0)
    assert outlet.sizes.value()[-1] == 3 * 2


def test_a_clock_that_is_ahead_makes_no_delay_below_zero() -> None:
    outlet = Figures().outlet("sse", IN_STEP)
    outlet.wrote([event(1, 105.0)], 50, 104.0)
    assert (outlet.delay.counts[0], outlet.delay.total) == (1, 0.0)


def test_what_is_no_event_has_no_delay() -> None:
    figures = Figures()
    outlet = figures.outlet("sse", ALONE)
    lost = items.encode(items.Lost("e.3", "a", "e.1", "e.3", "evicted"))
    skipped = items.encode(items.Skipped("e.3", "a", "e.1", "e.3", 2, "latest"))
    outlet.wrote([items.encode(items.Beat("e.1", 1.0))], 10, 2.0)
    outlet.wrote([lost, lost, skipped], 30, 2.0, readers=2)
    assert (outlet.batches, outlet.items, sum(outlet.delay.counts)) == (3, 7, 0)
    assert (figures.lost, figures.skipped) == ({"evicted": 4}, {"latest": 2})


def test_an_open_connection_is_one_that_has_not_been_closed() -> None:
    figures = Figures()
    figures.opened.update(["sse", "sse", "websocket"])
    figures.closed["sse", "went"] += 1
    assert figures.snapshot()["everywire_connections"] == {("sse",): 1, ("websocket",): 1}


def figures_of(opened: int, closed: int, lag: float) -> Figures:
    figures = Figures()
    figures.opened["sse"] += opened
    figures.closed["sse", "went"] += closed
    figures.lag.add(lag)
    return figures


def test_what_several_processes_have_counted_adds_up_and_gauges_stand_beside_each_other() -> None:
    one, other = (of_worker(figures_of(*each).snapshot(), name) for each, name in (((3, 1, 0.2), "1"), ((5, 1, 0.4), "2")))
    both = total([one, other])
    assert both["everywire_connections_opened_total"] == {("sse",): 8}
    assert both["everywire_connections"] == {("sse", "1"): 2, ("sse", "2"): 4}
    assert both["everywire_loop_lag_seconds"][()][-1] == pytest.approx(0.6)
    assert one["everywire_connections_opened_total"] == {("sse",): 3}  # nothing was added to what was given


def test_a_worker_and_who_takes_its_place_are_one_for_a_while() -> None:
    one, other = (
        of_worker({"everywire_connections": {("sse",): count}, "everywire_log_events": {(): count}}, "1") for count in (3, 5)
    )
    assert total([one, other]) == {"everywire_connections": {("sse", "1"): 8}, "everywire_log_events": {("1",): 5}}


def test_of_who_has_gone_what_it_counted_stays_and_what_it_was_does_not() -> None:
    left = without_gauges(of_worker(figures_of(3, 3, 0.2).snapshot(), "1"))
    assert left["everywire_connections_opened_total"] == {("sse",): 3}
    assert "everywire_connections" not in left


def test_figures_travel_and_what_a_later_version_counts_is_left_out() -> None:
    found = of_worker(figures_of(3, 1, 0.2).snapshot(), "1")
    assert decode(encode(found)) == {name: values for name, values in found.items() if values}
    assert decode(msgspec.json.encode([("everywire_unheard_of_total", [], 1.0)])) == {}


def test_the_names_are_those_that_prometheus_wants() -> None:
    assert len(BY_NAME) == len(FIGURES)
    for figure in FIGURES:
        assert figure.name.startswith("everywire_")
        assert figure.name.endswith("_total") == (figure.kind == "counter")
        assert bool(figure.bounds) == (figure.kind == "histogram")
