"""Progress: what is told of the rounds, and how long they will take."""

import io
import os
import pty
import re
from contextlib import suppress

import pytest
from runs import a_round

from locustfiles.conducting.progress import Estimate, Progress, Rate, Turn, doing, duration, named, outcome
from locustfiles.conducting.swarm import Beat
from locustfiles.plan import Plan
from locustfiles.samples import Lane, Tally

SSE, POLL = Lane("open", "everywire", "sse"), Lane("open", "everywire", "longpoll")


def turns(*kinds: object, seconds: float = 10.0) -> list[Turn]:
    return [Turn(f"turn {place}", kind, seconds) for place, kind in enumerate(kinds)]


class Clock:
    """Seconds, as they are set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_estimate_is_publishing_and_something():
    assert Estimate().left(turns("a", "b")) == 30.0


def test_it_learns_what_rounds_take_beside_publishing():
    estimate = Estimate()
    estimate.learn(Turn("", "a", 10.0), 12.0)
    estimate.learn(Turn("", "b", 10.0), 14.0)
    assert estimate.left(turns("a")) == 12.0  # as last time
    assert estimate.left(turns("new")) == 13.0
    assert estimate.left(turns("new", seconds=3.0)) == 6.0


def test_a_lane_that_nobody_gets_through_takes_its_patience_again():
    estimate = Estimate()
    estimate.learn(Turn("", "shut", 10.0), 34.0)
    assert estimate.left(turns("shut", "shut")) == 68.0


def test_what_is_under_way_counts_for_what_is_left_of_it():
    estimate = Estimate()
    estimate.learn(Turn("", "a", 10.0), 12.0)
    assert estimate.left(turns("a", "a"), begun=5.0) == 19.0
    assert estimate.left(turns("a", "a"), begun=50.0) == 12.0
    assert estimate.left([]) == 0.0


def test_elsewhere_than_on_a_terminal_a_line_for_each_round():
    stream, clock = io.StringIO(), Clock()
    with Progress(turns("a", "b"), stream=stream, now=clock) as progress:
        progress.begin()
        progress.beat(Beat(phase="publishing", started=0))
        clock.now = 12.0
        progress.over("p50 1 ms")
        progress.begin()
        progress.over("p50 2 ms")
    lines = stream.getvalue().splitlines()
    assert [line.split() for line in lines] == [
        ["1/2", "turn", "0", "p50", "1", "ms"],
        ["2/2", "turn", "1", "p50", "2", "ms"],
    ]


def test_the_line_that_changes():
    clock = Clock()
    progress = Progress(turns("a", "b"), stream=io.StringIO(), now=clock)
    progress.begin()
    assert progress.line() == "0/2 turn 0   starting   about 30 s left"
    progress.beat(Beat(phase="publishing", readers=9, ready=9, started=0, delivered=100))
    clock.now = 2.0
    progress.beat(Beat(phase="publishing", readers=9, ready=9, started=0, delivered=3100, cpu=0.345, lag=1_234))
    assert re.fullmatch(
        r"0/2 turn 0   publishing 10/10 s   1,500 deliveries/s   generator 34% CPU, 1\.2 ms late   about 28 s left",
        progress.line(),
    )
    progress.over("")
    progress.add(Turn("more", "b", 10.0))
    assert progress.line().startswith("1/3 turn 1")
    progress.over("")
    progress.over("")
    assert progress.line() == ""


@pytest.mark.parametrize(
    ("beat", "said"),
    [
        (Beat(), "starting"),
        (Beat(phase="opening", readers=2000, ready=1500), "opening 1,500/2,000"),
        (Beat(phase="publishing", started=1_000_000), "publishing 3/10 s"),
        (Beat(phase="publishing", started=9_000_000), "publishing 0/10 s"),  # due in a moment
        (Beat(phase="draining", started=1), "draining"),
    ],
)
def test_what_a_round_is_at(beat: Beat, said: str):
    assert doing(beat, 10.0, 4_000_000) == said


def test_deliveries_a_second_are_those_of_now():
    rate = Rate()
    for at, delivered in ((0.0, 0), (0.1, 5), (1.0, 100), (2.0, 1100), (2.2, 1500)):
        rate.note(at, delivered)
    assert rate.now == 1000.0


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1:00 min"), (125.2, "2:05 min")])
def test_durations_are_for_people(seconds: float, said: str):
    assert duration(seconds) == said


def test_a_round_is_named_by_what_there_are_several_of():
    assert named(SSE, Plan()) == "SSE"
    assert named(POLL, Plan(networks=("open", "http10"), subjects=("everywire", "null"))) == "open · everywire · long-polling"
    assert named(POLL._replace(subject="./my/own.py"), Plan(subjects=("everywire", "./my/own.py"))) == "own · long-polling"


def test_a_search_does_not_know_how_long_it_will_be():
    stream, clock = io.StringIO(), Clock()
    progress = Progress([], search=True, stream=stream, now=clock)
    for readers in (50, 100):
        progress.add(Turn(f"SSE, {readers} readers", SSE, 1.0))
        progress.begin()
        assert "left" not in progress.line()
        progress.over("p50 1 ms")
    assert [line.split() for line in stream.getvalue().splitlines()] == [
        ["1", "SSE,", "50", "readers", "p50", "1", "ms"],
        ["2", "SSE,", "100", "readers", "p50", "1", "ms"],
    ]


def test_what_a_round_brought():
    assert outcome(a_round("sse", 1, 1000)) == "p50    1.000 ms   p99    2.000 ms"
    told = outcome(a_round("sse", 1, 1000, ready=1, tally=Tally(expected=40, delivered=37, lost=3, doubled=1)))
    assert told.endswith("1 of 2 readers got in   3 lost   1 doubled")
    assert outcome(a_round("sse", 1, 1000, ready=0)) == "nobody got through"


def drawn(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """What a terminal gets of one round."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **environment}.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream, Progress(turns("a"), stream=stream) as progress:
        progress.begin()
        progress.beat(Beat(phase="publishing", started=0, cpu=0.97))
        progress.say("said meanwhile")  # draws the line anew
        progress.over("p50 1 ms")
    said = bytearray()
    with suppress(OSError):  # nobody has the other end any more
        while part := os.read(ours, 65_536):  # what was written may come in parts
            said += part
    os.close(ours)
    return said.decode()


def test_a_terminal_gets_one_line_that_changes(monkeypatch: pytest.MonkeyPatch):
    said = drawn(monkeypatch)
    assert "0/1 turn 0" in said
    assert "\x1b[2K" in said  # the line is drawn over
    assert re.search(r"1/1 turn 0 +p50 1 ms", said)


def test_a_generator_that_has_no_time_left_is_red_where_colours_are_wanted(monkeypatch: pytest.MonkeyPatch):
    red = "\x1b[31mgenerator 97% CPU"
    assert red in drawn(monkeypatch)
    plain = drawn(monkeypatch, NO_COLOR="1")
    assert red not in plain
    assert "generator 97% CPU" in plain


def test_a_terminal_that_cannot_is_treated_like_a_file(monkeypatch: pytest.MonkeyPatch):
    assert "\x1b" not in drawn(monkeypatch, TERM="dumb")
