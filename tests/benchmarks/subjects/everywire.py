"""everywire: the Quart extension in an app, served as `everywire serve` does it.

    python -m tests.benchmarks.subjects.everywire [--front on|off] [--server NAME] [--loop NAME] [--channels N]

With --channels, events go to the channels bench, c1, c2, … in turn.
"""

from __future__ import annotations

import argparse
import asyncio
from functools import partial
from itertools import cycle
from typing import Any

from quart import Quart

from transports.options import UNBOUNDED
from transports.quart import Live
from transports.serve import configuration, set_aside
from transports.serve import serve as hypercorn
from transports.servers import LOOPS, SERVERS, find_loop, find_server

from .publisher import event, listen, obey, port_of

_HISTORY = 100_000  # events: at the highest rates, a second and more


async def main(asked: argparse.Namespace) -> None:
    """Serve until standard input ends."""
    app = Quart("bench")
    live = Live(app, channels=["*"], history_count=_HISTORY, beat=60.0, **UNBOUNDED)
    hub = live.hub
    serve = partial(hypercorn, front=live.front) if asked.front == "on" else find_server(asked.server)
    set_aside()
    listening = listen()
    config = configuration(listening.dup(), hub.options)
    await hub.open()
    await live.publish("poll", event(0, 0, 100))  # what polls are answered with
    names = ["bench", *(f"c{number}" for number in range(1, asked.channels))]
    turns = cycle(names)

    async def publish(data: dict[str, Any]) -> None:
        await hub.publish(next(turns), data)

    async def settle() -> None:
        for feed in tuple(hub._feeds):  # nobody but a benchmark asks who has read what: there is no word for it
            while feed.offset < hub.log.head and feed.open:  # noqa: ASYNC110 - and nothing rings for it
                await asyncio.sleep(0)

    epoch, channels = hub.log.epoch, ",".join(names)
    paths = {
        "ws": f"/live/ws?channels={channels}",
        "sse": f"/live/sse?channels={channels}",
        "poll": f"/live/poll?channels=poll&since={epoch}.0",
        "wait": f"/live/poll?channels=poll&since={epoch}.1&wait=60",
    }
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(app, config, hub.close, stop=asyncio.Event()))
        await obey(publish, port_of(listening), settle=settle, paths=paths)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--front", choices=("on", "off"), default="on")
    parser.add_argument("--server", choices=SERVERS, default=SERVERS[0])
    parser.add_argument("--loop", choices=LOOPS, default=LOOPS[0])
    parser.add_argument("--channels", type=int, default=1)
    asked = parser.parse_args()
    with asyncio.Runner(loop_factory=find_loop(asked.loop)) as runner:
        runner.run(main(asked))
