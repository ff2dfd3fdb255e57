"""Groups: readers in step with the log share one feed, one framing and one turn of the event loop.

A reader who has taken all that there is reads what everybody reads who asked for the same in the same framing, and may see it. So
they are one feed with many writes: an event costs one look at the log, one framing, and a write for each. Who cannot take
more at once leaves with a feed of its own, catches up, and joins again. That is still nothing but a log and positions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Protocol, TypeAlias

from .accounts import Account
from .errors import Code, Refusal
from .feed import Feed
from .figures import ALONE, IN_STEP, Outlet
from .hub import Hub
from .items import Batch, Encoded
from .request import Identity
from .subscriptions import Subscription
from .watch import Watch

Framing: TypeAlias = Callable[[Sequence[Encoded]], Any]
"""Makes of items what `write` takes: bytes where the socket is ours."""
_Key: TypeAlias = tuple[Subscription, Framing, float | None]


class Member(Protocol):
    """What a group needs of who is in it."""

    group: Group | None
    account: Account | None
    write: Callable[[bytes], Any]  # takes all; who then has bytes that were not sent leaves, with a fork of the group's feed

    def beat(self, data: bytes) -> None:
        """Send what is said when there is nothing to say."""

    def alone(self, feed: Feed) -> None:
        """Read `feed` from now on, at the place where the group stands."""


class Group:
    """Those in step who read the same. Made by `Groups.join`.

    Args:
        hub: whose events they read.
        feed: from where they stand.
        frame: turns items into what they write.
        beat: seconds of the longest silence; None: they wait for one batch only, and each for its own time.
        dissolve: called when the last has left.
        outlet: where what goes down is counted.
    """

    __slots__ = (
        "_beat",
        "_due",
        "_frame",
        "_hub",
        "_loop",
        "_members",
        "_outlet",
        "_watch",
        "_writes",
        "bytes",
        "dissolve",
        "feed",
        "items",
    )

    def __init__(
        self, hub: Hub, feed: Feed, frame: Framing, beat: float | None, dissolve: Callable[[], Any], outlet: Outlet
    ) -> None:
        self.feed = feed
        self.items = self.bytes = 0  # that have gone to each of those who have been in it all the time
        self.dissolve = dissolve
        self._outlet = outlet
        self._hub, self._frame, self._beat = hub, frame, beat
        self._loop = asyncio.get_running_loop()
        self._members: dict[Member, Callable[[bytes], Any]] = {}
        self._writes: Sequence[Callable[[bytes], Any]] | None = None  # of all members, until one comes or goes
        self._due = False
        self._watch = Watch(self._silence)
        feed.readers = 0
        feed.strict = False  # those in step are not slow: what they lose went faster than anybody could read
        feed.bell = self._ring
        self._begin_silence()

    def add(self, member: Member) -> None:
        """Let in who stands where the group stands."""
        self._members[member] = member.write
        self._writes = None
        self.feed.readers += 1
        member.group = self
        if (account := member.account) is not None:
            account.items -= self.items
            account.bytes -= self.bytes

    def remove(self, member: Member) -> None:
        """Let go of `member`; whoever wants to read on needs a feed of its own first."""
        del self._members[member]
        self._writes = None
        self.feed.readers -= 1
        member.group = None
        if (account := member.account) is not None and account.closed is None:
            account.items += self.items
            account.bytes += self.bytes
        if not self._members:
            self.dissolve()
            self._watch.stop()
            self.feed.leave()

    def turn(self) -> None:
        """Write what there is to all; of much, a part in each turn of the event loop."""
        self._due = False
        if self.feed.told:
            self._pass_on()
        if not self.feed.open:
            self._dissolve()
        elif (batch := self.feed.ready()) is not None:
            self._write(batch.framed(self._frame), batch.items)
            if not self._members:  # all have been answered, or nobody took all of it
                return
            self._begin_silence()
            if self.feed.offset < self._hub.log.head:
                self._ring()

    def _write(self, data: Any, items: Sequence[Encoded]) -> None:
        size = length(data)
        self.items += len(items)
        self.bytes += size
        writes = self._writes
        if writes is None:
            writes = self._writes = [*self._members.values()]
        for write in writes:
            write(data)
        self._outlet.wrote(items, size, time.time(), len(writes))

    def _ring(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_soon(self.turn)

    def _pass_on(self) -> None:
        """Tell the word to those whom it is for; who waits for one batch goes with a beat."""
        feed = self.feed
        word, told, feed.word, feed.told = feed.word, feed.told, None, 0
        assert word is not None  # noqa: S101 - there is something to tell
        chosen = list(self._members)[:told]
        if feed.once:
            data = (feed.ready() or feed.beat()).framed(self._frame)
            for member in chosen:
                member.beat(data)
            return
        for member in chosen:
            if member.group is self:  # what was written to one may have ended another
                member.write(self._frame([word()]))

    def _dissolve(self) -> None:
        """The feed has ended: everybody is told by itself, with a time to come back of its own."""
        for member in list(self._members):
            own = self._hub.fork(self.feed, _who(member.account))
            self.remove(member)
            member.alone(own)

    def _begin_silence(self) -> None:
        if self._beat is not None:
            self._watch.begin(self._beat)

    def _silence(self) -> None:
        self.turn()  # what happened in other channels moves the position, and a beat tells it
        beat = self.feed.beat()
        data = beat.framed(self._frame)
        self.items += 1
        self.bytes += length(data)
        self._outlet.wrote(beat.items, length(data), 0.0, len(self._members))
        for member in list(self._members):
            member.beat(data)
        if self._members:
            self._begin_silence()


class Groups:
    """All groups of a hub.

    Args:
        hub: whose events they read.
        identify: finds out who shows a token, and from which address; without it nobody is known. Raises: Refusal.
    """

    def __init__(self, hub: Hub, identify: Callable[[str, str], Awaitable[Identity]] | None = None) -> None:
        self.hub, self.identify = hub, identify
        # Mostly one; those who ask for the same patterns may have been allowed different channels, at different times.
        self._groups: dict[_Key, list[Group]] = {}

    def join(self, member: Member, feed: Feed, frame: Framing, beat: float | None) -> bool:
        """Let `member`, who has read all that is ready in `feed`, share the group's feed from now on; its own is gone then.

        False when the group has more to write than one turn can: try again in the next.
        """
        # Whoever they are: they may read the same, and if one of them may no longer, that one leaves. What a pattern comes to
        # is another matter: each channel that comes up is asked about.
        asked = feed.asked if feed.selection.patterns else feed.asked._replace(who=None)
        key = asked, frame, beat
        groups = self._groups.setdefault(key, [])
        group = next((each for each in groups if each.feed.selection == feed.selection), None)
        if group is None:
            feed.asked = asked
            outlet = self.hub.figures.outlet(transport_of(member.account), IN_STEP)
            group = Group(self.hub, feed, frame, beat, lambda: self._dissolve(key), outlet)
            groups.append(group)
        else:
            group.turn()
            if group.feed.offset != feed.offset or group not in self._groups.get(key, ()):
                return False
            feed.leave()
        group.add(member)
        return True

    def _dissolve(self, key: _Key) -> None:
        """One of them has nobody left."""
        if left := [group for group in self._groups[key] if group.feed.readers]:
            self._groups[key] = left
        else:
            del self._groups[key]


class Reader:
    """A member of a group; or alone with a feed of its own, at its beginning, while it catches up, and when it is sent away.

    Args:
        groups: those of its hub.
        feed: what to read; None for one who is sent away at once.
        frame: what is written of a batch.
        beat: seconds of the longest silence; None: it waits for one batch.
        account: its own; None for one who is sent away at once.
    """

    __slots__ = ("_beat", "_due", "_feed", "_frame", "account", "group", "groups")

    write: Callable[[bytes], Any]

    def __init__(
        self, groups: Groups, feed: Feed | None, frame: Framing, beat: float | None, account: Account | None = None
    ) -> None:
        self.groups = groups
        self.account = account
        if account is not None:
            account.reader = self
        self.group: Group | None = None
        self._frame, self._beat = frame, beat
        self._due = False
        self._feed = feed
        if feed is not None:
            feed.bell = self._soon

    @property
    def blocked(self) -> bool:
        """Whether the client has not taken all that was written. `pump` when it has."""
        raise NotImplementedError

    def ended(self, why: Refusal | None) -> None:
        """The last word has been said: end what carried it, and leave."""
        raise NotImplementedError

    def beat(self, data: bytes) -> None:
        """See `Member.beat`."""
        self.write(data)

    def alone(self, feed: Feed) -> None:
        """Read `feed` from now on."""
        self._feed = feed
        feed.bell = self._soon
        self._soon()

    def own(self) -> Feed:
        """The feed that only this one reads, from now until it is in step again. Raises: Refusal 1001, there is none any more."""
        if self.group is not None:
            feed = self.groups.hub.fork(self.group.feed, _who(self.account))
            self.group.remove(self)
            self.alone(feed)
        if self._feed is None:
            raise Refusal(Code.GOING_AWAY, "the connection has ended")
        return self._feed

    @property
    def who(self) -> Hashable:
        """Who reads. Raises: Refusal 1001, nobody does any more."""
        if self._feed is None and self.group is None:
            raise Refusal(Code.GOING_AWAY, "the connection has ended")
        return _who(self.account)

    async def renew(self, token: str) -> float | None:
        """See `Speaker.renew`."""
        if self.groups.identify is None or self.account is None:
            raise Refusal(Code.UNAUTHORIZED, "nobody is known here: there is nothing to show")
        identity = await self.groups.identify(token, self.account.address)
        self.groups.hub.become(self.own(), identity.who)
        self.account.become(identity)
        return identity.expires

    @property
    def follows(self) -> tuple[str, ...]:
        """The names and patterns that it follows."""
        feed = self._feed if self.group is None else self.group.feed
        return () if feed is None else feed.asked.names

    def allow(self, commands: int, size: int) -> tuple[int, Refusal | None]:
        """See `commands.Speaker.allow`."""
        if self.account is None:
            raise Refusal(Code.GOING_AWAY, "the connection has ended")
        return self.account.allow(commands, size)

    @property
    def position(self) -> str:
        """Where it stands; empty when it reads no more."""
        feed = self._feed if self.group is None else self.group.feed
        return "" if feed is None else feed.position

    def in_step(self) -> tuple[int, int]:
        """See `accounts.Reads.in_step`."""
        return (0, 0) if self.group is None else (self.group.items, self.group.bytes)

    def end(self, why: Refusal) -> None:
        """Send away: tell why, after what is left to read."""
        if self._feed is not None or self.group is not None:
            self.own().end(why)

    def tell(self, word: Encoded) -> None:
        """Tell it something between two events; not one who waits for one batch."""
        if self._beat is None:
            return
        if self.group is not None:
            self.write(self._frame([word]))
        elif self._feed is not None:
            self._feed.tell(lambda: word)

    def step_out(self) -> None:
        """Be alone from now until it is in step again, if it still reads."""
        if self._feed is not None or self.group is not None:
            self.own()

    def noted(self, reason: str) -> None:
        """Note why it ends, unless there was a reason before."""
        if self.account is not None and not self.account.reason:
            self.account.reason = reason

    def leave(self) -> None:
        """Read no more: the client has gone, or has been told everything."""
        if self.account is not None:
            self.account.close()
        if self.group is not None:
            self.group.remove(self)
        elif self._feed is not None:
            self._feed.leave()
        self._feed = None

    def pump(self) -> None:
        """Write what there is, a batch in each turn of the event loop, as long as the client takes it; then be in step."""
        self._due = False
        feed = self._feed
        if feed is None or self.blocked:
            return
        if not feed.open:
            self._farewell(feed)
        elif (batch := feed.ready()) is not None:
            self._write(batch)
            self._soon()
        elif feed.ahead or not feed.open:
            return  # the bell rings when that has come here
        elif self.groups.join(self, feed, self._frame, self._beat):
            self._feed = None
        else:
            self._soon()

    def _soon(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.pump)

    def _write(self, batch: Batch) -> None:
        data = batch.framed(self._frame)
        size = length(data)
        if self.account is not None:
            self.account.items += len(batch.items)
            self.account.bytes += size
        self.write(data)
        self.groups.hub.figures.outlet(transport_of(self.account), ALONE).wrote(batch.items, size, time.time())

    def _farewell(self, feed: Feed) -> None:
        if feed.bye is not None:
            self.noted(feed.bye.name)
        if (last := feed.last()) is not None:
            self._write(last)
            if self.blocked:  # it is there until it has taken that: a server that stops waits for those who are
                return
        self.ended(feed.bye)


def transport_of(account: Account | None) -> str:
    """What it is told apart by in the figures."""
    return "none" if account is None else account.transport


def _who(account: Account | None) -> Hashable:
    return None if account is None else account.who


def length(data: Any) -> int:
    """The bytes of what a framing made: bytes, or an ASGI message that holds them."""
    if isinstance(data, bytes):
        return len(data)
    body = data.get("body") or data.get("bytes") or data.get("text", "")
    return len(body)
