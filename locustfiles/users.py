"""Users: the readers as Locust users, three lines in anybody's locustfile::

    from locustfiles.users import SSEUser

    class Reader(SSEUser):
        host, channels = "http://127.0.0.1:8000", ("clock",)

and for any other server, one that says when each event was meant to be published::

    class Reader(WebSocketUser):
        host, path = "http://127.0.0.1:9000", "/ws"
        parse = staticmethod(lambda message: [Stamp(**json.loads(message))])

What Locust shows as the response time of `deliver sse` is the delay of a delivery: from the time at which the event was meant
to be published to its arrival, in milliseconds with three decimals. Whatever goes wrong is a failure under a name of its own:
`lost sse` (in silence), `declared sse` (the server said so), `doubled sse`, `disordered sse`, `cut sse`, `broke sse` (a `parse`
that failed), `alien sse` (somebody else publishes to the channel, too).

Locust keeps that precision in percentiles, medians and means: on its web page, in `/stats/requests` and with `--json`. It
rounds to whole milliseconds, and that cannot be changed from outside: all that its tables in the terminal show, and the least
and the longest time everywhere but in `--json`.

Events are judged by their `Stamp`: the number and the time that `publisher.py` puts into them, or what `parse` finds.
"""

from __future__ import annotations

import itertools
import random
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import ClassVar

import gevent
import locust.stats
from gevent.event import Event
from locust import User, task

from transports.errors import EverywireError, Refusal

from .histogram import Histogram, bucket
from .measuring.pauses import Watch
from .measuring.readers import Batch, LongPollReader, Opening, Reader, SSEReader, WebSocketReader
from .measuring.record import Record
from .measuring.speaker import Speaker
from .measuring.stamps import Stamp
from .measuring.timeline import Arrivals
from .measuring.wire import Leisure
from .samples import Traffic

__all__ = ["LongPollUser", "SSEUser", "Stamp", "StreamUser", "WebSocketUser"]

_AT_ONCE = 0.05  # seconds at the most between a cut and the first try, by chance, so that not all come at the same time
_BACKOFF = 0.1, 1.0  # seconds before the second try, doubled for each further one, and at the most


class DeliveryError(Exception):
    """An event that was lost, doubled or out of order, or a wire that was cut; shown in Locust's table of failures."""


def milliseconds(response_time: float) -> float:
    """How Locust is to round for its statistics: to the bucket of our histogram instead of whole milliseconds."""
    return bucket(round(response_time * 1000)) / 1000


# Documented by Locust as replaceable. Its own rounding shows 0 or 1 where the differences are that this toolkit is about.
locust.stats.bucket_response_time = milliseconds  # type: ignore[assignment]


class Assignment:
    """What the users of a round are to do. A scenario's plan sets it; users outside of a scenario follow their own `channels`.

    Attributes:
        channels: names of all; a user follows `follows` of them, beginning at its own number.
        slow: share of the users that take their time.
        readers: by transport, the class that reads instead of ours, from the subject.
        mount: where the endpoints are below `host`.
        beat: seconds of silence after which a wire is to show that it works; None: as the server likes.
        place: of this process among others: added to the numbers of its users, so that not all processes follow the same.
    """

    def __init__(self) -> None:
        self.channels: tuple[str, ...] = ()
        self.follows = 1
        self.slow = 0.0
        self.readers: dict[str, type[Reader]] = {}
        self.mount: str | None = None
        self.beat: float | None = None
        self.place = 0

    def follow(self, number: int) -> tuple[str, ...]:
        """The channels of a user."""
        return tuple(self.channels[(self.place + number + step) % len(self.channels)] for step in range(self.follows))

    def is_slow(self, number: int) -> bool:
        """Spread evenly over the numbers."""
        return int((number + 1) * self.slow) > int(number * self.slow)


