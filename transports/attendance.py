"""Attendance: who is there, over all processes. Collects the leases that are taken with this process, tells the others, and
tells readers what has changed. `presence.py` has the rules; this has the clock, the broker and the patience.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from .brokers import Record, check_text
from .errors import Code, Refusal
from .feed import Feed
from .items import encode_data
from .limits import Limits
from .options import Options
from .position import Position
from .presence import CONTROL, PREFIX, Control, Key, Lease, Member, Page, Part, Presence, control_of, record_of

_EVERY: Final = 1.0  # seconds between two records that only renew
_GRACE: Final = 1.0  # seconds for the process that got a lease to tell of it before the others do
_PATIENCE: Final = 2.0  # seconds for others to answer who was there before this process
_LOOK: Final = 0.02  # seconds behind the end of a lease at which it is said what time it is,
_SPREAD: Final = 0.25  # and seconds more at the most, so that one process says it and the others hear it
_TOGETHER: Final = 49_152  # bytes of leases, or of members, in one record
_LEAST: Final = 1.0  # seconds; no lease is shorter, unless all are
_LEASES: Final = 100  # of one member: tabs, devices, programs
_NAME: Final = 128  # characters of who is there,
_LEASE: Final = 64  # and of a lease
_HELD: Final = 1024  # leases of this process among which it is not looked yet for those that have ended
_WAIT: Final = 5.0  # seconds until who asks is told that it is not known
LISTED: Final = 1000  # members that one answer lists at the most

_log = logging.getLogger("transports")


class _Taken(NamedTuple):
    """A lease that was taken here, and until when it is to be told again should the broker forget."""

    lease: Lease
    until: float  # on the loop's clock


class _Log(Protocol):
    """What attendance needs of a log."""

    epoch: str
    head: int

    def __contains__(self, channel: str) -> bool: ...

    @property
    def channels(self) -> int: ...


class _Hub(Protocol):
    """What attendance needs of a hub."""

    options: Options
    limits: Limits

    @property
    def log(self) -> _Log: ...

    def check(self, channel: str) -> None: ...

    def check_open(self) -> None: ...

    async def open(self) -> None: ...

    async def head(self) -> Position: ...

    def feed(self, channels: list[str], since: Position | None = None) -> Feed: ...

    async def control(self, name: str, data: bytes, key: str | None = None) -> int: ...

    async def tell(self, channel: str, data: bytes, key: str, about: str) -> int: ...


class Attendance:
    """Who is there: `hub.presence`.

    Args:
        hub: what is told goes out by it.
    """

    def __init__(self, hub: _Hub) -> None:
        self._hub = hub
        self._me = secrets.token_urlsafe(6)
        self._presence = Presence("")
        self._ready = asyncio.Event()  # set while all is known that there is to know
        self._bell = asyncio.Event()  # something may be due
        self._sending = asyncio.Lock()
        self._leases: dict[tuple[str, str, str], Lease] = {}  # to be told to the others
        self._held: dict[tuple[str, str, str], _Taken] = {}  # those that were taken here,
        self._held_most = _HELD  # and how many there may be until those go that have ended
        self._begun = asyncio.Event()  # set when the log begins anew
        self._renew_at: float | None = None  # times are those of the loop's clock
        self._untold: dict[Key, float] = {}  # -> when this process tells what is untold
        self._mine: set[Key] = set()  # what this process has begun to tell, and goes on telling
        self._lead = 0.0  # by which the records' clock is ahead of the loop's
        self._tick: tuple[float, float] | None = None  # the end of a lease, and when to say that it has come
        self._ask_at: float | None = None
        self._asked: int | None = None  # the offset of our question
        self._parts: dict[int, Part] = {}  # of the answer
        self._behind: list[Record] = []  # what came behind the question
        self._work: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------------------------------------ what the hub calls

    def reset(self) -> None:
        """The broker is about to hand over what it has, perhaps in another life of this hub, with another event loop."""
        self._presence = Presence("")
        self._ready, self._bell, self._sending = asyncio.Event(), asyncio.Event(), asyncio.Lock()
        self._begun = asyncio.Event()
        for each in (self._untold, self._mine, self._leases, self._held, self._parts, self._behind):
            each.clear()
        self._renew_at = self._tick = self._ask_at = self._asked = None

    def begin(self, epoch: str, gone: int) -> None:
        """See `Follower.begin`."""
        if epoch != self._presence.epoch:
            self._presence = Presence(epoch, complete=not gone, keep=2 * self._hub.options.key_window)
            self._untold.clear()
            self._begun.set()
            self._begun = asyncio.Event()
            self._tell_again()
            if gone:
                self._lack()
            else:
                self._know()
        elif gone > self._hub.log.head:
            self._lack()

    def forget(self, channel: str, through: int) -> None:
        """See `Follower.forget`."""
        if through > self._hub.log.head and (channel.startswith(PREFIX) or channel == f"${CONTROL}"):
            self._lack()

    def take(self, record: Record) -> None:
        """A record of `$presence` or of a channel in which changes are told."""
        if self._asked is not None and record.offset > self._asked:
            self._behind.append(record)
        self._fold(record)
        self._tick = None  # the clock was told
        self._bell.set()

    def start(self) -> None:
        """The broker hands over, and has handed over what it had."""
        loop = asyncio.get_running_loop()
        if (due := self._presence.due) is not None:  # what was kept may be old: how late is it?
            self._tick = due, loop.time()
        self._work = loop.create_task(self._run())

    async def stop(self) -> None:
        """Tell nothing more. What is held here goes on: its members come to another process, or their leases end."""
        tasks = [*self._answers, *([self._work] if self._work else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._work = None

    # -------------------------------------------------------------------------------------------------- what others call

    async def present(self, channel: str, name: str, *, lease: str = "", data: Any = None, seconds: float | None = None) -> float:
        """Take a lease for `name` in `channel`, renew it, or give it up.

        Args:
            channel: a name that the options allow.
            name: who is there.
            lease: which of their leases, should they have several.
            data: what they say of themselves, as JSON up to `presence_bytes` long. With each renewal again.
            seconds: until it ends unless it is renewed; `presence_lease` by default and at the most. 0 gives it up, and the
                member has left `presence_delay` seconds later if it was the last.

        Returns:
            The seconds for which it was taken.

        Raises:
            Refusal: 4404 unknown channel, or no room for another; 4413 too large, 4400 not JSON, or no name, lease or number of
                seconds; 4429 too many members or leases, 4503 draining, 4504 broker down.
        """
        options = self._hub.options
        self._hub.check(channel)
        self._hub.check(PREFIX + channel)
        _check_words(name, lease, seconds)
        body = encode_data(data)
        if len(body) > options.presence_bytes:
            what = f"{len(body)} bytes of data, a member may have {options.presence_bytes}"
            raise self._hub.limits.refuse("presence_bytes", Code.TOO_LARGE, what)
        self._hub.check_open()
        await self._hub.open()
        given_up = seconds == 0
        if given_up:
            length = options.presence_delay
        else:
            self._check_room(channel, name, lease)
            length = options.presence_lease
            length = length if seconds is None else min(max(seconds, _LEAST), length)
        visit, at = self._presence.visit(channel, name)
        end, said = self._presence.lease(channel, name, lease)
        rest = end - asyncio.get_running_loop().time() - self._lead
        key = channel, name, lease
        self._leases[key] = Lease(channel, name, lease, length, given_up, msgspec.Raw(body), visit, at)
        if given_up:
            self._held.pop(key, None)
        else:
            self._held[key] = _Taken(self._leases[key], asyncio.get_running_loop().time() + length)
            if len(self._held) > self._held_most:
                self._let_go_of_ended()
        if not given_up and said == body and rest > options.presence_delay + 2 * _EVERY:  # it can wait for others
            if self._renew_at is None:
                self._renew_at = asyncio.get_running_loop().time() + _EVERY
                self._bell.set()
        else:
            async with self._sending:
                if key in self._leases:  # else it went with the one before
                    await self._send()
        return 0.0 if given_up else length

    async def members(self, channel: str, *, since: Position | None = None, after: str = "", limit: int = LISTED) -> Page:
        """Who is in `channel`, as a reader of `presence:<channel>` knows it at the position that is given with it.

        Args:
            channel: a name that the options allow.
            since: a position that the answer must have come to.
            after: list those behind this name.
            limit: list so many at the most; 0 only counts them.

        Raises:
            Refusal: 4404 unknown channel, 4503 draining, 4504 it is not known at present.
        """
        self._hub.check(channel)
        self._hub.check(PREFIX + channel)
        await self._hub.open()
        try:
            async with asyncio.timeout(_WAIT):
                if since is not None:
                    await self._come_to(since)
                await self._ready.wait()
        except TimeoutError:
            raise Refusal(Code.BROKER_DOWN, "who is there is not known here at present") from None
        log, told = self._hub.log, self._presence.told(channel)
        names = sorted(name for name in told if name > after) if limit else []
        listed = [
            Member(name, told[name].at, msgspec.json.decode(told[name].data), str(Position(log.epoch, told[name].visit)))
            for name in names[:limit]
        ]
        following = listed[-1].name if len(names) > limit and listed else None
        return Page(str(Position(log.epoch, log.head)), channel, len(told), listed, following)

    async def _come_to(self, since: Position) -> None:
        while since.epoch != self._hub.log.epoch:
            begun = self._begun
            if (await self._hub.head()).epoch != since.epoch:
                return  # it is of a life of the log that is over
            await begun.wait()  # of one that others have begun, and of which this process is about to hear
        with self._hub.feed([], since) as feed:
            rung = asyncio.Event()
            feed.bell = rung.set
            while feed.ahead:
                rung.clear()
                await rung.wait()

    def _check_room(self, channel: str, name: str, lease: str) -> None:
        presence, options = self._presence, self._hub.options
        if presence.lease(channel, name, lease)[0]:
            return
        holds = presence.holds(channel, name)
        if holds >= _LEASES:
            raise Refusal(Code.RATE_LIMITED, f"{name[:40]!r} holds {_LEASES} leases in {channel!r} already")
        if not holds and presence.present(channel) >= options.presence_members:
            what = f"{options.presence_members} are in {channel!r} already, and that is the limit"
            raise self._hub.limits.refuse("presence_members", Code.RATE_LIMITED, what)
        if not presence.present(channel) and presence.channels >= options.channels_max:
            raise self._no_room(f"{presence.channels} with members")
        log = self._hub.log
        if PREFIX + channel not in log and log.channels >= options.channels_max:  # what is told of members is kept there
            raise self._no_room(str(log.channels))

    def _no_room(self, there_are: str) -> Refusal:
        what = f"no room for another channel, there are {there_are}"
        return self._hub.limits.refuse("channels_max", Code.UNKNOWN_CHANNEL, what)

    # ---------------------------------------------------------------------------------------------------- what comes down

    def _fold(self, record: Record) -> None:
        """Fold a record. What is none of ours changes nothing, in no process."""
        presence, ours = self._presence, False
        try:
            if record.channel.startswith(PREFIX):
                presence.hear(record.offset, record.at, record.channel.removeprefix(PREFIX), record.data)
            else:
                control = control_of(record.data)
                ours = control.by == self._me
                presence.fold(record.offset, record.at, control)
                self._attend(record.offset, control, ours)
        except (ValueError, Refusal, msgspec.MsgspecError):
            _log.warning("a record of presence at %d is none of ours", record.offset)
        now = asyncio.get_running_loop().time()
        self._lead = self._presence.clock - now
        self._untell(now if ours else now + _GRACE * (1 + random.random()))

    def _untell(self, when: float) -> None:
        """Note what was touched and is untold, to be told at `when`."""
        now = asyncio.get_running_loop().time()
        for key in self._presence.touched:
            if self._presence.untold(*key) is None:
                self._untold.pop(key, None)
                self._mine.discard(key)
            else:
                due = now if key in self._mine else when
                self._untold[key] = min(due, self._untold.get(key, due))
        self._presence.touched.clear()

    def _attend(self, offset: int, control: Control, ours: bool) -> None:
        """Questions and answers."""
        if control.asks and ours and self._asked is None and not self._presence.complete:
            self._asked = offset
        elif control.asks and self._presence.complete and self._ready.is_set() and not ours:
            self._spawn(self._answer(self._presence.parts(offset, _TOGETHER)))
        if control.part is not None and control.part.behind == self._asked:
            self._parts[control.part.number] = control.part
            if len(self._parts) == control.part.parts:
                self._learn()

    def _learn(self) -> None:
        """All parts of the answer are here: go on from there."""
        behind, parts = self._behind, [self._parts[number] for number in sorted(self._parts)]
        self._presence.load(parts)
        self._know()
        for record in behind:
            self._fold(record)

    def _know(self) -> None:
        self._ask_at = self._asked = None
        self._parts, self._behind = {}, []
        self._ready.set()
        self._bell.set()

    def _lack(self) -> None:
        """Records are gone that were not folded: ask the others."""
        self._presence.complete = False
        self._ready.clear()
        self._asked, self._parts, self._behind = None, {}, []
        self._ask_at = 0.0
        self._bell.set()

    def _tell_again(self) -> None:
        """The broker has forgotten everything: what was taken here and has not ended is taken anew."""
        self._let_go_of_ended()
        now = asyncio.get_running_loop().time()
        for key, told in self._held.items():
            self._leases.setdefault(key, msgspec.structs.replace(told.lease, seconds=told.until - now, visit=0, at=0.0))
        if self._leases:
            self._renew_at = 0.0

    def _let_go_of_ended(self) -> None:
        now = asyncio.get_running_loop().time()
        self._held = {key: told for key, told in self._held.items() if told.until > now}
        self._held_most = max(_HELD, 2 * len(self._held))

    # ------------------------------------------------------------------------------------------------------ what goes out

    async def _run(self) -> None:
        while True:
            try:
                await self._do_what_is_due()
            except Refusal as refusal:
                await asyncio.sleep(refusal.retry or _EVERY)
                continue
            except Exception:
                _log.exception("who is there could not be told")
                await asyncio.sleep(_EVERY)
                continue
            self._bell.clear()
            self._look_at_the_clock()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._next()):
                    await self._bell.wait()

    def _next(self) -> float | None:
        """When something is due, on the loop's clock."""
        times = [self._renew_at, self._ask_at, None if self._tick is None else self._tick[1]]
        if self._ready.is_set():
            times += self._untold.values()
        return min((time for time in times if time is not None), default=None)

    async def _do_what_is_due(self) -> None:
        loop = asyncio.get_running_loop()
        if self._ask_at is not None and loop.time() >= self._ask_at:
            await self._ask()
        if self._renew_at is not None and loop.time() >= self._renew_at:
            async with self._sending:
                await self._send()
        if self._tick is not None and loop.time() >= self._tick[1]:
            self._tick = self._tick[0], loop.time() + _GRACE  # should this not come down
            await self._say(Control(self._me))
        if self._ready.is_set():
            now = loop.time()
            for key in [key for key, when in self._untold.items() if when <= now]:
                await self._tell(key)

    def _look_at_the_clock(self) -> None:
        due = self._presence.due
        if due is None:
            self._tick = None
        elif self._tick is None or self._tick[0] != due:
            self._tick = due, due - self._lead + _LOOK + _SPREAD * random.random()

    async def _ask(self) -> None:
        if self._asked is not None and not self._parts:  # nobody knows more
            self._presence.settle()
            self._know()
            self._untell(0.0)
            return
        self._asked, self._parts, self._behind = None, {}, []
        self._ask_at = asyncio.get_running_loop().time() + _PATIENCE
        await self._say(Control(self._me, asks=True))

    async def _answer(self, parts: list[Part]) -> None:
        """Answer a question, unless another process is quicker. The same answer is published once."""
        await asyncio.sleep(_SPREAD * random.random())
        for part in parts:
            data = record_of(Control(self._me, part=part))
            await self._hub.control(CONTROL, data, f"{self._presence.epoch} {part.behind} {part.number}")

    async def _say(self, control: Control) -> None:
        await self._hub.control(CONTROL, record_of(control))

    async def _send(self) -> None:
        """Tell the others what was taken here, all that there is. Raises: Refusal; what was not told is told later."""
        self._renew_at = None
        while self._leases:
            some: dict[tuple[str, str, str], Lease] = {}
            size = 0
            for key, lease in self._leases.items():
                size += len(lease.data) + sum(map(len, key)) + 80
                if some and size > _TOGETHER:
                    break
                some[key] = lease
            for key in some:
                del self._leases[key]
            try:
                await self._say(Control(self._me, list(some.values())))
            except BaseException:
                self._leases = some | self._leases
                self._renew_at = asyncio.get_running_loop().time() + _EVERY
                self._bell.set()
                raise

    async def _tell(self, key: Key) -> None:
        """Tell readers what has changed. It stays in `_untold` until the event has come."""
        change, last = self._presence.untold(*key), None
        while change is not None and change != last:  # what is told has come, with some brokers, before the publish returns
            self._untold[key] = asyncio.get_running_loop().time() + _GRACE * (1 + random.random())
            self._mine.add(key)
            await self._hub.tell(PREFIX + change.channel, change.data, change.key, change.member)
            change, last = self._presence.untold(*key), change
        if change is None:
            self._untold.pop(key, None)
            self._mine.discard(key)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        async def done() -> None:
            with suppress(Refusal):
                await work

        task = asyncio.get_running_loop().create_task(done())
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)


def _check_words(name: str, lease: str, seconds: float | None) -> None:
    """Raises: Refusal 4400. A command has been looked at already; programs say whatever they like."""
    if not 1 <= len(name) <= _NAME:
        raise Refusal(Code.BAD_COMMAND, f"a name of {len(name)} characters: 1 to {_NAME}")
    if len(lease) > _LEASE:
        raise Refusal(Code.BAD_COMMAND, f"a lease of {len(lease)} characters: {_LEASE} at the most")
    if seconds is not None and not seconds >= 0:
        raise Refusal(Code.BAD_COMMAND, f"for {seconds:g} seconds: a number from 0")
    check_text(name, lease)
