"""Rounds, played for real: what was published is delivered, in every pattern, and nothing is lost in silence whatever happens."""

import signal
from pathlib import Path

import pytest
from played import USERS, Round, play, serving

from locustfiles.plan import Fault, Plan
from locustfiles.samples import Tally

pytestmark = pytest.mark.real
ALL = list(USERS)


@pytest.fixture(scope="module")
def server():
    with serving("everywire") as running:
        yield running


@pytest.mark.parametrize("transport", ALL)
def test_a_round_is_recorded_in_full(transport: str, server, tmp_path: Path):
    plan = Plan(readers=5, rate=40, seconds=1, size=120)
    round_ = Round(tmp_path, plan, server.url, USERS[transport])
    sample = round_.sample()
    assert (sample.readers, sample.ready, sample.tally) == (5, 5, Tally(expected=200, delivered=200))
    assert len(sample.delays) == 200
    assert sample.clock == "kernel"
    assert sample.failures == {}
    assert sample.traffic.payload == 200 * 120
    assert 0 < sample.traffic.framing < 200 * 200
    assert (sample.traffic.headers > 0) == (transport == "longpoll")
    assert len(sample.phases.connect) == len(sample.phases.hello) == 5
    assert len(sample.phases.tls) == 0
    assert sum(slot.delivered for slot in sample.timeline) == sum(slot.expected for slot in sample.timeline) == 200
    phases = list(dict.fromkeys(line["phase"] for line in round_.lines))
    assert phases == ["opening", "publishing", "draining", "done"]
    assert round_.lines[-1] | {"cpu": 0, "lag": 0} == {
        "phase": "done",
        "readers": 5,
        "ready": 5,
        "started": sample.started,
        "sent": 40,
        "delivered": 200,
        "cpu": 0,
        "lag": 0,
    }
    rows = [line.split(",") for line in round_.events.read_text().splitlines()]
    assert [row[:5] for row in rows[:2]] == [["0", "compare", "0.000000", "5", "5"], ["1", "compare", "0.025000", "5", "5"]]
    assert len(rows) == 40
    assert all(int(least) <= int(mean) <= int(most) for *_, least, mean, most in rows)


def test_each_reader_follows_its_own_channels(server, tmp_path: Path):
    plan = Plan(readers=6, rate=60, seconds=1, channels=6, follows=2)
    round_ = Round(tmp_path, plan, server.url, USERS["sse"])
    assert round_.sample().tally == Tally(expected=120, delivered=120)  # a third of the events for each
    rows = [line.split(",") for line in round_.events.read_text().splitlines()]
    assert {row[1] for row in rows} == {f"compare-{place}" for place in range(6)}
    assert {row[3] for row in rows} == {"2"}
    assert {int(row[0]) for row in rows} == set(range(10))  # dense in each channel


def test_a_burst_is_due_at_one_moment(server, tmp_path: Path):
    round_ = Round(tmp_path, Plan(readers=2, rate=50, seconds=1, burst=25), server.url, USERS["websocket"])
    assert round_.sample().tally == Tally(expected=100, delivered=100)
    assert {line.split(",")[2] for line in round_.events.read_text().splitlines()} == {"0.000000", "0.500000"}


@pytest.mark.parametrize("transport", ALL)
def test_slow_readers_get_everything_and_their_delays_stay_apart(transport: str, server, tmp_path: Path):
    plan = Plan(readers=4, rate=100, seconds=1, size=1000, slow=0.25)
    sample = play(tmp_path, plan, server.url, USERS[transport])
    assert sample.tally == Tally(expected=400, delivered=400)
    assert sample.slow_tally == Tally(expected=100, delivered=100)
    assert (len(sample.delays), len(sample.slow)) == (300, 100)
    assert sum(slot.expected for slot in sample.timeline) == 300
    assert (sample.slow.most or 0) > 250_000  # µs; it pauses so long after each 2 KB


def test_what_readers_say_is_numbered_by_each_and_reaches_the_others(server, tmp_path: Path):
    plan = Plan(readers=4, rate=4, seconds=2, channels=2, follows=2, says=4)
    round_ = Round(tmp_path, plan, server.url, USERS["longpoll"])
    sample = round_.sample()
    assert sample.tally.lost == sample.tally.doubled == 0
    said = [line.split(",") for line in round_.events.read_text().splitlines() if "reader-" in line]
    assert len(said) == len(sample.acknowledged) > 4  # 32 are expected; the chance of so few is one in 10^10
    assert sample.tally.delivered == (8 + len(said)) * 4
    assert sample.traffic.opened >= 1  # connections of their own


@pytest.mark.parametrize("transport", ALL)
def test_a_restarted_server_is_found_again_and_no_loss_is_silent(transport: str, tmp_path: Path):
    plan = Plan(readers=3, rate=50, seconds=3, faults=(Fault(at=0.5, do="kill"),))
    with serving("everywire") as server:
        round_ = Round(tmp_path, plan, server.url, USERS[transport])
        while (line := round_.line()) and line["sent"] < 20:
            pass
        server.stop(signal.SIGKILL)
        server.start()
        sample = round_.sample()
    assert sample.published.retried > 0
    assert sample.published.last == 149  # all were published in the end, with the times at which they were due
    assert sample.tally.expected == 450
    assert sample.tally.lost == sample.tally.declared  # the log is gone with the server, and it says so
    assert any(reason.startswith("cut: ") for reason in sample.failures)
    assert sorted({pause.reader for pause in sample.pauses}) == [0, 1, 2]
    assert all(pause.ended <= sample.ended for pause in sample.pauses)  # all are back


def test_nobody_gets_in(tmp_path: Path):
    with serving("null") as server:
        gone = server.url
    sample = play(tmp_path, Plan(readers=2, rate=10, seconds=1, patience=0.5), gone, USERS["sse"])
    assert (sample.readers, sample.ready, sample.tally.expected, sample.published.last) == (2, 0, 0, -1)
    assert any("Connection refused" in reason for reason in sample.failures)


def test_a_publisher_without_a_server_is_one_clear_line(server, tmp_path: Path):
    plan = Plan(readers=1, rate=10, seconds=0.2)
    round_ = Round(tmp_path, plan, server.url, "--publish-to", "http://127.0.0.1:9", "--publish-patience", "0.3", USERS["sse"])
    said = round_.said()
    assert "the publisher gave up on http://127.0.0.1:9/live: [Errno 111] Connection refused" in said
    assert "Traceback" not in said
    assert round_.process.returncode == 1


def test_a_plan_that_is_none_is_one_clear_line(tmp_path: Path):
    (tmp_path / "plan.json").write_text("{")
    round_ = Round(tmp_path, Plan(readers=1), "http://127.0.0.1:9", "--plan", str(tmp_path / "none.json"), USERS["sse"])
    assert "--plan: [Errno 2] No such file or directory" in round_.said()
    assert round_.process.returncode == 1
