"""Speaker: a reader that says something now and then, over a connection of its own, as clients do on every transport (decision
2).

The load is open: when it speaks is decided beforehand by chance (a Poisson process), and what is late keeps its time.
"""

from __future__ import annotations

import random
import time

import gevent
import msgspec

from transports.errors import EverywireError

from ..histogram import Histogram
from ..samples import Traffic
from .publisher import Connection, Insistence, command, data, now


class Speaker:
    """Speaks in a greenlet of its own.

    Args:
        url: the mount.
        source: its name, which no other speaker has.
        channel: where it speaks.
        rate: events per second.
        size: bytes of each event's data.

    Attributes:
        said: when each event was due, in microseconds; the place is its number. Only of what was acknowledged.
        answers: microseconds from when an event was due until it was acknowledged.
    """

    def __init__(self, url: str, source: str, channel: str, rate: float, size: int) -> None:
        self.source, self.channel, self.rate, self.size = source, channel, rate, size
        self.said: list[int] = []
        self.answers = Histogram()
        self.failures: dict[str, int] = {}
        self._connection = Connection(url)
        self._insist = Insistence(self._connection.post, self._wait)
        self._payload = 0
        self._greenlet: gevent.Greenlet | None = None

    def start(self, at: int, until: int | None, ahead: int = 0) -> None:
        """Speak from `at` until `until`, in microseconds of the publisher's clock, of which ours is `ahead`. None: until it is
        stopped.
        """
        self._greenlet = gevent.spawn(self._speak, at, until, ahead)

    def stop(self) -> None:
        """Say no more."""
        if self._greenlet is not None:
            self._greenlet.kill()
        self._connection.close()

    @property
    def silent(self) -> bool:
        """It has said all, and has its answers."""
        return self._greenlet is None or self._greenlet.ready()

    @property
    def traffic(self) -> Traffic:
        """What went over its connection."""
        return self._connection.traffic.plus(Traffic(payload=self._payload))

    def _speak(self, due: int, until: int | None, ahead: int) -> None:
        while True:
            due += round(random.expovariate(self.rate) * 1e6)
            if until is not None and due >= until:
                return
            gevent.sleep(max(0, due + ahead - now()) / 1e6)
            try:
                self._say(due, ahead)
            except (OSError, EverywireError, msgspec.DecodeError) as error:
                self._fail(f"says: {type(error).__name__}: {error}")

    def _say(self, due: int, ahead: int) -> None:
        """One event. What is refused takes no number, because nobody will get it."""
        n = len(self.said)
        body = data(n, due, self.size, self.source)
        replies = self._insist([command(n, self.channel, f"{self.source}-{due}", body)])
        if not replies:
            return
        if replies[0].ok:
            self.said.append(due)
            self.answers.record(now() - ahead - due)
            self._payload += len(body)
        else:
            self._fail(f"refused: {replies[0].reason}")

    def _fail(self, what: str) -> None:
        self.failures[what] = self.failures.get(what, 0) + 1

    @staticmethod
    def _wait(seconds: float) -> bool:
        gevent.sleep(seconds)
        return False


def unique(place: int, number: int) -> str:
    """A name for the speaker of a user, for one round: no other process and no earlier round has it."""
    return f"reader-{place}-{number}-{time.monotonic_ns() // 1000 % 1_000_000}"
