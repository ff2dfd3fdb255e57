"""The publisher: on schedule, and honest about what was late."""

import itertools
import socket
import threading

import msgspec
import pytest

from locustfiles.measuring import publisher
from locustfiles.measuring.publisher import BODY_MAX, Connection, Insistence, Progress, command, data, publish
from locustfiles.measuring.schedule import Schedule
from transports.errors import NotEverywireError
from transports.items import Reply


@pytest.mark.parametrize("size", [60, 100, 1000])
def test_data_has_the_size_that_was_asked_for(size: int):
    body = data(7, 1_234_567_890, size)
    assert len(body) == size
    assert msgspec.json.decode(body)["n"] == 7


def test_numbers_are_never_cut_for_the_size():
    assert msgspec.json.decode(data(7, 1_234_567_890, 1)) == {"n": 7, "t": 1_234_567_890, "pad": ""}


def test_a_command_is_one():
    found = msgspec.json.decode(command(3, "c", "5-3", data(1, 5, 60)))
    assert (found["channel"], found["key"], found["data"]["n"]) == ("c", "5-3", 1)


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
        return [Reply(ref=each["n"], ok=True, id="e.1") for each in requests[-1]]  # one channel: n is the number among all

    result = publish(Insistence(post, clock.wait), Schedule(0, 1000.0, count), 60, clock.wait)
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
    result = publish(Insistence(lambda body: [refused], clock.wait), Schedule(0, 10.0, 3), 60, clock.wait)
    assert result.refused == {"too many": 3}


def test_it_ends_when_it_is_told_to():
    insist = Insistence(lambda body: [], lambda seconds: True)
    result = publish(insist, Schedule(publisher.now() + 10**9, 10.0), 60, lambda seconds: True)
    assert result.last == -1


class Absent:
    """A server that is away from its request number `first` on for so many requests, and keeps what it has done by key."""

    def __init__(self, first: int, requests: int, *, lost_answer: bool = False) -> None:
        self.away = range(first, first + requests)
        self.lost_answer = lost_answer
        self.done: dict[str, dict] = {}
        self.asked = itertools.count()

    def post(self, body: bytes) -> list[Reply]:
        away = next(self.asked) in self.away
        commands = msgspec.json.decode(body)
        if not away or self.lost_answer:
            self.done |= {each["key"]: each["data"] for each in commands if each["key"] not in self.done}
        if away:
            raise ConnectionResetError
        return [Reply(each["ref"], ok=True) for each in commands]


@pytest.mark.parametrize("lost_answer", [False, True])
def test_a_server_that_was_away_gets_everything_once_with_its_times(monkeypatch: pytest.MonkeyPatch, lost_answer: bool):
    clock, server, told = Clock(monkeypatch), Absent(10, 5, lost_answer=lost_answer), []
    schedule = Schedule(0, 1000.0, 100)
    result = publish(Insistence(server.post, clock.wait), schedule, 60, clock.wait, told.append)
    assert [each["n"] for each in server.done.values()] == list(range(100))
    assert [each["t"] for each in server.done.values()] == [n * 1000 for n in range(100)]
    assert (result.retried, result.last, result.refused) == (5, 99, {})
    assert told[0] == Progress(0, 0)


def test_only_what_the_server_wants_to_have_later_is_sent_again(monkeypatch: pytest.MonkeyPatch):
    clock, bodies = Clock(monkeypatch), []

    def post(body: bytes) -> list[Reply]:
        bodies.append([each["ref"] for each in msgspec.json.decode(body)])
        codes = {1: 4504 if len(bodies) < 3 else 0, 2: 4429}
        return [Reply(ref, ok=not codes.get(ref), code=codes.get(ref, 0)) for ref in bodies[-1]]

    insist = Insistence(post, clock.wait)
    replies = insist([command(ref, "c", str(ref), b"{}") for ref in range(3)])
    assert bodies == [[0, 1, 2], [1], [1]]
    assert replies is not None
    assert [(each.ref, each.ok) for each in replies] == [(0, True), (1, True), (2, False)]
    assert insist.retried == 2


def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch):
    clock, server = Clock(monkeypatch), Absent(0, 10**9)
    with pytest.raises(ConnectionResetError):
        Insistence(server.post, clock.wait, patience=3.0)([command(0, "c", "0", b"{}")])
    assert 3_000_000 < clock.us < 4_000_000


def test_a_server_that_answers_something_else_is_told(monkeypatch: pytest.MonkeyPatch):
    clock = Clock(monkeypatch)
    with pytest.raises(NotEverywireError, match="0 replies to 1 commands"):
        Insistence(lambda body: [], clock.wait, patience=0.1)([command(0, "c", "0", b"{}")])


def test_a_connection_opens_another_after_the_server_has_closed_it():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        reply = b'[{"type":"reply","ref":1,"ok":true}]'
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n"
        said = [
            head % (len(reply), b"") + reply,
            head % (len(reply), b"Connection: close\r\n") + reply,
            b"",
            head % (36, b"") + reply,
        ]

        def serve() -> None:
            for answers in ([said[0], said[1]], [said[2]], [said[3]]):
                peer, _ = listening.accept()
                with peer:
                    for each in answers:
                        peer.recv(10_000)
                        peer.sendall(each)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        connection = Connection(f"http://127.0.0.1:{listening.getsockname()[1]}/live")
        assert [connection.post(b"[]")[0].ref for _ in range(2)] == [1, 1]
        with pytest.raises(ConnectionResetError):
            connection.post(b"[]")
        assert connection.post(b"[]")[0].ref == 1
        thread.join(5)
    assert (connection.traffic.requests, connection.traffic.opened) == (4, 3)
    assert connection.traffic.down == len(said[0]) + len(said[1]) + len(said[3])
