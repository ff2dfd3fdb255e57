"""Station: the readers of one Locust process, who answers for them what a round asks."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from ..histogram import merged
from ..samples import Pause, Phases, Tally, Traffic, total
from ..users import StreamUser
from .generator import Generator
from .pauses import Watch
from .questions import Answer, Begin, Clock, Glance, Glimpse, Hush, Part, Question, Said, Start, Stock
from .speaker import Speaker, unique
from .timeline import Arrivals


def now() -> int:
    """Microseconds of CLOCK_MONOTONIC of this host."""
    return time.monotonic_ns() // 1000


class Station:
    """The readers of this process."""

    def __init__(self) -> None:
        self._generator = Generator()
        self._arrivals, self._slow = Arrivals(), Arrivals()
        self._counted: list[StreamUser] = []  # those that were in place when publishing began
        self._before = Traffic()
        self._phases = Phases()

    def ask(self, question: Question) -> Answer:
        """The answer to any question, at once."""
        match question:
            case Clock():
                return now()
            case Glance(last):
                return self._glance(last)
            case Begin():
                self._begin(question)
            case Start():
                self._start(question)
            case Hush():
                return self._hush()
            case Stock():
                return self._stock(question)
        return None

    def close(self) -> None:
        """Watch no more."""
        self._generator.stop()

    def _glance(self, last: dict[str, int]) -> Glimpse:
        users = list(StreamUser.playing)
        return Glimpse(
            ready=sum(user.ready for user in users),
            delivered=sum(record.delivered for user in self._counted for record in user.records.values()),
            received=max((user.watch.arrived for user in self._counted), default=0),
            there=all(_complete(user, last) for user in self._counted),
            silent=all(user.speaker is None or user.speaker.silent for user in users),
            cpu=self._generator.cpu,
            lag=self._generator.lag.percentile(99) or 0,
        )

    def _begin(self, begin: Begin) -> None:
        StreamUser.ahead, StreamUser.quiet = begin.ahead, begin.keep
        self._counted = [user for user in StreamUser.playing if user.ready]
        self._arrivals, self._slow = Arrivals(), Arrivals()
        self._before, self._phases = _traffic(StreamUser.playing), _phases([user for user in self._counted if not user.slow])
        interval = math.inf if begin.interval is None else begin.interval
        for user in self._counted:
            arrivals = (self._slow if user.slow else self._arrivals) if begin.keep else None
            user.settle(arrivals, Watch(math.inf if user.slow or not begin.keep else interval))
        self._generator.stop()
        self._generator = Generator()

    def _start(self, start: Start) -> None:
        for user in self._counted:
            user.watch.start(start.at)
            if start.says:
                source = unique(StreamUser.assigned.place, user.number)
                user.speaker = Speaker(f"{user.host}{user.mount}", source, user.channels[0], start.says, start.size)
                user.speaker.start(start.at, start.until, StreamUser.ahead)

    def _hush(self) -> list[Said]:
        for user in StreamUser.playing:
            user.hurry()
        speakers = [user.speaker for user in self._counted if user.speaker is not None]
        return [Said(each.source, each.channel, each.said) for each in speakers]

    def _stock(self, stock: Stock) -> Part:
        self._generator.stop()
        ended, users = now() - StreamUser.ahead, self._counted
        for user in users:
            _look_beyond(user, stock.last)
        own = [user for user in users if not user.slow]
        slow = [user for user in users if user.slow]
        return Part(
            ended=max((user.watch.arrived for user in own), default=0),
            tally=total(_tally(user, stock) for user in users),
            slow_tally=total(_tally(user, stock) for user in slow),
            delays=self._arrivals.delays(),
            slow=self._slow.delays(),
            traffic=_traffic(StreamUser.playing).minus(self._before),
            lag=self._generator.lag,
            cpu=self._generator.cpu,
            stamped=all(user.stamped for user in users),
            phases=self._phases,
            rows=self._arrivals.rows(),
            pauses=[
                Pause(number, *pause)
                for number, user in enumerate(own)
                for pause in user.watch.closed(ended, complete=_complete(user, stock.last))
            ],
            acknowledged=merged(user.acknowledged() for user in users),
            chosen=dict(Counter(user.chosen for user in users if user.chosen)),
            failures=dict(sum((user.complaints() for user in StreamUser.playing), Counter())),
            followers=dict(Counter(name for user in own for name in user.channels)),
            counted=len(users),
        )


def _complete(user: StreamUser, last: dict[str, int]) -> bool:
    """Whether nothing that is known to be on its way is missing at its end. Of other readers' events only those that came are
    asked for.
    """
    return all((user.records[name].next or 0) > last[name] for name in user.channels if name in last)


def _look_beyond(user: StreamUser, last: dict[str, int]) -> None:
    """Events that nobody of this round has published are somebody else's."""
    for source, record in user.records.items():
        if source in last and (record.next or 0) > last[source] + 1:
            user.fail("alien", f"events of {source}")


def _tally(user: StreamUser, stock: Stock) -> Tally:
    """What became of the events that this reader should have got."""
    sources = [source for source, channel in stock.channels.items() if channel in user.channels]
    return total(user.record(source).tally(0, stock.last[source]) for source in sources)


def _phases(users: Sequence[StreamUser]) -> Phases:
    made = Phases()
    for opening in (user.opening for user in users):
        if opening is not None:
            for name in made.__struct_fields__:
                if (took := getattr(opening, name)) is not None:
                    getattr(made, name).record(took)
    return made


def _traffic(users: Iterable[StreamUser]) -> Traffic:
    whole = Traffic()
    for user in users:
        whole = whole.plus(user.traffic)
        if user.speaker is not None:
            whole = whole.plus(user.speaker.traffic)
    return whole
