"""The latency over Redis is measured with real hubs at a real Redis; its table says what was found."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.redis_server import redis_server

from .redis_latency import WAYS, rounds, table


async def test_both_ways_are_measured_in_each_round(tmp_path: Path) -> None:
    async with redis_server(tmp_path) as server:
        found = await rounds(server, argparse.Namespace(rounds=2, events=5, size=100))
    assert {name: [len(each) for each in taken] for name, taken in found.items()} == {name: [5, 5] for name in WAYS}


def test_the_table_has_medians_of_rounds_and_their_ratio() -> None:
    rows = table({"everywire": [[1, 2, 3], [3, 4, 5], [5, 6, 7]], "redis-py": [[1, 1, 1], [2, 2, 2], [3, 3, 3]]}).splitlines()
    assert rows[1].split() == ["everywire", "4", "(2", "to", "6)", "4", "(2", "to", "6)"]
    assert rows[-1] == "ratio of the medians: 2.00"
