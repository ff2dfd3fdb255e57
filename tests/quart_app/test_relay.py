"""`everywire proxy`, as a process: what it says, what it obeys, and what it refuses."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from quart_app.cli import cli
from tests.transports.conftest import live
from transports.client import connect
from transports.networks import NETWORKS
from transports.testing import until


@asynccontextmanager
async def playing(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The command, and the first line that it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "quart_app", "proxy", "--port", "0", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            yield process, (await process.stdout.readline()).decode()
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()
        assert process.returncode == 130


async def said(process: asyncio.subprocess.Process, wanted: str) -> None:
    """Until it says that on standard error."""
    while wanted not in (line := (await process.stderr.readline()).decode()):
        assert line, f"it ended before it said {wanted!r}"


@pytest.mark.real
async def test_a_line_on_its_input_changes_the_network_under_open_connections() -> None:
    async with live() as (hub, upstream), playing("--upstream", upstream, "--wire") as (process, first):
        assert first.startswith("everywire plays open at http://127.0.0.1:")
        url = first.split()[4].rstrip(",")
        async with connect(url, ["a"], memory={}) as stream:
            await hub.publish("a", 1)
            assert (await anext(stream)).data == 1
            process.stdin.write(b"nonsense\ncutt\nno-upgrade\ncut\n")
            await said(process, "there is no network 'nonsense'; `everywire proxy --list` shows all\n")
            await said(process, "(or the command 'cut'?)\n")
            await said(process, "no-upgrade: ")
            await said(process, "cut: 1 connections")
            await hub.publish("a", 2)
            assert (await anext(stream)).data == 2
            await until(lambda: stream.transport == "sse")
        lines = [(await process.stdout.readline()).decode() for _ in range(3)]
        assert [line.split()[1:4] for line in lines] == [["#1", "+", "open"], ["#1", ">", "head"], ["#1", "<", "head"]]


@pytest.mark.real
async def test_a_network_that_ends_tls_writes_down_whom_to_trust(tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    async with (
        live() as (_, upstream),
        playing("--upstream", upstream, "--network", "tls-inspection", "--ca", str(authority)) as (process, first),
    ):
        await said(process, f"trust {authority}")
        async with connect(first.split()[4].rstrip(","), ["a"], ca=str(authority), memory={}) as stream:
            assert stream.state in ("connecting", "open")


@pytest.mark.real
async def test_a_forward_proxy_leads_to_its_server_only() -> None:
    async with live() as (_, upstream), playing("--upstream", upstream, "--network", "proxy-407") as (_, first):
        proxy = first.split()[8].rstrip(",")
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{upstream}/negotiate", proxy=proxy) as answer:
                assert answer.status == 407
            known = proxy.replace("//", "//user:secret@")
            async with http.get("http://elsewhere.invalid/negotiate", proxy=known) as answer:
                assert (await answer.json())["versions"] == [1]


def test_the_list_names_every_network() -> None:
    done = CliRunner().invoke(cli, ["proxy", "--list"])
    assert [line.split()[0] for line in done.output.splitlines()] == list(NETWORKS)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "--upstream"),
        (["--upstream", "ftp://x"], 1, "no server to lead to"),
        (["--upstream", ":1", "--network", "bogus"], 1, "no network 'bogus'"),
        (["--upstream", ":1", "--host", "0.0.0.0"], 1, "--expose"),
        (["--upstream", ":1", "--network", "no-upgrad"], 1, "the nearest is no-upgrade"),
        (["--upstream", ":1", "--host", "192.0.2.1", "--expose"], 1, "cannot listen on 192.0.2.1:0: "),
        (["--upstream", ":1", "--network", "tls-inspection", "--ca", "/nowhere/x"], 1, "cannot write /nowhere/x: No such"),
        (["--upstream", ":1", "--ca", "x.pem"], 1, "does not end TLS"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], code: int, words: str) -> None:
    done = CliRunner().invoke(cli, ["proxy", "--port", "0", *arguments])
    assert done.exit_code == code
    assert words in done.output
    assert "everywire plays" not in done.output


@pytest.mark.parametrize("names", ["open", "proxy-407", "h2-edge"])
def test_a_port_that_is_taken(names: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(cli, ["proxy", "--upstream", ":1", "--network", names, "--port", port])
    assert done.exit_code == 1
    assert done.output == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use. Another --port may be free.\n"
