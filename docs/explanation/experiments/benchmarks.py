"""What `reference/benchmarks.md` shows, out of what runs of the benchmarks have kept in directories `bench-…`.

    python docs/explanation/experiments/benchmarks.py bench-… bench-…    # keeps what is used of them, and makes the tables

A measure that a run has made anew is taken from it alone, so that a column is of one run; all others stay as they were kept.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).parents[2]
sys.path[:0] = [str(DOCS.parent)]

import pages

from tests.benchmarks.fit import power_law
from tests.benchmarks.rows import BY_NAME
from tests.benchmarks.table import amount

PAGE: Final = DOCS / "reference" / "benchmarks.md"
KEPT: Final = DOCS / "reference" / "benchmarks.json"
MUCH: Final = 0.2  # of a median: half of the distance between the lowest and the highest is told where it is over that
SPOILT: Final = 0.1  # of the time, for which the server was kept from its core
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
SHOWN: Final = {column[:3] for column in COLUMNS.values()}
ROWS: Final = (
    *("everywire", "everywire-asyncio", "everywire-off", "c", "nchan", "picows", "aiohttp", "websockets", "ws", "socket.io"),
    *("uvicorn", "hypercorn", "python-socketio"),
)
CROWDS: Final = (100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)  # readers, to whom a delivery is compared
SAID: Final = {("publish", "", 0.0), *(("flatness", "ws", crowd) for crowd in CROWDS)}  # of everywire, in sentences
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


def keep(before: dict[str, Any], runs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What was kept before, with what is used of further runs."""
    for run in runs:
        made = [
            [each["measure"], each["subject"], each["wire"], each["at"], each["value"], round(each["waited"], 2)]
            for each in run["samples"]
            if _used(each)
        ]
        anew = {each[0] for each in made}
        others = [{**each, "measures": [name for name in each["measures"] if name not in anew]} for each in before["runs"]]
        this = {**{name: run[name] for name in ("began", "seconds", "machine", "versions")}, "measures": sorted(anew)}
        before = {
            "runs": [each for each in (*others, this) if each["measures"]],
            "samples": [*(each for each in before["samples"] if each[0] not in anew), *made],
        }
    return before


def _used(sample: dict[str, Any]) -> bool:
    what, who = (sample["measure"], sample["wire"], sample["at"]), sample["subject"]
    return (who in ROWS and what in SHOWN) or (who == "everywire" and what in SAID)


def cell(values: list[float], unit: str) -> str:
    """The median of some repeats, and how far they lie apart, if that is much."""
    if not values:
        return "–"
    middle = statistics.median(values)
    spread = (max(values) - min(values)) / 2 / middle
    return f"{amount(middle, unit)}{f' (±{spread:.0%})' if spread > MUCH else ''}"


def values(kept: dict[str, Any], measure: str, row: str, wire: str = "ws", at: float = 0.0) -> list[float]:
    """What the repeats gave."""
    return [each[4] for each in kept["samples"] if each[:4] == [measure, row, wire, at] and each[4] is not None]


def of(kept: dict[str, Any], column: str, row: str) -> list[float]:
    """What the repeats gave, in a column of the table."""
    measure, wire, at, _ = COLUMNS[column]
    return values(kept, measure, row, wire, at)


def table(kept: dict[str, Any]) -> str:
    """What was measured, as Markdown; who was not, has no row."""
    every = {row: {column: of(kept, column, row) for column in COLUMNS} for row in ROWS}
    rows = [
        [BY_NAME[row].title, *(cell(found, COLUMNS[column][3]) for column, found in cells.items())]
        for row, cells in every.items()
        if any(cells.values())
    ]
    return pages.table([["", *COLUMNS], *rows])


def held(kept: dict[str, Any]) -> str:
    """What that is of what, as Markdown, and whether it is as much as it should be."""
    rows = []
    for column, ours, other, way, wanted in HELD:
        is_ = share(kept, column, other, ours)
        kept_to = is_ >= wanted if way == ">=" else is_ <= wanted
        should = f"{'at least' if way == '>=' else 'at most'} {wanted:g}"
        whose = f"{column}: {BY_NAME[ours].title}"
        rows.append([whose, BY_NAME[other].title, f"{is_:.2f}", should, "yes" if kept_to else "**no**"])
    return pages.table([["", "of", "is", "should be", ""], *rows])


