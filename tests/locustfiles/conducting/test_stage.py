"""Stage: children that start, restart, change and end, for real."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from locustfiles.conducting import stage
from locustfiles.conducting.faults import FaultError, Faults, within
from locustfiles.conducting.stage import (
    Child,
    Relay,
    Server,
    StageError,
    Stop,
    StoppedError,
    UnreachableError,
    last_words,
    status_of,
    stoppable,
    trusting,
)
from locustfiles.plan import Fault
from locustfiles.subjects import Subject

SERVER = """
import http.server, sys
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Answers).serve_forever()
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
SMALL = Subject(name="small", what="a server", command=("{python}", "-c", SERVER, "{host}", "{port}"), ready="/", status="/")


def of(*command: str) -> Subject:
    return Subject(name="planted", what="", command=command, ready="/")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(SMALL, tmp_path, Stop()) as server:
        server.wait()
        yield server


def gone(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def test_a_server_answers_and_ends_with_the_round(tmp_path: Path):
    with Server(SMALL, tmp_path, Stop()) as server:
        server.wait()
        pid = server.pid
        assert pid is not None
        assert os.getsid(pid) == pid  # Ctrl-C of the terminal does not reach it
        assert server.status() == b"{}"
    assert gone(pid)
    assert server.pid is None


@pytest.mark.parametrize("kill", [False, True])
def test_a_server_comes_back_on_the_same_port_as_another_process(server: Server, kill: bool):
    url, pid = server.url, server.pid
    assert pid is not None
    server.restart(kill=kill)
    assert gone(pid)
    assert server.url == url
    assert server.pid not in (None, pid)
    assert server.status() == b"{}"


def test_a_server_that_dies_tells_why(tmp_path: Path):
    with (
        Server(of("{python}", "-c", "raise ValueError('no such table')"), tmp_path, Stop()) as server,
        pytest.raises(UnreachableError, match=r"planted ended before it served: ValueError: no such table"),
    ):
        server.wait()


def test_a_server_that_ends_by_itself_tells_why(server: Server):
    server.check()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert Stop().until(lambda: server.pid is None, 30)
    with pytest.raises(UnreachableError, match=r"small ended by itself, with -9: "):
        server.check()
    server.restart()
    server.check()


ANSWERS = {
    "deep": b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000,
    "no text": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
    "slow": b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n",
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_counters_that_cannot_be_read_are_told(kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stage, "_ANSWER_WAIT", 1.0)

    def answer() -> None:
        peer = listening.accept()[0]
        with peer, suppress(OSError):
            peer.recv(65_536)
            peer.sendall(ANSWERS[kind])
            for _ in range(20 if kind == "slow" else 0):
                peer.sendall(b" ")
                time.sleep(0.2)  # as slow as it is

    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = Subject(name="x", what="", url=f"http://127.0.0.1:{listening.getsockname()[1]}", status="/status")
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="does not show its counters"):
            status_of(there)
        assert time.monotonic() - began < 3
        thread.join(10)


def test_a_network_that_ends_by_itself_tells_so(server: Server, tmp_path: Path):
    with Relay("latency-1ms", server.url, tmp_path, Stop()) as relay:
        relay.wait()
        relay.check()
        assert relay.pid is not None
        os.kill(relay.pid, signal.SIGKILL)
        assert Stop().until(lambda: relay.pid is None, 30)
        with pytest.raises(StageError, match=r"the network latency-1ms ended by itself"):
            relay.check()


def test_a_server_that_is_not_there(tmp_path: Path):
    there = Subject(name="http://127.0.0.1:9", what="", url="http://127.0.0.1:9")
    with Server(there, tmp_path, Stop()) as server:
        assert not server.ours
        with pytest.raises(UnreachableError, match="does not serve everywire"):
            server.wait()


def test_who_does_not_end_is_killed_with_its_session(tmp_path: Path):
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]); {STUBBORN}"
    with Child([sys.executable, "-c", parent], tmp_path / "said", Stop()) as child:
        said(child, b"ready\nready\n")
        family = psutil.Process(child.pid).children()
        assert len(family) == 1
        child.kill()
        assert psutil.wait_procs(family, 30)[1] == []


@pytest.mark.parametrize("kill", [False, True])
def test_what_a_script_started_ends_with_it(tmp_path: Path, kill: bool):
    script = Subject(name="script", what="", command=("sh", "-c", f"{{python}} -c '{SERVER}' {{host}} {{port}}; true"), ready="/")
    with Server(script, tmp_path, Stop()) as server:
        server.wait()
        assert server.pid is not None
        family = psutil.Process(server.pid).children()
        assert len(family) == 1
        server.restart(kill=kill)
        assert gone(family[0].pid)
        server.wait()
        family = psutil.Process(server.pid).children()
    assert gone(family[0].pid)


