"""Log: the kept events, per channel a ring bounded by count, age and size, read in offset order across channels.

A publish appends once; a reader is only an offset. Four calls are nearly the whole life of it::

    log.append(event)                              the hub, for every event the broker hands over, in offset order
    log.after(offset, selection, limit)  -> Slice  a feed, whenever its reader can take more
    log.evict(now)                                 the hub, once a second while something happens
    log.lose(through)                              the hub, when the broker has let go of what was not read yet

Besides, `pass_over` moves the head for what no reader may see, `restart` begins another life, and `remember` and `recall` spare a
poll what another just asked.

Who wants less than every event (`Selection.policies`) gets a choice of what lies behind its offset, and is told what was
left out.

This is where loss is decided, and nowhere else. Each ring remembers the offset of the last event that it let go
(`gone`). A reader whose offset lies before that has missed exactly the range (offset, gone] of that channel: rings
let go in order, so nothing in the range is kept, and everything that is gone lies in it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, Sequence
from heapq import merge
from operator import attrgetter
from typing import NamedTuple

from .items import Batch, Encoded, Skipped, encode
from .position import Position
from .subscriptions import EVERY, Policy, Selection, chosen, matches

_offset = attrgetter("offset")
_NOTHING_TOLD: Mapping[str, int] = {}
_NO_EVENTS = Batch(())
_SLICES = 64  # kept for readers at the same place; each may hold a whole batch
_ANSWERS = 1024  # kept of them, each with its question, which may have a few thousand bytes


class Gap(NamedTuple):
    """Of `channel`, which may be a pattern, nothing in the range (`after`, `through`] is kept any more."""

    channel: str
    after: int
    through: int


class Slice(NamedTuple):
    """What a reader gets at once.

    `gaps` come before the `events`, which are in offset order, and `offset` is where the reader stands afterwards.
    `skipped` says which channels are told of as skipped through an offset that lies behind that.
    Readers at the same place get the same slice, so that its events are framed once for all of them.
    """

    gaps: Sequence[Gap]
    events: Batch
    offset: int
    skipped: Mapping[str, int] = _NOTHING_TOLD


class _Ring:
    """The kept events of one channel, oldest first. A list with a start is as good as a deque here, and bisects in C."""

    __slots__ = ("_newest", "bare", "events", "gone", "offsets", "size", "start")

    def __init__(self, gone: int) -> None:
        self.events: list[Encoded] = []
        self.offsets: list[int] = []  # of `events`, beside them for bisect
        self.start = 0  # events before it have been let go and wait for the list to be cut
        self.gone = gone  # offset of the last event that was let go; 0: none ever was
        self.bare = gone  # of the last that was let go while there was none newer of the same `about`
        self.size = 0  # bytes of the JSON of what is kept
        self._newest: dict[str | None, int] | None = None  # about -> offset; None as long as nothing is about anything

    def __len__(self) -> int:
        return len(self.events) - self.start

    def append(self, event: Encoded, count: int, size: int) -> None:
        self.events.append(event)
        self.offsets.append(event.offset)
        self.size += len(event.json)
        if self._newest is not None:
            self._newest[event.about] = event.offset
        elif event.about is not None:
            self._newest = {each.about: each.offset for each in self.events[self.start :]}
        if (over := len(self.events) - self.start - count) > 0:
            self.let_go(over)
        if self.size > size and (over := self._over(size)):
            self.let_go(over)

    def _over(self, size: int) -> int:
        """How many of the oldest must go so that the others have `size` bytes; the newest stays, however large it is."""
        place, left = self.start, self.size
        while left > size and place < len(self.events) - 1:
            left -= len(self.events[place].json)
            place += 1
        return place - self.start

    def lose(self, through: int) -> None:
        if number := bisect_right(self.offsets, through, self.start) - self.start:
            self.let_go(number)
        self.gone = max(self.gone, through)
        if not self.offsets or through > self.offsets[-1]:  # some of it never came here: what it was about, nobody knows
            self.bare = max(self.bare, through)

    def let_go(self, number: int) -> None:
        end = self.start + number
        self.size -= len(self.events[self.start].json) if number == 1 else sum(len(e.json) for e in self.events[self.start : end])
        if self._newest is not None:
            self._let_go_of(self._newest, self.events[self.start : end])
        self.start = end
        self.gone = self.offsets[end - 1]
        if end == len(self.events):
            self.bare = self.gone
        if self.start * 2 >= len(self.events):  # cut rarely: amortised O(1), and never more than twice the bound
            del self.events[: self.start], self.offsets[: self.start]
            self.start = 0

    def _let_go_of(self, newest: dict[str | None, int], events: Iterable[Encoded]) -> None:
        for event in events:
            if newest[event.about] == event.offset:
                del newest[event.about]
                self.bare = event.offset

    def missed(self, after: int, policy: Policy) -> bool:
        """Whether something behind `after` is gone that a reader there would have been given."""
        if policy.name == "latest":
            return self.bare > after
        if policy.name == "lag" and len(self) - bisect_right(self.offsets, after, self.start) + self.start >= policy.most:
            return False
        return self.gone > after


class Log:
    """The events of all channels of a hub that are still kept.

    Args:
        epoch: the name of this life of the log.
        count: events kept per channel, at least 1.
        age: seconds after which `evict` lets an event go.
        size: bytes of JSON kept per channel; the newest event is kept even if it is larger.
    """

    def __init__(self, epoch: str, *, count: int = 1000, age: float = 300.0, size: int = 4 << 20) -> None:
        self.epoch = epoch
        self.count = count
        self.age = age
        self.size = size
        self.head = 0  # the highest offset seen, in whichever channel
        self.appeared: Callable[[str], object] | None = None  # called with a channel that was not known, before its first event
        self._floor = 0  # nothing through it is kept, of any channel
        self._rings: dict[str, _Ring] = {}
        self._slices: dict[tuple[int, tuple[str, ...] | Selection, int], Slice] = {}  # handed out since the last change
        self._answers: dict[str, Batch] = {}  # of those slices, by the question

    def __len__(self) -> int:
        return sum(map(len, self._rings.values()))

    def __contains__(self, channel: str) -> bool:
        return channel in self._rings

    @property
    def channels(self) -> int:
        """How many channels have ever been published to."""
        return len(self._rings)

    @property
    def names(self) -> KeysView[str]:
        """Those channels, in the order in which they came up."""
        return self._rings.keys()

    @property
    def bytes(self) -> int:
        """Of JSON that is kept."""
        return sum(ring.size for ring in self._rings.values())

    def append(self, event: Encoded) -> None:
        """Keep `event`, whose offset is higher than all before it, and let go of the oldest of its channel if there
        are too many.
        """
        ring = self._rings.get(event.channel)
        if ring is None:
            ring = self._new(event.channel)
        ring.append(event, self.count, self.size)
        self.head = event.offset
        if self._slices:
            self._forget()

    def pass_over(self, offset: int) -> None:
        """What has this offset is for nobody who reads."""
        self.head = offset
        self._forget()

    def lose(self, through: int, channel: str | None = None) -> None:
        """Nothing through the offset `through` is to be had any more, of `channel` or of any: what is kept before a hole goes
        too, so that what is told as lost is one range.
        """
        if channel is None:
            self._floor = max(self._floor, through)
            for ring in self._rings.values():
                ring.lose(through)
        else:
            (self._rings.get(channel) or self._new(channel)).lose(through)
        self.head = max(self.head, through)
        self._forget()

    def _new(self, channel: str) -> _Ring:
        if self.appeared is not None:
            self.appeared(channel)
        ring = self._rings[channel] = _Ring(self._floor)
        return ring

    def restart(self, epoch: str) -> None:
        """Begin another life of the log, with nothing in it."""
        self.epoch = epoch
        self.head = self._floor = 0
        self._rings.clear()
        self._forget()

    def evict(self, now: float) -> None:
        """Let go of the events that are older than `age` at `now` (seconds since 1970)."""
        oldest = now - self.age
        for ring in self._rings.values():
            place = ring.start
            while place < len(ring.events) and ring.events[place].at < oldest:
                place += 1
            if place > ring.start:
                ring.let_go(place - ring.start)
                self._forget()

    def gaps(self, offset: int, selection: Selection, told: Mapping[str, int] = _NOTHING_TOLD) -> list[Gap]:
        """What a reader at `offset` has missed for good. `told`: per channel or pattern, through which offset it knows of that
        already.
        """
        found, rings, policies = [], self._rings, selection.policies
        for index, channel in enumerate(selection.channels):
            ring = rings.get(channel)
            after = max(offset, told.get(channel, 0)) if told else offset
            gone = self._floor if ring is None else ring.gone
            if gone > after and (ring is None or not policies or ring.missed(after, policies[index])):
                found.append(Gap(channel, after, gone))
        if self._floor > offset and selection.patterns:
            found = self._unknown(found, offset, selection.patterns, told)
        return found

    def _unknown(self, gaps: list[Gap], offset: int, patterns: Sequence[str], told: Mapping[str, int]) -> list[Gap]:
        """`gaps`, and that there may have been channels of which nothing is known any more. One word for a pattern says that of
        all that it matches.
        """
        floor = self._floor
        found = [Gap(each, after, floor) for each in patterns if (after := max(offset, told.get(each, 0))) < floor]
        return [*found, *(gap for gap in gaps if gap.through > floor or not _matched(patterns, gap.channel))]

    def after(self, offset: int, selection: Selection, limit: int, told: Mapping[str, int] = _NOTHING_TOLD) -> Slice:
        """The events of the selected channels behind `offset`, merged in offset order, with what is gone before them.

        Merging by offset is also what keeps a busy channel from starving a quiet one: an event's turn comes by its
        age alone.

        Args:
            offset: where the reader stands.
            selection: the channels it follows, and what it wants of them.
            limit: bytes of JSON at the most, but for a single event that is larger.
            told: see `gaps`.
        """
        if offset >= self.head:
            return Slice((), _NO_EVENTS, offset)
        plain = not selection.patterns and not selection.policies
        key = (offset, selection.channels if plain else selection, limit)
        if told or (found := self._slices.get(key)) is None:
            found = self._read(offset, selection, limit, told)
            if not told:
                if len(self._slices) >= _SLICES:  # readers all over the log share nothing, and must not fill the memory
                    self._forget()
                self._slices[key] = found
        return found

    def remember(self, question: str, answer: Batch) -> None:
        """Keep what `after` has just given for `question`, whatever that means to who asks, until something changes."""
        if len(self._answers) >= _ANSWERS:  # whoever asks in ever new words must not fill the memory
            self._answers.clear()
        self._answers[question] = answer

    def recall(self, question: str) -> Batch | None:
        """The answer to `question`, if nothing has changed since it was given."""
        return self._answers.get(question)

    def _forget(self) -> None:
        self._slices.clear()
        self._answers.clear()

    def _read(self, offset: int, selection: Selection, limit: int, told: Mapping[str, int]) -> Slice:
        behind = []  # per channel that has any, the events behind `offset`
        for channel in selection.channels:
            ring = self._rings.get(channel)
            if ring is not None and ring.offsets and ring.offsets[-1] > offset:
                behind.append(ring.events[bisect_right(ring.offsets, offset, ring.start) :])
        gaps = self.gaps(offset, selection, told)
        wanted = self._wanted(behind, selection) if selection.policies else behind
        events, more = _within(limit, wanted[0] if len(wanted) == 1 else merge(*wanted, key=_offset))
        upto = events[-1].offset if more else self.head
        if selection.policies:
            known = {**told, **{gap.channel: gap.through for gap in gaps}}
            skipped = [*self._skipped(offset, upto, selection, known)]
            beyond = {channel: through for channel, through, _ in skipped if through > upto}
            return Slice(gaps, Batch([*(encode(item) for _, _, item in skipped), *events]), upto, beyond)
        return Slice(gaps, Batch(events), upto)

    def _wanted(self, behind: Sequence[Sequence[Encoded]], selection: Selection) -> list[Sequence[Encoded]]:
        policies = dict(zip(selection.channels, selection.policies, strict=True))
        return [chosen(policies[events[0].channel], events) for events in behind if events]

    def _skipped(
        self, offset: int, upto: int, selection: Selection, told: Mapping[str, int]
    ) -> Iterator[tuple[str, int, Skipped]]:
        """What a reader who is taken from `offset` to `upto` is not given because of its own policies: of which channel, through
        which offset. Nothing of it is lost. What is gone is told of as one, even where it ends behind `upto`: nobody knows where
        in it there was something.
        """
        here = str(Position(self.epoch, offset))
        for channel, policy in zip(selection.channels, selection.policies, strict=True):
            ring = self._rings.get(channel)
            if ring is None or policy == EVERY or max(ring.gone, ring.offsets[-1] if ring.offsets else 0) <= offset:
                continue
            after = max(offset, told.get(channel, 0))
            if self._floor > after and _matched(selection.patterns, channel):
                after = self._floor  # as the loss of the pattern says
            behind = ring.events[bisect_right(ring.offsets, offset, ring.start) :]
            wanted = {event.offset for event in chosen(policy, behind)}
            left = [event.offset for event in behind if event.offset <= upto and event.offset not in wanted]
            uncounted = after < ring.gone  # and none of it lost, or it would have been told
            if left or uncounted:
                through = max(left[-1] if left else 0, ring.gone if uncounted else 0)
                count = None if uncounted else len(left)
                start, end = str(Position(self.epoch, after)), str(Position(self.epoch, through))
                yield channel, through, Skipped(here, channel, start, end, count, policy.name)


def _matched(patterns: Iterable[str], channel: str) -> bool:
    return any(matches(pattern, channel) for pattern in patterns)


def _within(limit: int, source: Iterable[Encoded]) -> tuple[list[Encoded], bool]:
    """The events at the start of `source` that fit into `limit` bytes, at least one, and whether some were left."""
    events: list[Encoded] = []
    for event in source:
        limit -= len(event.json)
        if limit < 0 and events:
            return events, True
        events.append(event)
    return events, False
