"""Verdict: one sentence for each network, in which a difference is told only if it is one."""

import pytest
from runs import a_round, a_run, histogram

from locustfiles.judging.figures import FIGURES
from locustfiles.judging.noise import Difference
from locustfiles.judging.verdict import Verdict, bias, compared, judge
from locustfiles.plan import Fault
from locustfiles.samples import Lane, Published, Recovery, Run, Step, Tally, Usage

APART = {
    "websocket": [1000, 1100, 1200, 1050, 1150],
    "sse": [2000, 2100, 2250, 2040, 2190],
    "longpoll": [4000, 4400, 4800, 4230, 4560],
}
ALIKE = {"websocket": [1000, 1100, 1200, 1050, 1150], "sse": [1010, 1080, 1220, 1040, 1160], "longpoll": APART["longpoll"]}


def the(run: Run) -> Verdict:
    """The only verdict on it."""
    (one,) = judge(run).each
    return one


def test_a_sentence_names_its_condition():
    sentence = the(a_run(APART)).sentence
    assert sentence.startswith("On an open network, with 2 readers at 20 events/s of 100 bytes: ")
    assert sentence.endswith("; nothing was lost, doubled or out of order.")


def test_what_is_special_belongs_to_the_condition():
    plan = {"burst": 10, "channels": 20, "follows": 2, "slow": 0.2, "says": 0.5, "point": "delay"}
    plan["faults"] = (Fault(at=3, do="cut"), Fault(at=5, do="network no-upgrade", lasts=2))
    condition, _, _ = the(a_run(APART, plan=plan)).sentence.partition(":")
    assert condition.endswith(
        "100 bytes, 10 at a time, on 20 channels of which each reader follows 2, 20 % of the readers slow, each reader "
        "publishing 0.5 events/s, all connections reset after 3 s, network no-upgrade from 5 to 7 s"
    )


def test_each_network_has_a_sentence():
    verdicts = judge(a_run(APART, networks=("open", "http10")))
    assert [each.network for each in verdicts.each] == ["open", "http10"]
    assert verdicts.each[1].sentence.startswith("On the network http10, with 2 readers")
    assert verdicts.trustworthy


def test_the_soonest_is_named_and_by_how_much_the_others_came_later():
    sentence = the(a_run(APART)).sentence
    assert (
        "WebSocket had the least median delay (1.1 ms), SSE came 1.02 ms (0.98 to 1.05) later, 1.9 times as late, and "
        in sentence
    )
    assert "long-polling came 3.3 ms later, 4 times (3.96 to 4.04) as late; " in sentence


def test_two_alike_and_one_later():
    sentence = the(a_run(ALIKE)).sentence
    assert (
        "SSE and WebSocket differ by no more than the noise in their median delay (1.08 ms and 1.1 ms), long-polling came"
        in sentence
    )


def test_no_difference_larger_than_the_noise():
    run = a_run({"websocket": [1000, 3000, 2000], "sse": [1500, 1600, 2500]})
    assert "no difference larger than the noise in the median delay (SSE 1.6 ms, WebSocket 2 ms)" in the(run).sentence


def test_one_repeat_compares_nothing():
    assert (
        ": one repeat shows no noise, so nothing can be compared (" in the(a_run({"websocket": [1000], "sse": [9000]})).sentence
    )


def test_one_lane_is_told_without_comparison():
    assert "the median delay was 1.1 ms over WebSocket" in the(a_run({"websocket": APART["websocket"]})).sentence


def test_several_servers_are_named():
    run = a_run({"sse": APART["sse"]}, subjects=("everywire", "mine/app.py", "http://127.0.0.1:9000/live"))
    for each in run.of(Lane("open", "mine/app.py", "sse")):
        each.sample.delays = histogram(*[9_000 + 10 * each.repeat] * 10)
    sentence = the(run).sentence
    assert "SSE of everywire and SSE of 127.0.0.1:9000 differ by no more than the noise" in sentence
    assert "SSE of app came 6." in sentence


def test_faults_are_named_with_their_lane():
    run = a_run(APART)
    sample = run.of(Lane("open", "everywire", "sse"))[0].sample
    sample.tally = Tally(expected=40, delivered=37, lost=3, declared=1, doubled=2, disordered=1)
    assert "; SSE had 2 lost in silence, 1 declared lost, 2 doubled and 1 out of order of 200." in the(run).sentence


