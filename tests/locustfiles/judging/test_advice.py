"""Advice: a setting is named only with the figure behind it, and where there is none, nothing is."""

import pytest
from runs import a_run, histogram

from locustfiles.judging.advice import OFTEN, Advice, advise, advise_status, text
from locustfiles.samples import Lane, Pause, Run, Tally
from transports.counts import Counts
from transports.errors import ConfigError
from transports.options import Options, options_from

ALIKE = {name: [1000, 1100, 1050, 1080, 1020] for name in ("websocket", "sse", "longpoll")}


def shut(run: Run, network: str, *transports: str) -> Run:
    """`run`, with these transports not getting through a network."""
    for transport in transports:
        for each in run.of(Lane(network, "everywire", transport)):
            each.sample.ready, each.sample.tally, each.sample.delays = 0, Tally(), histogram()
    return run


def cut(run: Run, network: str, transport: str, times: int) -> Run:
    run.of(Lane(network, "everywire", transport))[0].sample.failures = {"cut: reset": times}
    return run


def the(found: list[Advice]) -> Advice:
    (one,) = found
    return one


def test_without_a_figure_there_is_no_advice():
    run = a_run(ALIKE)
    assert advise(run) == []
    assert text(advise(run), run) == "Nothing that was found speaks for a change of settings."


# --- the order of transports


def test_what_gets_through_nowhere_goes_behind_what_does():
    run = a_run(ALIKE, networks=("no-upgrade", "upgrade-cut"))
    for network in ("no-upgrade", "upgrade-cut"):
        shut(run, network, "websocket")
    where = "on the network no-upgrade and on the network upgrade-cut"
    assert the(advise(run)) == Advice(
        "transports",
        "sse, longpoll, websocket",
        f"WebSocket did not get through anywhere, and SSE did {where}; "
        f"WebSocket did not get through anywhere, and long-polling did {where}",
    )


def test_what_gets_through_somewhere_is_left_to_the_clients():
    assert advise(shut(a_run(ALIKE, networks=("open", "no-upgrade")), "no-upgrade", "websocket")) == []


def test_what_is_clearly_sooner_goes_before():
    run = a_run({**ALIKE, "websocket": [9000, 9100, 9050, 9080, 9020]})
    found = the(advise(run))
    assert found.value == "sse, longpoll, websocket"
    assert "on an open network, half of the events came 8 ms (8 to 8) sooner over SSE than over WebSocket" in found.because


def test_less_than_a_millisecond_changes_no_order():
    assert advise(a_run({**ALIKE, "websocket": [us + 700 for us in ALIKE["sse"]]})) == []


def test_noise_changes_no_order():
    assert advise(a_run({**ALIKE, "websocket": [3000, 900, 9000, 1000, 1200]})) == []


def test_better_in_one_network_and_worse_in_another_changes_no_order():
    run = a_run({**ALIKE, "websocket": [9000, 9100, 9050, 9080, 9020]}, networks=("open", "http10"))
    for each in run.rounds:
        if each.lane.network == "http10" and each.lane.transport != "websocket":
            each.sample.delays = histogram(*[20_000 + each.repeat] * 40)
    assert advise(run) == []


# --- silence


def test_a_beat_and_a_wait_that_fit_the_path():
    run = cut(cut(a_run(ALIKE, networks=("idle-cut-5s",)), "idle-cut-5s", "sse", 40), "idle-cut-5s", "longpoll", 7)
    assert advise(run) == [
        Advice("beat", "3", "on the network idle-cut-5s, which cuts what is silent after 5 s, SSE was cut 40 times"),
        Advice("poll_wait", "3", "on the network idle-cut-5s, which cuts what is silent after 5 s, long-polling was cut 7 times"),
    ]


def test_a_network_that_cuts_requests_asks_for_shorter_polls_alone():
    run = cut(cut(a_run(ALIKE, networks=("request-cut-10s",)), "request-cut-10s", "sse", 4), "request-cut-10s", "longpoll", 7)
    assert the(advise(run))[:2] == ("poll_wait", "6")


@pytest.mark.parametrize("network", ["idle-cut-40s", "flaky", "a-network-of-later"])
def test_cuts_that_no_beat_would_prevent_ask_for_none(network: str):
    assert advise(cut(a_run(ALIKE, networks=(network,)), network, "sse", 40)) == []


def test_without_cuts_no_beat_is_asked_for():
    assert advise(a_run(ALIKE, networks=("idle-cut-5s",))) == []


# --- history


def outage(seconds: float, **plan: object) -> Run:
    run = a_run(ALIKE, plan=plan)
    run.rounds[0].sample.pauses = [Pause(0, 0, 1_000_000), Pause(1, 1_000_000, round((1 + seconds) * 1e6))]
    return run


def test_history_covers_twice_the_longest_outage():
    run = outage(30.6, rate=20)
    run.rounds[0].sample.tally.declared = 100
    assert the(advise(run)) == Advice(
        "history_count",
        "1300",
        "a reader was without events for 30.6 s, at 20 events/s on a channel, and 100 events were declared lost; "
        "this is twice that many",
    )


def test_what_readers_say_themselves_is_counted_and_channels_share_it():
    assert advise(outage(30, rate=16, says=2.0, readers=2, channels=2)) == []  # 10 events/s on each
    assert the(advise(outage(30, rate=16, says=2.0, readers=2))).value == "1200"


def test_a_long_outage_asks_for_older_events():
    found = advise(outage(200, rate=1))
    assert [each[:2] for each in found] == [("history_age", "400")]


