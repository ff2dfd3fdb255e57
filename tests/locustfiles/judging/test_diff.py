"""Diff: what changed beyond the noise, told alike for people and for programs; what cannot be compared is refused."""

import json
import random

import pytest
from runs import a_run, histogram

from locustfiles.judging.diff import COMPARED, Diff, as_json, diff, plans_differ, sentence, text
from locustfiles.plan import Fault, Plan
from locustfiles.samples import Lane, Recovery, Run, Step, Tally
from transports.errors import ConfigError

BEFORE = {"websocket": [1000, 1010, 990, 1005, 995], "sse": [2000, 2020, 1980, 2010, 1990]}
SLOWER = {**BEFORE, "sse": [3000, 3020, 2980, 3010, 2990]}
SSE = Lane("open", "everywire", "sse")


def says(found: Diff, figure: str, lane: Lane = SSE) -> str:
    (row,) = [row for row in found.rows if row.lane == lane and row.figure == figure]
    return row.says


def test_a_run_is_like_itself():
    found = diff(a_run(BEFORE), a_run(BEFORE))
    assert {row.says for row in found.rows} == {"same"}
    assert (found.code, found.worse, found.better, found.notes) == (0, [], [], [])
    assert sentence(found) == "Nothing changed beyond the noise and 5 %."


def test_what_got_slower_is_worse_and_the_other_way_round_better():
    found = diff(a_run(BEFORE), a_run(SLOWER))
    assert [(row.lane.transport, row.figure) for row in found.worse] == [("sse", "p50"), ("sse", "p99")]
    assert found.code == 3
    assert sentence(found) == "Worse beyond the noise and 5 %: Delay p50 of SSE and Delay p99 of SSE."
    back = diff(a_run(SLOWER), a_run(BEFORE))
    assert [row.figure for row in back.better] == ["p50", "p99"]
    assert back.code == 0
    assert sentence(back).startswith("Better beyond")


def test_a_change_within_the_tolerance_is_none():
    slightly = {**BEFORE, "sse": [us + 160 for us in BEFORE["sse"]]}  # 8 %
    assert says(diff(a_run(BEFORE), a_run(slightly)), "p50") == "worse"
    assert says(diff(a_run(BEFORE), a_run(slightly), tolerance=0.1), "p50") == "same"


def test_a_change_that_the_noise_explains_is_none():
    noisy = {**BEFORE, "sse": [1500, 3900, 2100, 3400, 1800]}
    assert says(diff(a_run(BEFORE), a_run(noisy)), "p50") == "same"


def test_a_change_below_the_resolution_is_none():
    one, other = ({"sse": [us, us + 1, us + 2]} for us in (200, 260))
    assert says(diff(a_run(one), a_run(other)), "p50") == "same"


def test_what_the_instrument_itself_changed_is_not_credited():
    slow_machine = a_run(SLOWER, instrument={"sse": 160})
    found = diff(a_run(BEFORE), slow_machine)
    assert says(found, "p50") == "same"
    assert found.notes == ["the instrument itself took 1.6 times as long over SSE in the second run, so less is credited"]


def test_one_repeat_tells_nothing():
    found = diff(a_run({"sse": [1000]}), a_run({"sse": [9000]}))
    assert says(found, "p50") == "unknown"
    assert found.code == 0


@pytest.mark.parametrize(("lost", "code"), [((0, 0), 0), ((0, 1), 3), ((1, 0), 0)])
def test_a_first_loss_is_worse_without_any_noise(lost: tuple[int, int], code: int):
    runs = [a_run(BEFORE), a_run(BEFORE)]
    for run, n in zip(runs, lost, strict=True):
        run.of(SSE)[2].sample.tally = Tally(expected=40, delivered=40 - n, lost=n)
    assert diff(*runs).code == code


def test_losses_that_scatter_alike_are_no_change():
    runs = [a_run(BEFORE), a_run(BEFORE)]
    for run, counts in zip(runs, ([3, 0, 5, 2, 4], [2, 6, 1, 3, 4]), strict=True):
        for each, n in zip(run.of(SSE), counts, strict=True):
            each.sample.tally = Tally(expected=40, delivered=40 - n, lost=n)
    assert says(diff(*runs), "lost") == "same"


def test_what_does_not_arrive_any_more_is_worse():
    after = a_run(BEFORE, networks=("http10",))
    for each in after.of(Lane("http10", "everywire", "sse")):
        each.sample.ready, each.sample.tally, each.sample.delays = 0, Tally(), histogram()
    before = a_run(BEFORE, networks=("http10",))
    assert says(diff(before, after), "p50", Lane("http10", "everywire", "sse")) == "worse"
    assert says(diff(after, before), "p50", Lane("http10", "everywire", "sse")) == "better"


def test_readers_that_never_come_back_are_worse_than_late_ones():
    runs = [a_run(BEFORE), a_run(BEFORE)]
    for run, never in zip(runs, (0, 1), strict=True):
        for each in run.rounds:
            each.recoveries = [Recovery(mark=0, back=histogram(100_000), never=never)]
    found = diff(*runs)
    assert says(found, "recovery") == "worse"
    assert "never" in text(found)
    assert json.loads(as_json(found))["rows"][-1]["b"] is None


