"""The doctor before real servers that are set up badly: it names the fault and the server, and the lines that it gives,
pasted where it says, mend it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.middleboxes import BOXES, PROGRAMS, Middlebox, certificates
from transports import Hub, Options
from transports.asgi import Endpoints
from transports.doctor import Mend, Report, examine, report
from transports.doctor.mends import mends
from transports.testing import serving

pytestmark = pytest.mark.real

TOGETHER = 5  # boxes that are looked at side by side
WINDOW = 8.0  # seconds of silence and of life to try, where a box has a time of 5 s


@asynccontextmanager
async def mounted(**tls: str) -> AsyncIterator[str]:
    """A server with its mount at /live, as everybody has it; `tls`: with this `certfile` and `keyfile`."""
    options = Options(channels=("*",))
    hub = Hub(options)
    await hub.open()
    endpoints = Endpoints(hub)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await endpoints({**scope, "root_path": "/live"}, receive, send)

    async with serving(app, drain=hub.close, options=options, **tls) as url:
        yield url


# ------------------------------------------------------------------------------------------------------------- pasting


def after(pattern: str) -> Callable[[str, str], str]:
    """Paste behind what `pattern` matches, wherever it does."""
    return lambda text, lines: re.sub(pattern, lambda match: f"{match[0]}\n{lines}\n", text, flags=re.MULTILINE)


def at_the_end_of(pattern: str) -> Callable[[str, str], str]:
    """Paste at the end of the lines that `pattern` matches."""
    return lambda text, lines: re.sub(pattern, lambda match: f"{match[0]} {lines}", text, flags=re.MULTILINE)


def before(text: str, lines: str) -> str:
    return f"{lines}\n{text}"


def behind(text: str, lines: str) -> str:
    return f"{text}\n{lines}\n"


PLACES = {
    ("nginx", "http { }, outside of server { }"): before,
    ("nginx", "the location that has the proxy_pass"): after(r"location / \{"),
    (
        "nginx",
        "the location that has the proxy_pass; copy to it each proxy_set_header from outside of it: they are void there now",
    ): after(r"location / \{"),
    ("HAProxy", "each http-request line that deletes or sets Upgrade or Connection, at its end"): at_the_end_of(
        r"^ *http-request (del|set)-header (Upgrade|Connection)\b.*$"
    ),
    ("HAProxy", "each http-request line that deletes or sets Host, at its end"): at_the_end_of(
        r"^ *http-request (del|set)-header Host\b.*$"
    ),
    ("HAProxy", "the frontend"): after(r"^listen .*$"),
    ("HAProxy", "the backend"): after(r"^listen .*$"),
    ("HAProxy", "where compression is"): after(r"^listen .*$"),
    ("Apache", "the VirtualHost, before other ProxyPass lines"): after(r"^<VirtualHost .*>$"),
    ("Apache", "the VirtualHost"): after(r"^<VirtualHost .*>$"),
    ("Varnish", "the VCL, behind your own checks in vcl_recv"): behind,
    ("Caddy", "the site"): after(r"^:80 \{"),
    ("Caddy", "the site, in place of the encode line"): after(r"^:80 \{"),
    ("Squid", "squid.conf, in place of the two http_access lines that begin alike"): after(r"^acl Safe_ports port 1025-65535$"),
    ("Squid", "squid.conf"): behind,
}
ELSEWHERE = {"the arguments of varnishd", "the global options"}
"""Places that are in no file of a box."""
ALIKE = {"proxy_set_header": 2, "timeout": 2, "ProxyPass": 2, "acl": 2, "http_access": 3}
"""How many words of a line must be the same for it to take the place of another; 1 for all others."""


def pasted(config: str, mend: Mend) -> str:
    """A configuration with the lines of a mend in it, in place of those that begin alike."""
    if not any(line.endswith("{") for line in mend.lines):
        for line in mend.lines:
            words = line.rstrip(";").split()
            start = r"\s+".join(map(re.escape, words[: ALIKE.get(words[0], 1)]))
            config = re.sub(rf"(?m)(^|(?<=[;{{]))[ \t]*{start}(?=[\s;])[^;\n]*(;|$)", "", config)
    return PLACES[mend.server, mend.where](config, "\n".join(mend.lines).replace("BACKEND", "127.0.0.1:8000"))


def changed(box: Middlebox, given: Iterable[Mend], monkeypatch: pytest.MonkeyPatch) -> Middlebox:
    """A box with lines in its configuration; those for Squid go between the rules that all of them have."""
    config = box.config if isinstance(box.config, str) else box.config.read_text()
    program = PROGRAMS[box.program]
    frame = program.frame
    for mend in given:
        if mend.where not in ELSEWHERE:
            config, frame = (config, pasted(frame, mend)) if mend.server == "Squid" else (pasted(config, mend), frame)
    monkeypatch.setitem(PROGRAMS, box.program, program._replace(frame=frame))
    return replace(box, config=config)


@pytest.mark.parametrize("lines", [("proxy_read_timeout 75s;", "gzip off;"), ("gzip off;",)])
def test_a_line_takes_the_place_of_one_that_begins_alike(lines: tuple[str, ...]) -> None:
    config = "server { location / { proxy_pass x; proxy_read_timeout 5s; gzip on; } }"
    mended = pasted(config, Mend("nginx", "the location that has the proxy_pass", list(lines), ["idle"]))
    assert [mended.count(line) for line in lines] == [1] * len(lines)
    assert ("proxy_read_timeout 5s" in mended) == (len(lines) == 1)
    assert "gzip on" not in mended


# ---------------------------------------------------------------------------------------------------------------- boxes


class Case(NamedTuple):
    """A box, what is wrong with it, and for how long one must look."""

    box: str
    server: str
    faults: set[tuple[str, str]]  # (fault, transport; "" for none of its own)
    exit: int = 10
    window: float = 0.0


OWN = {
    box.name: box
    for box in (
        Middlebox(
            "nginx-gzip-held",
            "nginx",
            "server { listen 80; location / { proxy_pass http://127.0.0.1:8000; gzip on; gzip_types *;"
            " proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_ignore_headers X-Accel-Buffering;"
            ' proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; } }',
            "nginx that lets upgrades through, and holds back and compresses all that streams",
            "websocket",
        ),
        Middlebox(
            "apache-deflate",
            "apache2",
            "LoadModule setenvif_module /usr/lib/apache2/modules/mod_setenvif.so\n<VirtualHost *:80>\nProxyPreserveHost On\n"
            "SetOutputFilter DEFLATE\nProxyPass / http://127.0.0.1:8000/ upgrade=websocket\n</VirtualHost>",
            "Apache that compresses all there is",
            "websocket",
        ),
        Middlebox(
            "varnish-gzip",
            "varnishd",
            'vcl 4.1;\nbackend default { .host = "127.0.0.1"; .port = "8000"; }\n'
            "sub vcl_backend_response { set beresp.do_gzip = true; set beresp.do_stream = false; }",
            "Varnish that compresses all there is, and waits for the end of it",
            "longpoll",
        ),
        Middlebox(
            "apache-short",
            "apache2",
            "<VirtualHost *:80>\nProxyPreserveHost On\nProxyTimeout 5\n"
            "ProxyPass / http://127.0.0.1:8000/ upgrade=websocket\n</VirtualHost>",
            "Apache that cuts what is silent for 5 s",
            "websocket",
        ),
        Middlebox(
            "varnish-short",
            "varnishd",
            'vcl 4.1;\nbackend default { .host = "127.0.0.1"; .port = "8000";'
            " .first_byte_timeout = 5s; .between_bytes_timeout = 5s; }",
            "Varnish that gives its server 5 s, and knows no upgrade",
            "sse",
        ),
        Middlebox(
            "caddy-short",
            "caddy",
            "\n:80 {\n\treverse_proxy 127.0.0.1:8000 {\n\t\ttransport http {\n\t\t\tread_timeout 5s\n"
            "\t\t\tresponse_header_timeout 5s\n\t\t}\n\t}\n}",
            "Caddy that cuts what is silent for 5 s",
            "websocket",
        ),
    )
}
"""Boxes that only the doctor meets."""

CASES = (
    Case("nginx-default", "nginx", {("upgrade", "websocket"), ("host", "")}),
    Case("nginx-gzip", "nginx", {("upgrade", "websocket"), ("compressed", "sse"), ("host", "")}),
    Case("nginx-buffering", "nginx", {("upgrade", "websocket"), ("buffering", "sse"), ("host", "")}),
    Case("nginx-short", "nginx", {("idle", "websocket"), ("idle", "sse"), ("idle", "longpoll")}, window=WINDOW),
    Case("haproxy-short", "HAProxy", {("idle", "websocket"), ("idle", "sse"), ("idle", "longpoll")}, window=WINDOW),
    Case("haproxy-no-upgrade", "HAProxy", {("upgrade", "websocket")}),
    Case("apache-default", "Apache", {("upgrade", "websocket"), ("host", "")}),
    Case("varnish-default", "Varnish", {("upgrade", "websocket")}),
    Case("nginx-gzip-held", "nginx", {("compression", "sse")}, exit=0),
    Case("apache-deflate", "Apache", {("compressed", "sse")}, exit=0),
    Case("varnish-gzip", "Varnish", {("upgrade", "websocket"), ("buffering", "sse")}),
    Case("apache-short", "Apache", {("idle", "sse"), ("idle", "longpoll")}, exit=0, window=WINDOW),
    Case("varnish-short", "Varnish", {("upgrade", "websocket"), ("idle", "sse"), ("idle", "longpoll")}, window=WINDOW),
    Case("caddy-short", "Caddy", {("idle", "websocket"), ("idle", "sse"), ("idle", "longpoll")}, window=WINDOW),
    Case("squid", "Squid", {("upgrade", "websocket")}),
)


_looks = count()


async def looked(url: str, window: float, ca: str | None = None) -> Report:
    """Over a channel of its own: who reads the same is told in the same moment that nothing happens."""
    return report(await examine(f"{url}/live", channels=[f"quiet-{next(_looks)}"], idle=window, life=window, ca=ca))


class Mended(NamedTuple):
    """What the doctor said of a case, the configuration with its lines, and what it said then."""

    found: Report
    config: str
    afterwards: Report


async def mend_it(case: Case, upstream: str, monkeypatch: pytest.MonkeyPatch) -> Mended:
    box = {**BOXES, **OWN}[case.box]
    async with box.running(upstream) as way:
        way.take(monkeypatch)
        found = await looked(way.url, case.window, way.ca)
    after = changed(box, found.mends, monkeypatch)
    async with after.running(upstream) as way:
        way.take(monkeypatch)
        return Mended(found, str(after.config), await looked(way.url, case.window, way.ca))


@pytest.fixture(scope="module")
def mended_cases() -> dict[str, Mended]:
    """Some at a time: most of it is waiting. The environment can name one proxy only, so those behind one come last."""
    first = [case for case in CASES if case.server != "Squid"]
    last = [case for case in CASES if case.server == "Squid"]

    async def all_of_them() -> dict[str, Mended]:
        turn = asyncio.Semaphore(TOGETHER)
        async with mounted() as url:

            async def one(case: Case) -> Mended:
                async with turn:
                    return await mend_it(case, url, monkeypatch)

            done = await asyncio.gather(*map(one, first))
            after = [await mend_it(case, url, monkeypatch) for case in last]
        return {case.box: each for case, each in zip([*first, *last], [*done, *after], strict=True)}

    with pytest.MonkeyPatch.context() as monkeypatch:
        return asyncio.run(all_of_them())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.box)
def test_the_fault_is_named_and_the_lines_mend_it(case: Case, mended_cases: dict[str, Mended]) -> None:
    found, config, afterwards = mended_cases[case.box]
    assert {(each.fault, (each.transports or [""])[0]) for each in found.findings if each.grave or each.transports} >= case.faults
    assert found.exit == case.exit, found.sentence
    assert {mend.server for mend in found.mends} == {case.server}
    assert case.server in [server.name for server in found.servers]
    assert (afterwards.exit, afterwards.findings) == (0, []), f"{afterwards.sentence}\n{config}"


FAULTS = ["upgrade", "host", "buffering", "compression", "compressed", "blocked", "idle", "life"]
EVERYTHING = {
    "nginx": "nginx-default",
    "HAProxy": "haproxy-no-upgrade",
    "Apache": "apache-default",
    "Varnish": "varnish-default",
    "Caddy": "caddy",
    "Squid": "squid",
}


@pytest.mark.parametrize("server", EVERYTHING)
async def test_all_the_lines_for_a_server_together_are_understood_and_let_everything_pass(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = BOXES[EVERYTHING[server]]
    if server == "Apache":
        box = replace(box, config=f"LoadModule setenvif_module /usr/lib/apache2/modules/mod_setenvif.so\n{box.config}")
    async with mounted() as url:
        every = [f"{fault}/{rung}" for fault in ("idle", "life") for rung in ("websocket", "sse", "longpoll")]
        box = changed(box, mends([*FAULTS, *every], [server], f"{url}/live"), monkeypatch)
        async with box.running(url) as way:
            way.take(monkeypatch)
            assert (await looked(way.url, 0.0)).sentence == "WebSocket works.", box.config


@pytest.mark.parametrize(
    "name", ["nginx", "nginx-h2", "haproxy", "haproxy-h2", "apache", "varnish", "caddy", "caddy-h2", "squid-tuned"]
)
async def test_what_we_recommend_is_found_to_be_well(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with mounted() as url, BOXES[name].running(url) as way:
        way.take(monkeypatch)
        found = await looked(way.url, 0.0, way.ca)
    assert (found.exit, found.sentence, found.mends) == (0, "WebSocket works.", [])


async def test_an_office_that_tunnels_to_one_port_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    certificates(tmp_path)
    authority, box = str(tmp_path / "authority.pem"), BOXES["squid"]
    async with mounted(certfile=str(tmp_path / "certificate.pem"), keyfile=str(tmp_path / "key.pem")) as url:
        async with box.running(url) as way:
            way.take(monkeypatch)
            found = await looked(way.url, 0.0, authority)
        assert (found.exit, [each.fault for each in found.findings]) == (20, ["blocked"])
        assert {mend.server for mend in found.mends} == {"Squid"}
        async with changed(box, found.mends, monkeypatch).running(url) as way:
            way.take(monkeypatch)
            assert (await looked(way.url, 0.0, authority)).sentence == "WebSocket works."
            assert "200" not in await tunnelled(way.proxy, f"127.0.0.1:{urlsplit(url).port + 1}")  # nor anybody else's port


async def tunnelled(proxy: str, to: str) -> str:
    """What a proxy answers to CONNECT."""
    parts = urlsplit(proxy)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n".encode())
    answer = (await reader.readline()).decode()
    writer.close()
    return answer


LOCKED = {
    "HAProxy": (
        "haproxy",
        "userlist all\n user bob insecure-password pw\nlisten live\n bind :80\n http-request auth unless { http_auth(all) }\n"
        " http-request del-header Upgrade\n server s 127.0.0.1:8000",
        "401",
    ),
    "Varnish": (
        "varnishd",
        'vcl 4.1;\nbackend default { .host = "127.0.0.1"; .port = "8000"; }\n'
        "sub vcl_recv { if (!req.http.Authorization) { return (synth(403)); } }",
        "403",
    ),
}


@pytest.mark.parametrize("server", LOCKED)
async def test_no_lines_get_past_what_a_server_checks(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, config, status = LOCKED[server]
    box = Middlebox("locked", program, config, "a server that wants a password", "")
    every = [f"{fault}/{rung}" for fault in ("idle", "life", "blocked") for rung in ("websocket", "sse", "longpoll")]
    async with mounted() as url:
        async with box.running(url) as way:
            found = await looked(way.url, 0.0)
        assert ([each.fault for each in found.findings], found.mends) == (["blocked"], [])
        box = changed(box, mends([*FAULTS, *every], [server], f"{url}/live"), monkeypatch)
        async with box.running(url) as way:
            parts = urlsplit(way.url)
            for path in ("/live/ws", "/live/poll", "/elsewhere"):
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
                key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                upgrade = f"Connection: Upgrade\r\nUpgrade: websocket\r\n{key}"
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{upgrade}\r\n".encode())
                assert status in (await reader.readline()).decode()
                writer.close()


async def test_a_proxy_that_wants_to_know_who_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with mounted() as url, BOXES["squid-auth"].running(url) as way:
        address = urlsplit(way.proxy).netloc.rpartition("@")[2]
        way._replace(proxy=f"http://{address}").take(monkeypatch)
        found = await looked(way.url, 0.0)
        assert (found.exit, [each.fault for each in found.findings]) == (20, ["proxy_auth"])
        assert [mend.server for mend in found.mends] == ["client"]
        way.take(monkeypatch)
        assert (await looked(way.url, 0.0)).exit == 10  # let through, but for upgrades
        assert "secret" not in str(found)
