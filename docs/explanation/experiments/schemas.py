"""What does a schema cost? A publish with none, with a type and with a JSON Schema; and two libraries side by side.

pip install -e '.[schema]' jsonschema
python docs/explanation/experiments/schemas.py
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

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


class Line(msgspec.Struct):
    article: str
    price: float


class Order(msgspec.Struct):
    items: list[Line]


async def publishes() -> dict[str, float]:
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
    return {channel: statistics.median(times) * 1e6 for channel, times in taken.items()}


def validators() -> dict[str, float]:
    import jsonschema
    import jsonschema_rs

    checks: dict[str, Callable[[Any], Any]] = {
        "jsonschema": jsonschema.Draft202012Validator(SCHEMA).validate,
        "jsonschema-rs": jsonschema_rs.validator_for(SCHEMA).validate,
    }
    taken: dict[str, list[float]] = {name: [] for name in checks}
    for _ in range(ROUNDS):
        for name, check in checks.items():
            began = time.perf_counter()
            for _ in range(TIMES):
                check(ORDER)
            taken[name].append((time.perf_counter() - began) / TIMES)
    return {name: statistics.median(times) * 1e6 for name, times in taken.items()}


if __name__ == "__main__":
    for name, microseconds in asyncio.run(publishes()).items():
        print(f"publish, {name:14} {microseconds:7.1f} us")
    try:
        for name, microseconds in validators().items():
            print(f"{name:23} {microseconds:7.1f} us")
    except ImportError as error:
        print(f"not side by side: {error}")
