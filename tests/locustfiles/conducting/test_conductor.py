"""Conductor: the order in which lanes take turns, and what is played to the instrument."""

from pathlib import Path

from locustfiles.conducting.conductor import Cast, calibration, lanes, turn
from locustfiles.plan import Fault, Plan
from locustfiles.samples import Lane
from locustfiles.subjects import subject

USERS = {"websocket": "W", "sse": "S", "longpoll": "L", "negotiated": "N"}


def cast(*subjects: str, users: dict[str, str] = USERS) -> Cast:
    return Cast(Path("scenario.py"), users, {name: subject(name) for name in subjects})


def test_lanes_are_networks_by_subjects_by_transports():
    plan = Plan(networks=("open", "buffering"), subjects=("everywire", "sse-starlette"))
    assert lanes(plan, cast(*plan.subjects)) == [
        Lane(network, *rest)
        for network in ("open", "buffering")
        for rest in (("everywire", "websocket"), ("everywire", "sse"), ("everywire", "longpoll"), ("sse-starlette", "sse"))
    ]


def test_a_transport_without_a_user_is_not_played():
    assert [lane.transport for lane in lanes(Plan(), cast("everywire", users={"sse": "S"}))] == ["sse"]


def test_only_who_can_be_told_of_a_proxy_gets_through_one():
    plan = Plan(networks=("open", "proxy-407"), transports=("sse", "negotiated"))
    assert [(lane.network, lane.transport) for lane in lanes(plan, cast("everywire"))] == [
        ("open", "sse"),
        ("open", "negotiated"),
        ("proxy-407", "negotiated"),
    ]


def test_each_repeat_begins_with_another_lane():
    played = [Lane("open", "everywire", each) for each in ("websocket", "sse", "longpoll")]
    turns = [turn(played, repeat) for repeat in range(1, 7)]
    assert [lane.transport for lane, *_ in turns] == ["websocket", "sse", "longpoll"] * 2
    assert all(sorted(each) == sorted(played) for each in turns)
    assert turn(played[:1], 5) == played[:1]


def test_the_instrument_is_measured_as_the_server_is():
    plan = Plan(
        readers=70,
        rate=20,
        size=300,
        seconds=60,
        repeats=9,
        transports=("sse",),
        networks=("buffering",),
        faults=(Fault(at=1, do="kill"),),
        slow=0.5,
    )
    made = calibration(plan, cast("everywire"))
    assert (made.readers, made.rate, made.size) == (70, 20, 300)
    assert (made.networks, made.subjects, made.transports) == (("open",), ("null",), ("sse",))
    assert (made.faults, made.slow) == ((), 0.0)
    assert made.seconds * made.repeats < 20


def test_the_instrument_is_measured_no_longer_than_the_server():
    made = calibration(Plan(seconds=0.5, repeats=1), cast("everywire"))
    assert (made.seconds, made.repeats) == (0.5, 1)


def test_who_chooses_may_be_on_any_transport():
    plan = Plan(transports=("sse", "negotiated"))
    assert calibration(plan, cast("everywire")).transports == ("websocket", "sse", "longpoll")
    assert calibration(plan, cast("everywire", users={"negotiated": "N", "longpoll": "L"})).transports == ("longpoll",)
