"""Users: the readers as Locust users, three lines in anybody's locustfile::

    from locustfiles.users import SSEUser

    class Reader(SSEUser):
        host, channels = "http://127.0.0.1:8000", ("clock",)

What Locust shows as the response time of `deliver sse` is the delay of a delivery: from the time at which the event was meant
to be published to its arrival, in milliseconds with three decimals. Whatever goes wrong is a failure under a name of its own:
`lost sse` (in silence), `declared sse` (the server said so), `doubled sse`, `disordered sse`, `cut sse`.

Events are judged by the `n` and `t` that `publisher.py` puts into them. For other events override `stamp`.
"""

from __future__ import annotations

import random
import weakref
from collections import Counter
from typing import ClassVar

import gevent
import locust.stats
from locust import User, task

from transports.errors import EverywireError, Refusal
from transports.items import Event, Lost

from .histogram import Histogram, bucket
from .readers import Batch, LongPollReader, Reader, SSEReader, WebSocketReader
from .samples import Record

_BACKOFF = 1.0  # seconds at the most between a cut and coming back, by chance, so that readers do not come back all at once


class DeliveryError(Exception):
    """An event that was lost, doubled or out of order, or a wire that was cut; shown in Locust's table of failures."""


def milliseconds(response_time: float) -> float:
    """How Locust is to round for its statistics: to the bucket of our histogram instead of whole milliseconds."""
    return bucket(round(response_time * 1000)) / 1000


# Documented by Locust as replaceable. Its own rounding shows 0 or 1 where the differences are that this toolkit is about.
locust.stats.bucket_response_time = milliseconds  # type: ignore[assignment]


class StreamUser(User):
    """A user that follows channels for as long as it lives, and comes back where it was cut.

    Attributes:
        channels: whose events it reads.
        mount: where the endpoints are below `host`.
        quiet: tell Locust nothing of deliveries, only of failures: that costs 5 µs each, more than reading it.
    """

    abstract = True
    channels: tuple[str, ...] = ()
    mount = "/live"
    quiet: ClassVar[bool] = False
    wire: ClassVar[type[Reader]]
    playing: ClassVar[weakref.WeakSet[StreamUser]] = weakref.WeakSet()  # those that read at present

    def on_start(self) -> None:
        """Called by Locust before the first `read`."""
        self.transport = self.wire.transport.name
        self.reader = self.wire(f"{self.host}{self.mount}", self.channels)
        self.delays = Histogram()
        self.records = {name: Record(name, self.delays) for name in self.channels}
        self.failures: Counter[str] = Counter()
        self.received = 0  # when the last event came, in microseconds of CLOCK_MONOTONIC
        self.playing.add(self)

    def on_stop(self) -> None:
        """Called by Locust at the end."""
        self.reader.close()
        self.playing.discard(self)

    @task
    def read(self) -> None:
        """Read until the wire is cut; Locust calls again, and reading goes on where it stopped."""
        try:
            for batch in self.reader.batches():
                self.take(batch)
        except (OSError, EverywireError) as error:
            self.fail("cut", f"{type(error).__name__}: {error}")
            wait = error.retry if isinstance(error, Refusal) else None
            gevent.sleep((wait or 0.0) + random.uniform(0, _BACKOFF))

    def take(self, batch: Batch) -> None:
        """Judge what came and tell Locust of it."""
        for item in batch.items:
            if isinstance(item, Event):
                self._event(item, batch.received)
            elif isinstance(item, Lost):
                self.records[item.channel].lost(item)
                self.fail("declared", f"{item.reason}: {item.channel} after {item.after} through {item.through}")

    def stamp(self, event: Event) -> tuple[int, int] | None:
        """The event's number in its channel and the time at which it was meant to be published; None: it bears none."""
        data = event.data
        if isinstance(data, dict) and "n" in data and "t" in data:
            return data["n"], data["t"]
        return None

    def fail(self, what: str, reason: str) -> None:
        """Show a failure in Locust."""
        self.failures[f"{what}: {reason}"] += 1
        name = f"{what} {self.transport}"
        self._tell(name, None, DeliveryError(reason))

    def _event(self, event: Event, received: int) -> None:
        if (stamp := self.stamp(event)) is None:
            return
        n, due = stamp
        self.received = received
        finding = self.records[event.channel].event(n, received - due)
        if finding and finding != "declared":  # that was told when it was declared
            self.fail(finding, f"events of {event.channel}")
        if not self.quiet:
            self._tell(f"deliver {self.transport}", (received - due) / 1000)

    def _tell(self, name: str, response_time: float | None, exception: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type=self.transport.upper(),
            name=name,
            response_time=response_time,
            response_length=0,
            exception=exception,
            context=self.context(),
        )


class WebSocketUser(StreamUser):
    """Reads over WebSocket."""

    abstract = True
    wire = WebSocketReader


class SSEUser(StreamUser):
    """Reads over Server-Sent Events."""

    abstract = True
    wire = SSEReader


class LongPollUser(StreamUser):
    """Reads by long-polling."""

    abstract = True
    wire = LongPollReader
