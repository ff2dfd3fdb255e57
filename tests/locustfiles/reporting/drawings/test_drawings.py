"""Drawings: pictures and their tables say what the run says, and agree with each other."""

from __future__ import annotations

from statistics import median

import msgspec
import pytest

from locustfiles.histogram import merged
from locustfiles.judging import doubts
from locustfiles.judging.figures import FIGURES
from locustfiles.judging.verdict import bias, judge
from locustfiles.reporting.charts import BOX
from locustfiles.reporting.drawings import bars
from locustfiles.reporting.drawings.capacity import searches
from locustfiles.reporting.drawings.differences import differences
from locustfiles.reporting.drawings.glance import glance
from locustfiles.reporting.drawings.percentiles import percentiles
from locustfiles.reporting.drawings.places import Table, networks, overview, servers
from locustfiles.reporting.drawings.rates import rates
from locustfiles.reporting.drawings.returns import returns
from locustfiles.reporting.drawings.server import server
from locustfiles.reporting.drawings.timeline import MOMENTS, moments, timeline
from locustfiles.reporting.drawings.trust import Check, trust
from locustfiles.reporting.table import ms
from locustfiles.samples import Lane, Mark, Recovery, Run, Slot, Step, Usage
from tests.locustfiles.bigrun import FAULTS, a_big_run
from tests.locustfiles.runs import a_run, histogram

ONE = a_big_run(networks=("open",), faults=FAULTS)
MANY = a_big_run(
    networks=("open", "buffering"), subjects=("everywire", "http://h:9"), transports=("websocket", "longpoll"), repeats=2
)
SMALL = {"websocket": [1000, 1100, 1200], "sse": [2000, 2100, 2200]}


def cells(table: Table, row: str, group: str = "") -> dict[str, str]:
    """A row by the names of its columns."""
    (found,) = (cells for title, rows in table.groups for name, cells in rows if (title, name) == (group, row))
    return dict(zip(table.head[1:], found, strict=True))


def nothing() -> Run:
    return msgspec.structs.replace(a_run(SMALL), rounds=[], calibration=[])


@pytest.mark.parametrize(
    "drawing", [glance, percentiles, timeline, rates, bars.setup, bars.wire, server, returns, differences, searches]
)
def test_of_nothing_there_is_no_picture(drawing) -> None:
    assert drawing(nothing()) is None


def test_places() -> None:
    assert [place.title for place in networks(ONE)] == [""]
    assert [place.title for place in networks(MANY)] == ["open", "buffering"]
    assert [place.title for place in servers(MANY)] == ["open, everywire", "open, h:9", "buffering, everywire", "buffering, h:9"]
    assert [lane.transport for lane in servers(MANY)[1].lanes] == ["websocket", "longpoll"]
    assert overview(ONE) is None
    assert cells(overview(MANY), "WebSocket of h:9", "buffering")["Readers in place"] == "0 of 100"


def test_glance_has_a_dot_for_each_round() -> None:
    found = glance(ONE)
    for lane, row in zip(ONE.lanes(), found.groups[0][1], strict=True):
        assert len(row.p50) == len(row.p99) == len(ONE.of(lane)) == 5
        assert row.p50 == sorted(row.p50)
        assert all(a < b for a, b in zip(row.p50, row.p99, strict=True))
    p99 = sorted(each.sample.delays.percentile(99) for each in ONE.of(ONE.lanes()[0]))
    told = cells(found.table, "WebSocket")
    assert (told["p99 least"], told["p99 middle"], told["p99 most"]) == tuple(
        f"{us / 1000:.3f}" for us in (p99[0], p99[2], p99[4])
    )


def test_glance_says_who_does_not_get_through() -> None:
    rows = {row.name: row for row in glance(MANY).groups[1][1]}
    assert rows["WebSocket of everywire"].note == "does not get through"
    assert rows["WebSocket of everywire"].p50 == []
    assert rows["long-polling of everywire"].note == ""


def test_percentiles_have_a_panel_for_each_server_that_delivered() -> None:
    chart = percentiles(MANY).chart
    assert [panel.title for panel in chart.panels] == ["open, everywire", "open, h:9", "buffering, everywire", "buffering, h:9"]
    assert [[curve.name for curve in panel.curves] for panel in chart.panels] == [["websocket", "longpoll"]] * 2 + [
        ["longpoll"]
    ] * 2


