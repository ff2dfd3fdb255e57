"""Presence: who is there, folded from the one ordered stream that every process gets.

Two kinds of records make it. In the channel `$presence` processes tell each other which **leases** were taken with them, renewed
or given up. In `presence:<channel>` readers are told of it: the **changes** `joined`, `changed` and `left`. So a fold has two
rosters for each channel: who is **present**, by the leases that have not ended, and who was **told** to be there, by the events.
Where they differ, something is to be told; whoever tells it, under the same key, tells the same. Every process that has folded
the same records has the same rosters, and at any moment the told one is what a reader of all events knows.

The clock is that of the records. A lease ends with the first record that is not older than its end, so all processes have it end
at the same place of the stream; when no record comes, one that says nothing is published for the sake of its time.

Who comes later may find that records were let go of. It asks, and is given both rosters as they were at its question.

    member      somebody present in a channel under a name: as long as one lease of theirs has not ended
    lease       what a connection, a tab or a program holds: it ends unless it is renewed
    visit       from the first lease of a member to the end of the last; named by the offset of the record that began it
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from .position import Position, parse
from .subscriptions import PRESENCE

PREFIX: Final = PRESENCE  # begins the channels in which changes are told
CONTROL: Final = "presence"  # names what processes tell each other

Key: TypeAlias = tuple[str, str]  # channel, member


class Lease(msgspec.Struct, array_like=True):
    """What is told of one lease: taken, renewed, or given up."""

    channel: str
    member: str
    lease: str
    seconds: float  # until it ends, if nothing more comes
    given_up: bool
    data: msgspec.Raw
    visit: int = 0  # of the member, as far as who tells knew it, with the time at which it began
    at: float = 0.0


class Row(msgspec.Struct, array_like=True):
    """A member in both rosters, as they are told to who comes later. A visit of 0: not in that roster."""

    channel: str
    member: str
    visit: int
    at: float
    data: msgspec.Raw
    changed: int
    leases: dict[str, tuple[float, msgspec.Raw]]
    told_visit: int
    told_at: float
    told_data: msgspec.Raw
    told_by: int  # the last event about it; of who has left, `told_at` says until when that is known


class Part(msgspec.Struct):
    """A part of the rosters, as they were behind the record at the offset `behind`."""

    behind: int
    number: int
    parts: int
    clock: float
    rows: list[Row]


class Control(msgspec.Struct, omit_defaults=True):
    """A record of `$presence`. One that says nothing tells the time."""

    by: str  # which process
    leases: list[Lease] = []
    asks: bool = False
    part: Part | None = None


class Told(NamedTuple):
    """What readers know of a member. `by`: the offset of the event that told it, 0 if that was before our time."""

    visit: int
    at: float  # seconds since 1970, when the visit began
    data: bytes  # JSON
    by: int = 0


class Member(msgspec.Struct):
    """Somebody who is there. `at`: since when, in seconds since 1970; `visit`: a name for this stay."""

    name: str = msgspec.field(name="as")
    at: float
    data: Any
    visit: str


class Page(msgspec.Struct, omit_defaults=True):
    """Who is in `channel`, at the position `id`: all changes of `presence:<channel>` through it are in, and none behind it."""

    id: str
    channel: str
    count: int  # of all members, also those that are not listed
    members: list[Member]
    next: str | None = None  # the last that is listed, if there are more


class Change(NamedTuple):
    """Something to be told, once, in `presence:<channel>`: `key` makes it the same whoever tells it."""

    channel: str
    member: str
    key: str
    data: bytes


class _Change(msgspec.Struct):
    change: Literal["joined", "changed", "left"]
    member: str = msgspec.field(name="as")
    at: float = 0.0
    data: msgspec.Raw = msgspec.Raw(b"null")
    visit: str = ""


class _Held(NamedTuple):
    """A lease that has not ended. `end`: seconds since 1970; `data`: what was said with it."""

    end: float
    data: bytes


_NONE = _Held(0.0, b"")


class _Member:
    __slots__ = ("at", "changed", "data", "leases", "visit")

    def __init__(self, visit: int, at: float, data: bytes, changed: int, leases: dict[str, _Held]) -> None:
        self.visit, self.at = visit, at
        self.data = data  # what was said last, with whichever lease
        self.changed = changed  # offset of the record that said so
        self.leases = leases


_control_decoder = msgspec.json.Decoder(Control)
_change_decoder = msgspec.json.Decoder(_Change)
_encoder = msgspec.json.Encoder()


class Presence:
    """Both rosters of all channels.

    Args:
        epoch: of the log whose records are folded.
        complete: whether all records of this epoch are. If not, a lease that is told of with its visit goes on with it, and its
            member counts as told.
        keep: seconds for which it is known of who has left where in the stream that was told; longer than keys are remembered.
    """

    def __init__(self, epoch: str, *, complete: bool = True, keep: float = 240.0) -> None:
        self.epoch, self.complete, self._keep = epoch, complete, keep
        self.clock = 0.0  # seconds since 1970: the highest time of a record
        self.touched: set[Key] = set()  # where the rosters may differ since this was last emptied
        self._present: dict[str, dict[str, _Member]] = {}
        self._told: dict[str, dict[str, Told]] = {}
        self._gone: dict[Key, tuple[int, float]] = {}  # -> the offset of the event that told it, and when to let go of that
        self._lets: list[tuple[float, Key]] = []  # a heap of these times
        self._ends: list[tuple[float, str, str, str]] = []  # a heap of leases; those that were renewed since are passed over

    # ------------------------------------------------------------------------------------------------------------ folding

    def fold(self, offset: int, at: float, control: Control) -> None:
        """Take a record of `$presence`."""
        self._advance(at)
        for lease in control.leases:
            self._take(offset, lease)

    def hear(self, offset: int, at: float, channel: str, data: bytes) -> None:
        """Take an event of `presence:<channel>`. Raises: ValueError or Refusal, it is none of ours."""
        said = _change_decoder.decode(data)
        visit = parse(said.visit).offset
        told = self._told.setdefault(channel, {})
        self._gone.pop((channel, said.member), None)
        if said.change != "left":
            told[said.member] = Told(visit, said.at, bytes(said.data), offset)
        elif said.member in told and told[said.member].visit == visit:
            del told[said.member]
        if said.member not in told:
            self._let((channel, said.member), offset, max(self.clock, at) + self._keep)
        if not told:
            del self._told[channel]
        self.touched.add((channel, said.member))
        self._advance(at)

    def _let(self, key: Key, offset: int, end: float) -> None:
        self._gone[key] = offset, end
        heappush(self._lets, (end, key))

    def _advance(self, at: float) -> None:
        """It is `at`: what has ended until then, has ended."""
        self.clock = max(self.clock, at)
        while self._lets and self._lets[0][0] <= self.clock:
            end, key = heappop(self._lets)
            if key in self._gone and self._gone[key][1] == end:
                del self._gone[key]
        while self._ends and self._ends[0][0] <= self.clock:
            end, channel, name, lease = heappop(self._ends)
            members = self._present.get(channel, {})
            member = members.get(name)
            if member is None or lease not in member.leases or member.leases[lease].end != end:
                continue
            del member.leases[lease]
            if not member.leases:
                del members[name]
                if not members:
                    del self._present[channel]
                self.touched.add((channel, name))

    def _take(self, offset: int, lease: Lease) -> None:
        members = self._present.get(lease.channel, {})
        member = members.get(lease.member)
        held = None if member is None else member.leases.get(lease.lease)
        end, data = self.clock + lease.seconds, bytes(lease.data)
        if lease.given_up:
            if member is not None and held is not None and held.end > end:
                self._hold(member, lease, _Held(end, held.data))
            return
        if member is None:
            known = not self.complete and lease.visit
            visit, at = (lease.visit, lease.at) if known else (offset, self.clock)
            member = _Member(visit, at, data, visit, {})
            self._present.setdefault(lease.channel, {})[lease.member] = member
            if known:
                self._told.setdefault(lease.channel, {}).setdefault(lease.member, Told(visit, at, data))
            self.touched.add((lease.channel, lease.member))
        elif (held is None or held.data != data) and member.data != data:
            member.data, member.changed = data, offset
            self.touched.add((lease.channel, lease.member))
        self._hold(member, lease, _Held(end, data))

    def _hold(self, member: _Member, lease: Lease, held: _Held) -> None:
        member.leases[lease.lease] = held
        heappush(self._ends, (held.end, lease.channel, lease.member, lease.lease))

    # ------------------------------------------------------------------------------------------------------------ asking it

    @property
    def due(self) -> float | None:
        """When the next lease ends, in seconds since 1970; None without any. It may have been renewed since."""
        while self._ends:
            end, channel, name, lease = self._ends[0]
            member = self._present.get(channel, {}).get(name)
            if member is not None and lease in member.leases and member.leases[lease].end == end:
                return end
            heappop(self._ends)
        return None

    def present(self, channel: str) -> int:
        """How many are present in `channel`."""
        return len(self._present.get(channel, ()))

    @property
    def channels(self) -> int:
        """How many channels somebody is present in."""
        return len(self._present)

    def visit(self, channel: str, name: str) -> tuple[int, float]:
        """The visit of a member and when it began; zeros if nobody is present under that name."""
        member = self._present.get(channel, {}).get(name)
        return (0, 0.0) if member is None else (member.visit, member.at)

    def holds(self, channel: str, name: str) -> int:
        """How many leases a member holds."""
        member = self._present.get(channel, {}).get(name)
        return 0 if member is None else len(member.leases)

    def lease(self, channel: str, name: str, lease: str) -> tuple[float, bytes]:
        """When a lease ends (seconds since 1970, 0 if there is none), and what was said with it."""
        member = self._present.get(channel, {}).get(name)
        return (0.0, b"") if member is None else member.leases.get(lease, _NONE)

    def told(self, channel: str) -> dict[str, Told]:
        """Whom a reader of all events knows to be there."""
        return self._told.get(channel, {})

    def untold(self, channel: str, name: str) -> Change | None:
        """What is to be told of a member next.

        Its key names the event that was told before it: of all that processes would tell next, knowing more or less, the broker
        takes one. So what is told of a member is one chain.
        """
        member, told = self._present.get(channel, {}).get(name), self.told(channel).get(name)
        if told is not None:
            behind = str(told.by) if told.by else f"visit {told.visit}"
            if member is None or member.visit != told.visit:
                return self._change("left", behind, channel, name, told.visit, told.at, b"null")
            if member.data != told.data:
                return self._change("changed", behind, channel, name, member.visit, member.at, member.data)
        elif member is not None:
            behind = str(self._gone.get((channel, name), (0,))[0])
            return self._change("joined", behind, channel, name, member.visit, member.at, member.data)
        return None

    def _change(
        self,
        change: Literal["joined", "changed", "left"],
        behind: str,
        channel: str,
        name: str,
        visit: int,
        at: float,
        data: bytes,
    ) -> Change:
        said = _Change(change, name, at, msgspec.Raw(data), str(Position(self.epoch, visit)))
        return Change(channel, name, f"{self.epoch} {behind} {name}", _encoder.encode(said))

    # ---------------------------------------------------------------------------------------------- telling who comes later

    def parts(self, behind: int, most: int) -> list[Part]:
        """Both rosters, to be told in parts of about `most` bytes each."""
        rows: list[list[Row]] = [[]]
        size = 0
        for channel, name in sorted(self._names()):
            row = self._row(channel, name)
            size += len(row.data) + len(row.told_data) + len(channel) + len(name) + 60
            size += sum(len(lease) + len(data) + 30 for lease, (_, data) in row.leases.items())
            if size > most and rows[-1]:
                rows.append([])
                size = 0
            rows[-1].append(row)
        return [Part(behind, number, len(rows), self.clock, some) for number, some in enumerate(rows)]

    def _row(self, channel: str, name: str) -> Row:
        member = self._present.get(channel, {}).get(name) or _Member(0, 0.0, b"null", 0, {})
        by, end = self._gone.get((channel, name), (0, 0.0))
        told = self.told(channel).get(name) or Told(0, end, b"null", by)
        data, told_data = msgspec.Raw(member.data), msgspec.Raw(told.data)
        leases = {name: (held.end, msgspec.Raw(held.data)) for name, held in member.leases.items()}
        first = channel, name, member.visit, member.at, data, member.changed, leases
        return Row(*first, told.visit, told.at, told_data, told.by)

    def load(self, parts: Iterable[Part]) -> None:
        """Take both rosters from all their parts, instead of what there was: from here on, it is complete."""
        self._present, self._told, self._gone, self._ends, self._lets = {}, {}, {}, [], []
        self.complete = True
        for part in parts:
            self.clock = part.clock
            for row in part.rows:
                if row.visit:
                    leases = {lease: _Held(end, bytes(data)) for lease, (end, data) in row.leases.items()}
                    member = _Member(row.visit, row.at, bytes(row.data), row.changed, leases)
                    self._present.setdefault(row.channel, {})[row.member] = member
                    for lease, held in leases.items():
                        heappush(self._ends, (held.end, row.channel, row.member, lease))
                if row.told_visit:
                    told = Told(row.told_visit, row.told_at, bytes(row.told_data), row.told_by)
                    self._told.setdefault(row.channel, {})[row.member] = told
                elif row.told_by:
                    self._let((row.channel, row.member), row.told_by, row.told_at)
                self.touched.add((row.channel, row.member))

    def settle(self) -> None:
        """There is nobody to ask: what was folded is all there is, and whatever is untold is to be told."""
        self.complete = True
        self.touched |= self._names()

    def _names(self) -> set[Key]:
        present = {(channel, name) for channel, members in self._present.items() for name in members}
        return present | {(channel, name) for channel, told in self._told.items() for name in told} | set(self._gone)


def control_of(data: bytes) -> Control:
    """A record of `$presence`. Raises: ValueError, it is none."""
    return _control_decoder.decode(data)


def record_of(control: Control) -> bytes:
    """Its JSON."""
    return _encoder.encode(control)
