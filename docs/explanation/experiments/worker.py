"""A worker, simulated: one core that takes events and writes them to its readers, and what piles up while it is busy.

It is the event loop of a worker reduced to what it pays for. In each turn it takes all events that have come (`publish`
each), then goes through its readers once (`turn`, `item` for each event, `write` and `byte` for each reader). Who comes
meanwhile waits for the next turn: that is all there is to batching, and why a busy worker becomes late, but not slow.

Nothing here measures anything, and nothing here is random but what `random.Random` is given. Times are seconds.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

COLD = 0.010  # seconds of rest after which a core is as cold as it gets


class Costs(NamedTuple):
    """What a worker pays: seconds of one core, and bytes. Measured by `capacity.py measure`."""

    publish: float  # for each event, whoever reads it
    turn: float  # for each time that events are written, to however many
    item: float  # for each event in it
    write: float  # for each reader who is written to, however much
    cold: float  # for that after a rest, beside it: caches are cold, and the other side has to be woken
    byte: float  # for each byte of that
    poll: float  # for a long poll that is answered, instead of a write
    connect: float  # for a reader who comes
    handshake: float  # for the TLS handshake before that, if there is one
    beat: float  # for a beat to one reader, with the pong that comes back
    envelope: float  # bytes around the data of an event, on the wire
    memory: float  # bytes per reader

    def pass_of(self, readers: int, events: int, size: int, rested: float = 0.0) -> float:
        """Seconds to write so many events to so many readers at once, after a rest of so many seconds."""
        write = self.write + self.cold * min(1.0, rested / COLD)
        return self.turn + self.item * events + readers * (write + self.byte * events * (size + self.envelope))

    def poll_pass_of(self, readers: int, events: int, size: int, rested: float = 0.0) -> float:
        """Seconds to answer the polls of so many readers with so many events."""
        poll = self.poll + self.cold * min(1.0, rested / COLD)
        return self.turn + self.item * events + readers * (poll + self.byte * events * (size + self.envelope))


class Event(NamedTuple):
    """An event: when it was due, when the worker can see it, and whose it is."""

    due: float
    seen: float
    channel: int = 0


class Delays:
    """How late deliveries were, in buckets of 1 %."""

    _STEP = math.log(1.01)
    _LEAST = 1e-7
    _PARTS = 8  # of a range: the first reader of a pass is served before the last

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.total = 0.0

    def add(self, first: float, last: float, number: int) -> None:
        """So many deliveries, evenly between the first and the last."""
        each, more = divmod(number, self._PARTS)
        for part in range(self._PARTS):
            delay = first + (last - first) * (part + 0.5) / self._PARTS
            self._buckets[int(math.log(max(delay, self._LEAST)) / self._STEP)] += each + (part < more)
        self.count += number
        self.total += number * (first + last) / 2

    def merge(self, other: Delays) -> None:
        """Add those of `other`."""
        self._buckets.update(other._buckets)
        self.count += other.count
        self.total += other.total

    @property
    def mean(self) -> float:
        """Of all of them."""
        return self.total / self.count

    def percentile(self, share: float) -> float:
        """The delay that this share of them does not exceed."""
        left = share * self.count
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return math.exp((bucket if bucket < 0 else bucket + 1) * self._STEP)
        return 0.0


class Outcome(NamedTuple):
    """What came of it: delays, seconds of CPU, and of the clock until the last was written; passes through the readers."""

    delays: Delays
    cpu: float
    seconds: float
    passes: int


def regular(rate: float, seconds: float) -> list[float]:
    """The times of events that come on a schedule."""
    return [n / rate for n in range(round(rate * seconds))]


def by_chance(rate: float, seconds: float, luck: random.Random) -> list[float]:
    """The times of events that come independently of each other."""
    times, now = [], luck.expovariate(rate)
    while now < seconds:
        times.append(now)
        now += luck.expovariate(rate)
    return times


def at_once(times: Sequence[float]) -> list[Event]:
    """Events that are seen when they are due: published in the worker itself."""
    return [Event(each, each) for each in times]


def through_broker(times: Sequence[float], latency: float, luck: random.Random, channels: int = 1) -> list[Event]:
    """Events that a broker passes on, in order; half of them within `latency`, some much later."""
    events, seen = [], 0.0
    for due in times:
        seen = max(seen, due + luck.lognormvariate(math.log(latency), 0.5))
        events.append(Event(due, seen, luck.randrange(channels)))
    return events


class Worker(NamedTuple):
    """One core.

    `batching`: it takes all that came; if not, one event after the other, as most servers do. `coalesce`: the setting of
    that name. `tick`: how often it looks for events while it has nothing to do; 0: it is woken. `busy`: the share of the
    core that other things take. `batch_bytes`: written at once, the setting of that name.
    """

    costs: Costs
    readers: int
    size: int
    channels: int = 1  # readers follow one each, and are spread over them evenly
    polls: bool = False
    batching: bool = True
    coalesce: float = 0.0
    tick: float = 0.0
    busy: float = 0.0
    batch_bytes: int = 262_144

    def run(self, events: Sequence[Event]) -> Outcome:
        """Take events, in the order in which they are seen, and deliver them all."""
        delays, now, cpu, passes, earliest = Delays(), 0.0, 0.0, 0, 0.0
        slower = 1 / (1 - self.busy)
        seen = [event.seen for event in events]
        first = 0
        while first < len(events):
            began = max(self._wakes(now, seen[first]), earliest)
            last = min(bisect_right(seen, began, first), first + self._most)
            earliest, rested = began + self.coalesce, began - now
            now = began + (last - first) * self.costs.publish * slower
            for readers, some in self._by_channel(events[first:last]):
                begun = now + (self.costs.turn + self.costs.item * len(some)) * slower
                now += self._pass(readers, len(some), rested) * slower
                passes += 1
                for event in some:
                    delays.add(begun - event.due, now - event.due, readers)
            cpu += (now - began) / slower
            first = last
        return Outcome(delays, cpu, now, passes)

    @property
    def _most(self) -> int:
        return max(1, int(self.batch_bytes / (self.size + self.costs.envelope))) if self.batching else 1

    def _wakes(self, now: float, seen: float) -> float:
        """When it sees what is to be seen at `seen`, if it has nothing to do since `now`."""
        if seen <= now or not self.tick:
            return max(now, seen)
        return now + math.ceil((seen - now) / self.tick) * self.tick

    def _by_channel(self, events: Sequence[Event]) -> Iterator[tuple[int, Sequence[Event]]]:
        """Who reads which of the events, channel by channel."""
        if self.channels == 1:
            yield self.readers, events
            return
        found: dict[int, list[Event]] = {}
        for event in events:
            found.setdefault(event.channel, []).append(event)
        for channel, some in found.items():
            yield self.readers // self.channels + (channel < self.readers % self.channels), some

    def _pass(self, readers: int, events: int, rested: float) -> float:
        work = self.costs.poll_pass_of if self.polls else self.costs.pass_of
        return work(readers, events, self.size, rested)


def spread(readers: int, workers: int, luck: random.Random) -> list[int]:
    """Readers on workers, as a kernel that chooses by the hash of an address spreads them: not quite evenly."""
    shares, left = [], readers
    for others in range(workers - 1, 0, -1):
        mean = left / (others + 1)
        share = round(luck.gauss(mean, math.sqrt(mean * others / (others + 1)))) if mean else 0
        shares.append(min(max(share, 0), left))
        left -= shares[-1]
    return [*shares, left]