def runs(kept: dict[str, Any]) -> str:
    """How often, when, on what and with what it was measured, and how much of it was spoilt."""
    repeats: dict[str, int] = {}
    for each, times in Counter(tuple(each[:4]) for each in kept["samples"]).items():
        repeats[each[0]] = max(times, repeats.get(each[0], 0))
    usual = statistics.mode(repeats.values())
    fewer = ", ".join(f"{name}: {times}" for name, times in sorted(repeats.items()) if times != usual)
    where: dict[str, list[str]] = {}
    for run in kept["runs"]:
        where.setdefault(_where(run), []).extend(run["measures"])
    measured = [
        f"{', '.join(sorted(measures)).capitalize()}: measured {place}." if len(where) > 1 else f"Measured {place}."
        for place, measures in where.items()
    ]
    spoilt = sum(each[5] > SPOILT for each in kept["samples"])
    return "\n".join(
        [
            f"Medians of {usual} repeats{f' ({fewer})' if fewer else ''}, in which all who are compared took turns.",
            *measured,
            f"With {', '.join(_versions(kept))}.",
            f"In {spoilt} of {len(kept['samples'])} measurements shown here others, or the host of a virtual machine,",
            "kept the server from its core for more than a tenth of the time, after three tries.",
        ]
    )


def _where(run: dict[str, Any]) -> str:
    machine = run["machine"]
    kernel = re.match(r"\d+\.\d+", machine["kernel"])
    on = f"{machine['cores']} cores ({machine['processor']}), Linux {kernel[0] if kernel else ''}, Python {machine['python']}"
    return f"on {run['began'][:10]}, on a machine of {on}"


def _versions(kept: dict[str, Any]) -> list[str]:
    """Each package with its version, or all that runs had; of Debian's, what the version is of."""
    found: dict[str, list[str]] = {}
    for packages in (packages for run in kept["runs"] for packages in run["versions"].values()):
        for name, version in packages.items():
            found.setdefault(name, []).append(re.sub(r"^\d+:|[+~-].*$", "", version))
    return [f"{name} {' and '.join(dict.fromkeys(versions))}" for name, versions in sorted(found.items())]


def share(kept: dict[str, Any], column: str, other: str, row: str = "everywire") -> float:
    """What the median of one is of that of another."""
    return statistics.median(of(kept, column, row)) / statistics.median(of(kept, column, other))


def figures() -> dict[str, str]:
    """What stands in sentences, by `script.name`."""
    kept = load()
    curve = [(crowd, statistics.median(values(kept, "flatness", "everywire", at=crowd))) for crowd in CROWDS]
    cpu = {row: statistics.median(of(kept, "CPU for a million", row)) for row in ("everywire", "uvicorn", "c")}
    poll = {row: 1e6 / statistics.median(of(kept, "polls", row)) for row in ("everywire", "everywire-off", "hypercorn")}
    memory = {row: statistics.median(of(kept, "memory, 10,000 WebSockets", row)) for row in ("everywire-off", "hypercorn")}
    connects = of(kept, "2,000 connects", "everywire")
    made = {
        "over-nchan": f"{share(kept, 'saturation, WebSocket, 50 ms', 'nchan'):.0f}",
        "over-socketio": f"{share(kept, 'saturation, WebSocket, 50 ms', 'socket.io'):.0f}",
        "single-of-c": f"{share(kept, 'one event per write', 'c'):.2f}",
        "polls-of-c": f"{share(kept, 'polls', 'c'):.2f}",
        "delivery-100": amount(curve[0][1], "us"),
        "delivery-10000": amount(curve[-1][1], "us"),
        "exponent": f"{power_law(curve).exponent:.2f}",
        "publish": amount(statistics.median(values(kept, "publish", "everywire", "")), "us"),
        "connects-from": amount(min(connects), "s"),
        "connects-to": amount(max(connects), "s"),
        "connects-of-hypercorn": f"{share(kept, '2,000 connects', 'hypercorn'):.2f}",
        "cpu": amount(cpu["everywire"], "s"),
        "cpu-half-of-uvicorn": amount(cpu["uvicorn"] / 2, "s"),
        "cpu-c": amount(cpu["c"], "s"),
        "off-cpu": f"{share(kept, 'CPU for a million', 'hypercorn', 'everywire-off'):.2f}",
        "off-memory": amount(memory["everywire-off"] - memory["hypercorn"], "B"),
        "poll-off": amount(poll["everywire-off"], "us"),
        "poll-plain": amount(poll["hypercorn"], "us"),
        "poll-front": amount(poll["everywire"], "us"),
    }
    return {f"benchmarks.{name}": figure for name, figure in made.items()}


def tables() -> dict[str, str]:
    """What stands in the places of the page."""
    kept = load()
    return {"runs": runs(kept), "figures": f"{table(kept)}\n\n{held(kept)}"}


def written(text: str) -> str:
    """The text of the page, with the tables."""
    return pages.put(text, tables())


def load() -> dict[str, Any]:
    """What is kept: the runs that something is used of, and the samples."""
    return dict(json.loads(KEPT.read_text("utf-8"))) if KEPT.exists() else {"runs": [], "samples": []}


def save(kept: dict[str, Any]) -> None:
    """Keep it, a sample a line."""
    KEPT.write_text(json.dumps(kept, separators=(",", ":"), ensure_ascii=False).replace('],["', '],\n["') + "\n", "utf-8")


if __name__ == "__main__":
    save(keep(load(), [json.loads((Path(run) / "bench.json").read_text("utf-8")) for run in sys.argv[1:]]))
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
