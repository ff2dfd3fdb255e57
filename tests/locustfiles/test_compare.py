"""`everywire compare`: what it refuses, and one small comparison for real."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from runs import a_run

from locustfiles import samples
from locustfiles.compare import UNREACHABLE, compare

REPOSITORY = Path(__file__).parents[2]
TINY = ["--readers", "3", "--rate", "40", "--seconds", "0.5", "--repeats", "1"]


def test_it_patches_nothing():
    code = "import sys, locustfiles.compare; sys.exit(any(name in sys.modules for name in ('locust', 'gevent')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


@pytest.mark.parametrize("url", ["http://example.org", "http://10.0.0.1:8000", "ftp://127.0.0.1", "nonsense"])
def test_targets_beyond_this_machine_need_a_word(url: str):
    result = CliRunner().invoke(compare, ["--url", url])
    assert result.exit_code == 2
    assert "is not" in result.output


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("locustfiles.compare._START_WAIT", 0.2)
    result = CliRunner().invoke(compare, ["--url", "http://127.0.0.1:9", *TINY])
    assert result.exit_code == UNREACHABLE
    assert "does not serve everywire" in result.output


def test_a_recorded_run_is_reported_again(tmp_path: Path):
    recorded = tmp_path / "run.json"
    recorded.write_bytes(samples.encode(a_run({"websocket": [1000, 1100], "sse": [3000, 3100]})))
    result = CliRunner().invoke(compare, ["--again", str(recorded)])
    assert result.exit_code == 0
    assert "WebSocket delivered soonest" in result.output
    assert (tmp_path / "index.html").exists()


def test_what_is_no_run_is_told(tmp_path: Path):
    (tmp_path / "run.json").write_text("{}")
    result = CliRunner().invoke(compare, ["--again", str(tmp_path / "run.json")])
    assert result.exit_code == 1
    assert "everywire.run/1" in result.output


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    directory = tmp_path_factory.mktemp("compare")
    command = [sys.executable, "-m", "quart_app", "compare", *TINY, "--output", str(directory)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False)
    return directory, done


@pytest.mark.real
def test_every_transport_delivers_everything(played: tuple[Path, subprocess.CompletedProcess[str]]):
    directory, done = played
    assert done.returncode in (0, 4), done.stdout + done.stderr  # a busy machine may make it untrustworthy
    run = samples.decode((directory / "run.json").read_bytes())
    assert run.transports() == ["websocket", "sse", "longpoll"]
    for each in run.rounds:
        assert each.sample.ready == 3
        assert each.sample.tally == samples.Tally(expected=60, delivered=60)
        assert each.sample.failures == {}
        assert 0 < (each.sample.delays.least or 0) <= (each.sample.delays.most or 0) < 10_000_000
        assert each.server is not None


@pytest.mark.real
def test_the_terminal_gets_a_table_and_a_verdict(played: tuple[Path, subprocess.CompletedProcess[str]]):
    directory, done = played
    assert "Delay p99" in done.stdout
    assert (directory / "index.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.real
def test_an_interrupt_leaves_no_orphans():
    command = [sys.executable, "-u", "-m", "quart_app", "compare", *TINY[:4], "--seconds", "30", "--output", os.devnull]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    root = psutil.Process(process.pid)
    for _ in range(600):  # 30 seconds
        if any("locustfiles.publisher" in _words(child) for child in root.children(recursive=True)):
            break
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    children = root.children(recursive=True)
    assert len(children) == 3  # server, Locust, publisher
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