def test_an_outage_that_did_not_end_counts_as_far_as_it_was_seen():
    run = outage(1)
    run.rounds[0].sample.pauses.append(Pause(0, 1_000_000, None))
    run.rounds[0].sample.ended = 61_000_000
    assert the(advise(run)).because.startswith("a reader was without events for 60 s, at 20 events/s")


# --- coalescing


def test_events_that_come_close_together_and_a_delay_that_leaves_room():
    found = the(advise(a_run(ALIKE, plan={"rate": 200, "slo": ("p99<50ms", "lost==0")})))
    assert found.setting == "coalesce"
    assert found.value == "0.024"
    assert "events came every 5 ms and 99 of 100 arrived within 2.1 ms, where 50 ms are allowed, so 4 events" in found.because


@pytest.mark.parametrize(
    "plan",
    [
        {"rate": 200},  # nobody said what may be
        {"rate": 20, "slo": ("p99<50ms",)},  # too far apart
        {"rate": 200, "slo": ("p99<3ms",)},  # no room
        {"rate": 200, "slo": ("p99>50ms", "hello<1s")},  # no limit of a delay
        {"rate": 200, "slo": ("p99<50ms",), "burst": 10},  # they come together as it is
        {"rate": 200, "slo": ("p99<50ms",), "channels": 10},
    ],
)
def test_otherwise_no_window(plan: dict[str, object]):
    assert advise(a_run(ALIKE, plan=plan)) == []


# --- what has no say


def test_an_untrustworthy_run_has_no_say():
    run = outage(100)
    for each in run.rounds:
        each.sample.cpu = 1.0
    assert advise(run) == []
    assert text([], run).startswith("No advice, because the run is not trustworthy: the load generator was saturated in")


def test_another_server_has_no_say_unless_it_is_one_of_ours():
    run = a_run(ALIKE, subjects=("socketio",), networks=("idle-cut-5s",))
    run.of(Lane("idle-cut-5s", "socketio", "sse"))[0].sample.failures = {"cut: reset": 40}
    assert advise(run) == []
    run.counts["socketio"] = Counts().as_dict()
    assert the(advise(run)).setting == "beat"


# --- a running server


def status(opened: dict[str, int], tried: dict[str, int]) -> dict[str, object]:
    """What a server's counters say after so many wires were opened and clients found out so much."""
    counts = Counts()
    for transport, times in opened.items():
        for _ in range(times):
            counts.opened(transport, "race", "")
    for finding, times in tried.items():
        for _ in range(times):
            counts.opened("longpoll", "race", finding)
    return {"readers": 3, "channels": 1, **counts.as_dict()}


def test_what_clients_found_out_decides_the_order():
    found = the(advise_status(status({"sse": 60, "websocket": 5}, {"websocket.upgrade_stripped": 40, "websocket.ok": 3})))
    assert found == Advice(
        "transports",
        "sse, longpoll, websocket",
        "WebSocket failed 40 times (mostly upgrade_stripped) and was opened 5 times",
    )


@pytest.mark.parametrize(
    ("opened", "tried"),
    [
        ({"sse": 60}, {}),
        ({"websocket": 60}, {"websocket.upgrade_stripped": 40}),  # works more often than not
        ({"sse": 60}, {"websocket.ended": 40, "sse.captive_portal": 50}),  # no fault of the transport
        ({"sse": 5}, {"websocket.refused_http": 10}),  # too few
        ({"websocket": 60}, {"longpoll.refused_http": 90}),  # is the last anyway
    ],
)
def test_otherwise_the_order_stands(opened: dict[str, int], tried: dict[str, int]):
    assert advise_status(status(opened, tried)) == []


def test_wires_that_were_cut_when_nothing_came():
    found = advise_status(status({"sse": 60}, {"sse.cut_idle": 10, "longpoll.cut_idle": 10}))
    assert [each[:2] for each in found] == [("beat", "7.5"), ("poll_wait", "12.5")]
    assert found[0].because == "10 wires were cut when nothing came, and 80 were opened; this is half of the default"
    assert advise_status(status({"sse": 400}, {"sse.cut_idle": 10})) == []


def test_an_empty_server_says_nothing():
    assert advise_status(status({}, {})) == []
    assert OFTEN > 1


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"opened": 3, "verdicts": {}},
        {"status": "ok"},
        [],
        {"opened": {"sse": "many"}, "verdicts": {}},
        {"opened": {"sse": 30}, "verdicts": {"sse": 5}},
        {"opened": {"sse": 30}, "verdicts": {"sse": {"refused_http": None}}},
        {"opened": {"sse": float("inf")}, "verdicts": {}},
        {"opened": {"sse": -30}, "verdicts": {}},
    ],
)
def test_something_else_is_refused(wrong: object):
    with pytest.raises(ConfigError, match="not the status of an everywire server"):
        advise_status(wrong)


# --- all of it


def test_settings_that_are_advised_exist_and_take_the_value():
    run = outage(400)
    both = advise(run) + advise(cut(a_run(ALIKE, networks=("idle-cut-5s",)), "idle-cut-5s", "sse", 40))
    assert {each.setting for each in both} == {"history_count", "history_age", "beat"}
    for each in both:
        assert isinstance(
            options_from({each.setting: float(each.value) if each.setting != "history_count" else int(each.value)}), Options
        )


def test_the_text():
    assert text([Advice("beat", "3", "SSE was cut 40 times"), Advice("poll_wait", "6", "so it was")]) == (
        "beat = 3\n    SSE was cut 40 times.\npoll_wait = 6\n    so it was."
    )
