"""Feed: what one reader reads. Channels, an offset and a bell; no queue.

Whatever piles up while a reader is busy stays in the log and comes in one batch: that is all the flow control there
is. A task waits in `take` when it can write again; who has no task hangs up a `bell` and reads what is `ready`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .errors import Code, Refusal
from .items import VERSION, Batch, Beat, Encoded, Hello, Lost, bye_of, encode
from .log import Gap, Log
from .position import Position
from .subscriptions import Selection, Subscription
from .watch import Watch

_NOT_ANY_MORE = frozenset({Code.UNAUTHORIZED, Code.FORBIDDEN})


class _Loss(NamedTuple):
    """Of `channel`, everything behind the position `after` through the offset `through` is gone."""

    channel: str
    after: str
    through: int
    reason: str


class Feed:
    """One reader's place in the log. Made by `Hub.feed`, used by one task, or by one bell; a context manager that leaves
    the hub at its end.

    Args:
        log: what to read.
        asked: what the reader asks for.
        selection: what that comes to.
        since: where to read on from; None for the present.
        limit: bytes that a batch holds at the most.
        leave: called at the end of the `with` block.
        patient: events may be there that this process has not got yet: a position ahead of them is not called lost.
        clock: seconds since 1970.
    """

    __slots__ = (
        "_came_with",
        "_clock",
        "_leave",
        "_limit",
        "_log",
        "_told",
        "_unsaid",
        "_untold",
        "_waiter",
        "_watch",
        "asked",
        "bell",
        "bye",
        "cut",
        "fresh",
        "offset",
        "once",
        "open",
        "readers",
        "resumed",
        "selection",
        "strict",
        "told",
        "word",
    )  # fmt: skip

    def __init__(
        self,
        log: Log,
        asked: Subscription,
        selection: Selection,
        since: Position | None,
        *,
        limit: int,
        leave: Callable[[Feed], None],
        patient: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._limit = limit
        self._leave = leave
        self._clock = clock
        self._waiter: asyncio.Future[bool] | None = None
        self._told: dict[str, int] = {}  # channel -> through where it was told what is gone, while that lies ahead of `offset`
        self._untold: list[_Loss] = []  # what another life of the log took with it, to be told first
        self._came_with: str | None = None  # what the reader came with, as long as that has not been told
        self._unsaid: Refusal | None = None  # a `bye` that is still to be read
        self._watch: Watch | None = None  # of who waits in `take`
        self.open = True
        self.bell: Callable[[], object] | None = None  # rung when there may be something to read, or it has ended; reads later
        self.readers = 1  # who read it: in step with the log, any number may share one
        self.once = False  # it reads one batch only
        self.strict = False  # whoever falls behind while it reads ends, before anything is lost that was kept when it came
        self.fresh = True  # it has just begun, or begun to follow more: that it is behind what is kept is not its fault
        self.cut = False  # it was strict, and has fallen behind
        self.bye: Refusal | None = None  # why it was ended, if it was ended with a word
        self.word: Callable[[], Encoded] | None = None  # makes what a reader is to be told besides,
        self.told = 0  # and how many of the readers are
        self.asked = asked
        self.selection = selection  # the hub sees to it that it is what `asked` comes to
        self.offset = log.head
        self.resumed = "fresh"
        if since is not None:
            self.move(since, patient)

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Nobody reads it any more."""
        self.bell = None
        if self._watch is not None:
            self._watch.stop()
        self._leave(self)

    def stand_like(self, other: Feed) -> None:
        """Read on from where `other` stands, who reads the same of the same log."""
        self.offset, self._told, self._untold, self._came_with = other.offset, other._told, other._untold, other._came_with
        self.once, self.fresh = other.once, other.fresh
        if other.told:  # what has not been said yet is said to each
            self.word, self.told = other.word, 1
            other.told -= 1

    @property
    def channels(self) -> tuple[str, ...]:
        """The names and patterns that it follows."""
        return self.asked.names

    @property
    def position(self) -> str:
        """What to come back with, as it travels."""
        return self._came_with or self._at(self.offset)

    def hello(self, connection: str, beat: float, expires: float | None = None) -> Encoded:
        """The first item. `connection`: its name; `beat`: the longest silence in seconds; `expires`: seconds since 1970."""
        return encode(Hello(VERSION, self.position, connection, list(self.channels), self.resumed, beat, expires))

    @property
    def ahead(self) -> bool:
        """Whether it stands where this log has not come to yet."""
        return self.offset > self._log.head

    def move(self, since: Position, patient: bool = False) -> None:
        """Read on from `since`; a position that this log cannot continue becomes `lost`, for each channel. `patient`: not when
        it is ahead of the log.
        """
        log = self._log
        self._told, self._untold, self._came_with, self.fresh = {}, [], None, True
        if since.epoch == log.epoch and (patient or since.offset <= log.head):
            self.offset = since.offset
            self.resumed = "lost" if log.gaps(self.offset, self.selection) else "exact"
            return
        self.resumed, self._came_with = "lost", str(since)
        self.offset, reason = (log.head, "future") if since.epoch == log.epoch else (0, "epoch")
        through = dict.fromkeys(self.channels, self.offset)
        gaps = log.gaps(self.offset, self.selection)
        self._told = {gap.channel: gap.through for gap in gaps if gap.channel in through}
        through.update(self._told)  # one loss for both, so that it is not told as `evicted` again
        self._untold = [_Loss(channel, self._came_with, last, reason) for channel, last in through.items()]

    def ring(self) -> None:
        """Wake the reader: there may be something to read. Called by the hub."""
        if self.bell is not None:
            self.bell()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    def tell(self, word: Callable[[], Encoded], readers: int = 1) -> None:
        """Tell so many of those who read it a word between two events: each what `word` makes then. Who reads one batch only is
        given that batch instead, without waiting for an event.
        """
        self.word, self.told = word, readers
        self.ring()

    def end(self, why: Refusal | None = None) -> None:
        """End it: with a `bye` if there is something to say; without, if the reader has gone and nobody hears it."""
        if self.open:
            self.open = False
            self.word, self.told = None, 0
            self.bye = self._unsaid = why
            self.ring()
        elif why is None:
            self._unsaid = None

    def ready(self) -> Batch | None:
        """What can be read at once; None when there is nothing."""
        gaps, batch, offset, skipped = self._log.after(self.offset, self.selection, self._limit, self._told)
        if gaps and self.strict and not (self.fresh or self.once or self.cut):
            self._fall_behind()
            return None
        self.fresh = False
        if gaps or self._untold:
            batch = self._tell(gaps, batch, offset)
        if skipped or self._told:
            self._told = {channel: through for channel, through in {**self._told, **skipped}.items() if through > offset}
        self.offset = offset
        if self.told:
            batch = self._with_word(batch)
        return batch if batch.items else None

    def _fall_behind(self) -> None:
        """It ends where it stands: who comes back from there is told what is lost."""
        self.cut = True
        self.end(Refusal(Code.TOO_SLOW, "what comes next is not kept any more: come back, and be told what is lost"))

    def _with_word(self, batch: Batch) -> Batch:
        word, self.word, self.told = self.word, None, 0
        if self.once:
            return batch if batch.items else self.beat()
        assert word is not None  # noqa: S101 - there is something to tell
        return Batch([*batch.items, word()])

    def _tell(self, gaps: Sequence[Gap], events: Batch, offset: int) -> Batch:
        """What is gone, before `events`, behind which the reader will stand at `offset`.

        Only the last loss moves the reader on: one who is cut off before has to be told all of it again.
        """
        untold = [loss for loss in self._untold if loss.channel in self.channels]
        losses = [*untold, *(_Loss(gap.channel, self._at(gap.after), gap.through, "evicted") for gap in gaps)]
        ids = [*[self.position] * (len(losses) - 1), self._at(self.offset if events.items else offset)]
        self._told = self._told | {loss.channel: loss.through for loss in losses}
        self._untold, self._came_with = [], None
        items = [
            Lost(id_, loss.channel, loss.after, self._at(loss.through), loss.reason)
            for id_, loss in zip(ids, losses, strict=False)
        ]
        return Batch([*map(encode, items), *events.items])

    async def take(self, wait: float) -> Batch | None:
        """What there is to read, as soon as there is something, or a beat after `wait` seconds; None when the feed
        has ended.

        After a batch with a `bye` that does not stay there is none. Looking at the log and laying out the bell happen without
        an await between them, so no wake-up can be lost.
        """
        if self._watch is None:
            self._watch = Watch(self._give_up)
        self._watch.begin(wait)
        try:
            while self.open and (batch := self.ready()) is None:
                if self.open and not await self._rung():
                    return self.beat()
        finally:
            self._watch.end()
        return batch if self.open else self.last()

    def beat(self) -> Batch:
        """What is said when there is nothing to say."""
        return Batch([encode(Beat(self.position, self._clock()))])

    def last(self) -> Batch | None:
        """Once it has ended: what is left to read, and the `bye`. None when nobody is to be told, or has been already. Who may
        not read any more is left nothing, however long it takes to hear why.
        """
        bye, self._unsaid = self._unsaid, None
        if bye is None:
            return None
        left = None if self.cut or bye.code in _NOT_ANY_MORE else self.ready()
        return Batch([*(left.items if left else ()), encode(bye_of(bye))])

    async def _rung(self) -> bool:
        """Wait for the bell; False when the watch came first."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def _give_up(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(False)

    def _at(self, offset: int) -> str:
        return str(Position(self._log.epoch, offset))
