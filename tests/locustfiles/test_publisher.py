"""The publisher: on schedule, and honest about what was late."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locustfiles import publisher
from locustfiles.publisher import BODY_MAX, Schedule, command, data, publish
from transports.items import Reply


@pytest.mark.parametrize("size", [60, 100, 1000])
def test_data_has_the_size_that_was_asked_for(size: int):
    body = data(7, 1_234_567_890, size)
    assert len(body) == size
    assert msgspec.json.decode(body)["n"] == 7


def test_numbers_are_never_cut_for_the_size():
    assert msgspec.json.decode(data(7, 1_234_567_890, 1)) == {"n": 7, "t": 1_234_567_890, "pad": ""}


def test_a_command_is_one():
    assert msgspec.json.decode(command(3, 5, 60, "c"))["channel"] == "c"


def test_a_schedule_does_not_drift():
    schedule = Schedule(0, 3.0)
    assert [schedule.due(n) for n in (0, 1, 2, 3, 3_000_000)] == [0, 333_333, 666_667, 1_000_000, 1_000_000_000_000]


def test_what_came_due_meanwhile_keeps_its_time():
    schedule = Schedule(1000, 1000.0, count=5)
    assert schedule.take(999, 10) == []
    assert schedule.take(1000, 10) == [(0, 1000)]
    assert schedule.take(9000, 3) == [(1, 2000), (2, 3000), (3, 4000)]
    assert schedule.take(9000, 3) == [(4, 5000)]
    assert schedule.over


@given(st.lists(st.integers(0, 20_000)), st.integers(1, 7))
def test_every_event_is_taken_once_and_in_order(looks: list[int], most: int):
    schedule = Schedule(0, 1000.0)
    taken = [n for look in sorted(looks) for n, _ in schedule.take(look, most)]
    assert taken == list(range(len(taken)))


class Clock:
    """Microseconds that pass only by waiting and by a server that answers late."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.us = 0
        monkeypatch.setattr(publisher, "now", lambda: self.us)

    def wait(self, seconds: float) -> bool:
        self.us += round(seconds * 1e6)
        return False


def run(
    monkeypatch: pytest.MonkeyPatch, stalls: dict[int, int], count: int = 100
) -> tuple[list[list[dict]], publisher.Published]:
    """Publish 1,000/s to a server that takes 100 µs, or as long as `stalls` says for a request."""
    clock, requests, posted = Clock(monkeypatch), [], itertools.count()

    def post(body: bytes) -> list[Reply]:
        requests.append([each["data"] for each in msgspec.json.decode(body)])
        clock.us += stalls.get(next(posted), 100)
        return [Reply(ref=each["n"], ok=True, id="e.1") for each in requests[-1]]

    result = publish(post, Schedule(0, 1000.0, count=count), "c", 60, clock.wait)
    return requests, result


def test_a_punctual_server_gets_one_event_at_a_time(monkeypatch: pytest.MonkeyPatch):
    requests, result = run(monkeypatch, {})
    assert [event["n"] for (event,) in requests] == list(range(100))
    assert all(event["t"] == event["n"] * 1000 for (event,) in requests)
    assert (result.first, result.last, result.lag.most, result.refused) == (0, 99, 0, {})


def test_a_stall_is_stamped_on_every_event_that_it_held_up(monkeypatch: pytest.MonkeyPatch):
    requests, result = run(monkeypatch, {10: 50_000})
    late = requests[11]
    assert [event["n"] for event in late] == list(range(11, 61))
    assert [event["t"] for event in late] == [n * 1000 for n in range(11, 61)]
    assert [event["n"] for request in requests for event in request] == list(range(100))
    assert result.answers.most == 50_000
    assert result.lag.most == 0  # the server was late, not the publisher


def test_a_request_stays_below_the_limit_of_servers(monkeypatch: pytest.MonkeyPatch):
    requests, _ = run(monkeypatch, {0: 5_000_000}, count=3000)
    assert max(len(msgspec.json.encode(request)) for request in requests) < BODY_MAX
    assert sum(map(len, requests)) == 3000


def test_refusals_are_counted_by_reason(monkeypatch: pytest.MonkeyPatch):
    clock = Clock(monkeypatch)
    refused = Reply(ref=0, ok=False, code=4429, name="rate_limited", reason="too many")
    result = publish(lambda body: [refused], Schedule(0, 10.0, count=3), "c", 60, clock.wait)
    assert result.refused == {"too many": 3}


def test_it_ends_when_it_is_told_to():
    result = publish(lambda body: [], Schedule(publisher.now() + 10**9, 10.0), "c", 60, lambda seconds: True)
    assert result.last == -1