def test_a_difference_that_the_instrument_makes_is_not_credited():
    run = a_run({"websocket": APART["websocket"], "sse": [us + 200 for us in APART["websocket"]]}, instrument={"sse": 400})
    verdict = the(run)
    assert "no difference larger than the noise or what can be seen" in verdict.sentence
    assert verdict.notes == [
        "SSE came 0.20 ms (0.20 to 0.20) later, 1.2 times as late, but the instrument itself makes "
        "a difference of 0.3 ms between the two"
    ]


def test_one_disturbed_repeat_of_the_calibration_is_not_the_instrument_s_own():
    run = a_run({"websocket": APART["websocket"], "sse": [us + 200 for us in APART["websocket"]]})
    run.calibration = [a_round(name, 1, 100, subject="null") for name in ("websocket", "sse")]
    run.calibration.append(a_round("sse", 2, 2_000, subject="null"))
    assert "SSE came 0.20 ms" in the(run).sentence


def test_the_same_difference_is_credited_to_another_server_because_the_instrument_is_the_same():
    run = a_run({"sse": APART["websocket"]}, subjects=("everywire", "other"), instrument={"sse": 400, "websocket": 100})
    for each in run.of(Lane("open", "other", "sse")):
        each.sample.delays = histogram(*[APART["websocket"][each.repeat - 1] + 200] * 10)
    assert "SSE of other came 0.20 ms" in the(run).sentence


def test_a_difference_below_the_resolution_is_not_credited():
    verdict = the(a_run({"websocket": [1000] * 5, "sse": [1050, 1051, 1052, 1050, 1051]}))
    assert "no difference larger than the noise or what can be seen" in verdict.sentence
    assert "up to 0.1 ms cannot be told" in verdict.notes[0]


def test_a_difference_below_what_the_clocks_may_be_wrong_by_is_not_credited():
    alike = {"websocket": [1000] * 5, "sse": [1500, 1501, 1502, 1500, 1501]}
    assert "SSE came" in the(a_run(alike, clock_error=400)).sentence
    assert "SSE came" not in the(a_run(alike, clock_error=600)).sentence


def test_the_negotiated_client_is_held_against_the_largest_bias():
    run = a_run(APART, instrument={"websocket": 100, "sse": 150, "longpoll": 700})
    assert bias(run, "sse", "longpoll", FIGURES["p50"]) == pytest.approx(0.55)
    assert bias(run, "sse", "negotiated", FIGURES["p50"]) == pytest.approx(0.6)
    assert bias(run, "negotiated", "negotiated", FIGURES["p50"]) == 0


def test_comparisons_stand_beside_the_best():
    found = compared(a_run(APART), "open", FIGURES["p50"])
    assert [each.lane.transport for each in found] == ["websocket", "sse", "longpoll"]
    assert {each.best.transport for each in found} == {"websocket"}
    assert [each.credited for each in found] == [False, True, True]


def test_beside_a_third_that_differs_two_lanes_are_as_they_would_be_alone():
    pair = {name: ALIKE[name] for name in ("websocket", "sse")}
    alone, beside = (compared(a_run(medians), "open", FIGURES["p50"])[1].difference for medians in (pair, ALIKE))
    assert alone is not None
    assert beside == alone


def test_beside_a_third_like_them_any_of_three_pairs_might_err():
    pair = {name: ALIKE[name] for name in ("websocket", "sse")}
    third = {**pair, "longpoll": [1020, 1060, 1230, 1030, 1150]}
    alone, alike = (compared(a_run(medians), "open", FIGURES["p50"]) for medians in (pair, third))
    widths = {each.lane.transport: _width(each.difference) for each in alike}
    assert widths["websocket"] > _width(alone[1].difference)


def _width(difference: Difference | None) -> float:
    assert difference is not None
    return difference.by.high - difference.by.low


# --- what does not get through, and what chooses


def test_who_does_not_get_through_is_told_and_no_fault():
    run = a_run(APART, networks=("no-upgrade",))
    for each in run.of(Lane("no-upgrade", "everywire", "websocket")):
        each.sample.ready, each.sample.tally, each.sample.delays = 0, Tally(), histogram()
    verdict = the(run)
    assert verdict.trustworthy
    assert verdict.sentence.endswith("; WebSocket did not get through.")
    assert "SSE had the least median delay" in verdict.sentence


def test_nothing_gets_through_a_hotel():
    run = a_run(APART, networks=("captive-portal",), ready=0, tally=Tally(), delays=histogram())
    assert the(run).sentence.endswith(": nothing gets through.")


