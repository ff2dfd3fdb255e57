"""All attacks, in the order and under the titles of the security model: `python -m tests.attacks.everything` writes it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

from . import credentials, lines, loads, pages, rights
from .guards import GUARDS
from .stage import EDGES, SERVERS
from .table import ATTACKS, ONCE, Attack

TITLES: Final[dict[ModuleType, str]] = {
    pages: "By pages of others",
    rights: "By those who may be here",
    credentials: "With what is shown",
    lines: "With bytes",
    loads: "With too much",
}
PAGE: Final = Path(__file__).parents[2] / "docs" / "explanation" / "security-model.md"
MARK: Final = "<!-- what follows is written by tests/attacks/everything.py -->"
HEAD: Final = ("| attack | guard | code | over |", "|---|---|---|---|")
NAMES: Final = {"ws": "WebSocket", "sse": "SSE", "poll": "polls"}


def row(attack: Attack) -> str:
    """A row of the table: what is tried, what stops it, where that is, and over which transports it is tried at which edges."""
    guards = [GUARDS[name] for name in attack.guards]
    code = dict.fromkeys(f"`{each.code}`: `{each.name}`" for each in guards)
    over = "HTTP" if attack.over == ONCE else ", ".join(NAMES[path] for path in attack.over)
    over += {EDGES: "", SERVERS: "; every server", EDGES[:1]: "; the front only"}[attack.edges]
    what = " ".join(inspect.getdoc(attack.run).split())
    return f"| **{attack.name}**: {what} | {'; '.join(attack.guards)} | {'; '.join(code)} | {over} |"


def tables() -> Iterator[str]:
    """The lines of the tables, with their titles."""
    for module, title in TITLES.items():
        yield from ("", f"### {title}", "", *HEAD)
        yield from (row(each) for each in ATTACKS.values() if each.run.__module__ == module.__name__)


def page() -> str:
    """The security model as it ought to be."""
    before, mark, _ = PAGE.read_text().partition(MARK)
    return f"{before}{mark}\n" + "\n".join(tables()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
