"""Puts all that was kept into the pages of the documentation: the tables, and the figures that stand in sentences.

    python docs/explanation/experiments/figures.py

Measures nothing, and changes nothing that is as it should be.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]
sys.path[:0] = [str(HERE), str(ROOT)]

import pages

SHEETS: Final = (
    "costs",
    "counting",
    "details",
    "first_event",
    "formats",
    "hostile",
    "hosts",
    "limits",
    "memory",
    "redis_latency",
    "schemas",
    "spent",
    "who_and_what",
)
OTHERS: Final = ("benchmarks", "capacity", "choosing", "slow_readers")  # they keep in a way of their own


class Source(NamedTuple):
    """What a script has kept, and shows."""

    name: str
    page: Path
    tables: Callable[[], dict[str, str]]  # what stands in the places of its page
    written: Callable[[str], str]  # the text of the page, with them
    figures: Callable[[], dict[str, str]]  # what stands in sentences of any page, by `script.name`


@cache
def sources() -> list[Source]:
    """All scripts that keep something."""
    found = []
    for name in SHEETS:
        sheet = importlib.import_module(name).SHEET
        found.append(Source(name, sheet.page, sheet.shown, sheet.written, sheet.figures))
    for name in OTHERS:
        module = importlib.import_module(name)
        figures = getattr(module, "figures", dict)
        found.append(Source(name, module.PAGE.resolve(), module.tables, module.written, figures))
    return found


@cache
def figures() -> dict[str, str]:
    """All that stands in sentences, by `script.name`."""
    return {name: figure for source in sources() for name, figure in source.figures().items()}


def written(page: Path) -> str:
    """The text of a page as it should be."""
    text = page.read_text("utf-8")
    for source in sources():
        text = source.written(text) if source.page == page.resolve() else text
    return pages.fill(text, figures())


if __name__ == "__main__":
    for each in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]):
        if (there := each.read_text("utf-8")) != (made := written(each)):
            each.write_text(made, "utf-8")
            print(each.relative_to(ROOT))
