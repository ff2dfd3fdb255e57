"""The pulse: a timer that goes for as long as a hub is open. How late it is called is how long the event loop was busy with
something else, and as long as it is called at all the process does not hang.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from .figures import Histogram

EVERY: Final = 0.5  # seconds; a stall of a tenth of it is seen one time in five


class Pulse:
    """Calls who wants to be called, again and again.

    Args:
        lag: how late it was is added to it, in seconds.
        every: seconds.
    """

    def __init__(self, lag: Histogram, every: float = EVERY) -> None:
        self.every = every
        self._lag = lag
        self._timer: asyncio.TimerHandle | None = None
        self._wanted: list[Callable[[], object]] = []

    def also(self, call: Callable[[], object]) -> None:
        """Call this, too, each time. It must not wait, nor raise."""
        self._wanted.append(call)

    def start(self) -> None:
        """Begin. Again and again does no harm."""
        if self._timer is None:
            self._next(asyncio.get_running_loop())

    def stop(self) -> None:
        """Call nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + self.every
        self._timer = loop.call_at(due, self._beat, loop, due)

    def _beat(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._lag.add(max(0.0, loop.time() - due))
        self._next(loop)
        for call in self._wanted:
            call()
