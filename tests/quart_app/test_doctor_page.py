"""`everywire doctor`, as a process: exit codes, what goes where, and what is shown of it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from quart_app.doctor import page
from tests.ports import free_port
from transports.doctor import report
from transports.doctor.observations import Asked, Ending, Head, Observations

EVERYWIRE = [sys.executable, "-m", "quart_app"]


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*EVERYWIRE, "doctor", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with subprocess.Popen([*EVERYWIRE, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().split("stream at ")[1].split(",")[0]
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0


@pytest.mark.real
def test_a_server_that_is_well_is_found_to_be(url: str) -> None:
    done = doctor(url, "--quick")
    assert done.returncode == 0, done.stdout
    assert "WebSocket works." in done.stdout
    assert "looked at sse beats" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.real
def test_json_has_everything(url: str) -> None:
    done = doctor(url, "--quick", "--json", "--header", "X-Secret: hidden", EVERYWIRE_TOKEN="hidden")
    found = json.loads(done.stdout)
    assert (found["v"], found["exit"], found["verdict"]) == (1, 0, "works")
    assert {"transports", "findings", "mends", "servers", "facts", "observations"} <= set(found)
    assert "hidden" not in done.stdout + done.stderr


@pytest.mark.real
def test_a_port_that_nobody_listens_on_is_20(url: str) -> None:
    done = doctor(f"http://127.0.0.1:{free_port()}/live")
    assert (done.returncode, "nobody answers at that address and port" in done.stdout) == (20, True)


@pytest.mark.real
@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["http://127.0.0.1/live?x"],
        ["--idle", "1", "http://127.0.0.1/live"],
        ["--header", "x", "http://127.0.0.1/live"],
        ["--header", "Authorization Bearer hidden", "http://127.0.0.1/live"],
        ["--header", "Bad Name: hidden", "http://127.0.0.1/live"],
        ["--token", "hidden\nx", "http://127.0.0.1/live"],
        ["--idle", "nan", "http://127.0.0.1/live"],
        ["http://reader:hidden@127.0.0.1:99999/live"],
    ],
)
def test_what_is_not_understood_is_2(arguments: list[str]) -> None:
    done = doctor(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert "hidden" not in done.stderr


@pytest.mark.real
@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_unless_it_wants_none(environment: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    command = [*EVERYWIRE, "doctor", f"http://127.0.0.1:{free_port()}/live"]
    wanted = {**{name: value for name, value in os.environ.items() if name != "NO_COLOR"}, "TERM": "xterm", **environment}
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=wanted) as running:
        running.communicate(timeout=60)
        os.close(theirs)
        shown = os.read(ours, 65_536)
    os.close(ours)
    assert (b"\x1b[31m" in shown) == coloured


def test_nothing_of_a_stranger_moves_the_terminal() -> None:
    evil = "\\x1b[2J"  # as `observations.printable` writes it down
    ended = Ending("captive_portal", 0.1, 302, evil, reason=evil)
    heads = [Head("/live/negotiate", 302, "1.1", {"server": evil, "location": evil}, 0.0, 0.1)]
    names = ("negotiate", "position", "post")
    seen = Observations("http://x/live", [], 20, 20, asked={name: Asked(name, 0.1, heads, ended) for name in names})
    assert all(line.replace("\x1b[0m", "").isprintable() for line in map(plain, page(report(seen))))


def plain(line: str) -> str:

    return click.unstyle(line)
