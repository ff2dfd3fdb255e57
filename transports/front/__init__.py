"""The front: our own HTTP/1.1 edge for streams, polls and commands, in front of a whole web server in the same process.

ASGI hides the socket. What an event costs, what a silent connection costs, how a WebSocket is closed and what happens to a
client that takes nothing is all decided behind it. So the few requests that are most of the traffic are served right here,
and everything else is handed over with the bytes read so far: HTTP/2, pages, scripts, and whatever is not understood.

    connection.py   bytes in, requests out: what is ours is served, what is not is handed over
    requests.py     HTTP/1.1, strictly, with heads.py, bodies.py and answers.py; pure
    framing.py      items as they stand on the wire
    exchanges.py    what a connection is busy with: a body and its commands, an end
    readers.py      and who reads on it: a stream, a WebSocket, a waiting poll

Nothing is decided here that `admission.py` decides, and nothing is kept here that the log keeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from ..addresses import network
from ..admission import Admission
from ..group import Groups
from ..options import idle_seconds
from .connection import Connection
from .requests import Head

HandOver: TypeAlias = Callable[[asyncio.Transport, bytes], None]


class Front:
    """What takes the connections of a server.

    Args:
        admission: who may have what.
        mount: where its paths begin, such as `/live`.
    """

    def __init__(self, admission: Admission, mount: str) -> None:
        self.admission, self.mount = admission, mount
        self.hub = admission.hub
        self.groups = Groups(admission.hub, admission.identify)
        self.connections: set[Connection] = set()
        self.leaving = False  # no answer is to be the first of two any more
        self._empty: asyncio.Event | None = None  # set when the last of them has ended, once the server stops
        self.transports = {transport.path: transport for transport in admission.transports}
        self.idle = idle_seconds(admission.hub.options)
        self.buffer = memoryview(bytearray(65_536))  # what is read is dealt with before anything else is read
        self._ours = {("GET", f"{mount}/{path}".encode()) for path in self.transports}
        self._ours.add(("POST", f"{mount}/commands".encode()))
        self._beginnings = tuple(method.encode() + b" " + path for method, path in self._ours)

    def connection(self, hand_over: HandOver) -> Connection:
        """A protocol for a connection that was accepted.

        Args:
            hand_over: takes a connection that is not for the front, and what has been read of it.
        """
        return Connection(self, hand_over)

    def serves(self, head: Head) -> bool:
        """Whether a request is served here."""
        return (head.method, head.target.partition(b"?")[0]) in self._ours

    def begins(self, data: bytes) -> bool:
        """Whether what begins like this may be a request that is served here; `serves` knows when all of its head is there."""
        return data.startswith(self._beginnings)

    def take(self, connection: Connection) -> bool:
        """Whether there may be one more connection from there."""
        if not self.hub.limits.knock(network(connection.peer)):
            return False
        self.connections.add(connection)
        return True

    def let_go(self, connection: Connection) -> None:
        """A connection is lost, or handed over."""
        if connection in self.connections:
            self.connections.remove(connection)
            self.hub.limits.hang_up(network(connection.peer))
        if self._empty is not None and not self.connections:
            self._empty.set()

    def leave(self) -> None:
        """Let each connection end with the answer that is next, and those at once on which nothing is under way: whatever comes
        then is to go to another process. Streams go on.
        """
        self.leaving = True
        for connection in list(self.connections):
            connection.finish()

    async def close(self, seconds: float) -> None:
        """End the connections of those who have been told: at once where nothing is under way, all of them after `seconds`.

        Until then they take what was said last.
        """
        self._empty = asyncio.Event()
        for connection in list(self.connections):
            connection.finish()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.connections:
                    self._empty.clear()
                    await self._empty.wait()
        for connection in list(self.connections):
            connection.abort()
