"""What readers of three hosts notice when workers are killed and Redis is restarted, and when each host is restarted: figures.

    python docs/explanation/experiments/hosts.py [--readers 300] [--seconds 60]

Needs Debian's nginx and redis-server, and a machine that does nothing else. Writes `hosts.json` beside itself, and prints it. The
tests in `tests/test_chaos.py` run the same and assert what is not a matter of time.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.chaos import Again, Kills, Outcome, Restarts, play
from tests.hosts import hosts
from tests.middleboxes import SEVERAL
from tests.redis_server import EVERY_WRITE, redis_server


async def run(name: str, readers: int, seconds: int) -> Outcome:
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
            return await play(f"{way.url}/live", three, disturbances, **amounts)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=300)
    parser.add_argument("--seconds", type=int, default=60)
    asked = parser.parse_args()
    outcomes = {name: await run(name, asked.readers, asked.seconds) for name in ("killed", "restarted")}
    text = msgspec.json.format(msgspec.json.encode(outcomes), indent=2).decode()
    Path(__file__).with_suffix(".json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    asyncio.run(main())
