"""Make the page of networks: what they are out of the code's own table, and what came of them out of the last recorded tests.

python docs/networks_page.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from transports.networks import NETWORKS

HERE: Final = Path(__file__).parent
PAGE: Final = HERE / "reference" / "networks.md"
RESULTS: Final = HERE / "reference" / "networks.json"

_TEXT: Final = """# Networks

`transports.networks` plays bad networks: a proxy in front of a server, which does to connections what real middleboxes do.
They are played by name, in tests, from the command line and in the comparison, and the same names stand in the tables below.
[Play a bad network](../how-to/play-a-bad-network.md) tells how.

## What there is

| network | stands for | what it does | should win |
|---|---|---|---|
{networks}

Where a name has a number, another one may stand there (`latency-350ms`, `idle-cut-30s`, `narrow-64kbit`), or none for the
usual one (`latency`); but `buffering` alone is a network of its own. Names can be joined: `latency-200ms+no-upgrade`.

## What comes of them

Each row is a test: a client follows a stream of 20 events a second for at least 30 seconds, the fault included. It must end
on the transport that should win, and have every event once and in order. `first event` is from `connect` to the first event,
in milliseconds, in the run from which this page was made, on a busy machine of two cores.

{ours}

In `captive-portal` and `login-redirect` somebody logs in after eight seconds. Until then every request is answered by
somebody else; the client says so, and asks a few times more, less and less often. In `tls-inspection` the client trusts the
network's certificate; one that does not says "found no certificate that it trusts". In `proxy-407` it has a user and a
password. In `h2-edge` the Python client speaks HTTP/1.1, as its library does; the browser speaks HTTP/2. Where a name
says `idle`, the stream pauses: 10 seconds in every 18.

## Real middleboxes

The same, behind the programs of Debian's packages. The tuned configurations are those of [behind a
proxy](../how-to/deploy/index.md).

{real}
"""


def page() -> str:
    """The page's text."""
    rows = sorted(json.loads(RESULTS.read_text("utf-8")), key=lambda row: row["client"], reverse=True)
    ours = [row for row in rows if row["network"] in NETWORKS]
    real = [row for row in rows if row["network"] not in NETWORKS]
    networks = [f"| `{n.name}` | {n.story} | {n.does} | {n.wins or 'nothing'} |" for n in NETWORKS.values()]
    return _TEXT.format(networks="\n".join(networks), ours=_results(ours, ""), real=_results(real, "stands for"))


def _results(rows: list[dict[str, Any]], story: str) -> str:
    head = ["network", *([story] if story else []), "client", "expected", "chosen", "first event", "lost", "doubled"]
    order = list(dict.fromkeys(row["network"] for row in rows))
    rows = sorted(rows, key=lambda row: order.index(row["network"]))
    body = [line for _, group in groupby(rows, key=lambda row: row["network"]) for line in _lines(list(group), bool(story))]
    return "\n".join([_line(head), _line(["---"] * len(head)), *body])


def _lines(rows: list[dict[str, Any]], story: bool) -> Iterator[str]:
    """A network's lines, one a client."""
    for place, row in enumerate(rows):
        first = "" if row["first"] is None else f"{row['first'] * 1000:,.0f} ms"
        told = [row["story"] if place == 0 else ""] if story else []
        name = f"`{row['network']}`" if place == 0 else ""
        client = {"python": "Python", "chromium": "Chromium"}[row["client"]]
        yield _line([name, *told, client, row["expected"], row["chosen"], first, str(row["missing"]), str(row["doubled"])])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
