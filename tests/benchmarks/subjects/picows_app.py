"""picows, a WebSocket library in Cython, on uvloop as its documentation has it."""

from __future__ import annotations

from typing import Any

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from .asgi import run
from .publisher import BACKLOG, encode, listen, obey, port_of

_readers: set[WSTransport] = set()


class Reader(WSListener):
    """One reader, which says nothing."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        _readers.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        _readers.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


def _reader(request: WSUpgradeRequest) -> WSListener:
    return Reader()


def _publish(data: dict[str, Any]) -> None:
    json = encode(data)
    for transport in _readers:
        transport.send(WSMsgType.TEXT, json)


async def main() -> None:
    """Serve until standard input ends."""
    listening = listen()
    await ws_create_server(_reader, sock=listening, backlog=BACKLOG)
    await obey(_publish, port_of(listening))


if __name__ == "__main__":
    run(main(), fast=True)
