"""The server of the subject `python-socketio`: a room for each channel, an emit to the room for each event.

It is what its documentation shows under "Rooms" and "Emitting Events": a client asks to enter a room, `emit(…, room=…)` goes
to all in it, and `ASGIApp` puts another application behind it. All settings are its own defaults. uvicorn takes `websockets`
for WebSocket where that is installed, else `wsproto`, as Hypercorn does.
"""

from __future__ import annotations

from typing import Any

import socketio  # type: ignore[import-untyped]
import uvicorn

from .endpoint import Endpoint, address

server = socketio.AsyncServer(async_mode="asgi")


@server.event  # type: ignore[untyped-decorator]
async def join(sid: str, channels: list[str]) -> str:
    """A client asks for channels; the answer tells that it has them."""
    for channel in channels:
        await server.enter_room(sid, channel)
    return "joined"


async def emit(channel: str, data: Any) -> None:
    """One event to all who follow its channel."""
    await server.emit("event", {"channel": channel, "data": data}, room=channel)


app = socketio.ASGIApp(server, Endpoint(emit))


if __name__ == "__main__":
    host, port = address("python-socketio, to be compared with everywire.")
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2)