def test_on_an_open_network_it_is_a_fault():
    verdict = the(a_run(APART, ready=0, tally=Tally(), delays=histogram()))
    assert not verdict.trustworthy
    assert "some readers were not in place" in verdict.sentence


def test_readers_of_a_bad_network_that_did_not_get_in_are_counted():
    verdict = the(a_run(APART, networks=("flaky",), ready=1))
    assert verdict.trustworthy
    assert "5 of 10 readers over SSE did not get in" in verdict.sentence


def test_what_the_negotiated_client_chose():
    run = a_run({"sse": APART["sse"], "negotiated": APART["sse"]}, networks=("no-upgrade",))
    lane = Lane("no-upgrade", "everywire", "negotiated")
    for each in run.of(lane):
        each.sample.chosen = {"sse": 2}
    assert "; negotiated chose SSE; " in the(run).sentence
    run.of(lane)[0].sample.chosen = {"sse": 1, "longpoll": 1}
    assert "; negotiated chose SSE 9 times and long-polling 1 times; " in the(run).sentence


# --- questions whose point is another


def test_recovery():
    run = a_run(APART, plan={"faults": (Fault(at=1, do="cut"),)})
    for each in run.rounds:
        slow = 2 if each.lane.transport == "longpoll" else 1
        each.recoveries = [Recovery(mark=0, back=histogram(*[slow * 100_000 + each.repeat * 100] * 40))]
    sentence = the(run).sentence
    assert "SSE and WebSocket differ" in sentence or "WebSocket and SSE differ" in sentence
    assert (
        "in their time until 95 of 100 readers were back (100 ms and 100 ms), long-polling took 100 ms "
        "(100 to 100) longer, 2 times as long" in sentence
    )
    run.rounds[0].recoveries[0].never = 1
    assert "; 1 of 201 readers over WebSocket were not back when the round ended; " in the(run).sentence


def test_a_lane_whose_readers_stay_away_is_not_compared():
    run = a_run(APART, plan={"faults": (Fault(at=1, do="cut"),)})
    for each in run.rounds:
        each.recoveries = [Recovery(mark=0, back=histogram(100_000), never=1 if each.lane.transport == "sse" else 0)]
    sentence = the(run).sentence
    assert "(WebSocket 100 ms, long-polling 100 ms)" in sentence
    assert "5 of 10 readers over SSE were not back" in sentence


def test_memory_per_reader_and_set_up():
    run = a_run(APART, plan={"point": "memory"})
    for each in run.rounds:
        kib = {"websocket": 20, "sse": 12, "longpoll": 5}[each.lane.transport]
        each.server = Usage(0.1, (40 << 20) + 2 * kib * 1024 + each.repeat * 8, 40 << 20, 0.5)
    sentence = the(run).sentence
    assert (
        "long-polling had the least memory of the server per reader (5.01 KiB), SSE took 7 KiB more, "
        "2.4 times (2.39 to 2.4) as much" in sentence
    )
    assert "; half of the wires were set up within (WebSocket 0.9 ms, SSE 0.9 ms, long-polling 0.9 ms); " in sentence


def test_acknowledgement():
    run = a_run(APART, plan={"says": 1.0})
    for each in run.rounds:
        each.sample.acknowledged = each.sample.delays
    assert "WebSocket had the least median time to an acknowledgement (1.1 ms), SSE took 1.02 ms" in the(run).sentence


def test_slow_readers_are_asked_for_what_the_others_suffer():
    assert "the least delay within which 99 of 100 events arrived" in the(a_run(APART, plan={"slow": 0.1})).sentence


def test_capacity():
    run = a_run({"websocket": [], "sse": []}, plan={"goal": 50.0, "repeats": 1})
    for transport, held, failed in (("websocket", 800, 880), ("sse", 400, 440)):
        lane = Lane("open", "everywire", transport)
        run.steps += [Step(lane=lane, readers=held, p99=40_000, lost=0, held=True)]
        run.steps += [Step(lane=lane, readers=failed, p99=60_000, lost=0, held=False)]
    assert the(run).sentence == (
        "On an open network, asked for 99 of 100 events within 50 ms at 20 events/s of 100 bytes: "
        "WebSocket bore 800 readers and not 880 and SSE bore 400 readers and not 440."
    )
    run.steps[-1].doubts = ["the load generator was saturated"]
    assert "SSE bore 400 readers, and more were not tried" in the(run).sentence
    assert the(run).notes == ["the search over SSE ended because the load generator was saturated, so it may bear more"]


