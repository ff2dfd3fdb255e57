"""Swarm: a Locust that waits, plays, or fails, and what is heard of it."""

import contextlib
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from locustfiles.conducting.describe import file_of
from locustfiles.conducting.stage import Server, StageError, Stop, StoppedError
from locustfiles.conducting.swarm import Beat, Script, Swarm, Target
from locustfiles.plan import Plan
from locustfiles.samples import Tally
from locustfiles.subjects import subject

REPOSITORY = Path(__file__).parents[3]
SMALL = Plan(readers=2, rate=40, seconds=0.5, transports=("sse",))
SSE = Script(file_of("fanout"), "SSEReader")


def prelude(said: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "locustfiles.measuring.prelude"]
    return subprocess.run(command, cwd=REPOSITORY, input=said, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.real
def test_it_is_locust_when_it_is_told_so():
    done = prelude(json.dumps({"words": ["--version"], "environment": {}}) + "\n")
    assert done.returncode == 0
    assert done.stdout.startswith("locust ")


@pytest.mark.real
def test_it_ends_with_who_started_it():
    done = prelude("")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.real
def test_a_round_is_heard_from_its_beginning_to_its_end(tmp_path: Path):
    beats: list[Beat] = []
    with Swarm(SMALL, tmp_path, Stop()) as swarm, Server(subject("null"), tmp_path, Stop()) as server:
        server.wait()
        sample = swarm.play(SSE, Target(server.url, server.url, "null"), beats.append)
        rows = swarm.rows()
    assert sample.tally == Tally(expected=40, delivered=40)
    phases = list(dict.fromkeys(beat.phase for beat in beats))
    assert phases[0] == "starting"
    assert set(phases) <= {"starting", "opening", "publishing", "draining", "done"}
    assert beats[-1].delivered == 40
    assert beats[-1].started == sample.started
    assert len(rows) == 20


@pytest.mark.real
def test_its_processes_do_not_meet_where_those_of_others_do(tmp_path: Path):
    plan = Plan(readers=2, rate=40, seconds=0.5, transports=("sse",), processes=2)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # somebody is there: all the better
            stack.enter_context(socket.create_server(("", 5557)))  # Locust's own
        swarm = stack.enter_context(Swarm(plan, tmp_path, Stop()))
        server = stack.enter_context(Server(subject("null"), tmp_path, Stop()))
        server.wait()
        sample = swarm.play(SSE, Target(server.url, server.url, "null"), lambda _: None)
    assert (sample.processes, sample.tally) == (2, Tally(expected=40, delivered=40))


@pytest.mark.real
def test_who_wants_it_to_end_is_heard(tmp_path: Path):
    stop = Stop()

    def meanwhile(_: Beat) -> None:
        stop.ask()

    with Swarm(SMALL, tmp_path, stop) as swarm, pytest.raises(StoppedError):
        swarm.play(SSE, Target("http://127.0.0.1:9", "http://127.0.0.1:9", "null"), meanwhile)


@pytest.mark.real
@pytest.mark.parametrize(
    ("script", "said"),
    [
        (Script(SSE.file, "NoReader"), "NoReader"),
        (Script(Path("no/such.py"), "SSEReader"), "no/such.py"),
    ],
)
def test_a_round_that_leaves_nothing_tells_why(tmp_path: Path, script: Script, said: str):
    with Swarm(SMALL, tmp_path, Stop()) as swarm, pytest.raises(StageError, match=said):
        swarm.play(script, Target("http://127.0.0.1:9", "http://127.0.0.1:9", "null"), lambda _: None)
