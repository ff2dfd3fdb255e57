"""python-socketio on uvicorn, over WebSocket alone, without compression."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import socketio

from .asgi import on_uvicorn, run
from .publisher import listen, obey, port_of


class Json:
    """The encoder that it is given: the fast one, as its documentation allows."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return msgspec.json.encode(value).decode()

    loads = staticmethod(msgspec.json.decode)


async def main() -> None:
    """Serve until standard input ends."""
    server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], http_compression=False, json=Json)
    listening = listen()

    async def publish(data: dict[str, Any]) -> None:
        await server.emit("event", data)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(on_uvicorn(socketio.ASGIApp(server), listening))
        await obey(publish, port_of(listening), paths={"ws": "/socket.io/?EIO=4&transport=websocket"})


if __name__ == "__main__":
    run(main(), fast=True)
