"""Watch: says when something that was begun has not ended in time, at no cost for what does.

A timer of asyncio's costs microseconds to set and to cancel, and a busy stream would do so for every event. A watch sets one
and lets it run: when it fires, it looks whether there is a deadline and whether that has been moved since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Watch:
    """Calls `late` once a deadline has passed. Belongs to the running event loop.

    Args:
        late: what to do; called by the event loop.
    """

    __slots__ = ("_deadline", "_late", "_loop", "_timer")

    def __init__(self, late: Callable[[], object]) -> None:
        self._late = late
        self._loop = asyncio.get_running_loop()
        self._deadline: float | None = None  # on the loop's clock
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, seconds: float) -> None:
        """Something begins that should end within `seconds`."""
        self._deadline = deadline = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._look)

    def end(self) -> None:
        """It has ended."""
        self._deadline = None

    def stop(self) -> None:
        """Nothing more will begin: let go of the timer."""
        self._deadline = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look)
        else:
            self._deadline = None
            self._late()
