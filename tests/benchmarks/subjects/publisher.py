"""The publisher inside every Python subject: told what to publish by lines on standard input, as `reference.c` is.

Open loop: event n is due at `began + n / rate` and stamped with that, whenever it gets out; what is late goes out at
once. So a server that cannot keep up shows it as delay, and none is asked less because it is slow.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

BACKLOG = 4096  # connections that may wait to be accepted: as many as come at once
_TICK = 0.001  # seconds; an event loop waits no shorter

Publish = Callable[[dict[str, Any]], Awaitable[Any] | None]
Settle = Callable[[], Awaitable[None]]


class Order(msgspec.Struct):
    """What a line on standard input says."""

    rate: float = 0.0  # events a second, on a schedule
    single: bool = False  # one event, and the next when it has been written to all
    seconds: float = 1.0
    size: int = 100  # bytes of JSON of an event's data
    quit: bool = False


async def one_turn() -> None:
    """Until what `publish` has written is with the kernel, for servers whose `publish` writes at once."""
    await asyncio.sleep(0)


def listen() -> socket.socket:
    """A listening socket on a free port of 127.0.0.1."""
    return socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)


def port_of(listening: socket.socket) -> int:
    """Where it listens."""
    return int(listening.getsockname()[1])


def event(n: int, due: int, size: int) -> dict[str, Any]:
    """The data of event `n`, due at `due` (nanoseconds of CLOCK_MONOTONIC): `size` bytes, when JSON is made of it."""
    return {"n": n, "t": due, "pad": "x" * (size - len(f'{{"n":{n},"t":{due},"pad":""}}'))}


encode = msgspec.json.Encoder().encode


def poll_body(size: int = 100) -> bytes:
    """An answer to a poll that is as long as everywire's is: one event in the same envelope."""
    around = b'[{"type":"event","id":"abcdef.1","channel":"bench","at":1763850000.1234567,"data":%b}]'
    return around % encode(event(0, time.monotonic_ns(), size))


async def obey(
    publish: Publish, port: int, *, settle: Settle = one_turn, paths: dict[str, str] | None = None, end: Settle | None = None
) -> None:
    """Say where the subject listens, then do what standard input says; the process ends where that ends.

    Args:
        publish: sends one event to all readers, or sees to it.
        port: of 127.0.0.1, where the subject listens.
        settle: returns when what was published before has been written to all readers.
        paths: where the readers go, by wire, if not to `/ws`, `/sse`, `/poll` and `/wait`.
        end: ends what else was started.
    """
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    _say({"listening": port, "paths": paths or {}})
    while line := await lines.readline():
        order = msgspec.json.decode(line, type=Order)
        if order.quit:
            break
        began = time.monotonic()
        sent = await (_one_by_one(order, publish, settle) if order.single else _offer(order, publish))
        _say({"sent": sent, "seconds": time.monotonic() - began})
    if end is not None:
        await end()
    os._exit(0)  # at once: what a server does when it is stopped is not measured here


async def _offer(order: Order, publish: Publish) -> int:
    total, began, sent = round(order.rate * order.seconds), time.monotonic_ns(), 0
    gap = 1e9 / order.rate
    while sent < total:
        due = min(total, int((time.monotonic_ns() - began) / gap) + 1)
        for n in range(sent, due):
            done = publish(event(n, began + int(n * gap), order.size))
            if inspect.isawaitable(done):
                await done
        late, sent = due > sent, due
        await asyncio.sleep(0 if late else max(_TICK, (began + sent * gap - time.monotonic_ns()) / 1e9))
    return sent


async def _one_by_one(order: Order, publish: Publish, settle: Settle) -> int:
    until, sent = time.monotonic() + order.seconds, 0
    while time.monotonic() < until:
        done = publish(event(sent, time.monotonic_ns(), order.size))
        if inspect.isawaitable(done):
            await done
        await settle()
        sent += 1
    return sent


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(encode(answer).decode() + "\n")
    sys.stdout.flush()
