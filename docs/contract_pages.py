"""Make the pages of the contract, and the documents beside them, out of the code's own tables.

python docs/contract_pages.py
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from transports.conformance import CHECKS, Check

HERE: Final = Path(__file__).parent
REFERENCE: Final = HERE / "reference"


def pages() -> dict[Path, str]:
    """Each file that is made, with its text."""
    jinja = Environment(
        loader=FileSystemLoader(HERE / "templates"), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    jinja.filters["merged"] = merged
    return {REFERENCE / "conformance.md": jinja.get_template("conformance.md.j2").render(checks=CHECKS)}


def merged(checks: Iterable[Check]) -> list[tuple[str, str, str]]:
    """A row for each check: its name, over what it looks, and what it says."""
    rows: dict[str, tuple[list[str], str]] = {}
    for check in checks:
        name, _, transport = check.name.partition("/")
        rows.setdefault(name, ([], check.says))[0].append(transport)
    return [(name, ", ".join(filter(None, over)), says) for name, (over, says) in rows.items()]


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
