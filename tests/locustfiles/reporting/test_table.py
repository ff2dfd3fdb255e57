"""Table: the figures that stand in the run."""

import msgspec
import pytest
from runs import a_run, histogram

from locustfiles.reporting.table import ms, table
from locustfiles.samples import Pause, Run, Tally

RUN = a_run({"websocket": [1000, 1100, 1200], "sse": [2000, 2100, 2200], "longpoll": [4000, 5000, 6000]})


def figures(run: Run) -> dict[str, list[str]]:
    return {line.label: line.figures for line in table(run, run.lanes())}


def test_known_figures():
    found = figures(RUN)
    assert found["Readers in place"] == ["2", "2", "2"]
    assert found["Deliveries offered"] == ["40", "40", "40"]
    assert found["Deliveries achieved"] == ["40", "40", "40"]
    assert found["Delivered"] == ["120", "120", "120"]
    assert found["Requests per event"] == ["0.000", "0.000", "1.000"]
    assert found["Bytes per event"] == ["210", "210", "210"]
    assert found["Server CPU per 1,000 deliveries"] == ["0.500", "0.500", "0.500"]
    assert found["Server memory, most"] == ["40.0", "40.0", "40.0"]
    assert found["Server sockets, most"] == ["5", "5", "5"]


@pytest.mark.parametrize(("label", "percent"), [("Delay p50", 50), ("Delay p90", 90), ("Delay p99", 99)])
def test_the_delay_is_the_median_of_the_repeats(label: str, percent: float):
    for place, lane in enumerate(RUN.lanes()):
        low, mid, high = (each.sample.delays.percentile(percent) for each in RUN.of(lane))
        assert low < mid < high
        assert figures(RUN)[label][place] == f"{mid / 1000:.3f}"


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (None, "–"),
        (0, "0.000"),
        (-40, "-0.040"),
        (99_999, "99.999"),
        (250_040, "250.0"),
        (1_234_567, "1,235"),
        (9e9, "9,000,000"),
    ],
)
def test_milliseconds_have_the_digits_that_are_known(us: float | None, text: str):
    assert ms(us) == text


def test_what_no_lane_has_is_left_out():
    assert not {"Chosen", "Back after a fault", "Longest pause", "Slow readers: lost", "Own publish answered, p50"} & set(
        figures(RUN)
    )


def test_what_only_some_scenarios_have():
    run = a_run({"negotiated": [1000, 1000]})
    for each in run.rounds:
        each.sample.chosen = {"sse": 1, "websocket": 3}
        each.sample.slow, each.sample.slow_tally = histogram(9_000), Tally(expected=4, delivered=1, lost=3)
        each.sample.acknowledged = histogram(700)
    run.rounds[0].sample.pauses = [Pause(0, 1_000_000, 1_250_000)]
    run.rounds[1].sample.failures = {"cut: reset": 2, "lost: x": 1}
    found = figures(run)
    assert found["Chosen"] == ["WebSocket 75%, SSE 25%"]
    assert found["Slow readers: delay p50"] == ["9.000"]
    assert found["Slow readers: lost"] == ["6"]
    assert found["Own publish answered, p50"] == ["0.700"]
    assert found["Longest pause"] == ["250.0"]
    assert found["Connections cut"] == ["2"]
    run.rounds[1].sample.pauses = [Pause(0, 1_000_000, None)]
    assert figures(run)["Longest pause"] == ["to the end"]


def test_a_lane_of_which_nothing_arrived():
    run = a_run({"sse": [1000]})
    sample = run.rounds[0].sample
    sample.ready, sample.tally, sample.delays = 0, Tally(), histogram()
    run.rounds[0].server = None
    found = figures(run)
    assert found["Readers in place"] == ["0 of 2"]
    assert found["Delivered"] == ["0"]
    assert not {"Delay p50", "Bytes per event", "Server memory, most"} & set(found)


def test_a_lane_without_rounds_has_dashes():
    lanes = RUN.lanes()
    run = msgspec.structs.replace(RUN, rounds=RUN.of(lanes[0]))
    assert {line.figures[1] for line in table(run, lanes[:2])} == {"–"}
