"""everywire in several processes, as `everywire serve --workers N` keeps them: they share a log in a file, and what is published
comes from a process beside them.

    python -m tests.benchmarks.subjects.workers [--workers N]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from typing import Any
from urllib.parse import urlsplit

from transports import Hub, Options

from .publisher import obey


async def main(workers: int) -> None:
    """Serve until standard input ends."""
    with tempfile.TemporaryDirectory() as directory:
        broker = f"sqlite:///{directory}/log.db"
        serve = ["serve", "--port", "0", "--workers", str(workers), "--broker", broker, "--channel", "bench", "--limits", "off"]
        server = await asyncio.create_subprocess_exec(sys.executable, "-m", "quart_app", *serve, stdout=asyncio.subprocess.PIPE)
        assert server.stdout is not None
        line = (await server.stdout.readline()).decode()
        port = urlsplit(line.partition("serves ")[2].split()[0]).port
        assert port, line
        hub = Hub(Options(channels=("bench",), broker=broker))
        await hub.open()

        async def publish(data: dict[str, Any]) -> None:
            await hub.publish("bench", data)

        async def end() -> None:
            server.terminate()
            await server.wait()

        await obey(publish, port, paths={wire: f"/live/{wire}?channels=bench" for wire in ("ws", "sse")}, end=end)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=2)
    asyncio.run(main(parser.parse_args().workers))
