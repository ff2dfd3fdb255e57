"""The latency over Redis is measured with real hubs at a real Redis, what it hands out is counted, and the table says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_capacity import load
from tests.redis_server import NOTHING_KEPT, redis_server

redis_latency = load("redis_latency")


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ROUNDS": 2, "EVENTS": 5, "WARM": 0, "READERS": 3, "SECONDS": 0.05}.items():
        monkeypatch.setattr(redis_latency, name, value)


async def test_both_ways_are_measured_in_each_round() -> None:
    found = await redis_latency.latency(NOTHING_KEPT)
    assert {way: {share: len(each) for share, each in taken.items()} for way, taken in found.items()} == {
        way: {"p50": 2, "p99": 2} for way in redis_latency.WAYS
    }


async def test_what_is_handed_out_is_counted(tmp_path: Path) -> None:
    async with redis_server(tmp_path) as server:
        found = await redis_latency._handed(server)
        written = int(await server.ask("XLEN", redis_latency.STREAM))
    assert found.rate > 0
    assert 1 <= found.together <= written


def test_an_answer_counts_however_it_is_cut_and_the_next_is_asked_for_behind_it() -> None:
    class Wire:
        def __init__(self) -> None:
            self.asked: list[bytes] = []

        def write(self, data: bytes) -> None:
            self.asked.append(data.split(b"\r\n")[-2])

    events = [redis_latency.command(b"1-%d" % (10**9 + n), b"?").replace(b"$1\r\n?\r\n", b"") for n in range(3)]
    field = redis_latency.command(b"d", b"x" * redis_latency.SIZE)
    answer = b"*1\r\n*2\r\n$6\r\nhanded\r\n*3\r\n" + b"".join(event + field for event in events)
    for cut in (1, 5, 24, 25, 100, len(answer) - 1):
        taker, wire = redis_latency.Taker(), Wire()
        taker._transport = wire
        taker._ask()
        for part in (b"*-1\r\n", answer[:cut], answer[cut:]):
            taker.data_received(part)
        assert (taker.taken, taker.answers) == (3, 1)
        assert wire.asked == [b"1-999999999", b"1-999999999", b"1-1000000002"]


def test_the_table_has_medians_of_rounds_and_their_ratio() -> None:
    found = {
        "nothing": {"everywire": {"p50": [2.0, 4.0, 6.0], "p99": [3.0, 5.0, 7.0]}, "redis-py": {"p50": [1.0, 2.0], "p99": [9.0]}}
    }
    lines = redis_latency.tables(found)["redis"].splitlines()
    assert lines[2] == "| nothing written down | everywire | 4 (2 to 6) | 5 (3 to 7) | 2.67 |"
    assert lines[3] == "| nothing written down | redis-py | 2 (1 to 2) | 9 (9 to 9) | 1.00 |"
    assert len(lines) == 4
