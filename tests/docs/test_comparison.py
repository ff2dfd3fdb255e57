"""The how-tos of the comparison: their tables are those of the code, and what they have to be typed is run."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from locustfiles import samples
from locustfiles.conducting.describe import questions
from locustfiles.conducting.stage import Server, Stop
from locustfiles.judging.figures import FIGURES
from locustfiles.judging.names import NAMES
from locustfiles.judging.slo import METRICS
from locustfiles.subjects import BUILT_IN, subject
from tests.documents import ROOT, blocks, code, commands, program, rows
from transports import client

HOW_TO = ROOT / "docs" / "how-to"
TRANSPORTS = HOW_TO / "compare-transports.md"
YOURS = HOW_TO / "compare-with-what-you-have.md"
LOCUST = HOW_TO / "load-test-in-your-own-locustfile.md"
COMMAND_LINE = ROOT / "docs" / "reference" / "command-line.md"
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


def test_the_figures_are_those_that_a_threshold_may_name() -> None:
    table = {code(row[0]): row[1] for row in rows(COMMAND_LINE, "### Thresholds")}
    assert tuple(table) == METRICS
    assert {name: table[name] for name in FIGURES} == {name: figure.unit for name, figure in FIGURES.items()}


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


THREE_LINES, ANY_SERVER, WITH_PUBLISHER, _ = blocks(LOCUST, "python")


def locust(file: Path, *options: str) -> dict[str, Any]:
    """What Locust's table tells at the end, by name."""
    command = ["locust", "-f", file.name, "--headless", "--json", *options]
    done = run(command, file.parent)
    assert done.stdout.startswith("["), done.stderr
    return {each["name"]: each for each in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Server(subject("everywire"), tmp_path_factory.mktemp("server"), Stop()) as running:
        running.wait()
        yield running.url


async def told(file: Path, name: str, least: int) -> tuple[int, int]:
    """How many deliveries and failures Locust's table shows under `name`, when there are at least so many."""
    reading = [sys.executable, "-m", "locust", "-f", file.name, "--headless", "-u", "2", "-r", "2"]
    shell = ["sh", "-c", f"exec {shlex.join(reading)} 2>&1"]  # the table goes to standard error, every two seconds
    with program(shell, cwd=file.parent) as running:
        rows = (re.search(rf"{name} +(\d+) +(\d+)\(", line) for line in iter(running.stdout.readline, ""))
        row = await asyncio.to_thread(next, (each for each in rows if each and int(each[1]) >= least))
    return int(row[1]), int(row[2])


@pytest.mark.real
async def test_a_locustfile_of_three_lines_reads(tmp_path: Path, url: str) -> None:
    file = tmp_path / "reader.py"
    file.write_text(THREE_LINES.text.replace("http://127.0.0.1:8000", url).replace("vitals", "numbers"))
    async with publishing(f"{url}/live", "numbers") as published:
        deliveries, failures = await told(file, "deliver sse", 10)
    assert 10 <= deliveries <= 2 * (published[0] + 1)
    assert failures == 0


@asynccontextmanager
async def publishing(mount: str, channel: str) -> AsyncIterator[list[int]]:
    """Events with a stamp, one after the other, and how many there were."""
    count = [0]

    async def publish() -> None:
        async with client.connect(mount, ["others"]) as stream:
            while True:
                await stream.publish(channel, {"n": count[0], "t": time.monotonic_ns() // 1000})
                count[0] += 1

    task = asyncio.create_task(publish())
    try:
        yield count
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.real
async def test_a_locustfile_reads_any_server(tmp_path: Path) -> None:
    greetings: list[str] = []

    async def prices(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        greetings.append((await socket.receive()).data)
        await socket.send_json({"welcome": "to the prices"})
        for n in range(10):
            await socket.send_json({"n": n, "t": time.monotonic_ns() // 1000})
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get("/ws", prices)
    async with TestServer(app) as server:
        file = tmp_path / "reader.py"
        file.write_text(ANY_SERVER.text.replace("9000", str(server.port)))
        assert await told(file, "deliver websocket", 20) == (20, 0)
    assert greetings == ['{"subscribe": "prices"}'] * 2


@pytest.mark.real
def test_a_locustfile_plays_a_round(tmp_path: Path, url: str) -> None:
    file = tmp_path / "mixed.py"
    file.write_text(WITH_PUBLISHER.text)
    words = next(each for block in blocks(LOCUST, "console") for each in commands(block) if "--seconds" in each)
    assert words[:3] == ["locust", "-f", "mixed.py"]
    numbers = {"-u": "8", "-r": "8", "--host": url, "--seconds": "0.5", "--rate": "40"}
    options = [numbers.get(before, word) for before, word in itertools.pairwise(words[2:]) if word != "--headless"]
    found = locust(file, *options)
    assert {name: each["num_requests"] for name, each in found.items()} == {"deliver sse": 6 * 20, "deliver longpoll": 2 * 20}


(JOB,) = blocks(HOW_TO / "fail-on-a-regression.md", "sh")


def job(directory: Path, shell: list[str], everywire: str) -> subprocess.CompletedProcess[str]:
    """The script of the page, where `everywire` is what is given."""
    program = directory / "bin" / "everywire"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{everywire}\n")
    program.chmod(0o755)
    (directory / "job.sh").write_text(JOB.text)
    path = f"{program.parent}:{os.environ['PATH']}"
    command = [*shell, "job.sh"]
    return subprocess.run(
        command, cwd=directory, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.real
@pytest.mark.parametrize("shell", [["sh"], ["sh", "-e"]], ids=" ".join)  # the second as most CI services have it
@pytest.mark.parametrize(("codes", "ends"), [("0", 0), ("3", 3), ("5", 5), ("4 0", 0), ("4 3", 3), ("4 4", 4)])
def test_a_job_tries_again_only_what_was_not_trustworthy(tmp_path: Path, shell: list[str], codes: str, ends: int) -> None:
    # No real one: it would have to be not trustworthy when that is wanted. This one ends with one code after the other.
    (tmp_path / "codes").write_text(codes.replace(" ", "\n") + "\n")
    done = job(tmp_path, shell, 'echo "$@" >> typed\nexit "$(sed -n "$(($(wc -l < typed)))p" codes)"')
    assert done.returncode == ends, done.stderr
    typed = (tmp_path / "typed").read_text().splitlines()
    assert len(typed) == len(codes.split())
    assert len(set(typed)) == 1


@pytest.mark.real
def test_a_job_measures_and_ends_as_what_it_has_found(tmp_path: Path) -> None:
    done = job(tmp_path, ["sh"], f'exec {sys.executable} -m quart_app "$@" {shlex.join([*TINY, "--transport", "sse"])}')
    found = samples.decode((tmp_path / "now" / "run.json").read_bytes())
    assert found.plan.slo == ("lost==0", "p99<100ms")
    assert [(each.sample.tally.delivered, each.sample.tally.lost) for each in found.rounds] == [(40, 0)]
    assert done.returncode in (0, 3, 4), done.stdout + done.stderr  # what a busy machine comes to
    assert done.returncode == run(["quart_app", "report", "now/run.json"], tmp_path).returncode
