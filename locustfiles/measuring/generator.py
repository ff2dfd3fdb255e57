"""Generator: watches this process while it generates load: how much of a core it takes, and how late its loop wakes up."""

from __future__ import annotations

import time

import gevent

from ..histogram import Histogram

_PROBE = 0.01  # seconds between two looks at the lag of the loop


class Generator:
    """Watches from when it is made until it is stopped."""

    def __init__(self) -> None:
        self.lag = Histogram()  # µs
        self._began = time.monotonic(), time.process_time()
        self._probe = gevent.spawn(self._watch)

    @property
    def cpu(self) -> float:
        """The share of one core so far."""
        wall, cpu = self._began
        return (time.process_time() - cpu) / max(1e-6, time.monotonic() - wall)

    def stop(self) -> None:
        """Watch no more."""
        self._probe.kill()

    def _watch(self) -> None:
        while True:
            before = time.monotonic_ns()
            gevent.sleep(_PROBE)
            self.lag.record((time.monotonic_ns() - before) // 1000 - round(_PROBE * 1e6))
