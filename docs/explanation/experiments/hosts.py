"""What readers of three hosts notice when workers are killed and Redis is restarted, and when each host is restarted.

    python docs/explanation/experiments/hosts.py              # three minutes; prints a table
    python docs/explanation/experiments/hosts.py restarted    # one part; or `killed`
    python docs/explanation/experiments/hosts.py --write      # keeps it in hosts.json, for the page on deploying

Needs Debian's nginx and redis-server, and a machine that does nothing else. The tests in `tests/test_chaos.py` run the same and
assert what is not a matter of time.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pages

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.chaos import Again, Kills, Restarts, play
from tests.hosts import hosts
from tests.middleboxes import SEVERAL
from tests.redis_server import EVERY_WRITE, redis_server

TITLES = {"restarted": "each host was restarted", "killed": "workers were killed, and Redis restarted"}


async def run(name: str, readers: int, seconds: int) -> Any:
    """One of the two runs, with servers of its own."""
    with tempfile.TemporaryDirectory() as directory:
        async with (
            redis_server(Path(directory), EVERY_WRITE) as redis,
            hosts(redis.url, 3, Path(directory)) as three,
            SEVERAL["nginx-several"].running(*[each.url for each in three]) as way,
        ):
            disturbances = [Kills(2.0, seconds // 2, seed=1), Again(redis)] if name == "killed" else [Restarts()]
            real, rate = (readers // 5, 200) if name == "killed" else (readers, 50)  # who moves in time is our client
            amounts = {"readers": readers, "real": real, "rate": rate, "seconds": seconds, "limit": 60.0}
            return msgspec.to_builtins(await play(f"{way.url}/live", three, disturbances, **amounts))


def steps(readers: int, seconds: int) -> Iterator[pages.Step]:
    """Both of them."""
    for name in TITLES:
        yield name, partial(run, name, readers, seconds)


def tables(found: pages.Found) -> dict[str, str]:
    """The table of the page."""
    rows = [row(title, found[name]) for name, title in TITLES.items() if name in found]
    head = [
        "while",
        "readers",
        "events",
        "lost, doubled, out of order",
        "longest without an event: half of the readers",
        "99 %",
        "all",
    ]
    return {"noticed": pages.table([head, *rows])} if rows else {}


def row(title: str, outcome: dict[str, Any]) -> list[str]:
    """A line of it."""
    wrong = ", ".join(str(outcome[name]) for name in ("lost", "doubled", "disordered"))
    silences = [f"{outcome[f'silence_{part}']:.2f} s" for part in ("p50", "p99", "most")]
    return [title, f"{outcome['readers']:,}", f"{outcome['published']:,}", wrong, *silences]


def figures(found: pages.Found) -> dict[str, str]:
    """What stands in sentences."""
    return {"opened": str(found["restarted"]["crowd"])} if "restarted" in found else {}


SHEET = pages.Sheet(__file__, "../../how-to/deploy-without-a-gap.md", tables, "redis", figures=figures)

if __name__ == "__main__":
    arguments = pages.parser(__doc__)
    arguments.add_argument("--readers", type=int, default=300)
    arguments.add_argument("--seconds", type=int, default=60, help="of events")
    asked = arguments.parse_args()
    SHEET.run(asked, steps(asked.readers, asked.seconds))
