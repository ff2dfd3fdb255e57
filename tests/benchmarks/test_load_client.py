"""The load client counts what was sent, wherever a read cuts it, and finds what is lost, doubled or out of order."""

from __future__ import annotations

import random
import socketserver
import subprocess
import threading
from contextlib import suppress

import msgspec
import pytest

from tests.benchmarks.load import Load, Round
from tests.benchmarks.program import Program
from tests.benchmarks.rows import BY_NAME, Subject
from tests.benchmarks.stage import Stage

pytestmark = pytest.mark.real


def counted(stage: Stage, wire: str, *, readers: int = 3, read: int = 0, events: int | None = None, **order: object) -> Round:
    """What the load client counts when the reference server is told `order`."""
    row = msgspec.structs.replace(BY_NAME["c"], flags=("--read", str(read)) if read else ())
    with stage.playing(row) as playing, playing.readers(wire) as load:
        assert load.add(readers).open == readers
        load.begin(int(str(order.get("size", 100))))
        sent = playing.publish(**order)
        return load.expect(sent if events is None else events, patience=0.3 if events else 20.0)


@pytest.mark.parametrize("wire", ["ws", "sse"])
@pytest.mark.parametrize("read", [1, 2, 3, 64, 333, 0])
def test_what_was_sent_is_counted_however_reads_cut_it(stage: Stage, wire: str, read: int) -> None:
    found = counted(stage, wire, read=read, rate=1000, seconds=0.05, size=100)
    assert found.whole
    assert found.delivered == 3 * 50
    assert found.frames == 3 * 50


@pytest.mark.parametrize("size", [64, 126, 65_536, 200_000])
@pytest.mark.parametrize("wire", ["ws", "sse"])
def test_events_of_any_size_are_counted(stage: Stage, wire: str, size: int) -> None:
    found = counted(stage, wire, read=1000, rate=1000, seconds=0.01, size=size)
    assert found.whole
    assert found.delivered == 3 * 10
    assert found.bytes > 3 * 10 * size


@pytest.mark.parametrize("wire", ["ws", "sse"])
@pytest.mark.parametrize("read", [0, 7])
def test_a_frame_holds_a_thousand_events(stage: Stage, wire: str, read: int) -> None:
    found = counted(stage, wire, read=read, blast=3000, size=100, frame=1000)
    assert found.whole
    assert found.delivered == 3 * 3000
    assert found.frames == 3 * 3


def model(numbers: list[int], expected: int) -> dict[str, int]:
    """What is to be counted of these numbers, one at a time."""
    seen: set[int] = set()
    counts = {"delivered": 0, "doubled": 0, "disorder": 0}
    for n in numbers:
        if n in seen:
            counts["doubled"] += 1
            continue
        counts["delivered"] += 1
        counts["disorder"] += bool(seen) and n < max(seen)
        seen.add(n)
    return {**counts, "lost": expected - len(seen)}


def planted(seed: int) -> list[int]:
    """Numbers of events of a server that loses, doubles and swaps some."""
    luck = random.Random(seed)
    numbers = [n for n in range(60) if luck.random() < 0.9]
    for _ in range(luck.randrange(6)):
        numbers.insert(luck.randrange(len(numbers)), luck.choice(numbers))
    for _ in range(luck.randrange(6)):
        one, other = luck.randrange(len(numbers)), luck.randrange(len(numbers))
        numbers[one], numbers[other] = numbers[other], numbers[one]
    return numbers


@pytest.mark.parametrize("numbers", [[0, 1, 3], [0, 0], [1, 0], [2, 1, 0], [5, 0, 5, 2, 2], *map(planted, range(4))])
@pytest.mark.parametrize(("wire", "read"), [("ws", 0), ("sse", 3)])
def test_planted_faults_are_found(stage: Stage, wire: str, read: int, numbers: list[int]) -> None:
    found = counted(stage, wire, read=read, events=60, numbers=numbers, size=100)
    wanted = model(numbers, 60)
    assert {name: getattr(found, name) for name in wanted} == {name: 3 * number for name, number in wanted.items()}


def test_percentiles_are_those_of_the_numbers(stage: Stage) -> None:
    luck = random.Random(1)
    numbers = sorted(round(10 ** luck.uniform(0, 11)) for _ in range(5000))
    done = subprocess.run(
        [stage.programs["load"], "--histogram"], input="\n".join(map(str, numbers)), capture_output=True, text=True, check=True
    )
    said = msgspec.json.decode(done.stdout)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)):
        exact = numbers[round(share * len(numbers)) - 1]
        assert exact <= said[name] <= exact * 1.02, name
    assert said["slowest"] == numbers[-1]


def test_polls_are_counted_and_answered_with_an_event_each(stage: Stage) -> None:
    with stage.playing(BY_NAME["c"]) as playing, playing.readers("poll") as load:
        load.add(5)
        found = load.poll(0.1)
    assert found.polls >= 5
    assert found.delivered == found.polls == found.frames
    assert found.gone == 0


class Slow(socketserver.StreamRequestHandler):
    """Answers all requests that have come, together, when it has heard nothing for a while."""

    def handle(self) -> None:
        while data := self.request.recv(65_536):
            with suppress(TimeoutError):
                self.request.settimeout(0.2)
                while more := self.request.recv(65_536):
                    data += more
            self.request.settimeout(None)
            asked = data.count(b"\r\n\r\n")
            self.server.asked += asked
            self.server.most = max(self.server.most, asked)
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]" * asked)


def test_nobody_is_asked_again_before_there_is_an_answer(stage: Stage) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Slow) as server:
        server.most, server.asked, server.daemon_threads = 0, 0, True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with Load(stage.programs["load"], server.server_address[1], "/poll", "poll") as load:
                load.add(3)
                rounds = [load.poll(0.05) for _ in range(3)]
        finally:
            server.shutdown()
    assert (server.most, server.asked) == (1, 9)
    assert [found.gone for found in rounds] == [0, 0, 0]


def test_connections_that_the_server_closes_are_counted(stage: Stage) -> None:
    with stage.playing(BY_NAME["c"]) as playing, playing.readers("ws") as load:
        load.add(4)
        load.begin(100)
        playing.program.stop()
        assert load.expect(0, patience=0.3).gone == 4


def test_what_is_not_an_answer_is_not_open(stage: Stage) -> None:
    with stage.playing(BY_NAME["c"]) as playing:
        port = playing.port
        with Load(stage.programs["load"], port, "/nothing", "ws") as load:
            opened = load.add(3)
    assert (opened.open, opened.failed) == (0, 3)


def test_arguments_that_are_none_are_told(stage: Stage) -> None:
    done = subprocess.run([stage.programs["load"], "nowhere", "1", "/", "ws"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "ws|sse|poll|wait" in done.stderr


def test_nobody_waits_for_a_program_that_has_ended(stage: Stage) -> None:
    row = Subject(name="none", title="", argv=("cat", "/nonexistent"))
    with pytest.raises(Exception, match="No such file"), stage.playing(row):
        pass


def test_its_cpu_and_memory_are_told(stage: Stage) -> None:
    with Program([stage.programs["reference"]]) as program:
        program.hear()
        before = program.cpu()
        program.ask({"single": True, "seconds": 0.05})
        assert program.cpu() > before
        assert program.rss() > 0
        assert program.kept_waiting() >= 0
