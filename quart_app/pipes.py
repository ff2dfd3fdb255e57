"""Pipes: `everywire publish` and `everywire tail`, between standard streams and a server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import BinaryIO

import click
import msgspec

from transports.client import connect, publisher
from transports.items import Lost

from .sources import encode_line

_ROOM = 1000  # lines read ahead of what has been published
_TOGETHER = 100  # lines in one request at the most
_BYTES = 32_768  # of lines in one request, below the server's default limit of 64 KiB with what goes around them
_END = b""  # no line's JSON is empty


async def publish_lines(
    url: str,
    channel: str,
    lines: BinaryIO,
    *,
    rate: float | None = None,
    about: str | None = None,
    ca: str | None = None,
    token: str | None = None,
) -> None:
    """Publish every line that is not empty, `rate` a second or as fast as they come; say how many at the end."""
    count = 0
    try:
        async with publisher(url, ca=ca, token=token) as publish:
            async for bundle in _bundles(lines, rate):
                await publish([(channel, msgspec.Raw(line), None, about) for line in bundle])
                count += len(bundle)
    finally:
        click.echo(f"published {count} to {channel}", err=True)


async def _bundles(lines: BinaryIO, rate: float | None) -> AsyncIterator[list[bytes]]:
    """The JSON of lines: as many at once as have come in and fit, or one at a time on a schedule."""
    queue: asyncio.Queue[bytes] = asyncio.Queue(_ROOM)
    loop = asyncio.get_running_loop()

    def put(line: bytes) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()

    def read() -> None:  # a pipe cannot be waited for in every event loop; a thread always can, and dies with the process
        try:
            for line in lines:
                if (body := encode_line(line)) is not None:
                    put(body)
        finally:
            put(_END)

    threading.Thread(target=read, daemon=True).start()
    due = loop.time()
    line = await queue.get()
    while line != _END:
        bundle, size, left_over = [line], len(line), None
        if rate:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due += 1 / rate
        while not rate and left_over is None and len(bundle) < _TOGETHER and not queue.empty():
            line = queue.get_nowait()
            if line == _END or size + len(line) > _BYTES:
                left_over = line
            else:
                bundle.append(line)
                size += len(line)
        yield bundle
        line = await queue.get() if left_over is None else left_over


async def print_events(
    url: str,
    channels: Sequence[str],
    *,
    transport: str = "auto",
    since: str | None = None,
    latest: bool = False,
    count: int | None = None,
    wire: bool = False,
    ca: str | None = None,
    token: str | None = None,
    verbose: bool = False,
) -> None:
    """Print events as JSON lines on standard output; on standard error what is lost and, if `verbose`, how things stand
    whenever that changes, and all the evidence at the end.
    """

    def on_lost(lost: Lost) -> None:
        click.echo(f"lost: {lost.channel} after {lost.after} through {lost.through} ({lost.reason})", err=True)

    def on_state(state: str) -> None:
        if verbose:
            click.echo(f"{state}: {stream.sentence}", err=True)

    def tap(name: str, data: bytes) -> None:
        if wire:
            click.echo(f"{name} {len(data)} bytes: {data!r}")

    stream = connect(
        url,
        channels,
        latest=channels if latest else (),
        since=since,
        transport=transport,
        ca=ca,
        token=token,
        on_lost=on_lost,
        on_state=on_state,
        tap=tap,
    )
    try:
        async with stream:
            async for event in stream:
                if not wire:
                    click.echo(msgspec.json.encode(event))
                if count is not None and (count := count - 1) == 0:
                    return
    finally:
        if verbose:
            click.echo(msgspec.json.encode(stream.evidence), err=True)
