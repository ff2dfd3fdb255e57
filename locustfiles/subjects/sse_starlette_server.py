"""The server of the subject `sse-starlette`: `EventSourceResponse`, a queue for each client, an event put into all of them.

It is the usual way to broadcast with it, and that of its own example of message broadcasting: a set of `asyncio.Queue`, a
generator that waits for one of them, and its removal when the client has gone. All settings are its own defaults.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount, Route

from .endpoint import Endpoint, address

queues: defaultdict[str, set[asyncio.Queue[str]]] = defaultdict(set)


async def events(channels: list[str]) -> AsyncIterator[ServerSentEvent]:
    """What one client gets, as long as it stays."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    for channel in channels:
        queues[channel].add(queue)
    try:
        yield ServerSentEvent(event="open", data="")  # from here on nothing is missed
        while True:
            yield ServerSentEvent(data=await queue.get())
    finally:
        for channel in channels:
            queues[channel].discard(queue)


async def stream(request: Request) -> EventSourceResponse:
    """`GET /events?channels=a,b`."""
    return EventSourceResponse(events(request.query_params["channels"].split(",")))


async def emit(channel: str, data: Any) -> None:
    """One event to all who follow its channel."""
    text = json.dumps({"channel": channel, "data": data})
    for queue in queues[channel]:
        queue.put_nowait(text)


app = Starlette(routes=[Route("/events", stream), Mount("/", Endpoint(emit))])


if __name__ == "__main__":
    host, port = address("sse-starlette, to be compared with everywire.")
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2)
