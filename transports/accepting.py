"""Accepting: which of several processes takes a connection that comes to the socket they share.

The kernel wakes all who wait at a shared socket, and asyncio then takes as many connections as there are: whoever wakes up
first would have all of them, and keep them, for readers stay. So here a process takes one at a time, and who has more than
others steps back for a moment and lets them. After a restart this also fills the new process first.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import mmap
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from .shared import new_file

_AWAY: Final = -1  # in the table: takes no connections
_SLACK: Final = 4  # connections that one may have more than another, and a sixteenth: equal enough, and a burst waits for nobody
_STEP: Final = 0.01  # seconds of stepping back; who has fewer and is idle needs a hundredth of it
_AT_ONCE: Final = 8  # connections taken after it, if they are still there: others are busy, or gone
_SAYING: Final = 0.1  # seconds from a connection to its request, behind a proxy or not far away
_PAUSE: Final = 1.0  # seconds until another try when the system has no descriptors left; as asyncio does
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = logging.getLogger(__name__)


class Loads:
    """How many connections each process has: a table in memory that all of them see.

    Args:
        descriptor: of the file behind the table, see `new_table`.
        row: which one is written here.
    """

    def __init__(self, descriptor: int, row: int) -> None:
        self._table = memoryview(mmap.mmap(descriptor, 0)).cast("q")
        if not 0 <= row < len(self._table):
            raise ValueError(f"row {row} of {len(self._table)}")
        self._row = row

    def tell(self, count: int) -> None:
        """I have so many."""
        self._table[self._row] = count

    def leave(self) -> None:
        """I take no more: nobody need wait for me."""
        self._table[self._row] = _AWAY

    def much(self, count: int) -> bool:
        """Whether `count` is more than another has."""
        least = min((each for each in self._table if each != _AWAY), default=0)
        return count > least + _SLACK + least // 16


def new_table(rows: int) -> int:
    """The descriptor of a file for `Loads` of so many processes, none of them there yet."""
    return new_file(_AWAY.to_bytes(8, "little", signed=True) * rows)


class Accepting:
    """Takes connections from a socket that other processes take from, too.

    Args:
        listening: the socket. It is closed at the end.
        loads: what the others have.
        count: how many connections there are here.
        take: serves one that was accepted.
    """

    def __init__(
        self, listening: socket.socket, loads: Loads, count: Callable[[], int], take: Callable[[socket.socket], Awaitable[object]]
    ) -> None:
        self._listening, self._loads, self._count, self._take = listening, loads, count, take
        self._loop = asyncio.get_running_loop()
        self._taking: set[asyncio.Task[object]] = set()  # accepted, and not yet counted by who serves them
        self._timer: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        loads.tell(0)
        self._loop.add_reader(listening, self._ready)

    def stop(self) -> None:
        """Take no more: what waits in the kernel is taken by others."""
        if self._listening.fileno() < 0:
            return
        self._loop.remove_reader(self._listening)
        if self._timer is not None:
            self._timer.cancel()
        self._loads.leave()
        self._listening.close()

    async def leave(self) -> None:
        """As `stop`, and let those who were taken last say what they want: it is on its way."""
        self.stop()
        await asyncio.sleep(_SAYING)

    def _ready(self) -> None:
        count = self._count() + len(self._taking)
        self._loads.tell(count)
        if self._loads.much(count):
            self._wait(_STEP)
        else:
            self._accept()

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._timer = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._loop.add_reader(self._listening, self._ready)
        for _ in range(_AT_ONCE):
            if not self._accept():
                break

    def _accept(self) -> bool:
        """Take one connection, if there is one."""
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # another was faster, or it is gone again
            return False
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            _log.error("no connection can be taken: %s", error)
            self._wait(_PAUSE)
            return False
        connection.setblocking(False)
        task = self._loop.create_task(self._serve(connection))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)
        return True

    async def _serve(self, connection: socket.socket) -> None:
        try:
            await self._take(connection)
        except OSError as error:  # an SSLError is one: it was no TLS, or has gone
            _log.debug("a connection came to nothing: %s", error)
            connection.close()
