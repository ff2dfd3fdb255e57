"""The tables of "choosing a transport", out of what other scripts have measured: `networks.json` (`make networks`) and
`capacity.json` (`capacity.py measure`). `figures.py` puts them there.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[2])]

import pages
from worker import Costs

from transports.networks import NETWORKS as PROFILES

PAGE = HERE.parent / "choosing-a-transport.md"
NETWORKS = HERE.parents[1] / "reference" / "networks.json"
COSTS = HERE / "capacity.json"

NAMES = {"websocket": "WebSocket", "sse": "Server-Sent Events", "longpoll": "long-polling"}
PAID = (
    ("an event to one reader of a stream", "write"),
    ("a poll that is answered", "poll"),
    ("a stream that is opened", "connect"),
)


def won() -> Iterator[list[str]]:
    """For each transport: in how many places, and in which, the client ended on it, and how soon it had the first event."""
    rows: list[dict[str, Any]] = [row for row in json.loads(NETWORKS.read_text("utf-8")) if row["client"] == "python"]
    asking = {name for name, profile in PROFILES.items() if not profile.wins}  # there it ended on it when somebody had logged in
    places = {
        title: [row for row in rows if row["chosen"] == name and row["network"] not in asking] for name, title in NAMES.items()
    }
    places["nothing, until somebody logs in; then WebSocket"] = [
        row for row in rows if row["chosen"] == "websocket" and row["network"] in asking
    ]
    for title, here in places.items():
        first = 1000 * statistics.median(row["first"] for row in here)
        yield [title, f"{len(here)} of {len(rows)}", f"{first:,.0f} ms", ", ".join(f"`{row['network']}`" for row in here)]


def paid() -> Iterator[list[str]]:
    """What the server pays for one of each, and how many writes that is."""
    rounds = json.loads(COSTS.read_text("utf-8"))["rounds"]
    costs = Costs(*map(statistics.median, zip(*(each["costs"] for each in rounds), strict=True)))
    for title, name in PAID:
        cost = getattr(costs, name)
        yield [title, f"{1e6 * cost:.1f} µs", f"{cost / costs.write:.1f}"]


def tables() -> dict[str, str]:
    """The tables of the page by their names."""
    return {
        "won": pages.table([["transport", "is what is left in", "first event, median", "which are"], *won()]),
        "paid": pages.table([["what", "CPU of the server", "in writes"], *paid()]),
    }


def written(text: str) -> str:
    """The page with its tables as they are now."""
    return pages.put(text, tables())