# Over time


def test_moments_weigh_means_by_what_was_delivered() -> None:
    slots = [Slot(0.0, 10, 10, 5, 100, 200), Slot(0.1, 10, 5, 1, 400, 900), Slot(1.0, 4, 0, 0, 0, 0)]
    first, second = moments(slots, 2.0, 2)
    assert first == (20, 15, 200, 900)
    assert second == (4, 0, None, 0)


def test_every_slot_is_in_one_moment_of_a_strip() -> None:
    slots = [slot for each in ONE.rounds for slot in each.sample.timeline]
    found = moments(slots, 10.0, MOMENTS)
    assert sum(each.expected for each in found) == sum(slot.expected for slot in slots)
    assert sum(each.delivered for each in found) == sum(slot.delivered for slot in slots)


def test_the_timeline_has_its_marks_and_what_is_missing() -> None:
    found = timeline(ONE)
    _, strips, stages = found.groups[0]
    assert [stage.text for stage in stages] == ["cut at 3.0 s", "network no-upgrade from 6.0 to 7.5 s"]
    assert [(stage.at, stage.width) for stage in stages] == [(300, 4), (600, 150)]
    assert found.missing
    assert found.staged
    assert all(strip.missing.startswith("M") for strip in strips)
    told = cells(found.table, "SSE")
    assert list(told)[3] == "from 3 s"
    slots = [slot for each in ONE.of(ONE.lanes()[1]) for slot in each.sample.timeline if 3 <= slot.at < 3.99]
    mean = sum(slot.mean * slot.delivered for slot in slots) / sum(slot.delivered for slot in slots)
    most = max(slot.most for slot in slots)
    assert told["from 3 s"] == f"{ms(mean)} ({ms(most)})"


def test_a_line_breaks_where_nothing_arrived_but_not_where_nothing_was_due() -> None:
    run = a_run({"sse": [1000]})
    sample = run.rounds[0].sample
    sample.timeline = [Slot(at / 10, 4, 4, 500, 1000, 2000) for at in range(10) if at != 4]
    assert timeline(run).groups[0][1][0].line.count("M") == 1
    sample.timeline[6] = Slot(0.7, 4, 0, 0, 0, 0)
    assert timeline(run).groups[0][1][0].line.count("M") == 2


# Rates and bars


def test_rates_show_what_was_offered_and_what_came() -> None:
    run = a_run({"sse": [1000, 1000], "longpoll": [1000, 1000]})
    for each in run.of(run.lanes()[1]):
        each.sample.tally.delivered, each.sample.tally.lost = 30, 10
    found = rates(run)
    sse, longpoll = found.groups[0][1]
    assert sse.width == sse.offered == longpoll.offered
    assert longpoll.width == pytest.approx(longpoll.offered * 0.75, abs=1)
    assert cells(found.table, "long-polling") == {"Offered": "40", "Achieved": "30", "Share": "75.0%"}


def test_parts_of_the_bytes_make_the_whole() -> None:
    found = bars.wire(ONE)
    for lane, bar in zip(ONE.lanes(), found.groups[0][1], strict=True):
        traffic, delivered = ONE.of(lane)[0].sample.traffic, ONE.of(lane)[0].sample.tally.delivered
        told = [float(cell) for cell in cells(found.table, bar.name).values()]
        assert told[:3] == pytest.approx(
            [part / delivered for part in (traffic.payload, traffic.framing, traffic.headers)], rel=0.01
        )
        assert told[3] == pytest.approx(sum(told[:3]), rel=0.01)
        assert told[4] == pytest.approx(traffic.requests / delivered, abs=0.001)
    assert max(bar.parts[-1].at + bar.parts[-1].width for bar in found.groups[0][1]) == 1000
    assert found.kinds == ["data", "framing", "HTTP heads"]


def test_setting_up_is_drawn_in_steps_that_make_the_whole() -> None:
    run = a_run(SMALL)
    found = bars.setup(run)
    assert found.kinds == ["connect", "answer", "first item"]  # there was no TLS
    widths = {part.kind: part.width for part in found.groups[0][1][0].parts}
    assert widths["answer"] / widths["connect"] == pytest.approx(700 / 80, rel=0.05)
    assert widths["first item"] / widths["connect"] == pytest.approx(120 / 80, rel=0.05)
    assert cells(found.table, "SSE")["First item"] == "0.900"
    assert cells(found.table, "SSE")["TLS"] == "–"