# --- doubts


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
        ({"clock_error": 3_000}, "the clocks of the hosts did not agree"),
        ({"published": Published(rate=20, size=100, refused={"too many": 2})}, "refused to publish (too many)"),
    ],
)
def test_doubts_make_a_run_worthless(changes: dict[str, object], reason: str):
    run = a_run(APART, **changes)
    assert not judge(run).trustworthy
    assert ": not trustworthy, because " in the(run).sentence
    assert reason in the(run).sentence


def test_one_bad_network_does_not_spoil_the_sentence_of_another():
    run = a_run(APART, networks=("open", "http10"))
    for each in run.rounds:
        each.relay = 0.95 if each.lane.network == "http10" else None
    verdicts = judge(run)
    assert [each.trustworthy for each in verdicts.each] == [True, False]
    assert "the process that plays the network was saturated" in verdicts.each[1].sentence
    assert not verdicts.trustworthy


def test_a_run_that_was_broken_off():
    run = a_run(APART)
    run.complete = False
    del run.rounds[7:]
    verdicts = judge(run)
    assert verdicts.doubts == ["the run was broken off after 7 of 15 rounds"]
    assert "not trustworthy, because the run was broken off" in verdicts.each[0].sentence
    run.wanted = 0  # a search tells no end
    assert judge(run).doubts == ["the run was broken off"]


def test_a_round_that_is_missing():
    run = a_run(APART)
    run.rounds.remove(run.of(Lane("open", "everywire", "sse"))[2])
    assert judge(run).doubts == ["rounds of SSE are missing"]


def test_a_run_without_any_round_is_not_trustworthy():
    run = a_run(APART)
    run.rounds.clear()
    assert not judge(run).trustworthy


def test_calibration():
    run = a_run(APART)
    run.calibration.clear()
    assert judge(run).doubts == ["the instrument was not calibrated, though it was to be"]
    waived = judge(a_run(APART, plan={"calibrate": False}))
    assert waived.trustworthy
    assert waived.notes == ["the instrument was not calibrated, so what it adds to a difference is not known"]


def test_a_busy_generator_in_the_calibration_is_noted():
    run = a_run(APART)
    run.calibration = [a_round("sse", repeat, 100, subject="null", cpu=1.0) for repeat in (1, 2, 3)]
    assert judge(run).notes == ["while the instrument was calibrated, the load generator was saturated"]


def test_lag_of_the_generator_matters_less_where_the_kernel_tells_the_time():
    assert judge(a_run(APART, lag=histogram(*[6_000] * 10))).trustworthy


def test_a_single_disturbed_round_is_noted_and_the_median_stands():
    run = a_run(APART)
    run.of(Lane("open", "everywire", "sse"))[1].sample.cpu = 1.0
    assert the(run).trustworthy
    assert the(run).notes == ["the load generator was saturated in 1 of 5 rounds of SSE"]


def test_a_reader_that_was_missing_once_is_enough():
    run = a_run(APART)
    run.of(Lane("open", "everywire", "sse"))[1].sample.ready = 1
    assert not judge(run).trustworthy


def test_a_server_at_its_limit_is_noted_and_is_no_doubt():
    run = a_run(APART)
    for each in run.of(Lane("open", "everywire", "sse")):
        assert each.server
        each.server.cpu = 0.97 * each.sample.seconds
    assert judge(run).trustworthy
    assert the(run).notes == ["over SSE the server used 97 % of a core, so these delays are those of a server at its limit"]


def test_few_repeats_are_noted():
    assert judge(a_run({name: each[:3] for name, each in APART.items()})).notes == ["3 repeats find only large differences"]


def test_a_reader_that_failed_by_itself_blocks_the_verdict():
    run = a_run({"sse": [1000, 1010]})
    run.rounds[0].sample.failures = {"cut: ConnectionResetError": 3}
    assert judge(run).trustworthy
    run.rounds[0].sample.failures["broke: KeyError: 'n'"] = 2
    assert not judge(run).trustworthy
    assert "a reader's own code failed (KeyError: 'n') in 1 of 2 rounds of SSE" in judge(run).each[0].sentence


def test_two_who_publish_block_the_verdict():
    run = a_run({"sse": [1000, 1010]})
    run.rounds[1].sample.failures = {"alien: events of compare": 3}
    assert "somebody else published to the same channel in 1 of 2 rounds of SSE" in judge(run).each[0].sentence
