"""The doctor before servers and networks of many kinds: what it sees, and what it says of it."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.ports import free_port
from tests.restrictions import Restrictions, answer
from transports import ConfigError, Hub, Options
from transports.asgi import Endpoints
from transports.doctor import Report, examine, report
from transports.testing import serving, until

PATIENCE = 3.0  # seconds; on loopback nothing takes that long


async def look(url: str, **wanted: Any) -> Report:
    return report(await examine(url, **{"idle": 0.0, "life": 0.0, "patience": PATIENCE, **wanted}))


@asynccontextmanager
async def restricted(how: dict[str, str] | None = None, tls: dict[str, str] | None = None, **settings: Any) -> AsyncIterator[str]:
    """A server behind restrictions."""
    options = Options(**{"channels": ("*",), **settings})
    hub = Hub(options)
    await hub.open()
    async with serving(Restrictions(Endpoints(hub), how), drain=hub.close, options=options, **(tls or {})) as url:
        yield url


@asynccontextmanager
async def bare(reply: bytes) -> AsyncIterator[str]:
    """Whoever connects to this is told these bytes, whatever he says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


NETWORKS = (
    ({}, "ok ok ok", [], 0),
    ({"ws": "refuse"}, "refused_http ok ok", ["upgrade"], 10),
    ({"ws": "swallow"}, "no_answer ok ok", ["inspected", "inspection"], 10),
    ({"sse": "hold"}, "ok buffered ok", ["buffering"], 0),
    ({"sse": "swallow"}, "ok buffered ok", ["buffering"], 0),
    ({"sse": "login"}, "ok captive_portal ok", ["blocked"], 0),
    ({"poll": "refuse"}, "ok no_answer refused_http", ["blocked", "blocked"], 0),
    ({"commands": "refuse"}, "ok ok ok", ["post"], 0),
    ({"commands": "refuse", "ws": "refuse"}, "refused_http ok ok", ["upgrade", "post"], 10),
    ({"ws": "refuse", "sse": "hold"}, "refused_http buffered ok", ["upgrade", "buffering"], 10),
    ({"*": "login"}, "refused_http captive_portal captive_portal", ["login"], 20),
    ({"*": "redirect"}, "refused_http captive_portal captive_portal", ["login"], 20),
    ({"*": "refuse"}, "refused_http refused_http refused_http", ["blocked"], 20),
    ({"negotiate": "refuse"}, "ok ok ok", [], 0),
)


async def test_what_a_network_does_is_found_out() -> None:
    """All of them at once: most of the time is spent waiting for beats."""
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(restricted(how)) for how, *_ in NETWORKS]
        found = await asyncio.gather(*(look(url, patience=5 * PATIENCE) for url in urls))
    seen = [
        (how, " ".join(row.verdict for row in said.transports), [each.fault for each in said.findings], said.exit)
        for (how, *_), said in zip(NETWORKS, found, strict=True)
    ]
    assert seen == list(NETWORKS)


async def test_a_life_that_is_cut_and_a_silence_that_is_borne() -> None:
    async with restricted({"sse": "dies 3500"}) as url:
        found = await look(url, idle=3.0, life=5.0)
    assert [row.verdict for row in found.transports] == ["ok", "cut_early", "ok"]
    websocket, sse, _ = found.transports
    assert 3.0 < sse.life.seconds < 5.0
    assert websocket.idle.state == websocket.life.state == "ok"
    assert [(each.fault, each.grave) for each in found.findings] == [("life", False)]


async def test_probes_are_told_of_and_the_whole_takes_no_longer_than_the_longest() -> None:
    told: list[tuple[str, bool]] = []
    loop = asyncio.get_running_loop()
    async with restricted() as url:
        began = loop.time()
        await look(url, idle=4.0, life=4.0, tell=lambda name, done: told.append((name, done)))
        assert loop.time() - began < 4.0 + 3 * PATIENCE
    begun, done = ([name for name, over in told if over is which] for which in (False, True))
    assert sorted(begun) == sorted(done)
    assert {"negotiate", "post", "edge", "websocket beats", "sse silence", "longpoll silence"} <= set(done)