@pytest.mark.parametrize(("held", "said"), [(800, "same"), (760, "same"), (600, "worse"), (1000, "better")])
def test_capacity(held: int, said: str):
    runs = [a_run({"sse": [1000]}, plan={"goal": 50.0}) for _ in range(2)]
    for run, readers in zip(runs, (800, held), strict=True):
        run.steps = [Step(lane=SSE, readers=readers, p99=1, lost=0, held=True)]
    assert says(diff(*runs), "capacity") == said


# --- what belongs together


def test_runs_of_different_plans_are_refused_and_the_fields_named():
    with pytest.raises(ConfigError, match=r"readers 2 and 5; faults none and Fault.*\. What can be compared is with --anyway"):
        diff(a_run(BEFORE), a_run(BEFORE, plan={"readers": 5, "faults": (Fault(at=1, do="cut"),)}))


def test_anyway_they_are_compared_and_the_fields_noted():
    found = diff(a_run(BEFORE), a_run(SLOWER, plan={"readers": 5}), anyway=True)
    assert found.code == 3
    assert "readers 2 and 5" in found.notes


def test_repeats_and_thresholds_may_differ():
    assert plans_differ(Plan(repeats=3, slo=("p99<5ms",), calibrate=False), Plan(question="?")) == []


def test_one_server_is_compared_with_another_anyway():
    found = diff(a_run(BEFORE), a_run(SLOWER, subjects=("http://127.0.0.1:9000",)), anyway=True)
    assert says(found, "p50") == "worse"


def test_lanes_that_only_one_of_them_has_are_told():
    found = diff(a_run(BEFORE), a_run({"sse": BEFORE["sse"], "longpoll": BEFORE["sse"]}), anyway=True)
    assert {row.lane for row in found.rows} == {SSE}
    assert "only the first run has WebSocket" in found.notes
    assert "only the second run has long-polling" in found.notes


def test_runs_without_a_common_lane_say_nothing():
    found = diff(a_run({"sse": [1, 2]}), a_run({"longpoll": [1, 2]}), anyway=True)
    assert found.code == 4
    assert sentence(found) == "Not trustworthy: they have no lane in common."


def test_other_machines_and_versions_are_told():
    one, other = a_run(BEFORE), a_run(BEFORE)
    one.environment |= {"cores": "2", "load before": "0.1", "locust": "2.47"}
    other.environment |= {"cores": "8", "load before": "3.0"}
    assert diff(one, other).notes == ["cores was 2 and is 8", "locust was 2.47 and is none"]


def test_an_untrustworthy_run_has_no_say():
    found = diff(a_run(BEFORE), a_run(SLOWER, cpu=0.99))
    assert found.code == 4
    assert sentence(found).startswith("Not trustworthy: in the second run, the load generator was saturated")


# --- how it looks


def test_the_text():
    lines = text(diff(a_run(BEFORE), a_run(SLOWER))).splitlines()
    assert lines[0] == "WebSocket"
    row = next(line for line in lines[lines.index("SSE") :] if "Delay p50" in line)
    assert row.split() == ["Delay", "p50", "2", "ms", "3", "ms", "1.5", "times", *row.split()[8:11], "worse"]
    assert lines[-1] == "Worse beyond the noise and 5 %: Delay p50 of SSE and Delay p99 of SSE."


def test_lanes_of_several_networks_are_told_apart():
    found = diff(a_run(BEFORE, networks=("open", "http10")), a_run(SLOWER, networks=("open", "http10")))
    assert "\nSSE on the network http10\n" in text(found)
    assert "Delay p50 of SSE on the network http10" in sentence(found)


def test_the_json_says_the_same():
    found = diff(a_run(BEFORE), a_run(SLOWER))
    read = json.loads(as_json(found))
    assert read["trustworthy"] is True
    assert read["sentence"] == sentence(found)
    assert len(read["rows"]) == len(found.rows)
    row = next(row for row in read["rows"] if row["transport"] == "sse" and row["figure"] == "p50")
    assert (row["a"], row["b"], row["says"]) == (2.0, 3.0, "worse")
    assert row["ratio"]["low"] < 1.5 < row["ratio"]["high"]


# --- how often it is wrong


def measured(luck: random.Random, us: int, *, noise: float = 0.05) -> Run:
    return a_run(
        {name: [round(us * luck.lognormvariate(0, noise)) for _ in range(5)] for name in ("websocket", "sse", "longpoll")}
    )


def test_two_runs_of_the_same_are_seldom_told_apart():
    """100 pairs of runs that scatter by 5 %: 5 % of them may be told apart, were it not for the tolerance, which leaves fewer."""
    wrong = sum(bool(found.worse or found.better) for found in _diffs(100, 2000, 2000))
    assert wrong <= 5


def test_what_got_slower_by_a_third_is_found():
    found = [{row.lane.transport for row in each.worse if row.figure == "p50"} for each in _diffs(50, 2000, 2667)]
    assert sum(len(each) for each in found) >= 0.95 * 3 * 50


def _diffs(times: int, before: int, after: int) -> list[Diff]:
    luck = random.Random(7)
    return [diff(measured(luck, before), measured(luck, after)) for _ in range(times)]


def test_all_that_is_compared_is_known():
    assert len(set(COMPARED)) == len(COMPARED)
