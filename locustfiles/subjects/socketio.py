"""python-socketio: an `AsyncServer` and a room, under uvicorn. Readers follow it over WebSocket or by long-polling (Engine.IO 4).

It keeps no log: a reader that was away enters the room again and has missed what was said meanwhile.
"""

from __future__ import annotations

from . import Subject

SUBJECT = Subject(
    name="python-socketio",
    what="python-socketio's AsyncServer under uvicorn: an emit to a room, no log",
    command=("{python}", "-m", "locustfiles.subjects.socketio_server", "--host", "{host}", "--port", "{port}"),
    ready="/ready",
    transports=("websocket", "longpoll"),
    readers={
        "websocket": "locustfiles.subjects.socketio_readers:WebSocketReader",
        "longpoll": "locustfiles.subjects.socketio_readers:LongPollReader",
    },
    needs={"socketio": "python-socketio", "uvicorn": "uvicorn"},
)
