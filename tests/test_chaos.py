"""Nothing is lost, doubled or out of order, whatever ends: several hosts over one Redis behind nginx.

Three hosts of one worker each, rather than one host of three: what they have in common is then Redis alone, nginx meets what it
meets in the wild, and a worker that dies leaves a parent that takes connections for the next one. Several workers of one parent
are in `tests/transports/test_workers.py`. What readers notice then is measured by `docs/explanation/experiments/hosts.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import Again, Disturbance, Kills, Outcome, Restarts, play
from tests.hosts import hosts
from tests.middleboxes import SEVERAL
from tests.redis_server import EVERY_WRITE, redis_server

READERS = 300
pytestmark = [pytest.mark.real, pytest.mark.alone, pytest.mark.timeout(300)]


async def played(directory: Path, disturbances: list[str], *, seconds: int, real: int, rate: int) -> Outcome:
    async with (
        redis_server(directory, EVERY_WRITE) as redis,
        hosts(redis.url, 3, directory) as three,
        SEVERAL["nginx-several"].running(*[each.url for each in three]) as way,
    ):
        known: dict[str, Disturbance] = {
            "kills": Kills(2.0, seconds // 2 - 2, seed=1),
            "redis": Again(redis),
            "restarts": Restarts(),
        }
        chosen = [known[each] for each in disturbances]
        run = {"readers": READERS, "real": real, "rate": rate, "seconds": seconds, "limit": 60}
        return await play(f"{way.url}/live", three, chosen, **run)


def check(outcome: Outcome, events: int) -> None:
    assert outcome.published == events, "all are acknowledged in the end"
    assert (outcome.lost, outcome.doubled, outcome.disordered, outcome.told) == (0, 0, 0, []), outcome


async def test_workers_are_killed_and_redis_is_restarted(tmp_path: Path) -> None:
    outcome = await played(tmp_path, ["kills", "redis"], seconds=60, real=READERS // 5, rate=200)
    assert outcome.kills >= 20
    check(outcome, 12_000)


async def test_every_host_is_restarted_under_load(tmp_path: Path) -> None:
    check(await played(tmp_path, ["restarts"], seconds=20, real=READERS, rate=50), 1_000)
