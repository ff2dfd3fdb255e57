"""Requests that two programs would read in two ways, and what of them Hypercorn is handed: each is refused and hides no other.

`tests/transports/test_edge.py` has the rest of the grammar, on both edges.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import h2.events
import pytest
import pytest_asyncio

from . import wires
from .target import EDGES, Target, target

HIDDEN = wires.commands({"do": "publish", "channel": "a", "data": "smuggled"})
POST = f"POST {{}} HTTP/1.1\r\nHost: x\r\n{wires.JSON}\r\n"


def post(path: str, *lines: str, body: bytes = b"") -> bytes:
    return (POST.format(path) + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode() + body


def smuggled(path: str) -> dict[str, bytes]:
    """Requests to `path` with another one behind what one side may take for their end."""
    chunked = b"0\r\n\r\n" + HIDDEN
    sized = f"Content-Length: {len(chunked)}"
    coded = "Transfer-Encoding: chunked"
    return {
        "CL.TE": post(path, "Content-Length: 5", coded, body=chunked),
        "TE.CL": post(path, coded, sized, body=chunked),
        "two lengths": post(path, "Content-Length: 0", sized, body=chunked),
        "two lengths in one": post(path, f"Content-Length: 0, {len(chunked)}", body=chunked),
        "the same length twice": post(path, sized, sized, body=chunked),
        "a length with a sign": post(path, f"Content-Length: +{len(chunked)}", body=chunked),
        "a length in hexadecimal": post(path, "Content-Length: 0x5", body=chunked),
        "a length with a line": post(path, "Content-Length: 0_5", body=chunked),
        "no length": post(path, "Content-Length:", body=chunked),
        "two codings": post(path, coded, "Transfer-Encoding: identity", body=chunked),
        "codings in a row": post(path, "Transfer-Encoding: identity, chunked", body=chunked),
        "a coding with a space": post(path, "Transfer-Encoding : chunked", body=chunked),
        "a coding behind a tab": post(path, "Transfer-Encoding:\t\x0bchunked", body=chunked),
        "a coding in quotes": post(path, 'Transfer-Encoding: "chunked"', body=chunked),
        "a folded coding": post(path, "Transfer-Encoding:", " chunked", sized, body=chunked),
        "a folded line": post(path, "A: b", "\tc", sized, body=chunked),
        "a space before the first header": post(path, " A: b", sized, body=chunked),
        "a bare LF": post(path, "Content-Length: 0\nTransfer-Encoding: chunked", body=chunked),
        "a bare CR": post(path, "Content-Length: 0\rTransfer-Encoding: chunked", body=chunked),
        "a NUL": post(path, "Content-Length: 0\0", coded, body=chunked),
        "a line without a colon": post(path, "Content-Length 0", coded, body=chunked),
        "an empty name": post(path, ": 0", coded, body=chunked),
        "HTTP/1.0 in chunks": post(path, coded, body=chunked).replace(b"HTTP/1.1", b"HTTP/1.0"),
        "HTTP/1.2": post(path, coded, sized, body=chunked).replace(b"HTTP/1.1", b"HTTP/1.2"),
        "a chunk that is longer than it says": post(path, coded, body=b"1\r\n[]\r\n" + chunked),
        "a chunk size with a sign": post(path, coded, body=b"+0\r\n\r\n" + HIDDEN),
        "a chunk size with a prefix": post(path, coded, body=b"0x0\r\n\r\n" + HIDDEN),
        "a chunk size beyond measure": post(path, coded, body=b"f" * 17 + b"\r\n" + HIDDEN),
        "a chunk that ends with LF": post(path, coded, body=b"2\n[]\n0\n\n" + HIDDEN),
        "a chunk extension with a bare LF": post(path, coded, body=b"2;\n[]\r\n0\r\n\r\n" + HIDDEN),
        "an upgrade to HTTP/2": wires.request(
            path, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"
        )
        + wires.http2().data_to_send()
        + HIDDEN,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=EDGES)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Target]:
    async with target(request.param) as started:
        yield started


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    "path", ["/live/commands", "/", "/live/negotiate"], ids=["ours", "a page", "an endpoint behind the front"]
)
async def test_what_can_be_read_in_two_ways_hides_no_request(server: Target, path: str) -> None:
    before = await server.held()
    for name, sent in smuggled(path).items():
        line = await wires.connect(server)
        assert await wires.send(line, sent)
        answer = await wires.answered(line, seconds=30) if name != "an upgrade to HTTP/2" else b""
        line.close()
        assert b" 101 " not in answer, name
        held = await server.held()
        assert (held.head, held.errors) == (before.head, []), name


async def test_a_sound_request_with_chunk_extensions_is_read_to_its_end_and_no_further(server: Target) -> None:
    body = b'2;a="b"\r\n[]\r\n0;c\r\nTrailer: d\r\n\r\n'
    line = await wires.connect(server)
    await wires.send(
        line, post("/live/commands", "Transfer-Encoding: chunked", body=body) + wires.request("/", "Connection: close")
    )
    answer = await wires.answered(line)
    line.close()
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.endswith(b"page")


SOUND = {":method": "GET", ":path": "/", ":scheme": "http", ":authority": "x"}
HEADS = {
    "a path beyond ASCII": SOUND | {":path": "/\xff"},
    "a path with a space": SOUND | {":path": "/ HTTP/1.1"},
    "an authority with a user": SOUND | {":authority": "u@x"},
    "a method with a line end": SOUND | {":method": "GET\r\nA: b"},
    "a line end in a header": SOUND | {"a": "b\r\nc: d"},
    "two origins": [*SOUND.items(), ("origin", "a"), ("origin", "b")],
    "too many": SOUND | {f"a{n}": "b" for n in range(200)},
    "a coding": SOUND | {":method": "POST", "transfer-encoding": "chunked"},
    "CONNECT": {":method": "CONNECT", ":authority": "x:1"},
    "CONNECT for something else": SOUND | {":method": "CONNECT", ":protocol": "ip"},
}


@pytest.mark.parametrize("name", HEADS)
async def test_a_head_of_http2_that_would_be_none_of_http1_is_refused(server: Target, name: str) -> None:
    client = wires.http2()
    client.config.validate_outbound_headers = client.config.normalize_outbound_headers = False
    client.send_headers(1, list(dict(HEADS[name]).items()) if name != "two origins" else HEADS[name], end_stream=True)
    wires.asks(client, "/", 3)
    client.ping(b"12345678")
    line = await wires.connect(server)
    await wires.send(line, client.data_to_send())
    statuses = []
    come = b""
    while b"page" not in come and b"12345678" not in come:  # the ping is answered last, but for a page that is
        data = await wires.answered(line, most=1)
        come += data
        if not data:
            break
        events = client.receive_data(data)
        answers = [each for each in events if isinstance(each, h2.events.ResponseReceived) and each.stream_id == 1]
        statuses += [dict(each.headers)[b":status"] for each in answers]
    line.close()
    assert not [status for status in statuses if status < b"400"]
    assert not (await server.held()).errors


async def test_cookies_that_come_one_by_one_over_http2_are_one_header() -> None:
    from transports.http2 import _read  # it is nothing that shows from outside

    came = [(name.encode(), value.encode()) for name, value in SOUND.items()]
    _, _, headers = _read([*came, (b"cookie", b"a=1"), (b"cookie", b"b=2")])
    assert [value for name, value in headers if name == b"cookie"] == [b"a=1; b=2"]


async def test_a_binary_message_of_nothing_is_told_of(server: Target) -> None:
    line = await wires.connect(server)
    await wires.send(line, wires.opening("ws") + wires.frame(b"", first=0x82))
    told = b""
    while b'"bye"' not in told:
        data = await wires.answered(line, most=1)
        assert data, told
        told += data
    line.close()
    assert b"4400" in told
