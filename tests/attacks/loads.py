"""Attacks with too much: too large, too many, too slow."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import tracemalloc
import zlib
from contextlib import suppress

import h2.connection
import h2.settings

from transports.testing import until

from .stage import OURS, Target, replies
from .table import ALL, ONCE, STREAMS, attack

FEW = 3
PINGS = [{"do": "ping", "ref": n} for n in range(50)]
SLOW = {f"commands_per_{whose}": 1.0 for whose in ("connection", "who", "address")} | {"burst_seconds": 1.0}
BOMB = 16 << 20  # bytes
LARGE = json.dumps([{"do": "ping", "ref": 1, "x": "x" * 100_000}]).encode()


@attack("a body that is too large", "the size of a message", message_bytes=1000)
async def _(target: Target) -> bool:
    """A hundred kilobytes where one is allowed."""
    return (await target.ask("commands", OURS, method="POST", body=LARGE))[0] == 200


@attack("a message that is too large", "the size of a message", over=["ws"], message_bytes=1000)
async def _(target: Target) -> bool:
    """The same over WebSocket."""
    ws = await target.websocket("", OURS)
    await ws.items()
    ws.connection.send(ws.frames.send_data(LARGE.decode()))
    return any(reply["ok"] for reply in await replies(ws))


@attack("a message that never ends", "the size of a message", over=["ws"], message_bytes=1000)
async def _(target: Target) -> bool:
    """Fragments, and never the last: each is small, and all are to be kept."""
    ws = await target.websocket("channels=open.news", OURS)
    for n in range(100):
        ws.connection.send(ws.frames.send_data(b"x" * 1000 if n else b"[", fin=False))
    return not await target.ends(ws.connection)


@attack("a bomb that is compressed", "what is inflated has an end", over=["ws"], deflate=True)
async def _(target: Target) -> bool:
    """Sixteen megabytes in sixteen kilobytes."""
    connection = await target.connect()
    connection.send(target.opening("channels=open.news", OURS, "Sec-WebSocket-Extensions: permessage-deflate"))
    _, headers = await connection.head()
    assert "permessage-deflate" in headers["sec-websocket-extensions"]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(BOMB)) + packer.flush(zlib.Z_SYNC_FLUSH)[:-4]
    tracemalloc.start()
    try:
        connection.send(b"\xc1\xfe" + struct.pack(">H", len(bomb)) + bytes(4) + bomb)
        await target.ends(connection)
        return tracemalloc.get_traced_memory()[1] > BOMB // 2
    finally:
        tracemalloc.stop()


@attack("a head that never ends", "the time for a head or a body", body_timeout=0.3)
async def _(target: Target) -> bool:
    """Slow loris: a header now and then, and never the last."""
    connection = await target.connect()
    connection.send(target.request("poll?channels=open.news")[:-2])
    return not await target.ends(connection)


@attack("a body that never ends", "the time for a head or a body", body_timeout=0.3)
async def _(target: Target) -> bool:
    """A POST of which the rest does not come."""
    connection = await target.connect()
    connection.send(target.request("commands", OURS, "Content-Length: 100", method="POST", body=b"{"))
    return not await target.ends(connection)


@attack("a reader who takes nothing", "the time to take what was sent", over=STREAMS, send_timeout=0.5, batch_bytes=65_536)
async def _(target: Target) -> bool:
    """It asks for everything and reads no byte of it."""
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.setblocking(False)
    host, _, port = target.url.removeprefix("http://").rpartition(":")
    loop = asyncio.get_running_loop()
    with slow:
        await loop.sock_connect(slow, (host, int(port)))
        await loop.sock_sendall(slow, target.opening("channels=open.news", OURS))
        await until(lambda: target.hub.readers)
        for _ in range(200):
            await target.hub.publish("open.news", "x" * 60_000)
        with suppress(TimeoutError):
            await until(lambda: not len(target.hub.accounts), target.patience)
        return len(target.hub.accounts) > 0


@attack("a handshake that never ends", "the time for TLS", tls=True, handshake_timeout=0.3)
async def _(target: Target) -> bool:
    """A connection to a server with TLS, and nothing on it."""
    return not await target.ends(await target.connect(tls=False))


@attack("a WebSocket that says nothing", "the time for a first command", over=["ws"], first_command_timeout=0.3, beat=60.0)
async def _(target: Target) -> bool:
    """It follows no channel and sends no command."""
    ws = await target.websocket("", OURS)
    return not await target.ends(ws.connection)


@attack("a reader over HTTP/2 who takes nothing", "the time to take what was sent", over=["sse"], send_timeout=0.5)
async def _(target: Target) -> bool:
    """It opens no window (RFC 9113 6.9), so that all waits here."""
    connection, http2 = await target.connect(), h2.connection.H2Connection()
    http2.initiate_connection()
    http2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    asked = [(":method", "GET"), (":scheme", "http"), (":authority", target.name), (":path", "/live/sse?channels=open.news")]
    http2.send_headers(1, [*asked, ("cookie", "who=ann")], end_stream=True)
    connection.writer.write(http2.data_to_send())
    await until(lambda: len(target.hub.accounts))
    await target.hub.publish("open.news", "x" * 60_000)
    with suppress(TimeoutError):
        await until(lambda: not len(target.hub.accounts), target.patience)
    return len(target.hub.accounts) > 0


@attack("frames over HTTP/2 that carry nothing", "HTTP/2 is calm")
async def _(target: Target) -> bool:
    """Pings, each of which wants an answer."""
    connection, http2 = await target.connect(), h2.connection.H2Connection()
    http2.initiate_connection()
    for n in range(5000):
        http2.ping(n.to_bytes(8, "big"))
    connection.writer.write(http2.data_to_send())
    return not await target.ends(connection)


@attack("a flood of connections that ask nothing", "connections of one address", connections_per_address=FEW)
async def _(target: Target) -> bool:
    """TCP connections, each of which is memory and a file."""
    ends = [asyncio.create_task(target.ends(await target.connect())) for _ in range(4 * FEW)]
    done, left = await asyncio.wait(ends, timeout=target.patience, return_when=asyncio.FIRST_COMPLETED)
    for each in left:
        each.cancel()
    return not any(each.result() for each in done)


async def opened(target: Target, *headers: str) -> int:
    """How many of some streams or waiting polls are let in at the same time."""
    hub = target.hub
    query, many = (
        f"channels=open.news&since={hub.log.epoch}.{hub.log.head}&wait=20",
        2 * FEW,
    )  # TCP connections beyond that are another attack
    for n in range(many):
        connection = await target.connect()
        connection.send(target.opening(query, *(line.format(n=n) for line in headers)))
    await until(lambda: len(hub.accounts) + hub.limits.refused.total() == many)
    return len(hub.accounts)


@attack("a flood of connections from one address", "connections of one address", over=ALL, connections_per_address=FEW)
async def _(target: Target) -> bool:
    """As many as it can get, each as somebody else."""
    return await opened(target, "Cookie: who={n}") > FEW


@attack("a flood of connections of one who", "connections of one who", over=ALL, connections_per_who=FEW)
async def _(target: Target) -> bool:
    """From wherever: who it is does not change."""
    return await opened(target, OURS) > FEW


@attack("a flood of connections from everywhere", "connections of all", over=ALL, connections_per_process=FEW)
async def _(target: Target) -> bool:
    """More than the process has memory for."""
    return await opened(target, "Cookie: who={n}") > FEW


@attack("addresses that are made up", "addresses are what our proxies say", connections_per_address=FEW)
async def _(target: Target) -> bool:
    """Each connection says that it comes from somewhere else."""
    return await opened(target, "X-Forwarded-For: 192.0.2.{n}") > FEW


RATES = ("commands of one connection", "commands of one who", "commands of one address")


@attack("more commands than anybody has", *RATES, over=["ws"], **SLOW)
async def _(target: Target) -> bool:
    """Fifty at once on one connection."""
    ws = await target.websocket("", OURS)
    await ws.items()
    ws.say(*PINGS)
    return all(reply["ok"] for reply in await replies(ws))


@attack("more commands than anybody has, by POST", *RATES[1:], over=ONCE, **SLOW)
async def _(target: Target) -> bool:
    """Fifty at once, in a request for which no connection is needed before or after."""
    _, replies = await target.post(*PINGS, headers=[OURS])
    return all(reply["ok"] for reply in replies)


@attack("more channels than anybody reads", "channels of one reader", over=ALL, channels_per_reader=FEW)
async def _(target: Target) -> bool:
    """A reader costs as much as its channels."""
    names = ",".join(f"open.{n}" for n in range(10))
    return bool(
        [each for each in (await target.read(f"channels={names}&beat=1&wait=0", OURS)).items if each.kind in ("hello", "beat")]
    )


@attack("more channels than there is memory for", "channels of all", channels_max=FEW)
async def _(target: Target) -> bool:
    """Where any name will do, each event is the first of a new channel."""
    commands = [{"do": "publish", "ref": n, "channel": f"open.{n}", "data": 1} for n in range(10)]
    _, replies = await target.post(*commands, headers=[OURS])
    return all(reply["ok"] for reply in replies)
