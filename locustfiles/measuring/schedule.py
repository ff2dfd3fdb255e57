"""Schedule: which event is due when, and where it goes. Pure, because publisher and judge have to agree on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..samples import Published


class Due(NamedTuple):
    """An event that is due."""

    k: int  # its number among all
    n: int  # its number in its channel
    channel: str
    due: int  # microseconds


class Schedule:
    """When each event is due: all together `rate` a second, `burst` of them at once, to the channels in turn.

    Args:
        start: microseconds.
        rate: events per second.
        count: how many; None: for ever.
        channels: their names.
        burst: events that are due at the same moment.
    """

    def __init__(
        self, start: int, rate: float, count: int | None = None, *, channels: Sequence[str] = ("compare",), burst: int = 1
    ) -> None:
        self.start, self.rate, self.channels, self.burst, self.count = start, rate, channels, burst, count
        self.next = 0

    def due(self, k: int) -> int:
        """When event `k` is due. From the start each time: adding up intervals would drift."""
        return self.start + round(k // self.burst * self.burst * 1_000_000 / self.rate)

    def event(self, k: int) -> Due:
        """Event `k`; each channel has numbers of its own, without holes."""
        return Due(k, k // len(self.channels), self.channels[k % len(self.channels)], self.due(k))

    @property
    def over(self) -> bool:
        """All have been taken."""
        return self.count is not None and self.next >= self.count

    def take(self, at: int, most: int) -> list[Due]:
        """The events that are due at `at`, at most `most` of them; they count as taken."""
        taken: list[Due] = []
        while not self.over and len(taken) < most and (event := self.event(self.next)).due <= at:
            taken.append(event)
            self.next += 1
        return taken

    def events(self, last: int) -> Iterator[Due]:
        """All through number `last`."""
        return map(self.event, range(last + 1))

    def last(self, channel: str, last: int) -> int:
        """The highest number in a channel, when `last` is the highest of all; -1: nothing went there."""
        place = list(self.channels).index(channel)
        return (last - place) // len(self.channels)


def of(published: Published, channels: Sequence[str], burst: int) -> Schedule:
    """The schedule that was kept."""
    return Schedule(published.started, published.rate, channels=channels, burst=burst)
