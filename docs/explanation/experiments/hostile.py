"""By the hundred thousand: malformed requests, readers who come and go, and a soak; what was answered, and what is left behind.

    python docs/explanation/experiments/hostile.py            # all of it, forty minutes; prints tables
    python docs/explanation/experiments/hostile.py churn      # one part; or `fuzz`, `soak`, `front`, `plain`
    python docs/explanation/experiments/hostile.py --write    # keeps it in hostile.json, for the security model

`python -m tests.hostile.fuzz` and `python -m tests.hostile.churn` do each of them by itself, with whatever numbers.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pages

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.hostile import churn, fuzz, wires
from tests.hostile.target import EDGES

NAMES = {"ws": "WebSocket", "sse": "SSE", "poll": "polls"}
HEADS = {
    "fuzz": ["edge", "transport", "minutes", "sent", "answered", "MiB before", "after a tenth", "at the end", "left behind"],
    "churn": ["edge", "transport", "minutes", "readers", "MiB before", "after a tenth", "at the end", "left behind"],
    "soak": ["edge", "minutes", "MiB before", "meanwhile, at even times", "at the end", "left behind"],
}
LEFT = ("tasks", "connections", "files", "accounts", "members")


async def fuzzed(edge: str, count: int, seed: int) -> list[dict[str, Any]]:
    """So many malformed requests, frames and commands, shared out among the transports."""
    lanes: list[dict[str, Any]] = fuzz.report(await fuzz.run([edge], wires.WAYS, count, seed))["lanes"]
    return lanes


async def churned(edge: str, cycles: int, minutes: float = 0.0) -> list[dict[str, Any]]:
    """So many readers of each transport who come and go; or all at once for so many minutes."""
    return await churn.run([edge], wires.WAYS, cycles, minutes)


def steps(count: int, cycles: int, minutes: float, seed: int) -> Iterator[pages.Step]:
    """All that is done."""
    for number, edge in enumerate(EDGES):
        yield f"fuzz, {edge}", partial(fuzzed, edge, count // len(EDGES), seed + 100 * number)
    for edge in EDGES:
        yield f"churn, {edge}", partial(churned, edge, cycles)
    for edge in EDGES:
        yield f"soak, {edge}", partial(churned, edge, 0, minutes)


# --- what is shown


def tables(found: pages.Found) -> dict[str, str]:
    """The tables of the page."""
    shown, lanes = {}, {what: [each for edge in EDGES for each in found.get(f"{what}, {edge}", [])] for what in HEADS}
    if lanes["fuzz"]:
        rows = [[*who(each, "sent"), f"{each['answered']:,}", *each["rss_mib"], left(each["left"])] for each in lanes["fuzz"]]
        shown["fuzz"] = pages.table([HEADS["fuzz"], *rows])
    if lanes["churn"]:
        rows = [[*who(each, "cycles"), *memory(each["held"]), left_of(each["held"])] for each in lanes["churn"]]
        shown["churn"] = pages.table([HEADS["churn"], *rows])
    if lanes["soak"]:
        rows = []
        for each in lanes["soak"]:
            before, *meanwhile, end = memory(each["held"])
            rows.append(
                [each["edge"], f"{each['minutes']:g}", before, ", ".join(map(str, meanwhile)), end, left_of(each["held"])]
            )
        shown["soak"] = pages.table([HEADS["soak"], *rows])
    return shown


def who(lane: Mapping[str, Any], number: str) -> tuple[str, ...]:
    """The first cells of a row: where, how long, and how many."""
    return lane["edge"], NAMES[lane["transport"]], f"{lane['seconds'] / 60:.1f}", f"{lane[number]:,}"


def memory(held: Sequence[Mapping[str, float]]) -> list[float]:
    """MiB, one after the other."""
    return [each["rss_mib"] for each in held]


def left_of(held: Sequence[Mapping[str, float]]) -> str:
    """What there is more of at the end than before."""
    return left({name: held[-1][name] - held[0][name] for name in LEFT})


def left(more: Mapping[str, float]) -> str:
    """It, in words."""
    there = {name: number for name, number in more.items() if number > 0}
    return ", ".join(f"{number} {name if number > 1 else name[:-1]}" for name, number in there.items()) or "nothing"


SHEET = pages.Sheet(__file__, "../security-model.md", tables, "Hypercorn", "h2", patience=1800.0)


def main() -> None:
    """See the top of the file."""
    arguments = pages.parser(__doc__)
    arguments.add_argument("--count", type=int, default=100_000, help="malformed requests, shared out among edges and transports")
    arguments.add_argument("--cycles", type=int, default=10_000, help="readers of each transport who come and go, on each edge")
    arguments.add_argument("--minutes", type=float, default=10.0, help="of a soak")
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    asked = arguments.parse_args()
    print("seed", asked.seed, file=sys.stderr)
    SHEET.run(asked, steps(asked.count, asked.cycles, asked.minutes, asked.seed))


if __name__ == "__main__":
    main()