# The server


def test_the_server_over_time() -> None:
    found = server(ONE)
    assert [metric.name for metric in found.metrics] == ["CPU", "Memory", "Sockets"]
    assert [len(lines) for metric in found.metrics for _, lines in metric.panels] == [4, 4, 4]
    used = [each.server for each in ONE.of(ONE.lanes()[0])]
    told = cells(found.table, "WebSocket")
    assert told["Memory, most"] == f"{max(each.rss for each in used) / 2**20:.1f}"
    assert told["CPU, most"] == f"{max(look.cpu for each in used for look in each.looks):.0%}"


def test_a_server_that_was_not_watched_has_no_picture() -> None:
    run = a_run(SMALL)
    for each in run.rounds:
        each.server = None
    assert server(run) is None
    run.rounds[0].server = Usage(0.1, 1 << 20, 1 << 20, 0.5)  # watched, but never looked at
    assert server(run) is None


# Recovery


def test_how_readers_came_back() -> None:
    run = a_run({"sse": [1000, 1000]})
    for place, each in enumerate(run.rounds):
        each.marks = [Mark(do="cut", began=500_000, ended=500_000)]
        each.recoveries = [Recovery(mark=0, back=histogram(100_000, 300_000 + place), never=place)]
        each.sample.tally.doubled = 3
    found = returns(run)
    assert [title for title, _ in found.groups] == ["1. cut"]
    (back,) = found.groups[0][1]
    assert back.text == "100 ms, the last 300 ms; 1 never"
    assert 0 < back.half < back.last <= BOX
    assert cells(found.table, "SSE", "1. cut") == {
        "Half were back": "0.100", "95 %": "0.300", "The last": "0.300", "Never": "1", "Lost": "0", "Doubled": "6",
    }  # fmt: skip


def test_a_lane_of_which_nobody_came_back() -> None:
    run = a_run({"sse": [1000]})
    run.rounds[0].marks = [Mark(do="kill", began=1, ended=2)]
    run.rounds[0].recoveries = [Recovery(mark=0, back=histogram(), never=2)]
    assert returns(run).groups[0][1][0].text == "2 never came back"


# Differences


def test_differences_are_those_of_the_verdict() -> None:
    run = a_run(
        {
            "websocket": [1000, 1010, 990, 1005, 1000],
            "sse": [1002, 1008, 991, 1007, 998],
            "longpoll": [3000, 3100, 2900, 3050, 3000],
        }
    )
    found = differences(run)
    group = dict(found.groups)["Delay p50 beside " + found.groups[0][0].removeprefix("Delay p50 beside ")]
    drawn = {ratio.name: ratio for ratio in group}
    poll = drawn["long-polling"]
    assert poll.credited
    assert found.one < poll.low <= poll.mid <= poll.high
    other = next(ratio for name, ratio in drawn.items() if name != "long-polling")
    assert not other.credited
    assert other.low <= found.one <= other.high
    told = cells(found.table, "long-polling", found.groups[0][0])
    assert told["Verdict"] == "more"
    assert told["Times as much"] == "3.010" or float(told["Times as much"]) == pytest.approx(3.0, rel=0.03)


def test_one_repeat_shows_no_difference() -> None:
    assert differences(a_run({"sse": [1000], "longpoll": [4000]})) is None


# Capacity


def test_a_search_ends_with_its_result() -> None:
    run = a_run({"sse": [1000]})
    lane = Lane("open", "everywire", "sse")
    run.steps = [
        Step(lane=lane, readers=100, p99=10_000, lost=0, held=True),
        Step(lane=lane, readers=400, p99=None, lost=5, held=False),
        Step(lane=lane, readers=200, p99=20_000, lost=0, held=True),
    ]
    found = searches(run)
    (search,) = found.panels[0][1]
    assert [tried.held for tried in search.tries] == [True, True, False]  # by readers
    assert search.tries[-1].y == 0
    assert search.tries[0].y > search.tries[1].y
    assert found.results == [("", [("SSE", "200")])]
    assert [row[1] for row in found.table.groups[0][1]] == [
        ["100", "10.000", "0", "yes"],
        ["400", "–", "5", "no"],
        ["200", "20.000", "0", "yes"],
    ]
    run.steps = run.steps[:1]
    assert searches(run).results == [("", [("SSE", "at least 100")])]


