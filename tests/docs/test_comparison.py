"""The how-tos of the comparison: their tables are those of the code, and what they have to be typed is run."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from locustfiles import samples
from locustfiles.describe import questions
from locustfiles.names import NAMES
from locustfiles.subjects import BUILT_IN, subject
from tests.documents import ROOT, Block, blocks, code, commands, free_port, program, rows
from transports.sync import connect

HOW_TO = ROOT / "docs" / "how-to"
TRANSPORTS = HOW_TO / "compare-transports.md"
YOURS = HOW_TO / "compare-with-what-you-have.md"
LOCUST = HOW_TO / "load-test-in-your-own-locustfile.md"
TINY = ["--readers", "2", "--rate", "40", "--seconds", "0.5", "--repeats", "1", "--no-calibrate"]


def run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=directory, capture_output=True, text=True, timeout=100, check=False
    )


def test_the_scenarios_are_those_that_there_are() -> None:
    table = {code(row[0]): row[1] for row in rows(TRANSPORTS, "## Ask your question")}
    assert table == questions()


def test_the_subjects_are_those_that_there_are() -> None:
    table = {code(row[0]): row[2] for row in rows(YOURS, "# Compare with what you have")}
    shown = {name for name in BUILT_IN if name != "null"}
    assert table == {name: ", ".join(NAMES[each] for each in subject(name).transports) for name in shown}


@pytest.mark.real
def test_an_adapter_of_your_own_is_compared(tmp_path: Path) -> None:
    server, reader, adapter = blocks(YOURS, "python")
    for name, block in {"server.py": server, "mine_reader.py": reader, "mine.py": adapter}.items():
        (tmp_path / name).write_text(block.text)
    (words,) = commands(blocks(YOURS, "console")[1])
    assert words[:2] == ["everywire", "compare"]
    done = run(["quart_app", *words[1:], *TINY, "--output", "found"], tmp_path)
    assert done.returncode in (0, 4), done.stdout + done.stderr  # a busy machine may make it untrustworthy
    run_json = samples.decode((tmp_path / "found" / "run.json").read_bytes())
    assert {each.lane.subject: each.sample.tally.delivered for each in run_json.rounds} == {"everywire": 40, "mine.py": 40}
    assert all(each.sample.tally.lost == 0 for each in run_json.rounds)


@pytest.mark.real
def test_the_scenario_of_your_own_is_one(tmp_path: Path) -> None:
    block = blocks(LOCUST, "python")[-1]
    (tmp_path / "question.py").write_text(block.text)
    (words,) = commands(next(each for each in blocks(LOCUST, "console") if "question.py" in each.text))
    done = run(["quart_app", *words[1:], *TINY, "--output", "found"], tmp_path)
    assert done.returncode in (0, 4), done.stdout + done.stderr
    found = samples.decode((tmp_path / "found" / "run.json").read_bytes())
    assert found.plan.question == "When prices come twenty times a second to forty screens, how late are they?"
    assert [each.sample.tally.delivered for each in found.rounds] == [40, 40]


@pytest.mark.real
@pytest.mark.parametrize("block", blocks(LOCUST, "python")[:1], ids=["three lines"])
def test_a_locustfile_of_three_lines_reads(tmp_path: Path, block: Block) -> None:
    port = free_port()
    serving = [sys.executable, "-m", "quart_app", "serve", "--port", str(port)]
    (tmp_path / "reader.py").write_text(block.text.replace("8000", str(port)).replace("vitals", "numbers"))
    with program(serving, cwd=ROOT), connect(f"http://127.0.0.1:{port}/live", ["others"], connect_timeout=30) as stream:
        reading = [sys.executable, "-m", "locust", "-f", "reader.py", "--headless", "-u", "2", "-r", "2", "-t", "4s", "--json"]
        with program(reading, cwd=tmp_path) as locust:
            for n in itertools.takewhile(lambda _: locust.poll() is None, itertools.count()):
                stream.publish("numbers", {"n": n, "t": 0})
            told = json.loads(locust.communicate()[0])
    (deliveries,) = [each for each in told if each["name"] == "deliver sse"]
    assert deliveries["num_requests"] > 0
