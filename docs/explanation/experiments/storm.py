"""A reconnect storm, simulated: a worker was restarted, and all its readers come back.

The server takes connections as asyncio does: all that wait in the backlog at once, then it answers each. Who finds the
backlog full is not heard, and the kernel tries again after 1, 3 and 7 s, as TCP does. A client opens the next transport of
its ladder when the one before has not answered in time, gives up after `PROOF`, and then waits for longer and longer. What
it has asked for and does not want any more costs the server as much as what it wants.

Nothing is random here but what `random.Random` is given. Times are seconds.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from typing import NamedTuple

PROOF = 5.0  # `Pace.proof`: for a transport to answer
GAP = 0.2  # `Pace.gap`: until the next transport is tried as well, where the way is short
RUNGS = 3
BACKOFF, BACKOFF_MOST = 0.5, 20.0  # `Pace.backoff`: after a round in which nothing worked
BACKLOG = 2048
SYN = (1.0, 2.0, 4.0)  # between two tries of a kernel that is not heard


class Storm(NamedTuple):
    """What came of it: for each reader how long it was away; connections that were opened and in vain; tries not heard."""

    away: list[float]
    opened: int
    in_vain: int
    unheard: int

    def share(self, share: float) -> float:
        """Within how many seconds this share of the readers was back."""
        return sorted(self.away)[min(len(self.away) - 1, int(share * len(self.away)))]


class _Reader:
    __slots__ = ("back", "open", "round")

    def __init__(self) -> None:
        self.back: float | None = None
        self.round = 0
        self.open = 0  # transports of this round that have not failed


class _Arrival(NamedTuple):
    """A connection that comes: whose, in which of its rounds, over which rung, the how-manieth try of the kernel."""

    at: float
    number: int
    reader: int
    round: int
    rung: int
    tries: int
    since: float  # when the client began to wait for it


def storm(
    starts: Sequence[float],
    connect: float,
    luck: random.Random,
    *,
    down: float = 0.0,
    busy: float = 0.0,
    backlog: int = BACKLOG,
    gap: float = GAP,
    rungs: int = RUNGS,
) -> Storm:
    """Let all come back.

    Args:
        starts: when each reader tries for the first time.
        connect: seconds of CPU for one that comes.
        luck: of the backoffs.
        down: until when nobody listens: who comes before is refused at once.
        busy: the share of the core that those take who are back, when all are back.
        backlog: connections that wait at the most.
        gap: see `GAP`.
        rungs: transports of the ladder.
    """
    return _Run(starts, connect, luck, down, busy, backlog, gap, rungs).play()


class _Run:
    def __init__(
        self, starts: Sequence[float], connect: float, luck: random.Random, down: float, busy: float, backlog: int,
        gap: float, rungs: int,
    ) -> None:  # fmt: skip
        self.connect, self.luck, self.down, self.busy = connect, luck, down, busy
        self.backlog, self.gap, self.rungs = backlog, gap, rungs
        self.readers = [_Reader() for _ in starts]
        self.away = 0.0
        self.back = self.opened = self.unheard = self.numbers = 0
        self.coming: list[_Arrival] = []  # a heap
        self.waiting: list[_Arrival] = []  # the backlog
        for reader, at in enumerate(starts):
            self.begin_round(reader, at)

    def play(self) -> Storm:
        """Turn by turn of the event loop, until all are back."""
        now = self.down
        while self.back < len(self.readers):
            self.take_in(now)
            if not self.waiting:
                now = self.coming[0].at
                continue
            some, self.waiting = self.waiting, []
            for each in some:
                self.take_in(now)  # what comes meanwhile waits, or is not heard
                now += self.connect / (1 - self.busy * self.back / len(self.readers))
                self.answer(each, now)
        return Storm([each.back or 0.0 for each in self.readers], self.opened, self.opened - len(self.readers), self.unheard)

    def begin_round(self, reader: int, at: float) -> None:
        """A round of a client: its transports one after the other, as long as none works; this is the first."""
        each = self.readers[reader]
        each.round += 1
        each.open = self.rungs
        self.come(at, reader, each.round, 0, 0, at)

    def come(self, at: float, reader: int, round_: int, rung: int, tries: int, since: float) -> None:
        self.numbers += 1
        heapq.heappush(self.coming, _Arrival(at, self.numbers, reader, round_, rung, tries, since))

    def take_in(self, now: float) -> None:
        """Those who have come by now: into the backlog, if there is room."""
        while self.coming and self.coming[0].at <= now:
            each = heapq.heappop(self.coming)
            reader = self.readers[each.reader]
            if reader.back is not None or reader.round != each.round:
                continue  # it does not need it any more
            if not each.tries and each.rung + 1 < self.rungs:
                later = each.at + self.gap
                self.come(later, each.reader, each.round, each.rung + 1, 0, later)
            if each.at > each.since + PROOF:
                self.fail(each, each.since + PROOF)
            elif each.at < self.down:  # refused: the next transports are tried at once, and refused as well
                self.pause(each.reader, each.at)
            elif len(self.waiting) < self.backlog:
                self.waiting.append(each)
                self.opened += 1
            else:
                self.unheard += 1
                wait = SYN[min(each.tries, len(SYN) - 1)]
                self.come(each.at + wait, each.reader, each.round, each.rung, each.tries + 1, each.since)

    def answer(self, each: _Arrival, now: float) -> None:
        reader = self.readers[each.reader]
        if reader.back is not None or reader.round != each.round or now > each.since + PROOF:
            if reader.back is None and reader.round == each.round:
                self.fail(each, each.since + PROOF)
            return
        reader.back = now
        self.back += 1

    def fail(self, each: _Arrival, at: float) -> None:
        """A transport did not work; behind the last of a round comes a pause."""
        reader = self.readers[each.reader]
        reader.open -= 1
        if not reader.open:
            self.pause(each.reader, at)

    def pause(self, reader: int, at: float) -> None:
        """Nothing worked: wait, then try again."""
        most = min(BACKOFF_MOST, BACKOFF * 2.0 ** (self.readers[reader].round - 1))
        self.begin_round(reader, at + self.luck.uniform(0.0, most))