def test_who_does_not_end_is_killed_even_if_nobody_is_left_to_do_it(tmp_path: Path):
    family = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]); {STUBBORN}"
    code = f"""
import sys, time
from pathlib import Path
from locustfiles.conducting.stage import Child, Stop
child = Child([sys.executable, "-c", {family!r}], Path({str(tmp_path / "said")!r}), Stop())
print(child.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        child = psutil.Process(int(starter.stdout.readline()))
        assert Stop().until(lambda: (tmp_path / "said").read_bytes() == b"ready\nready\n", 60)
        everybody = [child, *child.children()]
        starter.kill()
        assert psutil.wait_procs(everybody, 30)[1] == []


def test_no_shell_stays_when_a_child_has_ended(tmp_path: Path):
    with Server(SMALL, tmp_path, Stop()) as server:
        server.wait()
        server.restart(kill=True)
    assert not [each for each in psutil.Process().children() if "kill -TERM" in " ".join(each.cmdline())]


def test_who_is_asked_twice_does_not_wait(tmp_path: Path):
    stop = Stop()
    stop.ask()
    stop.ask()
    child = Child([sys.executable, "-c", STUBBORN], tmp_path / "said", stop)
    said(child, b"ready\n")
    with child:
        pass
    assert child.process.returncode == -signal.SIGKILL


def said(child: Child, wanted: bytes) -> None:
    """Wait until it has said that."""
    assert Stop().until(lambda: child.said.read_bytes() == wanted, 60)


def test_signals_are_wishes_and_no_interruptions():
    before = signal.getsignal(signal.SIGTERM)
    with stoppable(Stop()) as stop:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
        assert stop.asked == 3
        with pytest.raises(StoppedError):
            stop.until(lambda: False, 60)
    assert signal.getsignal(signal.SIGTERM) is before


def test_waiting_ends_when_it_is_met_or_in_vain():
    stop = Stop()
    assert stop.until(lambda: True, 0)
    assert not stop.until(lambda: False, 0)


@pytest.mark.parametrize(
    ("words", "last"),
    [
        ("", ""),
        ("a\n\nb\n", "a\nb"),
        ("1\n2\n3\n4\n5\n6\n", "2\n3\n4\n5\n6"),
        ("Traceback (most recent call last):\n  File x\nOSError: full\nType  Name  # reqs\n---\n", "OSError: full"),
        (
            "[2026-11-26 05:07:19,123] host/ERROR/everywire: the round failed: no ear\n Type  Name\n---\n",
            "the round failed: no ear",
        ),
        ("Traceback (most recent call last):\n  File x\nA: a\n\nTraceback (most recent call last):\n  File y\nB: b\n", "B: b"),
    ],
)
def test_the_last_words_are_the_error(words: str, last: str):
    assert last_words(words) == last


# ------------------------------------------------------------------------------------------------------------- the network


def status(url: str, headers: dict[str, str] | None = None) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("GET", "/", headers=headers or {})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_network_stands_in_front_and_becomes_another(server: Server, tmp_path: Path):
    with Relay("open", server.url, tmp_path, Stop()) as relay:
        relay.wait()
        assert relay.url != server.url
        assert status(relay.url) == 200
        relay.tell("login-redirect")
        assert status(relay.url) == 302
        relay.tell("latency-20ms")  # a name with a number
        assert status(relay.url) == 200
        pid = relay.pid
        assert pid is not None
    assert gone(pid)


@pytest.mark.parametrize("how", ["cut", "close"])
def test_connections_are_cut(server: Server, tmp_path: Path, how: str):
    with Relay("open", server.url, tmp_path, Stop()) as relay:
        relay.wait()
        parts = urlsplit(relay.url)
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")  # unfinished, so that it stays open
            assert any(_ended(connection, relay, how) for _ in range(50))  # the relay may take it a little later than it is made


def _ended(connection: socket.socket, relay: Relay, how: str) -> bool:
    """Whether what the relay was told ended the connection."""
    relay.tell(how)
    connection.settimeout(0.2)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_a_network_that_cannot_be_told_what_to_do(server: Server, tmp_path: Path):
    with Relay("open", server.url, tmp_path, Stop()) as relay:
        relay.wait()
        with pytest.raises(StageError, match="did not do 'tls-inspection'"):
            relay.tell("tls-inspection")  # clients would have to come in another way


def test_a_network_that_is_gone(server: Server, tmp_path: Path):
    with Relay("open", server.url, tmp_path, Stop()) as relay:
        relay.wait()
        assert relay.pid is not None
        os.kill(relay.pid, signal.SIGKILL)
        assert Stop().until(lambda: relay.pid is None, 30)
        with pytest.raises(StageError):
            relay.tell("cut")


def test_a_network_in_front_of_what_is_no_server(tmp_path: Path):
    with (
        Relay("open", "https://127.0.0.1:9", tmp_path, Stop()) as relay,
        pytest.raises(StageError, match=r"cannot be played: .*no server"),
    ):
        relay.wait()


def test_clients_are_told_whom_to_trust(server: Server, tmp_path: Path):
    get = "import ssl, sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).status)"
    with Relay("tls-inspection", server.url, tmp_path, Stop()) as relay:
        relay.wait()
        assert relay.url.startswith("https:")
        for more, answer in ((trusting(relay.authority, relay.proxy), "200"), ({}, "")):
            environment = {**os.environ, **more}
            done = subprocess.run(
                [sys.executable, "-c", get, relay.url], env=environment, capture_output=True, text=True, timeout=30, check=False
            )
            assert done.stdout.strip() == answer


def test_a_forward_proxy_is_told_by_its_address(server: Server, tmp_path: Path):
    with Relay("proxy-407", server.url, tmp_path, Stop()) as relay:
        relay.wait()
        assert relay.url == server.url
        assert relay.proxy is not None
        environment = {**os.environ, **trusting(None, relay.proxy)}
        get = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).status)"
        done = subprocess.run(
            [sys.executable, "-c", get, relay.url], env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.stdout.strip() == "200", done.stderr  # it asks who comes, and they tell
        assert status(relay.proxy) == 407


# -------------------------------------------------------------------------------------------------------------------- faults


class Clock:
    now = 0

    def __call__(self) -> int:
        return self.now


def test_faults_are_done_on_time_and_marked(server: Server, tmp_path: Path):
    clock, first = Clock(), server.pid
    wanted = (Fault(at=2, do="network login-redirect", lasts=3), Fault(at=1, do="cut"), Fault(at=9, do="kill"))
    with Relay("open", server.url, tmp_path, Stop()) as relay:
        relay.wait()
        faults = Faults(wanted, server, relay, clock)
        faults.look(None)
        assert faults.marks == []
        seen = []
        for second in (0, 1, 2, 4, 5, 9):
            clock.now = 7_000_000 + second * 1_000_000
            faults.look(7_000_000)
            seen.append((second, len(faults.marks), status(relay.url)))
    assert seen == [(0, 0, 200), (1, 1, 200), (2, 2, 302), (4, 2, 302), (5, 2, 200), (9, 3, 200)]
    assert [(mark.do, mark.began, mark.ended) for mark in faults.over(20_000_000)] == [
        ("cut", 8_000_000, 8_000_000),
        ("network login-redirect", 9_000_000, 12_000_000),
        ("kill", 16_000_000, 16_000_000),
    ]
    assert server.pid not in (None, first)


def test_what_lasts_beyond_the_round_ends_with_it(server: Server, tmp_path: Path):
    clock = Clock()
    with Relay("open", server.url, tmp_path, Stop()) as relay:
        relay.wait()
        faults = Faults((Fault(at=1, do="network login-redirect", lasts=60),), server, relay, clock)
        clock.now = 1_500_000
        faults.look(0)
    (mark,) = faults.over(3_000_000)
    assert (mark.began, mark.ended) == (1_500_000, 3_000_000)


def test_faults_that_come_too_late_are_left_out():
    early, late = Fault(at=2, do="cut"), Fault(at=9, do="kill")
    assert within((early, late), 5) == (early,)
    assert within((), 5) == ()
    with pytest.raises(FaultError, match="before the scenario does anything"):
        within((late,), 5)
    with pytest.raises(FaultError, match="'explode'"):
        within((Fault(at=1, do="explode"),), 5)


def test_an_interrupted_wait_leaves_no_process(tmp_path: Path):
    stop = Stop()
    silent = of("{python}", "-c", "import time; time.sleep(600)")
    with Server(silent, tmp_path, stop) as server:
        threading.Timer(0.2, stop.ask).start()
        pid = server.pid
        with pytest.raises(StoppedError):
            server.wait()
    assert pid is not None
    assert gone(pid)
