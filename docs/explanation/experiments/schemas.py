"""What does a schema cost? A publish with none, with a type and with a JSON Schema; and two libraries side by side.

    pip install -e '.[schema]' jsonschema
    python docs/explanation/experiments/schemas.py            # prints a table
    python docs/explanation/experiments/schemas.py --write    # keeps it in schemas.json, for schemas.md

A library that is not installed is left out.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pages

sys.path.insert(0, str(Path(__file__).parents[3]))

from transports import Hub, Options

ROUNDS, TIMES = 15, 2000
ORDER = {"items": [{"article": "a", "price": 1.5}, {"article": "b", "price": 2.5}]}
LINE = {
    "type": "object",
    "required": ["article", "price"],
    "properties": {"article": {"type": "string"}, "price": {"type": "number"}},
}
SCHEMA = {"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": LINE}}}
TITLES = {"none": "publish, no schema", "type": "publish, a type", "schema": "publish, a JSON Schema"}


class Line(msgspec.Struct):
    article: str
    price: float


class Order(msgspec.Struct):
    items: list[Line]


async def publishes() -> dict[str, float]:
    """Microseconds of a publish, by what its channel has; in turns."""
    hub = Hub(Options(channels=("*",)))
    await hub.open()
    hub.channel("type", type=Order)
    hub.channel("schema", schema=SCHEMA)
    taken: dict[str, list[float]] = {"none": [], "type": [], "schema": []}
    for _ in range(ROUNDS):
        for channel, times in taken.items():
            began = time.perf_counter()
            for _ in range(TIMES):
                await hub.publish(channel, ORDER)
            times.append((time.perf_counter() - began) / TIMES)
    return {channel: round(statistics.median(times) * 1e6, 3) for channel, times in taken.items()}


async def alone(name: str, make: Callable[[], Callable[[Any], Any]]) -> dict[str, Any]:
    """Microseconds of a library's check, and its version."""
    check, times = make(), []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(TIMES):
            check(ORDER)
        times.append((time.perf_counter() - began) / TIMES)
    return {"microseconds": round(statistics.median(times) * 1e6, 3), "version": version(name)}


def in_python() -> Callable[[Any], Any]:
    """The check of `jsonschema`."""
    import jsonschema

    return jsonschema.Draft202012Validator(SCHEMA).validate


def in_rust() -> Callable[[Any], Any]:
    """The check of `jsonschema-rs`."""
    import jsonschema_rs

    return jsonschema_rs.validator_for(SCHEMA).validate


LIBRARIES = {"jsonschema": ("jsonschema", in_python), "jsonschema-rs": ("jsonschema_rs", in_rust)}


def steps() -> Iterator[pages.Step]:
    """All that is measured, where it can be."""
    yield "publish", publishes
    for name, (module, make) in LIBRARIES.items():
        if find_spec(module) is None:
            print(f"{name} is not installed: it is left out", file=sys.stderr)
        else:
            yield name, partial(alone, name, make)


def tables(found: pages.Found) -> dict[str, str]:
    """The table of the page."""
    rows = [(TITLES[channel], each) for channel, each in found.get("publish", {}).items()]
    for name in LIBRARIES:
        if name in found:
            rows.append((f"`{name}` {found[name]['version']} alone", found[name]["microseconds"]))
    if not rows:
        return {}
    one = found.get("publish", {}).get("none")
    cells = [[title, f"{each:.1f}", f"{each / one:.2f}" if one else "–"] for title, each in rows]
    return {"figures": pages.table([["", "microseconds", "times a publish without a schema"], *cells])}


SHEET = pages.Sheet(__file__, "schemas.md", tables, "msgspec")

if __name__ == "__main__":
    SHEET.run(pages.parser(__doc__).parse_args(), steps())
