"""SLO: what thresholds say, what is told of those that say nothing, and that nothing is kept that was not measured."""

import pytest
from runs import a_run, histogram

from locustfiles.judging.slo import METRICS, OPERATORS, Result, check, slo, text
from locustfiles.plan import Plan
from locustfiles.samples import Lane, Recovery, Run, Step, Tally
from transports.errors import ConfigError

MEDIANS = {"websocket": [1000, 1100, 1200], "sse": [2000, 2100, 2200]}
NEVER = [Recovery(mark=0, back=histogram(1), never=1)]


def results(run: Run, said: str) -> list[Result]:
    return check(run, [slo(said, run.plan)])


@pytest.mark.parametrize(
    ("said", "where", "transport", "metric", "op", "value"),
    [
        ("p99<50ms", "", "", "p99", "<", 50),
        ("p99.9 <= 1.5 s", "", "", "p99.9", "<=", 1500),
        ("max>200us", "", "", "max", ">", 0.2),
        ("p50<20µs", "", "", "p50", "<", 0.02),
        ("sse:lost==0", "", "sse", "lost", "==", 0),
        ("everywire/p95<5", "everywire", "", "p95", "<", 5),
        ("no-upgrade/longpoll:requests>=1", "no-upgrade", "longpoll", "requests", ">=", 1),
        ("open/everywire/negotiated:hello<1s", "open/everywire", "negotiated", "hello", "<", 1000),
        ("open/http://127.0.0.1:9000/websocket:bytes<2KiB", "open/http://127.0.0.1:9000", "websocket", "bytes", "<", 2048),
        ("http://127.0.0.1:9000/cpu<20ms", "http://127.0.0.1:9000", "", "cpu", "<", 0.02),
        ("subjects/mine.py/memory<1GiB", "subjects/mine.py", "", "memory", "<", 1024),
        ("capacity>=500", "", "", "capacity", ">=", 500),
    ],
)
def test_what_thresholds_say(said: str, where: str, transport: str, metric: str, op: str, value: float):
    found = slo(said)
    assert found[1:5] == (where, transport, metric, op)
    assert found.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("fast", "'fast' is no threshold; one looks like p99<50ms"),
        ("p99<", "is no threshold"),
        ("<5ms", "is no threshold"),
        ("p99=5ms", "is no threshold"),
        ("p98<5ms", "there is no figure 'p98'; the nearest is p9"),
        ("losses==0", "there is no figure 'losses'; "),
        ("p99<5KiB", "p99 is not measured in KiB; there are us, µs, μs, ms, s"),
        ("lost<5ms", "lost is not measured in ms; it is a plain number"),
        ("p99<1.2.3ms", "'1.2.3' is no number"),
        ("p99<.ms", "'.' is no number"),
        ("ftp:p99<5ms", "there is no transport 'ftp'; there are websocket, sse, longpoll, negotiated"),
        ("elsewhere/p99<5ms", "nothing that it is about is measured; there are open, everywire, websocket, sse, longpoll"),
        ("negotiated:p99<5ms", "nothing that it is about is measured"),
    ],
)
def test_what_says_nothing_is_told(said: str, wrong: str):
    with pytest.raises(ConfigError) as told:
        slo(said, Plan())
    assert wrong in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("op", "met"),
    [
        ("<", (False, False, True)),
        ("<=", (False, True, True)),
        (">", (True, False, False)),
        (">=", (True, True, False)),
        ("==", (False, True, False)),
    ],
)
def test_operators(op: str, met: tuple[bool, ...]):
    run = a_run({"longpoll": [1000] * 3})  # a request for each event
    assert tuple(results(run, f"requests{op}{value}")[0].met for value in (0.5, 1, 1.5)) == met


def test_each_lane_has_a_result():
    found = results(a_run(MEDIANS), "p50<1.5ms")
    assert [(each.lane and each.lane.transport, each.met) for each in found] == [("websocket", True), ("sse", False)]
    assert [each.value for each in found] == [1.1, pytest.approx(2.1)]
    assert text(found) == "not kept: p50<1.5ms; SSE: 2.1 ms\nkept: p50<1.5ms; WebSocket: 1.1 ms"


def test_a_median_of_the_repeats_decides_about_delays_and_the_sum_about_losses():
    run = a_run({"sse": [1000, 1100, 90_000]})
    run.rounds[2].sample.tally = Tally(expected=40, delivered=38, lost=2, declared=1)
    assert results(run, "p50<2ms")[0].met
    assert results(run, "max<1ms")[0].value == 180.0
    assert results(run, "lost==2")[0].met
    assert results(run, "silent==1")[0].met


def test_only_the_lanes_that_it_is_about():
    run = a_run(MEDIANS, networks=("open", "http10"), subjects=("everywire", "mine/app.py"))
    assert len(results(run, "p50<9s")) == 8
    assert {each.lane for each in results(run, "http10/app/sse:p50<9s")} == {Lane("http10", "mine/app.py", "sse")}
    assert {each.lane for each in results(run, "mine/app.py/sse:p50<9s")} == {
        Lane("open", "mine/app.py", "sse"),
        Lane("http10", "mine/app.py", "sse"),
    }
    assert results(run, "app/sse:p50<9s")[0].sentence == "kept: app/sse:p50<9s; SSE of app on an open network: 2.1 ms"


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("op", OPERATORS)
def test_nothing_is_kept_that_was_not_measured(metric: str, op: str):
    run = a_run({"sse": [1000] * 3}, ready=0, tally=Tally(), delays=histogram())
    for each in run.rounds:
        each.server = None
    for value in ("0", "1"):
        (found,) = results(run, f"{metric}{op}{value}")
        assert not found.met
        assert found.value is None
        assert found.sentence.endswith(f"; SSE: {metric} was not measured")


def test_a_repeat_that_was_not_measured_is_not_left_out():
    run = a_run({"sse": [1000] * 3})
    run.rounds[1].sample.delays = histogram()
    assert not results(run, "p50<9s")[0].met


def test_what_does_not_get_through_keeps_nothing():
    run = a_run({"sse": [1000]}, networks=("captive-portal",), ready=0, tally=Tally(), delays=histogram())
    assert results(run, "lost==0")[0].sentence == "not kept: lost==0; SSE: does not get through"


def test_a_lane_that_was_planned_and_never_played():
    run = a_run(MEDIANS)
    run.rounds = run.rounds[:3]
    (found,) = results(run, "sse:p50<9s")
    assert found == (found.slo, None, None, False, "not kept: sse:p50<9s; no lane that it is about was measured")


def test_readers_that_never_came_back_keep_no_time():
    run = a_run({"sse": [1000]})
    run.rounds[0].recoveries = NEVER
    assert results(run, "recovery<9s")[0].sentence == "not kept: recovery<9s; SSE: never"


def test_capacity_is_that_of_the_search():
    run = a_run({"sse": [1000]})
    lane = Lane("open", "everywire", "sse")
    run.steps = [Step(lane=lane, readers=n, p99=1, lost=0, held=n < 300) for n in (100, 200, 400)]
    assert results(run, "capacity>=200")[0].met
    assert results(run, "capacity>200")[0].sentence == "not kept: capacity>200; SSE: 200 readers"
