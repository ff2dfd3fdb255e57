"""Mutations: what is said to a server when a machine says it. Sound traffic with bytes changed, and made up. Pure."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from . import wires

Make: TypeAlias = Callable[[random.Random], bytes]
_ODD: Final = b'\r\n\0 :;,\x80\xff\x81\x880Aa9/\x7f\t"{}[]%?&=.'
_PIECES: Final = (
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\0" * 9,
    b"%00",
    b"\xed\xa0\x80",
)


def changed(luck: random.Random, sent: bytes) -> bytes:
    """Sound bytes of which some are changed, lost, doubled, moved, or others put between."""
    data = bytearray(sent)
    for _ in range(luck.choice((1, 1, 2, 4, 16))):
        place = luck.randrange(len(data) + 1)
        match luck.randrange(6):
            case 0 if place < len(data):
                data[place] = luck.choice(_ODD)
            case 1 if place < len(data):
                data[place] ^= 1 << luck.randrange(8)
            case 2:
                del data[place : place + luck.randint(1, 8)]
            case 3:
                data[place:place] = data[place : place + luck.randint(1, 30)]
            case 4:
                data[place:place] = luck.choice(_PIECES)
            case _:
                del data[place:]
        data = data or bytearray(b"\r")
    return bytes(data)


# --- what is sound


def sound(luck: random.Random, way: str) -> bytes:
    """Something that a client might say, over a transport."""
    query = f"channels={luck.choice(('a', 'a,c', '*', 'a*'))}" + luck.choice(
        ("", "&since=x.1", "&beat=1", "&v=1", "&latest=a", "&lag=a:3")
    )
    if way == "poll":
        return luck.choice(
            (wires.opening("poll", f"{query}&wait=0"), wires.commands(command(luck)), wires.request("/"), chunks(luck))
        )
    if way == "sse":
        return wires.opening("sse", query)
    said = [wires.frame(json.dumps(command(luck)).encode()) for _ in range(luck.randint(1, 4))]
    return wires.opening("ws", luck.choice((query, ""))) + b"".join(said)


def command(luck: random.Random) -> dict[str, Any]:
    """A sound command."""
    ref = luck.randint(0, 99)
    return luck.choice([
        {"do": "ping", "ref": ref},
        {"do": "publish", "ref": ref, "channel": "c", "data": {"n": ref}, "key": f"k{ref}"},
        {"do": "subscribe", "ref": ref, "channels": ["a", "c"], "latest": ["a"]},
        {"do": "unsubscribe", "ref": ref, "channels": ["a"]},
        {"do": "present", "ref": ref, "channel": "c", "as": "me", "for": 0},
    ])  # fmt: skip


def chunks(luck: random.Random) -> bytes:
    """A POST in chunks."""
    body = json.dumps(command(luck)).encode()
    cut = luck.randrange(1, len(body))
    parts = b"".join([b"%x%b\r\n%b\r\n" % (len(part), luck.choice((b"", b";a=b")), part) for part in (body[:cut], body[cut:])])
    return wires.request("/live/commands", wires.JSON, "Transfer-Encoding: chunked", method="POST") + parts + b"0\r\n\r\n"


# --- grammars


def head(luck: random.Random) -> bytes:
    """A request that is made up, part by part, of what is odd."""
    method = luck.choice((b"GET", b"POST", b"HEAD", b"PUT", b"get", b"PRI", b"G\0T", b"", b"CONNECT", b"OPTIONS", b"X" * 30))
    target = luck.choice(
        (
            b"/live/poll?channels=a",
            b"/live/ws",
            b"*",
            b"/",
            b"//",
            b"/live/../",
            b"http://x/",
            b"/\xff",
            b"/%",
            b"/live/" + b"a" * 9000,
        )
    )
    version = luck.choice((b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 ", b"http/1.1", b"", b"HTTP/9.9"))
    lines = [luck.choice(_LINES) for _ in range(luck.choice((0, 1, 3, 8, 120)))]
    end = luck.choice((b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"))
    return end.join([b" ".join([method, target, version]), *lines, b"", b""]) + luck.randbytes(luck.choice((0, 0, 5, 200)))


_LINES: Final = (
    b"Host: x",
    b"Host: x",
    b"Host: u@x",
    b"Host:",
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Connection: Upgrade",
    b"Connection: close",
    b"Upgrade: websocket",
    b"Upgrade: h2c",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Key: x",
    b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99",
    b"Sec-WebSocket-Protocol: everywire.v1.msgpack, \xff",
    b"Expect: 100-continue",
    b"Expect: x",
    b'Cookie: \0="',
    b"Origin: null",
    b"Origin: http://\xe9",
    b"Authorization: Bearer \x80",
    b"Last-Event-ID: x.99999999999999999999",
    b'Forwarded: for="[::1"',
    b"X-Forwarded-For: ,,,",
    b" folded",
    b":",
    b"a" * 5000,
    b"\0: \0",
    b"Content-Type: application/json",
    b"Accept-Encoding: gzip;q=x, zstd;q=9",
    b"Sec-Fetch-Site: cross-site",
    b"Content-Encoding: gzip",
)


def frames(luck: random.Random) -> bytes:
    """A WebSocket on which frames are made up, bit by bit."""
    offer = ("Sec-WebSocket-Protocol: everywire.v1.msgpack",) if luck.random() < 0.3 else ()
    made = [wires.request(f"/live/ws?channels={luck.choice(('a', ''))}", *wires.UPGRADE, *offer)]
    for _ in range(luck.randint(1, 12)):
        first = luck.choice((0x81, 0x81, 0x82, 0x01, 0x00, 0x80, 0x89, 0x8A, 0x88, 0xC1, luck.randrange(256)))
        data = luck.choice((text(luck), luck.randbytes(luck.choice((0, 1, 2, 125, 126, 5000)))))
        sent = bytearray(wires.frame(data, first))
        if luck.random() < 0.2:
            sent[1] = luck.randrange(256)
        made.append(bytes(sent))
    return b"".join(made)


def text(luck: random.Random) -> bytes:
    """Commands that are made up of whatever JSON can say, or nearly."""
    if luck.random() < 0.2:
        return luck.choice(
            (
                b"[" * 5000,
                b'{"a":' * 3000,
                b"1" * 5000,
                b"-",
                b"1e999999",
                b'"\\ud800"',
                b"\xef\xbb\xbf{}",
                b"[{}" + b",{}" * 300 + b"]",
            )
        )
    said = {
        luck.choice(("do", "ref", "channel", "channels", "data", "key", "for", "as", "since", "lag", "token", "x")): value(luck)
        for _ in range(6)
    }
    said["do"] = luck.choice(("publish", "subscribe", "unsubscribe", "present", "ping", "auth", "fly", None, 1))
    return json.dumps(luck.choice((said, [said] * 3, [said, value(luck)]))).encode()


def value(luck: random.Random, depth: int = 0) -> Any:
    """Anything."""
    match luck.randrange(9 if depth < 3 else 6):
        case 0:
            return luck.choice((0, -1, 2**53, 2**64, -(2**70), 1e308, 0.1))
        case 1:
            return luck.choice(
                ("", "a", "a b", "*", "a*", "\u2028", "\x00", "x.1", "é" * 200, "\ud83d\ude00", "$presence:a", "a\r\nid: 1")
            )
        case 2:
            return luck.choice((None, True, False))
        case 3 | 4:
            return "a"
        case 5:
            return 10 ** luck.randrange(40)
        case 6 | 7:
            return [value(luck, depth + 1) for _ in range(luck.randrange(4))]
        case _:
            return {luck.choice(("a", "", "__proto__")): value(luck, depth + 1) for _ in range(3)}


def http2(luck: random.Random) -> bytes:
    """HTTP/2 with frames that are made up, or changed."""
    client = wires.http2()
    made = [client.data_to_send()]
    for stream in range(1, 2 * luck.randint(1, 5), 2):
        path = luck.choice(("/live/poll?channels=a&wait=0", "/live/sse?channels=a", "/", "/live/client.js"))
        wires.asks(client, path, stream, ends=luck.random() < 0.7)
        sent = client.data_to_send()
        made.append(changed(luck, sent) if luck.random() < 0.3 else sent)
    for _ in range(luck.randint(0, 10)):
        size = luck.choice((0, 4, 5, 8, 100))
        kind, flags, stream = luck.randrange(12), luck.randrange(256), luck.choice((0, 1, 3, 2, 99, 2**31 - 1))
        made.append(size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + luck.randbytes(size))
    return b"".join(made)


def of(way: str) -> Sequence[Make]:
    """What is made over a transport: mutations first, and grammars."""
    made: list[Make] = [lambda luck: changed(luck, sound(luck, way) + luck.choice((b"", sound(luck, way))))] * 3
    return [*made, *{"ws": [frames], "sse": [head], "poll": [head, lambda luck: wires.commands(body=text(luck))]}[way], http2]
