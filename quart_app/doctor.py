"""How `everywire doctor` shows what it sees: a line while it looks, and then a table, a sentence and the lines to paste."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import click
import msgspec

from transports.doctor import Cell, Mend, Report, Row, examine, report
from transports.evidence import label

_TICK: Final = 0.25  # seconds from one look of the live line to the next
_WIDTH: Final = 78  # columns of it
_COLUMNS: Final = ("handshake", "proof", "buffering", "life", "idle")
_COLOURS: Final = {"ok": "green", "bad": "red", "unknown": "bright_black"}
_HEADINGS: Final = {0: "green", 10: "yellow", 20: "red"}


async def look(url: str, *, as_json: bool = False, **wanted: Any) -> int:
    """Examine, show the report on standard output, and give the exit code."""
    progress = Progress()
    ticking = asyncio.create_task(progress.tick())
    try:
        found = report(await examine(url, tell=progress.tell, **wanted))
    finally:
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        progress.end()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        for line in page(found):
            click.echo(line, color=_coloured())
    return found.exit


def _coloured() -> bool | None:
    """As click finds out for itself, unless somebody wants none."""
    return False if os.environ.get("NO_COLOR") else None


class Progress:
    """What is being looked at, on standard error: one line that changes on a terminal, a line for each probe elsewhere."""

    def __init__(self) -> None:
        self.under_way: list[str] = []
        self._live = sys.stderr is not None and sys.stderr.isatty()
        self._began = time.monotonic()

    def tell(self, name: str, done: bool) -> None:
        """A probe began, or is done."""
        if not done:
            self.under_way.append(name)
            return
        self.under_way.remove(name)
        if not self._live:
            click.echo(f"{self._seconds()} looked at {name}", err=True)

    async def tick(self) -> None:
        """Keep the line fresh, until it is cancelled."""
        while self._live:
            text = f"{self._seconds()} looking at {', '.join(self.under_way)}"
            click.echo(f"\r{text[:_WIDTH]:{_WIDTH}}", err=True, nl=False)
            await asyncio.sleep(_TICK)

    def end(self) -> None:
        """Take the line away."""
        if self._live:
            click.echo(f"\r{'':{_WIDTH}}\r", err=True, nl=False)

    def _seconds(self) -> str:
        return f"{time.monotonic() - self._began:5.1f} s"


def page(found: Report) -> Iterator[str]:
    """The lines of the report."""
    yield from _table(found.transports)
    yield ""
    yield click.style(found.sentence, fg=_HEADINGS[found.exit], bold=True)
    if aside := [each.words for each in found.findings if each.words not in found.sentence and not _in_table(each.words, found)]:
        yield from ["", *(f"- {words}" for words in aside)]
    if seen := [*_servers(found), *(f"{name}: {text}" for name, text in found.facts.items())]:
        yield from ["", *seen]
    yield from _mends(found)


def _in_table(words: str, found: Report) -> bool:
    return any(words.rstrip(".").lower() == row.words.lower() for row in found.transports)


def _table(rows: Sequence[Row]) -> Iterator[str]:
    table = [["", *_COLUMNS, "verdict"], *([label(row.transport), *map(_cell, _cells(row)), _verdict(row)] for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]) - 1)]
    for line, row in zip(table, [None, *rows], strict=True):
        colours = (
            [None, *(_COLOURS[cell.state] for cell in _cells(row)), _COLOURS["ok" if row.verdict == "ok" else "bad"]]
            if row
            else []
        )
        padded = [*(f"{text:{width}}" for text, width in zip(line, widths, strict=False)), line[-1]]
        yield "  ".join(
            click.style(text, fg=fg) for text, fg in zip(padded, colours or [None] * len(padded), strict=True)
        ).rstrip()


def _cells(row: Row) -> list[Cell]:
    return [row.handshake, row.proof, row.buffering, row.life, row.idle]


def _cell(cell: Cell) -> str:
    if cell.words:
        return cell.words
    if cell.state == "unknown":
        return "-"
    if cell.seconds is None:
        return "no" if cell.state == "bad" else "-"
    return f"{cell.seconds * 1000:.0f} ms"


def _verdict(row: Row) -> str:
    """The words without the name, which stands at the beginning of the line."""
    return row.words.removeprefix(label(row.transport)).strip()


def _servers(found: Report) -> list[str]:
    said = [f"{server.name} ({server.seen})" for server in found.servers] + found.strangers
    return [f"on the way: {', '.join(said)}"] if said else []


def _mends(found: Report) -> Iterator[str]:
    names = list(dict.fromkeys(mend.server for mend in found.mends if mend.server != "client"))
    if len(names) > 1:
        yield ""
        yield f"These lines should mend it, in whichever of {', '.join(names)} stands in the way:"
    for mend in found.mends:
        yield from ["", click.style(_place(mend), bold=True), *(f"    {line}" for line in mend.lines)]
    if any("BACKEND" in line for mend in found.mends for line in mend.lines):
        yield from ["", "BACKEND is the address and port of the server itself."]


def _place(mend: Mend) -> str:
    name = "" if mend.server == "client" else f"{mend.server}: "
    return f"{name}in {mend.where}"