class StreamUser(User):
    """A user that follows channels for as long as it lives, and comes back where it was cut.

    Attributes:
        channels: whose events it reads.
        mount: where the endpoints are below `host`.
        transport: its name.
        quiet: tell Locust nothing of deliveries, only of failures: that costs 5 µs each, more than reading it.
        ahead: microseconds by which the clock of this host is ahead of the publisher's.
    """

    abstract = True
    channels: tuple[str, ...] = ()
    mount = "/live"
    transport: ClassVar[str]
    quiet: ClassVar[bool] = False
    ahead: ClassVar[int] = 0
    assigned: ClassVar[Assignment] = Assignment()
    playing: ClassVar[weakref.WeakSet[StreamUser]] = weakref.WeakSet()  # those that read at present
    numbers: ClassVar[itertools.count[int]] = itertools.count()

    @classmethod
    def restart(cls) -> None:
        """A new test: count users from 0."""
        StreamUser.numbers = itertools.count()

    def on_start(self) -> None:
        """Called by Locust before the first `read`."""
        self.number = next(self.numbers)
        if self.assigned.channels:
            self.channels = self.assigned.follow(self.number)
        self.mount = self.assigned.mount or self.mount
        self.slow = self.assigned.is_slow(self.number)
        self.failures: Counter[str] = Counter()
        self.speaker: Speaker | None = None
        self.settle(None, Watch())
        self.open()
        self.playing.add(self)

    def on_stop(self) -> None:
        """Called by Locust at the end."""
        self.playing.discard(self)
        if self.speaker is not None:
            self.speaker.stop()
        self.close()

    def read(self) -> None:  # no task: Locust collects those of all base classes
        """Read until the end. The task of each kind of user."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------- what a kind of user has

    ready = False
    """It is in place: what is published from now on has to come."""
    stamped = False
    """Its times are the kernel's."""
    traffic: Traffic
    opening: Opening | None = None
    """How long its wire took to open."""
    chosen = ""
    """The transport that it chose itself."""

    def open(self) -> None:
        """Make what reads."""

    def close(self) -> None:
        """Let go of it."""

    def hurry(self) -> None:
        """Take no more time, slow as it may have been."""

    # ------------------------------------------------------------------------------------------------------------------------

    def settle(self, arrivals: Arrivals | None, watch: Watch) -> None:
        """From now on it counts: judge anew, and keep deliveries in `arrivals`."""
        self.arrivals, self.watch = arrivals, watch
        self.records: dict[str, Record] = {}
        for name in self.channels:
            self.record(name)

    def record(self, source: str) -> Record:
        """What is known of one source."""
        known = self.records.get(source)
        if known is None:
            cells = None if self.arrivals is None else self.arrivals.source(source)
            known = self.records[source] = Record(source, cells)
        return known

    def take(self, batch: Batch) -> None:
        """Judge what came and tell Locust of it."""
        for item in batch.lost:
            self.record(item.channel).lost()
            self.fail("declared", f"{item.reason}: {item.channel} after {item.after} through {item.through}")
        if batch.stamps:
            self.judge(batch.stamps, batch.received - self.ahead)

    def judge(self, stamps: Iterable[Stamp], received: int) -> None:
        """Judge events that came at `received`, microseconds of the publisher's clock."""
        self.watch.came(received)
        records = self.records
        for stamp in stamps:
            record = records.get(stamp.source) or self.record(stamp.source)
            delay = received - stamp.t
            finding = record.event(stamp.n, stamp.t, delay)
            if finding and finding != "declared":  # that was told when it was declared
                self.fail(finding, f"events of {stamp.source or 'the server'}")
            if not self.quiet:
                self._tell(f"deliver {self.transport}", delay / 1000)

    def fail(self, what: str, reason: str) -> None:
        """Show a failure in Locust."""
        self.failures[f"{what}: {reason}"] += 1
        self._tell(f"{what} {self.transport}", None, DeliveryError(reason))

    def complaints(self) -> Counter[str]:
        """What went wrong, with what its speaker met."""
        return self.failures if self.speaker is None else self.failures + Counter(self.speaker.failures)

    def acknowledged(self) -> Histogram:
        """Microseconds from its own publishes to their answers."""
        return Histogram() if self.speaker is None else self.speaker.answers

    def _tell(self, name: str, response_time: float | None, exception: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type=self.transport.upper(),
            name=name,
            response_time=response_time,
            response_length=0,
            exception=exception,
            context=self.context(),
        )


