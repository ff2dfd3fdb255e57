"""Names: the words for lanes, networks and amounts."""

import pytest

from locustfiles.judging.names import amount, capital, lane_name, listed, network_name, printable, subject_name
from locustfiles.plan import Plan
from locustfiles.samples import Lane


def test_a_server_is_named_where_there_are_several():
    lane = Lane("open", "mine/app.py", "longpoll")
    assert lane_name(lane, Plan(subjects=("mine/app.py",))) == "long-polling"
    assert lane_name(lane, Plan(subjects=("everywire", "mine/app.py"))) == "long-polling of app"


@pytest.mark.parametrize(
    ("subject", "name"), [("socketio", "socketio"), ("a/b/mine.py", "mine"), ("http://127.0.0.1:9000/live", "127.0.0.1:9000")]
)
def test_servers(subject: str, name: str):
    assert subject_name(subject) == name


def test_networks():
    assert network_name("open") == "on an open network"
    assert network_name("no-upgrade") == "on the network no-upgrade"


@pytest.mark.parametrize(("words", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")])
def test_lists(words: list[str], text: str):
    assert listed(words) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.2345, "ms", "1.23 ms"),
        (12345.6, "ms", "12,346 ms"),
        (0.01234, "s", "0.0123 s"),
        (99.99, "ms", "100 ms"),
        (-250, "", "-250"),
        (0, "B", "0 B"),
    ],
)
def test_amounts_have_three_digits(value: float, unit: str, text: str):
    assert amount(value, unit) == text


def test_capitals():
    assert capital("on an Open network") == "On an Open network"
    assert capital("") == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SSE of a server: 1 µs – “well”\n\tdone", "SSE of a server: 1 µs – “well”\n\tdone"),
        ("\x1b[2J\x07\rall is well\x9b", r"\x1b[2J\x07\rall is well\x9b"),
        ("\u202ereverse\u2066", r"\u202ereverse\u2066"),
        ("\udcff", r"\udcff"),
    ],
)
def test_nothing_steers_a_terminal(text: str, shown: str):
    assert printable(text) == shown