async def test_what_a_server_refuses_is_no_fault_of_the_path() -> None:
    async with restricted(channels=("chat",)) as url:
        refused, allowed = await asyncio.gather(look(url), look(url, channels=["chat"]))
    assert [row.verdict for row in refused.transports] == ["ok", "refused", "refused"]
    assert "channel" in [each.fault for each in refused.findings]
    assert allowed.sentence == "WebSocket works."


async def test_a_host_that_is_rewritten_is_found_out() -> None:
    async with restricted() as url, serving(rewriting(url)) as way:
        found = await look(way)
    assert [each.fault for each in found.findings if each.fault == "host"] == ["host"]


def rewriting(url: str) -> Any:
    """An ASGI application that says what our server says to a page of another host."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        foreign = any(name == b"origin" for name, _ in scope["headers"])
        body = b'{"code":4403,"name":"forbidden","reason":"no"}' if foreign else b'{"transports":[{"name":"websocket"}]}'
        await answer(send, 403 if foreign else 200, b"application/json", body)

    return app


# ---------------------------------------------------------------------------------------------------- nobody, and others


async def test_a_closed_port_and_an_unknown_name() -> None:
    for url, words in (
        (f"http://127.0.0.1:{free_port()}/live", "nobody answers at that address and port"),
        ("http://nowhere.invalid/live", "the name of the host is not known here"),
    ):
        found = await look(url)
        assert (found.exit, [row.verdict for row in found.transports]) == (20, ["unreachable"] * 3)
        assert words in found.sentence


async def test_a_port_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = await look(f"http://127.0.0.1:{listening.getsockname()[1]}/live", patience=0.2)
    assert found.sentence == "Nothing works here. The server could not be reached: there was no answer in time."


async def test_a_mount_that_is_none_gets_a_hint() -> None:
    async with restricted() as url:
        found = await look(f"{url}/elsewhere")
    assert found.exit == 20
    assert "Is the URL that of the mount" in found.sentence


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\nnull",
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n{"transports":[{"name":9}]}',
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n\xff\xff",
        b"HTTP/1.1 200 OK\r\nServer: \x1b[2Jevil\x9b\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b"[" * 50_000,
        b'HTTP/1.1 403 No\r\nContent-Type: application/json\r\n\r\n{"x":' + b"[" * 50_000,
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n{"transports":[{"name":"\xff\xff"}]}',
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\x1b]\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: Sat, 99 Foo 99999 99:99:99 GMT\r\nAge: 99999999999999999999\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
    ids=range(14),
)
async def test_whatever_answers_is_told_of_and_moves_no_terminal(reply: bytes) -> None:
    async with bare(reply) as url:
        found = await look(f"{url}/live")
    assert found.exit == 20
    shown = [found.sentence, *found.strangers, *found.facts.values(), *(row.words for row in found.transports)]
    assert all(text.isprintable() for text in shown)


@pytest.mark.parametrize(
    "wanted",
    [
        {"idle": 1.0},
        {"idle": math.nan},
        {"life": 2.0},
        {"ca": "/dev/null"},
        {"url": "http://me:hidden@127.0.0.1:1/live", "token": "t"},
        {"token": "hidden\nx"},
        {"headers": {"Bad Name": "hidden"}},
        {"headers": {"X-Key": "hidden\r\nX: y"}},
        {"channels": [""]},
    ],
)
async def test_what_makes_no_sense_is_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        await look(**{"url": "http://127.0.0.1:1/live", **wanted})
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "proxy", ["u:hidden@127.0.0.1:3128", "http://u:hidden@127.0.0.1:99999", "http://u:a/hidden@x:1", "socks5://x"]
)
async def test_a_proxy_that_is_none_is_refused_and_not_shown(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(ConfigError) as refused:
        await look("http://shop.example/live")
    assert "HTTP_PROXY" in str(refused.value)
    assert "hidden" not in str(refused.value)


async def test_times_that_are_none_are_not_believed() -> None:
    """They would be more than can be reckoned with."""
    items = [{"type": "hello", "v": 1, "id": "e.1", "connection": "c", "channels": ["x"], "resumed": "exact", "beat": 1}]
    items += [{"type": "beat", "id": "e.1", "at": at} for at in (1e308, -1e308, 1.0, 1.0, 1.0)]
    stream = "".join(f"data: {json.dumps(item)}\n\n" for item in items)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            sse = scope["path"].endswith("sse")
            kind, body = (b"text/event-stream", stream) if sse else (b"application/json", json.dumps(items[:2]))
            await answer(send, 200, kind, body.encode())

    async with serving(app) as url:
        found = await look(url)
    arrivals = found.observations.trials["sse beats"].arrivals
    assert [each.at for each in arrivals if each.kind == "beat"] == [0.0, 0.0, 1.0, 1.0, 1.0]


async def test_a_server_that_is_restarted_is_not_taken_for_a_network_that_cuts() -> None:
    """Another one takes its place, whose positions begin otherwise."""
    upstream: list[str] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = upstream[-1].removeprefix("http://").split(":")
        with suppress(OSError):
            there, to = await asyncio.open_connection(host, int(port))
            alive.extend((writer, to))

            async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                with suppress(OSError):
                    while data := await source.read(65_536):
                        sink.write(data)
                sink.close()

            await asyncio.gather(pump(reader, to), pump(there, writer))

    alive: list[asyncio.StreamWriter] = []
    async with restricted() as old, restricted() as new:
        upstream.append(old)
        server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
        async with server:
            url, told = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", {}
            looking = asyncio.create_task(look(url, idle=20.0, life=20.0, tell=told.__setitem__))
            await until(lambda: told.get("sse identity"))  # the last to be done but for those that hold their streams
            upstream.append(new)
            for each in alive:
                each.transport.abort()
            found = await asyncio.wait_for(looking, 15.0 + 3 * PATIENCE)
    assert [(each.fault, each.grave) for each in found.findings] == [("restart", True)]
    assert "was the server restarted?" in found.sentence
    assert (found.exit, found.mends) == (10, [])


async def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(ConfigError):
        await look("ftp://127.0.0.1/live")


# ------------------------------------------------------------------------------------------------------------- TLS, secrets


@pytest.fixture
def authority(tmp_path: Path) -> dict[str, str]:
    """A certificate for this machine by an authority that nobody knows."""
    made = trustme.CA(organization_name="Office Inspection")
    certificate = made.issue_cert("127.0.0.1")
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    return {name: str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")}


async def test_an_authority_that_is_not_trusted_is_named_and_helps_once_it_is(authority: dict[str, str]) -> None:
    async with restricted(tls={"certfile": authority["cert"], "keyfile": authority["key"]}) as url:
        refused, trusted = await asyncio.gather(look(url), look(url, ca=authority["ca"]))
    assert (refused.exit, [each.fault for each in refused.findings]) == (20, ["certificate"])
    assert "O=Office Inspection" in refused.sentence
    assert [mend.server for mend in refused.mends] == ["client"]
    assert (trusted.exit, trusted.sentence) == (0, "WebSocket works.")
    assert trusted.facts["certificate"] == "made by O=Office Inspection, trusted"
    assert trusted.observations.tls.alpn == "h2"


async def test_tls_on_a_plain_port_is_told() -> None:
    async with restricted() as url:
        found = await look(url.replace("http:", "https:"))
    assert found.sentence.endswith("Does that port speak plain HTTP?")


async def test_plain_http_on_a_port_with_tls_is_told(authority: dict[str, str]) -> None:
    async with restricted(tls={"certfile": authority["cert"], "keyfile": authority["key"]}) as url:
        found = await look(url.replace("https:", "http:"))
    assert (found.exit, found.sentence) == (20, "Nothing works here. Does that port speak HTTPS? Say https:// in the URL.")


async def test_secrets_are_sent_and_never_shown() -> None:
    seen: list[bytes] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.extend(value for name, value in scope.get("headers", ()) if name == b"authorization")
        if scope["type"] == "http":
            await answer(send, 404, b"text/plain", b"no")

    async with serving(app) as url:
        found = [await look(url, token="hidden"), await look(url.replace("//", "//reader:hidden@"))]
    assert set(seen) == {b"Bearer hidden", b"Basic " + b64encode(b"reader:hidden")}
    assert "hidden" not in str(found)


async def test_a_network_that_shows_a_foreign_certificate_is_told_no_secret(authority: dict[str, str]) -> None:
    """Only the look at the certificate and the nonsense reach it."""
    said: list[bytes] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority["cert"], authority["key"])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            said.append(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        await look(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/live", token="hidden", headers={"x-key": "hidden"})
    assert b"not a header" in b"".join(said)
    assert not any(b"hidden" in text for text in said)
