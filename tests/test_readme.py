"""The README is run: its server, its clients, its commands."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.learner import Learner
from tests.documents import ROOT, blocks, check_command, code, commands, compiles, program, rows, script
from tests.ports import free_port
from tests.transports.conftest import live
from transports.sync import connect as connect_blocking
from transports.testing import until

README = ROOT / "README.md"
PYTHON = blocks(README, "python")
SERVER, ASYNCIO, BLOCKING, FOLLOW = PYTHON
(BROWSER,) = blocks(README, "js")
STATIC = ROOT / "transports" / "static"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the README's server serves; its port is the only thing that is changed."""
    port = free_port()
    one = Learner(README, tmp_path_factory.mktemp("readme"), p8000=str(port))
    (one.directory / "clock.py").write_text(one.here(SERVER.text))
    with one.start("python clock.py", "python", "exec python") as server:
        with connect_blocking(f"http://127.0.0.1:{port}/live", ["clock"], connect_timeout=30):
            pass  # it serves
        yield f"http://127.0.0.1:{port}/live"
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0


def at(url: str, text: str) -> str:
    return text.replace("http://127.0.0.1:8000/live", url)


def test_the_server_is_as_short_as_it_says() -> None:
    assert len([line for line in SERVER.text.splitlines() if line]) < 18


@pytest.mark.real
def test_the_asyncio_client_prints_what_the_server_publishes(url: str, tmp_path: Path) -> None:
    with script(at(url, ASYNCIO.text), tmp_path / "client.py") as client:
        lines = [client.stdout.readline() for _ in range(3)]
    assert re.fullmatch(r"over websocket from \w+\.\d+\n", lines[0])
    assert all(re.fullmatch(r"\w+\.\d+ \{'now': \d+\.\d+\}\n", line) for line in lines[1:])


@pytest.mark.real
def test_the_blocking_client_publishes_and_reads(url: str, tmp_path: Path) -> None:
    with script(at(url, BLOCKING.text), tmp_path / "client.py") as client:
        output, _ = client.communicate()
    assert re.fullmatch(r"published \w+\.\d+\nchat hello\n", output)
    assert client.returncode == 0


@pytest.mark.real
def test_the_browser_client_prints_what_the_server_publishes(url: str, tmp_path: Path) -> None:
    text = BROWSER.text.replace('"/live/client.js"', f'"{(STATIC / "client.js").as_uri()}"').replace('"/live"', f'"{url}"')
    page = tmp_path / "page.mjs"
    page.write_text(text)
    with program([Path(sys.executable).with_name("node"), page], cwd=tmp_path) as client:
        lines = iter(client.stdout.readline, "")
        assert next(line for line in lines if line.startswith("Live over "))
        events = [next(lines), next(lines)]
    assert all(re.fullmatch(r"\w+\.\d+ \d+(\.\d+)?\n", line) for line in events)


async def test_what_is_gone_is_told_to_who_asked_for_it() -> None:
    names: dict = {}
    exec(compile(FOLLOW.text, str(FOLLOW), "exec"), names)
    shown: list = []
    gone: list = []
    async with live(history_count=1) as (hub, url):
        following = asyncio.create_task(names["follow"](url, shown.append, gone.append))
        await until(lambda: hub.readers)
        await hub.publish("chat", "one")
        await hub.publish("chat", "two")  # before the reader was woken: only this one is still kept
        await until(lambda: shown)
        following.cancel()
        await asyncio.wait([following])
    assert ([event.data for event in shown], gone) == (["two"], ["chat"])


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles(block) -> None:
    compiles(block)


@pytest.mark.parametrize("block", blocks(README, "console"), ids=str)
def test_the_commands_are_there_and_take_what_they_are_given(block) -> None:
    for words in commands(block):
        check_command(words)


def test_the_extras_are_those_that_can_be_installed() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    listed = [row[0] for row in rows(README, "## Install")]
    assert listed[0] == "(none)"
    assert sorted(map(code, listed[1:])) == sorted(extras)


def test_the_history_is_as_long_as_it_says() -> None:
    from transports import Options

    assert (Options().history_count, Options().history_age) == (1000, 300.0)
    assert "the last 1,000 events of each channel, for five minutes" in " ".join(README.read_text().split())
