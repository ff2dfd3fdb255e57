"""Running: all of the lab in one process, but for the server under test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

from transports.serve import address, configuration, listen, on_signals, serve

from .app import Lab
from .router import Router, names_of
from .stage import LANES
from .wire import Tape

_TICK: Final = 0.1  # seconds between two looks at what passed


async def run(listening: socket.socket, ready: Callable[[Lab], object], stop: asyncio.Event | None = None) -> None:
    """Serve the lab until `stop` is set or, without one, SIGINT or SIGTERM comes. The server under test ends with it.

    Args:
        listening: where browsers come.
        ready: called when they may.
        stop: ends it.

    Raises:
        NotServingError: the server under test did not start.
    """
    stop, lab = stop or on_signals(), Lab()
    ours = listen("127.0.0.1", 0)
    place = ours.getsockname()[:2]
    router = Router(lambda name: _place(lab, place, name), frozenset(LANES), names_of(listening.getsockname()[0]))
    config, hub = configuration(ours, lab.live.hub.options, limits=lab.live.hub.limits), lab.live.hub
    async with lab.stage, asyncio.TaskGroup() as tasks:
        ended = asyncio.Event()
        serving = tasks.create_task(serve(lab.app, config, hub.drain, stop=ended, front=lab.live.front))
        loops = [tasks.create_task(work) for work in (_tell(lab), lab.publisher.run())]
        await router.open(listening)
        ready(lab)
        await stop.wait()
        for each in loops:
            each.cancel()
        ended.set()
        await asyncio.gather(lab.stage.server.close(), serving)  # while the router still carries what they say at the end
        await router.close()


def _place(lab: Lab, place: tuple[str, int], name: str) -> tuple[str, int]:
    if name == "lab":
        return place
    return lab.stage.server.address if name == "server" else lab.stage.address(name)


async def _tell(lab: Lab) -> None:
    """Tell the page what passed, and how things stand when they stand differently."""
    tapes = {lane: Tape() for lane in LANES}
    seen, changes = dict.fromkeys(LANES, 0), -1
    while True:
        if changes != lab.changes:
            changes = lab.changes
            await lab.live.publish("state", lab.state())
        for lane, network in lab.stage.lanes.items():
            before = seen[lane]
            seen[lane], passages = network.record.passages(before)
            if passages:
                missed = seen[lane] - before - len(passages)
                records, left_out = tapes[lane].show(passages)
                await lab.live.publish(
                    "wire", {"lane": lane, "records": records, "left_out": left_out + missed, **_sums(network)}
                )
        await asyncio.sleep(_TICK)


def _sums(network: Any) -> dict[str, Any]:
    record = network.record
    sums = {"up": record.up, "down": record.down, "requests": record.requests, "connections": record.connections}
    return {"sums": {**sums, "open": network.connections}}


def url_of(listening: socket.socket) -> str:
    """Of the page."""
    return f"{address(listening)}/lab/"
