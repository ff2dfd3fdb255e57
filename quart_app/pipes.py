"""Pipes: `everywire publish` and `everywire tail`, between standard streams and a server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any, TextIO

import click
import msgspec

from transports.client import Stream, connect, publisher
from transports.items import Lost

from .sources import parse_line

_ROOM = 1000  # lines read ahead of what has been published
_TOGETHER = 100  # lines in one request at the most
_BYTES = 32_768  # of lines in one request, below the server's default limit of 64 KiB with what goes around them


async def publish_lines(url: str, channel: str, lines: TextIO, *, rate: float | None = None, ca: str | None = None) -> int:
    """Publish every line that is not empty, `rate` a second or as fast as they come; the number published."""
    count = 0
    async with publisher(url, ca=ca) as publish:
        async for values in _bundles(lines, rate):
            await publish([(channel, value, None) for value in values])
            count += len(values)
    return count


async def _bundles(lines: TextIO, rate: float | None) -> AsyncIterator[list[Any]]:
    """The values of lines, as many at once as have come in, or one at a time on a schedule."""
    queue: asyncio.Queue[Any] = asyncio.Queue(_ROOM)
    loop = asyncio.get_running_loop()

    def read() -> None:  # a pipe cannot be waited for in every event loop; a thread always can, and dies with the process
        for line in lines:
            if (value := parse_line(line)) is not None:
                asyncio.run_coroutine_threadsafe(queue.put(value), loop).result()
        asyncio.run_coroutine_threadsafe(queue.put(_END), loop).result()

    threading.Thread(target=read, daemon=True).start()
    due = loop.time()
    while (value := await queue.get()) is not _END:
        values, size = [value], len(msgspec.json.encode(value))
        if rate:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due += 1 / rate
        while not rate and len(values) < _TOGETHER and size < _BYTES and not queue.empty():
            following = queue.get_nowait()
            if following is _END:
                yield values
                return
            values.append(following)
            size += len(msgspec.json.encode(following))
        yield values


_END = object()


async def print_events(
    url: str,
    channels: Sequence[str],
    *,
    transport: str = "auto",
    since: str | None = None,
    count: int | None = None,
    wire: bool = False,
    ca: str | None = None,
    verbose: bool = False,
) -> None:
    """Print events as JSON lines on standard output, what is lost and (`verbose`) every change of state on standard
    error.
    """

    def on_lost(lost: Lost) -> None:
        click.echo(f"lost: {lost.channel} after {lost.after} through {lost.through} ({lost.reason})", err=True)

    def on_state(state: str) -> None:
        if verbose:
            click.echo(f"{state}: {_why(stream)}", err=True)

    def tap(name: str, data: bytes) -> None:
        if wire:
            click.echo(f"{name} {len(data)} bytes: {data!r}")

    stream = connect(url, channels, since=since, transport=transport, ca=ca, on_lost=on_lost, on_state=on_state, tap=tap)
    async with stream:
        async for event in stream:
            if not wire:
                click.echo(msgspec.json.encode(event))
            if count is not None and (count := count - 1) == 0:
                return


def _why(stream: Stream) -> str:
    last = f"; before: {stream.evidence[-1].transport} {stream.evidence[-1].outcome}" if stream.evidence else ""
    return f"{stream.transport or 'no transport yet'} at {stream.position or 'no position yet'}{last}"