class WireUser(StreamUser):
    """Reads one wire.

    For a server that is not ours:

    Attributes:
        path: what to ask for.
        parse: the stamps in a message: a WebSocket message, the data of a Server-Sent Event, the body of a poll's answer.
        greeting: messages to send when a WebSocket is open.
        answer: what to send back on a WebSocket for a message; None: nothing.
        next_path: what a poll asks for after the answer with this body.
    """

    abstract = True
    wire: ClassVar[type[Reader]]
    path: str | None = None
    parse: Callable[[bytes], Iterable[Stamp]] | None = None
    greeting: tuple[bytes, ...] = ()
    answer: Callable[[bytes], bytes | None] | None = None
    next_path: Callable[[bytes], str] | None = None

    def open(self) -> None:
        """Make the reader."""
        made = self.assigned.readers.get(self.transport, self.wire)
        root = f"{self.host}" if self.path is not None else f"{self.host}{self.mount}"
        self.reader = made(root, self.channels, beat=self.assigned.beat, leisure=Leisure() if self.slow else None)
        for hook in ("path", "parse", "greeting", "answer", "next_path"):
            if wanted := getattr(self, hook):
                setattr(self.reader, hook, wanted)

    def close(self) -> None:
        """Let go of its connection."""
        self.reader.close()

    def hurry(self) -> None:
        """Take no more pauses."""
        self.reader.hurry()

    @task
    def read(self) -> None:
        """Read; after a cut, come back and read on."""
        tries = 0
        while True:
            try:
                for batch in self.reader.batches():
                    tries = 0
                    self.take(batch)
            except Exception as error:
                # What is neither of the wire nor of the server is of the reader's own code, such as somebody's `parse`.
                what = "cut" if isinstance(error, OSError | EverywireError) else "broke"
                self.fail(what, f"{type(error).__name__}: {error}")
                gevent.sleep(wait(tries, error))
                tries += 1

    @property
    def ready(self) -> bool:  # type: ignore[override]
        """It is in place."""
        return self.reader.ready

    @property
    def stamped(self) -> bool:  # type: ignore[override]
        """Its times are the kernel's."""
        return self.reader.stamped

    @property
    def traffic(self) -> Traffic:  # type: ignore[override]
        """What went over its wires."""
        return self.reader.traffic

    @property
    def opening(self) -> Opening | None:  # type: ignore[override]
        """How its last wire was opened."""
        return self.reader.opening


def wait(tries: int, error: Exception) -> float:
    """Seconds until the next try. `tries`: those that have failed in a row, without this one."""
    if isinstance(error, Refusal):
        if error.retry is None:  # do not come back unchanged: and nothing will change
            Event().wait()
        return (error.retry or 0.0) + random.uniform(0, _AT_ONCE)
    if not tries:
        return random.uniform(0, _AT_ONCE)
    first, most = _BACKOFF
    return float(min(most, first * 2.0 ** min(tries, 10)) * random.uniform(0.5, 1))


class WebSocketUser(WireUser):
    """Reads over WebSocket."""

    abstract = True
    transport = "websocket"
    wire = WebSocketReader


class SSEUser(WireUser):
    """Reads over Server-Sent Events."""

    abstract = True
    transport = "sse"
    wire = SSEReader


class LongPollUser(WireUser):
    """Reads by long-polling."""

    abstract = True
    transport = "longpoll"
    wire = LongPollReader
