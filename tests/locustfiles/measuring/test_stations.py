"""Stations in other processes, also with another clock: their samples are put together as if there were one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from played import REPOSITORY, USERS, Round, serving

from locustfiles.plan import Plan
from locustfiles.samples import Tally
from tests.ports import free_port

pytestmark = pytest.mark.real
PLAN = Plan(readers=6, rate=40, seconds=1, channels=3, follows=1, says=1.0)


@pytest.fixture(scope="module")
def server():
    with serving("everywire") as running:
        yield running


def namespace(seconds: int) -> list[str]:
    """What starts a program whose monotonic clock is `seconds` ahead. Skips the test where kernel or rights are missing."""
    command = ["unshare", "--time", "--monotonic", str(seconds), "--fork"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no time namespaces here: unshare --time is not there or not permitted")
    return command


@contextmanager
def worker(directory: Path, port: int, *before: str) -> Iterator[None]:
    """A worker that gets its locustfile from the master, as on another host, and leaves it where temporary files are."""
    command = [
        *before,
        sys.executable,
        "-m",
        "locust",
        "--worker",
        "--master-port",
        str(port),
        "-f",
        "-",
        "--loglevel",
        "WARNING",
    ]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(directory)}
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment)
    try:
        yield
        process.wait(60)
    finally:
        process.kill()


def distributed(directory: Path, url: str, port: int, workers: int, *arguments: str) -> Round:
    master = ["--master", "--master-bind-port", str(port), "--expect-workers", str(workers)]
    return Round(directory, PLAN, url, *master, *arguments, USERS["sse"])


def check(round_: Round, processes: int) -> None:
    sample = round_.sample()
    rows = [line.split(",") for line in round_.events.read_text().splitlines()]
    said = [row for row in rows if row[1].startswith("reader-")]
    assert (sample.ready, sample.processes) == (6, processes)
    assert sample.tally == Tally(expected=80 + 2 * len(said), delivered=80 + 2 * len(said))
    assert len(sample.acknowledged) == len(said)
    assert {row[3] for row in rows} == {"2"}  # each channel has two readers, in whichever process
    assert sample.clock == "kernel"
    assert sample.delays.least is not None
    assert sample.delays.most is not None
    assert -sample.clock_error < sample.delays.least < sample.delays.most < 10_000_000  # µs
    assert 0 < sample.clock_error <= 50_000


def test_two_processes_are_one_sample(server, tmp_path: Path):
    port = str(free_port())
    meeting = ["--master-bind-port", port, "--master-port", port]  # not where those of another Locust meet
    check(Round(tmp_path, PLAN, server.url, "--processes", "2", *meeting, "--clock-limit", "50", USERS["sse"]), 2)


def test_clocks_of_two_hosts_are_reconciled(server, tmp_path: Path):
    port = free_port()
    with worker(tmp_path, port, *namespace(1000)), worker(tmp_path, port, *namespace(5)):
        check(distributed(tmp_path, server.url, port, 2, "--clock-limit", "50"), 2)


def test_a_clock_that_is_not_known_well_enough_is_refused(server, tmp_path: Path):
    port = free_port()
    with worker(tmp_path, port, *namespace(1000)):
        round_ = distributed(tmp_path, server.url, port, 1, "--clock-limit", "0.001")
        said = round_.said()
    assert "the round failed: a worker's clock is known to " in said
    assert "ms only, more than --clock-limit 0.001" in said
    assert round_.process.returncode == 1
    assert not round_.events.exists()
