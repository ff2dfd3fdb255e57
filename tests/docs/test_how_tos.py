"""The how-tos that begin with a symptom: what they have to be typed is run."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.documents import ROOT, blocks, rows
from tests.transports.conftest import live
from transports import Hub
from transports.evidence import VERDICTS
from transports.testing import until

HOW_TO = ROOT / "docs" / "how-to"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "--rootdir", "."]


def test_guides_begin_with_what_the_reader_sees_or_wants() -> None:
    """In a sentence without code, before anything is shown; and no two of them alike."""
    first = []
    for page in HOW_TO.rglob("*.md"):
        opening = page.read_text().split("\n\n")[1].replace("\n", " ")
        sentence = re.match(r"[^`<|#]{30,}?[.?:”]", opening)
        assert sentence, f"{page.name}: {opening}"
        assert "everywire" not in sentence[0], page.name
        first.append(" ".join(sentence[0].split()[:3]))
    assert len(first) > 25
    assert sorted(set(first)) == sorted(first)


def test_whatever_a_limit_refuses_is_in_the_table_of_limits() -> None:
    code = "".join(path.read_text() for path in (ROOT / "transports").rglob("*.py"))
    refused = set(re.findall(r"""(?:refuse\(|refused\[|_full\(\s*)"(\w+)\"""", code))
    assert len(refused) > 10
    table = " ".join(row[1] for row in rows(HOW_TO / "limit.md", "## What happens when"))
    assert refused <= set(re.findall(r"`(\w+)`", table))


def played(directory: Path) -> str:
    """What pytest says of the tests there."""
    done = subprocess.run(PYTEST, cwd=directory, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()[-1]


@pytest.mark.real
def test_the_tests_of_an_app_pass(tmp_path: Path) -> None:
    app, *tests = (block.text for block in blocks(HOW_TO / "test-your-app.md", "python"))
    (tmp_path / "shop.py").write_text(app)
    for number, text in enumerate(tests):
        (tmp_path / f"test_{number}.py").write_text(text)
    assert played(tmp_path).startswith("6 passed")


@asynccontextmanager
async def clock(hub: Hub) -> AsyncIterator[None]:
    """Something comes in the channel `clock`, again and again."""

    async def tick() -> None:
        while True:
            await hub.publish("clock", 1)
            await asyncio.sleep(0.05)

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()


@pytest.mark.real
async def test_something_gets_through_the_networks_of_the_page(tmp_path: Path) -> None:
    (block,) = blocks(HOW_TO / "serve-networks-that-block-websocket.md", "python")
    async with live() as (hub, url), clock(hub):
        (tmp_path / "test_networks.py").write_text(block.text.replace("http://127.0.0.1:8000/live", url))
        assert (await asyncio.to_thread(played, tmp_path)).startswith("3 passed")


async def test_a_program_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(HOW_TO / "resume-over-reload-and-restart.md", "python")
    names: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, str(block), "exec"), names)
    seen: list[int] = []
    async with live() as (hub, url):
        for number in (1, 2):
            following = asyncio.create_task(names["follow"](url, seen.append))
            await until(lambda: hub.readers)
            await hub.publish("orders", number)
            await until(lambda wanted=number: len(seen) == wanted * 2 - 1)
            following.cancel()
            await asyncio.wait([following])
            await until(lambda: not hub.readers)
            await hub.publish("orders", -number)  # while nobody reads
    assert [event.data for event in seen] == [1, -1, 2]


def test_the_verdicts_that_are_explained_are_those_that_there_are() -> None:
    table = rows(HOW_TO / "why-is-a-client-on-longpoll.md", "## 2. What it means")
    named = {name for row in table for name in re.findall(r"`(\w+)`", row[0])}
    assert named
    assert named <= set(VERDICTS)


def test_the_exit_codes_of_a_check_are_those_of_the_comparison() -> None:
    told = rows(HOW_TO / "fail-on-a-regression.md", "## What the codes say")
    reference = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    assert {row[0] for row in told} == set(re.findall(r"^\| (\d) \|", reference, re.MULTILINE))
