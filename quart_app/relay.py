"""`everywire proxy`: a bad network in the foreground, told by its standard input to become another one."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal, TextIO
from urllib.parse import urlsplit

import click

from transports.errors import ConfigError
from transports.networks import NETWORKS, Network, Passage

_LOOK: Final = 0.1  # seconds between two looks at what passed
_LINE: Final = 160  # bytes of a passage
_CUTS: Final[dict[str, Literal["reset", "close", "forget"]]] = {"cut": "reset", "close": "close", "forget": "forget"}


def table() -> str:
    """The networks that there are, one a line."""
    width = max(map(len, NETWORKS))
    return "\n".join(f"{each.name:{width}}  {each.wins or '(nothing)':10} {each.does}" for each in NETWORKS.values())


async def play(network: Network, *, wire: bool, ca: Path | None) -> None:
    """Play a network until it is interrupted. Raises: ClickException, it cannot begin."""
    if ca is not None:
        _save(network, ca)
    async with AsyncExitStack() as stack:
        url = await _enter(network, stack)
        _say_where(network, url)
        if ca is not None:
            click.echo(f"  trust {ca} to get through", err=True)
        watch = asyncio.create_task(_print(network)) if wire else None
        try:
            async for line in _lines(sys.stdin):
                _obey(network, line)
            await asyncio.Event().wait()
        finally:
            if watch is not None:
                watch.cancel()


def _save(network: Network, ca: Path) -> None:
    try:
        network.save_authority(ca)
    except OSError as error:
        raise click.ClickException(f"cannot write {ca}: {error.strerror}") from error


async def _enter(network: Network, stack: AsyncExitStack) -> str:
    where = urlsplit(network.proxy or network.url).netloc
    try:
        return await stack.enter_async_context(network)
    except OSError as error:
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror  # asyncio's own words repeat the address
        hint = " Another --port may be free." if number == errno.EADDRINUSE else ""
        raise click.ClickException(f"cannot listen on {where}: {why}.{hint}") from error


def _say_where(network: Network, url: str) -> None:
    host, port = network.upstream
    if network.proxy is not None:
        click.echo(f"everywire plays {network.profile.name} as a forward proxy at {network.proxy}, to {host}:{port} only")
    else:
        click.echo(f"everywire plays {network.profile.name} at {url}, in front of {host}:{port}")
    click.echo(f"  {network.profile.does}", err=True)
    if sys.stdin is not None and sys.stdin.isatty():
        click.echo("  Type another network's name, or: cut, close, forget. Ctrl-C ends it.", err=True)


def _obey(network: Network, line: str) -> None:
    """Do what a line says; what makes no sense is answered, and changes nothing."""
    try:
        if line in _CUTS:
            click.echo(f"{line}: {network.cut(_CUTS[line])} connections", err=True)
        elif line:
            network.switch(line)
            click.echo(f"{network.profile.name}: {network.profile.does}", err=True)
    except ConfigError as error:
        near = get_close_matches(line, _CUTS, 1)
        click.echo(f"{error}{f' (or the command {near[0]!r}?)' if near else ''}", err=True)


async def _lines(source: TextIO | None) -> AsyncIterator[str]:
    """The lines of standard input as they come; none, if it belongs to somebody else now."""
    if source is None or (source.isatty() and os.getpgrp() != os.tcgetpgrp(source.fileno())):
        return
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def read() -> None:  # a thread, because not every input can be waited for; it dies with the process
        for line in source:
            loop.call_soon_threadsafe(queue.put_nowait, line.strip())
        loop.call_soon_threadsafe(queue.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line


async def _print(network: Network) -> None:
    """Print what passes, as it passes."""
    seen = 0
    while True:
        seen, passages = network.record.passages(seen)
        for passage in passages:
            click.echo(_line(passage))
        await asyncio.sleep(_LOOK)


def _line(passage: Passage) -> str:
    held = passage.passed - passage.came
    late = f" held {held:.3f} s" if held >= 0.0005 else ""
    arrow = {"open": "+", "close": "x"}.get(passage.kind, ">" if passage.up else "<")
    bytes_ = f" {len(passage.raw)} bytes{late}: {passage.raw[:_LINE]!r}" if passage.raw else ""
    at = datetime.fromtimestamp(passage.passed).astimezone().strftime("%H:%M:%S.%f")[:-3]
    return f"{at} #{passage.connection} {arrow} {passage.kind}{bytes_}"
