"""Our own server does what the protocol says, on each edge. One that does not is found out, by the check that is there for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.documents import ROOT
from tests.transports.conformance.mutants import MUTATIONS, Mutant, Mutation
from transports import ConfigError, Hub, Options
from transports.asgi import Endpoints
from transports.conformance import CHECKS, Result, Target, chosen, run
from transports.front import Front
from transports.servers import find_server
from transports.testing import serving

PROTOCOL = ROOT / "docs" / "reference" / "protocol.md"


@asynccontextmanager
async def served(edge: str, mutation: Mutation | None = None) -> AsyncIterator[str]:
    hub = Hub(Options(channels=("*",), presence_delay=0.1, first_command_timeout=1.0))
    await hub.open()
    endpoints = Endpoints(hub)
    endpoints.admission.authenticate = lambda request: request.token
    app = Mutant(endpoints, mutation or Mutation())
    front = Front(endpoints.admission, "/live") if edge == "front" else None
    server = {"server": find_server(edge)} if edge == "uvicorn" else {}
    async with serving(app, drain=hub.close, options=hub.options, front=front, **server) as url:
        yield f"{url}/live"


async def looked(url: str, *only: str, token: str | None = None) -> list[Result]:
    return [result async for result in run(Target(url, token=token), chosen(only))]


KNOWN = {"auth", "ticket"}  # what only those can look at who show a token,
NAMELESS = {"visit", "list-and-stream", "pages", "lease-ends"}  # and what they cannot, as they have a name then


@pytest.mark.parametrize(
    ("edge", "token"), [("front", None), ("front", "ann"), ("plain", None), ("plain", "ann"), ("uvicorn", "ann")]
)
async def test_our_server_conforms(edge: str, token: str | None) -> None:
    async with served(edge) as url:
        results = await looked(url, token=token)
    assert [result for result in results if result.verdict == "fail"] == []
    skipped = {result.name.partition("/")[0] for result in results if result.verdict == "skip"}
    assert skipped == (NAMELESS if token else KNOWN)
    assert len(results) == len(CHECKS)


@pytest.mark.parametrize(("name", "mutation"), MUTATIONS, ids=[f"{n}-{name}" for n, (name, _) in enumerate(MUTATIONS)])
async def test_a_server_that_breaks_a_rule_is_found_out(name: str, mutation: Mutation) -> None:
    async with served("plain", mutation) as url, altered(url, mutation.cut) as through:
        results = await looked(through, name, token="ann" if name in KNOWN else None)
    assert {result.verdict for result in results} == {"fail"}, results
    assert all(result.expected and result.seen for result in results)


def test_each_check_has_a_server_that_it_finds_out() -> None:
    assert {check.name.partition("/")[0] for check in CHECKS} == {name.partition("/")[0] for name, _ in MUTATIONS}


@asynccontextmanager
async def altered(url: str, cut: dict[bytes, bytes] | None) -> AsyncIterator[str]:
    """A relay to `url` that changes bytes on their way down."""
    if cut is None:
        yield url
        return
    host, port = re.search(r"//([^:]+):(\d+)", url).groups()
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: dict[bytes, bytes] | None) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                for old, new in (change or {}).items():
                    data = data.replace(old, new)
                writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(host, port)
        for each in (copy(back, writer, cut), copy(reader, forth, None)):
            tasks.add(asyncio.create_task(each))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield url.replace(port, str(server.sockets[0].getsockname()[1]))
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_each_clause_is_one_of_the_protocol() -> None:
    headings = set(re.findall(r"^#+ (.+)$", PROTOCOL.read_text(), re.MULTILINE))
    assert {check.clause for check in CHECKS} <= headings


def test_names_are_unique_and_checks_are_chosen_by_them() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert [check.name for check in chosen(["resume"])] == ["resume/websocket", "resume/sse", "resume/longpoll"]
    assert [check.name for check in chosen(["resume/sse", "pong"])] == ["resume/sse", "pong"]
    assert all(check.name.endswith("/sse") for check in chosen(["*/sse"]))
    with pytest.raises(ConfigError, match="nosuch"):
        chosen(["nosuch"])


@pytest.mark.parametrize("url", ["nonsense", "ftp://x/live", "http://", "//x"])
def test_what_is_no_url_is_told(url: str) -> None:
    with pytest.raises(ConfigError, match="is no URL of a mount"):
        Target(url)


async def test_a_server_that_is_not_there_or_not_ours_is_told() -> None:
    async with served("front") as url:
        await Target(url).reached()
        with pytest.raises(ConfigError, match="status 404"):
            await Target(url + "/elsewhere").reached()
        with pytest.raises(ConfigError, match="status 404"):
            await Target(url, channel="$nobodys").reached()
    with pytest.raises(ConfigError, match="does not answer"):
        await Target(url).reached()


async def test_a_server_with_tls_is_asked_as_well(tmp_path: Path) -> None:
    authority = trustme.CA()
    files = {name: str(tmp_path / name) for name in ("ca", "key")}
    authority.cert_pem.write_to_path(files["ca"])
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(files["key"])
    hub = Hub(Options(channels=("*",)))
    await hub.open()
    async with serving(Endpoints(hub), drain=hub.close, certfile=files["key"], keyfile=files["key"]) as url:
        only = chosen(["hello-first", "publish", "own-origin"])
        assert {result.verdict async for result in run(Target(url, ca=files["ca"]), only)} == {"pass"}
        with pytest.raises(ConfigError, match=r"does not answer: .*CERTIFICATE_VERIFY_FAILED"):
            await Target(url).reached()


async def test_a_server_that_says_nonsense_fails_and_breaks_nothing() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\n[{}]")

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/live"
        results = await looked(url, "hello-first", "publish", "negotiate", "resume", "pages", "subscribe")
    assert {result.verdict for result in results} == {"fail"}


async def test_what_the_server_wants_to_know_is_shown() -> None:
    asked: list[Any] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        asked.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with serving(app) as url:
        await Target(f"{url}/live", token="t", headers=[("X-Name", "value")]).get("health")
    assert (asked[0][b"authorization"], asked[0][b"x-name"]) == (b"Bearer t", b"value")
