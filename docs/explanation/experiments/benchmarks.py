"""The tables of figures in `reference/benchmarks.md`, out of what runs of `make bench` have kept in directories `bench-…`.

python docs/explanation/experiments/benchmarks.py bench-… bench-…    # keeps what is used of them, and puts it into the pages
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).parents[2]
sys.path[:0] = [str(DOCS.parent)]

import pages

from tests.benchmarks.rows import BY_NAME
from tests.benchmarks.table import amount

PAGE: Final = DOCS / "reference" / "benchmarks.md"
KEPT: Final = DOCS / "reference" / "benchmarks.json"
MUCH: Final = 0.2  # of a median: half of the distance between the lowest and the highest is told where it is over that
# What a column is called, and of which samples it is: measure, wire, at, unit.
COLUMNS: Final = {
    "saturation, WebSocket, 50 ms": ("saturation", "ws", 50.0, "/s"),
    "saturation, SSE, 50 ms": ("saturation", "sse", 50.0, "/s"),
    "one event per write": ("single", "ws", 0.0, "/s"),
    "polls": ("polls", "poll", 0.0, "/s"),
    "2,000 connects": ("connects", "ws", 0.0, "s"),
    "CPU for a million": ("cpu", "ws", 0.0, "s"),
    "memory, 10,000 WebSockets": ("memory", "ws", 10_000.0, "B"),
}
ROWS: Final = (
    *("everywire", "everywire-asyncio", "everywire-off", "c", "nchan", "picows", "aiohttp", "websockets", "ws", "socket.io"),
    *("uvicorn", "hypercorn", "python-socketio"),
)
# What is held against what: a column, ours, the other, and by how much ours should be of it at the least, or at the most.
HELD: Final = (
    ("saturation, WebSocket, 50 ms", "everywire", "nchan", ">=", 10.0),
    ("saturation, WebSocket, 50 ms", "everywire", "socket.io", ">=", 30.0),
    ("saturation, SSE, 50 ms", "everywire", "nchan", ">=", 10.0),
    ("one event per write", "everywire", "hypercorn", ">=", 4.5),
    ("one event per write", "everywire", "c", ">=", 0.85),
    ("one event per write", "everywire", "picows", ">=", 1.0),
    ("one event per write", "everywire-off", "hypercorn", ">=", 0.95),
    ("polls", "everywire", "hypercorn", ">=", 15.0),
    ("polls", "everywire", "c", ">=", 0.6),
    ("polls", "everywire-off", "hypercorn", ">=", 0.95),
    ("2,000 connects", "everywire", "hypercorn", "<=", 0.25),
    ("2,000 connects", "everywire", "ws", "<=", 1.0),
    ("CPU for a million", "everywire", "ws", "<=", 1.0),
    ("CPU for a million", "everywire", "uvicorn", "<=", 0.5),
    ("CPU for a million", "everywire-off", "hypercorn", "<=", 1.05),
    ("memory, 10,000 WebSockets", "everywire", "nchan", "<=", 0.6),
)


def keep(runs: Iterable[Path]) -> dict[str, Any]:
    """What is used of runs. A measure that a later run has made anew is taken from it alone: a column is of one run."""
    found = [json.loads((run / "bench.json").read_text()) for run in runs]
    wanted = {column[:3] for column in COLUMNS.values()}
    last = {each["measure"]: number for number, run in enumerate(found) for each in run["samples"]}
    samples = [
        [each["measure"], each["subject"], each["wire"], each["at"], each["value"], round(each["waited"], 2)]
        for number, run in enumerate(found)
        for each in run["samples"]
        if (each["measure"], each["wire"], each["at"]) in wanted and each["subject"] in ROWS and last[each["measure"]] == number
    ]
    return {
        "runs": [{name: run[name] for name in ("began", "seconds", "machine", "versions")} for run in found],
        "samples": samples,
    }


def cell(values: list[float], unit: str) -> str:
    """The median of some repeats, and how far they lie apart, if that is much."""
    if not values:
        return "–"
    middle = statistics.median(values)
    spread = (max(values) - min(values)) / 2 / middle
    return f"{amount(middle, unit)}{f' (±{spread:.0%})' if spread > MUCH else ''}"


def of(kept: dict[str, Any], column: str, row: str) -> list[float]:
    """What the repeats gave."""
    measure, wire, at, _ = COLUMNS[column]
    return [each[4] for each in kept["samples"] if each[:4] == [measure, row, wire, at] and each[4] is not None]


def table(kept: dict[str, Any]) -> str:
    """What was measured, as Markdown; who was not, has no row."""
    found = {row: {column: of(kept, column, row) for column in COLUMNS} for row in ROWS}
    rows = [
        [BY_NAME[row].title, *(cell(values, COLUMNS[column][3]) for column, values in cells.items())]
        for row, cells in found.items()
        if any(cells.values())
    ]
    return pages.table([["", *COLUMNS], *rows])


def held(kept: dict[str, Any]) -> str:
    """What that is of what, as Markdown, and whether it is as much as it should be."""
    rows = []
    for column, ours, other, way, wanted in HELD:
        is_ = statistics.median(of(kept, column, ours)) / statistics.median(of(kept, column, other))
        kept_to = is_ >= wanted if way == ">=" else is_ <= wanted
        should = f"{'at least' if way == '>=' else 'at most'} {wanted:g}"
        whose = f"{column}: {BY_NAME[ours].title}"
        rows.append([whose, BY_NAME[other].title, f"{is_:.2f}", should, "yes" if kept_to else "**no**"])
    return pages.table([["", "of", "is", "should be", ""], *rows])


def tables() -> dict[str, str]:
    """What stands in the place of the page."""
    kept = json.loads(KEPT.read_text())
    return {"figures": f"{table(kept)}\n\n{held(kept)}"}


def written(text: str) -> str:
    """The text of the page, with the tables."""
    return pages.put(text, tables())


if __name__ == "__main__":
    KEPT.write_text(
        json.dumps(keep(map(Path, sys.argv[1:])), indent=None, separators=(",", ":")).replace('],["', '],\n["') + "\n"
    )
    PAGE.write_text(written(PAGE.read_text()))
