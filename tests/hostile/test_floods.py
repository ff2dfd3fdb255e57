"""Floods over HTTP/2: frames that cost us more than the client. The connection ends with GOAWAY; nobody else notices."""

from __future__ import annotations

from collections.abc import Callable

import h2.connection
import h2.errors
import h2.events
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from . import wires
from .target import EDGES, target

FRAMES = 20_000


def repeated(frame: object) -> Callable[[h2.connection.H2Connection], bytes]:
    return lambda _: frame.serialize() * FRAMES


def rapid_reset(client: h2.connection.H2Connection) -> bytes:
    """CVE-2023-44487: a request, and taken back at once, again and again."""
    said = []
    for _ in range(2000):
        client.reset_stream(wires.asks(client, "/live/poll?channels=a&wait=20"))
        said.append(client.data_to_send())
    return b"".join(said)


def continuations(client: h2.connection.H2Connection) -> bytes:
    """CVE-2024-27316: a head that never ends."""
    head = HeadersFrame(1, b"\x82\x86\x84\x41\x01x")
    return head.serialize() + ContinuationFrame(1, b"").serialize() * FRAMES


def long_head(client: h2.connection.H2Connection) -> bytes:
    """A head of a megabyte, in as few frames as it takes."""
    return HeadersFrame(1, b"\x82\x86\x84").serialize() + ContinuationFrame(1, b"\x40\x7f" + b"x" * 16_000).serialize() * 64


def table_bomb(client: h2.connection.H2Connection) -> bytes:
    """One long header, kept in the table of HPACK, and named thousands of times by a byte each."""
    long = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000
    return HeadersFrame(1, b"\x82\x86\x84" + long + b"\xbe" * 12_000, flags=["END_HEADERS"]).serialize()


def empty_body(client: h2.connection.H2Connection) -> bytes:
    stream = wires.asks(client, "/", method="POST", ends=False)
    return client.data_to_send() + DataFrame(stream, b"").serialize() * FRAMES


def strangers(client: h2.connection.H2Connection) -> bytes:
    """Priorities of streams that are never opened."""
    return b"".join([PriorityFrame(2 * n + 1, stream_weight=1).serialize() for n in range(1, FRAMES)])


FLOODS = {
    "ping": repeated(PingFrame(0, b"x" * 8)),
    "settings": repeated(SettingsFrame(0)),
    "window": repeated(WindowUpdateFrame(0, 1)),
    "priority": strangers,
    "empty body": empty_body,
    "rapid reset": rapid_reset,
    "reset of nothing": lambda client: b"".join([RstStreamFrame(2 * n + 1).serialize() for n in range(FRAMES)]),
    "continuation": continuations,
    "a long head": long_head,
    "HPACK": table_bomb,
}


@pytest.mark.parametrize("edge", EDGES)
async def test_a_flood_ends_the_connection_and_disturbs_nobody(edge: str) -> None:
    async with target(edge) as server:
        await server.publish()
        before = await server.held()
        async with wires.Bystander(server) as bystander:
            offsets = []
            for name, flood in FLOODS.items():
                client = wires.http2()
                sent = client.data_to_send() + flood(client)
                line = await wires.connect(server)
                await wires.send(line, sent)
                come = await wires.answered(line)
                line.close()
                assert ended_with(come), name
                offsets.append(await server.publish(channel="b"))
            await bystander.has(offsets)
        held = await server.back_to(before)
        assert not held.errors


def ended_with(come: bytes) -> list[h2.errors.ErrorCodes | int]:
    """Why a connection was ended, as far as it was said."""
    client = wires.http2()
    for stream in range(1, 200, 2):
        wires.asks(client, "/", stream)
    events = client.receive_data(come)
    return [event.error_code for event in events if isinstance(event, h2.events.ConnectionTerminated)]
