"""sse-starlette on uvicorn: an `EventSourceResponse` with a queue for each reader, as its documentation has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from .asgi import on_uvicorn, run
from .publisher import encode, listen, obey, port_of

_queues: set[asyncio.Queue[ServerSentEvent]] = set()


async def _events(queue: asyncio.Queue[ServerSentEvent]) -> AsyncIterator[ServerSentEvent]:
    _queues.add(queue)
    try:
        yield ServerSentEvent(comment="hello")
        while True:
            yield await queue.get()
    finally:
        _queues.discard(queue)


async def sse(request: Request) -> EventSourceResponse:
    """A reader."""
    return EventSourceResponse(_events(asyncio.Queue()), sep="\n")


def _publish(data: dict[str, Any]) -> None:
    made = ServerSentEvent(data=encode(data).decode(), sep="\n")
    for queue in _queues:
        queue.put_nowait(made)


async def _settle() -> None:
    await asyncio.sleep(0)
    for queue in tuple(_queues):
        while queue.qsize():  # noqa: ASYNC110 - nothing rings when a queue has become empty
            await asyncio.sleep(0)


async def main() -> None:
    """Serve until standard input ends."""
    listening = listen()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(on_uvicorn(Starlette(routes=[Route("/sse", sse)]), listening))
        await obey(_publish, port_of(listening), settle=_settle)


if __name__ == "__main__":
    run(main(), fast=True)