# Trust


def check(run: Run, name: str) -> Check:
    (found,) = (each for each in trust(run).checks if each.name == name)
    return found


SPOILT = {
    "Generator CPU": lambda each: setattr(each.sample, "cpu", doubts.GENERATOR_CPU + 0.01),
    "Generator lag": lambda each: setattr(each.sample, "lag", histogram(doubts.GENERATOR_LAG["kernel"] + 100)),
    "Publisher lag": lambda each: setattr(each.sample.published, "lag", histogram(doubts.PUBLISHER_LAG + 100)),
    "Machine": lambda each: setattr(each.server, "machine", doubts.MACHINE + 0.01),
    "Relay": lambda each: setattr(each, "relay", doubts.RELAY_CPU + 0.01),
    "Clock error": lambda each: setattr(each.sample, "clock_error", doubts.CLOCK_ERROR + 1),
    "Events before their time": lambda each: setattr(each.sample, "delays", histogram(-5000, 1000)),
    "Publishes refused": lambda each: setattr(each.sample.published, "refused", {"403": 1}),
    "Readers in place": lambda each: setattr(each.sample, "ready", 1),
}
FATAL = {"Clock error", "Events before their time", "Publishes refused", "Readers in place"}


def calibrated() -> Run:
    run = a_run(SMALL)
    run.calibration = a_run(SMALL).rounds
    return run


def test_the_panel_of_a_good_run_holds() -> None:
    found = trust(calibrated())
    assert {each.name for each in found.checks if each.state not in ("holds", "told")} == set()
    assert found.holding == found.limited == len(found.checks) - 1  # the bias has no limit
    assert judge(calibrated()).trustworthy


@pytest.mark.parametrize("name", SPOILT)
def test_what_spoils_every_round_is_shown_and_blocks_the_verdict(name: str) -> None:
    run = calibrated()
    for each in run.rounds:
        SPOILT[name](each)
    assert check(run, name).state == "fails"
    assert not judge(run).trustworthy


@pytest.mark.parametrize("name", SPOILT)
def test_what_spoils_one_round_agrees_with_the_verdict(name: str) -> None:
    run = calibrated()
    SPOILT[name](run.rounds[0])
    assert check(run, name).state == ("fails" if name in FATAL else "single rounds")
    assert judge(run).trustworthy is (name not in FATAL)


def test_a_run_that_was_broken_off_fails_its_check() -> None:
    run = msgspec.structs.replace(calibrated(), complete=False)
    assert check(run, "Rounds played").state == "fails"


def test_the_calibration_is_told() -> None:
    run = calibrated()
    told = check(run, "Calibration")
    floor = {
        name: median(each.sample.delays.percentile(50) for each in run.calibration if each.lane.transport == name) / 1000
        for name in ("websocket", "sse")
    }
    assert told.worst == f"WebSocket {floor['websocket']:.3f} ms, SSE {floor['sse']:.3f} ms"
    assert check(run, "Instrument's bias").worst == f"{bias(run, 'websocket', 'sse', FIGURES['p50']):.3f} ms"
    run.calibration = []
    assert check(run, "Calibration").state == "fails"
    run.plan = msgspec.structs.replace(run.plan, calibrate=False)
    assert check(run, "Calibration").state == "told"


def test_complaints_are_counted_over_the_repeats_and_kept_short() -> None:
    run = calibrated()
    assert trust(run).failures is None
    for each in run.of(run.lanes()[1]):
        each.sample.failures = {f"cut: {n}" + "x" * 500: n for n in range(1, 9)}
    (row,) = trust(run).failures.groups[0][1]
    assert row[0] == "SSE"
    assert row[1][0].startswith("cut: 8xxx")
    assert "(24)" in row[1][0]
    assert row[1][0].endswith("; and 3 others")
    assert len(row[1][0]) < 800


def test_the_figures_of_a_whole_lane_are_of_all_its_repeats() -> None:
    lane = ONE.lanes()[2]
    told = cells(percentiles(ONE).table, "long-polling")
    assert told["99 %"] == f"{merged(each.sample.delays for each in ONE.of(lane)).percentile(99) / 1000:,.3f}"
