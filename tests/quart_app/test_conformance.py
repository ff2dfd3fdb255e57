from __future__ import annotations

import asyncio
import json

from click.testing import CliRunner, Result

from quart_app.cli import cli
from tests.transports.conformance.mutants import MUTATIONS
from tests.transports.conformance.test_conformance import served


async def typed(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli, ["conformance", *words])


async def test_each_check_has_a_line_and_the_sum_comes_last() -> None:
    async with served("front") as url:
        result = await typed(url, "--only", "resume", "--only", "pong")
    lines = result.output.splitlines()
    assert result.exit_code == 0
    assert [line.split()[:2] for line in lines[:-1]] == [
        ["PASS", "resume/websocket"],
        ["PASS", "resume/sse"],
        ["PASS", "resume/longpoll"],
        ["PASS", "pong"],
    ]
    assert lines[-1] == "4 passed, 0 failed, 0 could not be looked at"


async def test_what_fails_is_told_with_its_clause() -> None:
    broken = next(mutation for name, mutation in MUTATIONS if name == "beat-least")
    async with served("plain", broken) as url:
        result = await typed(url, "--only", "beat-least/sse", "--only", "pong", "-q")
        found = await typed(url, "--only", "beat-least", "--json")
    assert (result.exit_code, found.exit_code) == (1, 1)
    assert [line.strip() for line in result.output.splitlines()[1:]] == [
        "clause: Endpoints",
        "expected: beat of hello: 1.0",
        "saw: 0.01",
        "1 passed, 1 failed, 0 could not be looked at",
    ]
    told = json.loads(found.output)
    assert (told["counts"], [check["verdict"] for check in told["checks"]]) == ({"fail": 2}, ["fail", "fail"])


async def test_what_makes_no_sense_is_one_line() -> None:
    for words, why in (
        (["http://127.0.0.1:9/live"], "127.0.0.1:9 does not answer"),
        (["nonsense"], "is no URL of a mount"),
        ([], "which server?"),
        (["--list", "--only", "nosuch"], "no check is called 'nosuch'"),
        (["http://127.0.0.1:9/live", "--header", "x"], "say 'Name: value'"),
    ):
        result = await typed(*words)
        assert result.exit_code in (1, 2)
        assert why in result.output.splitlines()[-1]


async def test_the_checks_are_listed() -> None:
    assert (await typed("--list", "--only", "pong")).output.split()[:2] == ["pong", "Framing:"]
