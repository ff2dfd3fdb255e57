"""The library websockets on uvloop, with its `broadcast`, which is what its documentation has for many readers."""

from __future__ import annotations

from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast, serve

from .asgi import run
from .publisher import BACKLOG, encode, listen, obey, port_of


async def main() -> None:
    """Serve until standard input ends."""
    readers: set[ServerConnection] = set()
    listening = listen()

    async def reader(connection: ServerConnection) -> None:
        readers.add(connection)
        try:
            await connection.send("[]")  # it is among the readers now
            await connection.wait_closed()
        finally:
            readers.discard(connection)

    def publish(data: dict[str, Any]) -> None:
        broadcast(readers, encode(data).decode())

    async with serve(reader, sock=listening, compression=None, backlog=BACKLOG):
        await obey(publish, port_of(listening))


if __name__ == "__main__":
    run(main(), fast=True)
