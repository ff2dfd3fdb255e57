"""The servers that people have, beside everywire, for real: all deliver everything, and a second's cut shows who keeps a log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from locustfiles import samples
from locustfiles.samples import Run, Tally

REPOSITORY = Path(__file__).parents[3]
LANES = {
    ("everywire", "websocket"),
    ("everywire", "sse"),
    ("everywire", "longpoll"),
    ("python-socketio", "websocket"),
    ("python-socketio", "longpoll"),
    ("sse-starlette", "sse"),
}
AWAY = '''
"""Who loses what, when everybody is away for a second?"""

from locustfiles.crowd import LongPollReader, SSEReader, WebSocketReader
from locustfiles.plan import Fault, Scenario

SCENARIO = Scenario(
    readers=3, rate=40.0, seconds=3.0, repeats=1,
    faults=(Fault(at=0.5, do="network captive-portal", lasts=1.0), Fault(at=0.6, do="cut")),
)
'''


def played(directory: Path, *options: str) -> Run:
    command = [sys.executable, "-m", "quart_app", "compare", "--no-calibrate", "--output", str(directory), *options]
    for name in ("everywire", "python-socketio", "sse-starlette"):
        command += ["--subject", name]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=230, check=False)
    assert done.returncode in (0, 4), done.stdout + done.stderr  # a busy machine may make it untrustworthy
    return samples.decode((directory / "run.json").read_bytes())


def tallies(run: Run) -> dict[tuple[str, str], Tally]:
    assert {each.sample.ready for each in run.rounds} == {each.sample.readers for each in run.rounds}
    return {(each.lane.subject, each.lane.transport): each.sample.tally for each in run.rounds}


@pytest.mark.real
@pytest.mark.timeout(240)  # six rounds, one after the other
def test_each_delivers_everything(tmp_path: Path) -> None:
    run = played(tmp_path, "--readers", "3", "--rate", "40", "--seconds", "0.5", "--repeats", "1")
    found = tallies(run)
    assert set(found) == LANES
    assert all(each == Tally(expected=60, delivered=60) for each in found.values())
    assert all(each.sample.failures == {} for each in run.rounds)


@pytest.mark.real
@pytest.mark.timeout(240)  # six rounds, one after the other
def test_a_second_away_is_lost_in_silence_where_there_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "away.py").write_text(AWAY.strip())
    found = tallies(played(tmp_path / "found", "--scenario", str(tmp_path / "away.py")))
    assert set(found) == LANES
    for (name, _), each in found.items():
        assert each.expected == each.delivered + each.lost == 360
        assert each.doubled == each.disordered == each.declared == 0
        if name == "everywire":
            assert each.lost == 0
        else:
            assert each.lost >= 60  # at least half of the 40 events of that second, for each of three readers
