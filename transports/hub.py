"""Hub: one ordered log and everybody who reads it. `publish`, `feed`, `close`."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from .accounts import Accounts
from .ahead import Ahead
from .attendance import Attendance
from .bells import Bells
from .board import Board
from .brokers import Broker, Record, broker_from, check_text
from .counts import Counts
from .errors import Code, ConfigError, EverywireError, Refusal
from .feed import Feed
from .figures import OK, Figures, Snapshot, by_name
from .items import Batch, encode_data, encode_event
from .journal import Journal
from .limits import Limits
from .log import Log
from .names import Names
from .options import Options
from .parting import Parting
from .peers import CHANNEL, OVER, TOLERANCE, Peers, Share
from .position import Position, parse
from .presence import CONTROL as LEASES
from .presence import PREFIX as PRESENCE
from .pulse import Pulse
from .rights import CONTROL as RIGHTS
from .rights import May, Rights
from .schemas import Document, Schema, Schemas, schema_of
from .selector import Selector
from .subscriptions import Policy, Selection, Subscription, grow, select

_MARK = "$"  # begins the control channels, in which hubs publish to each other: nobody else can name them
_OURS = (_MARK, PRESENCE)
_PEERS = CHANNEL.removeprefix(_MARK)
_LOOK = 2.0  # seconds for the broker to answer
_EVICT_EVERY = 1.0  # seconds; ages are told in minutes
_TELL_EVERY = 60.0  # seconds until it is told again that the same limit is reached
_log = logging.getLogger("transports")

Authorize: TypeAlias = Callable[[Hashable, str, str], bool]
"""Whether `who` may do this (`publish`, `subscribe`, `present` or `observe`) with that channel. Who is in a channel is for
those who may subscribe to it: it is the channel that is asked about, never the one that tells who is there.
"""

_ABOUT = 128  # characters of what an event is about


class Hub:
    """One ordered log and everybody who reads it.

    Belongs to one event loop. `open` before the first use (again and again does no harm), `close` at the end.

    Args:
        options: what can be set.
        broker: where offsets come from, instead of the one that `options.broker` names.
        authorize: asked with who it is, an action and a channel: `publish` for every publish of a client's, `subscribe` for each
            channel of every reader, those that its patterns match included, `present` for every lease on being there, and
            `observe`, with `$status` or `$metrics`, for operators. It must not wait: it is asked
            in the middle of a publish when a channel comes up.
    """

    def __init__(self, options: Options, *, broker: Broker | None = None, authorize: Authorize | None = None) -> None:
        self.options = options
        self.log = self._empty_log()
        self.counts = Counts()
        self.figures = Figures()
        self.journal = Journal(self.figures)
        self.limits = Limits(options, self._tell_limit)
        self.accounts = Accounts(journal=self.journal, limits=self.limits)
        self.authorize = authorize
        self.schemas = Schemas()  # what events look like, where somebody said so
        self._broker = broker or broker_from(options)
        self._names = Names(options.channels)
        self._selector = Selector(self, self._names)
        self._bells = Bells(options.coalesce)
        self._feeds: set[Feed] = set()  # never another set: `Parting` has it, too
        self.opened = False  # the broker hands over, and has handed over what it had
        self.broker_up = False  # as far as it was last asked for anything
        self.pulse = Pulse(self.figures.lag)
        self.pulse.also(self.show_figures)
        self.board: Board | None = None  # where other processes at the same socket see our figures
        self._opening: asyncio.Lock = asyncio.Lock()
        self._controls: dict[str, Callable[[Record], object]] = {}
        self.presence = Attendance(self)  # who is there
        self.on_control(LEASES, self.presence.take)
        self.rights = Rights(self, options.recheck)  # who may still read
        self.on_control(RIGHTS, self._take_right)
        self._ahead = Ahead(self)
        self._empty = asyncio.Event()  # set while nobody reads
        self._empty.set()
        self._parting = Parting(options, self._feeds, self.counts.moved)
        self._peers = Peers(partial(self.control, _PEERS), lambda: self._parting.streams, self._parting.send)
        self.on_control(_PEERS, self._hear)
        self._closed = asyncio.Event()
        self._evict_at = 0.0
        self._limits_told: dict[str, float] = {}  # setting -> when somebody who reads the log was told of it

    @property
    def readers(self) -> int:
        """How many read."""
        return sum(feed.readers for feed in self._feeds)

    async def look(self) -> None:
        """Find out whether the broker answers now, for who wants to know; it has a moment."""
        try:
            async with asyncio.timeout(_LOOK):
                await self._broker.head()
        except (Refusal, TimeoutError):
            self.broker_up = False
        else:
            self.broker_up = True

    def snapshot(self) -> Snapshot:
        """The figures of this process."""
        log, counts = self.log, self.counts.as_dict()
        found = self.figures.snapshot()
        found["everywire_limited_total"] = by_name(self.limits.refused)
        found["everywire_log_events"] = {(): float(len(log))}
        found["everywire_log_bytes"] = {(): float(log.bytes)}
        found["everywire_log_offset"] = {(): float(log.head)}
        found["everywire_channels"] = {(): float(log.channels)}
        found["everywire_broker_up"] = {(): float(self.broker_up)}
        found["everywire_wires_opened_total"] = by_name(counts["opened"])
        found["everywire_wires_why_total"] = by_name(counts["why"])
        found["everywire_moved_total"] = by_name(counts["moved"])
        found["everywire_verdicts_total"] = {
            (rung, verdict): float(number) for rung, each in counts["verdicts"].items() for verdict, number in each.items()
        }
        return found

    def show_figures(self) -> None:
        """Let the other processes at the same socket see our figures, if there are any."""
        if self.board is not None:
            self.board.tell(self.snapshot())

    @property
    def shared(self) -> bool:
        """Whether other processes have the same events."""
        return self._broker.shared

    @property
    def leaving(self) -> Refusal | None:
        """Why new readers had better go elsewhere, for load balancers; None: they need not. See `Parting.refusal`."""
        return self._parting.refusal

    async def open(self, *, anew: bool = False) -> None:
        """Connect to the broker and begin to take its events.

        Args:
            anew: also after a `close`, with a new log, as for a server that starts again in the same process.

        Raises:
            Refusal: 4504, when the broker cannot be reached.
        """
        if anew and self._closed.is_set():
            self._parting.begin_anew()
            self._peers.come()
            self._closed.clear()
            self.log = self._empty_log()
            self.opened = False
        if self.opened:
            return
        async with self._opening:
            if not self.opened:
                self.presence.reset()
                await self._broker.tail(self)
                self.opened = self.broker_up = True
                self.presence.start()
                self.pulse.start()
                self.rights.start()

    def channel(self, name: str, *, type: Any = None, schema: Document | None = None) -> None:  # noqa: A002 - it is one
        """Say what the events of a channel look like: whoever publishes something else there is refused.

        Args:
            name: a channel, or a pattern for all that begin like this. Its own schema goes before those of patterns, the longest
                pattern before the others.
            type: what msgspec decodes: a Struct, a dataclass, a TypedDict, `list[int]`, …
            schema: a JSON Schema instead.

        Raises:
            ConfigError: it is none that can be checked, `name` has one already, or nothing is published there.
            MissingExtraError: JSON Schemas need the extra `schema`.
        """
        self.declare(name, schema_of(name, type, schema))

    def declare(self, name: str, schema: Schema) -> None:
        """See `channel`."""
        if name.startswith(PRESENCE):
            raise ConfigError(f"channel {name!r}: what is told of who is there has a shape of its own")
        try:
            self._names.check_asked(name)
        except Refusal as refusal:
            raise ConfigError(f"channel {name!r}: {refusal.reason}; the setting channels says which there may be") from refusal
        self.schemas.declare(name, schema)

    async def publish(self, channel: str, data: Any, *, key: str | None = None, about: str | None = None) -> str:
        """Publish `data` to `channel` and return the event's id.

        Args:
            channel: a name that the options allow.
            data: what JSON can say, up to `message_bytes` long in it.
            key: makes it idempotent: the same key for the same channel publishes once.
            about: which of the channel's things it tells of, 1 to 128 characters: the latest is the latest of each.

        Raises:
            Refusal: 4404 unknown channel, 4403 one that tells who is there, 4413 too large, 4400 not JSON, or no `about`
                or `key`, or not what `channel` says of its events, 4503 draining, 4504 broker down. Nothing has changed then.
        """
        try:
            published = await self._publish(channel, data, key, about)
        except Refusal as refusal:
            self.figures.published[refusal.name] += 1
            if refusal.code is Code.BROKER_DOWN:
                self.broker_up = False
            raise
        self.figures.published[OK] += 1
        self.broker_up = True
        return published

    async def _publish(self, channel: str, data: Any, key: str | None, about: str | None) -> str:
        self.check(channel)
        if channel.startswith(PRESENCE):
            raise Refusal(Code.FORBIDDEN, f"what is told in {channel!r} follows from who is present; nobody else publishes there")
        if about is not None and not 1 <= len(about) <= _ABOUT:
            raise Refusal(Code.BAD_COMMAND, f"about has {len(about)} characters: 1 to {_ABOUT}")
        check_text(key, about)
        body = encode_data(data)
        if len(body) > self.options.message_bytes:
            what = f"{len(body)} bytes of data, the limit is {self.options.message_bytes}"
            raise self.limits.refuse("message_bytes", Code.TOO_LARGE, what)
        if (schema := self.schemas.of(channel)) is not None:
            schema.check(body)
        if channel not in self.log and self.log.channels >= self.options.channels_max:
            what = f"no room for another channel, there are {self.log.channels}"
            raise self.limits.refuse("channels_max", Code.UNKNOWN_CHANNEL, what)
        self.check_open()
        if not self.opened:
            await self.open()
        offset = await self._broker.publish(channel, body, key, about)
        return f"{self.log.epoch}.{offset}"  # of the life that it was published in, which may have begun meanwhile

    def feed(
        self,
        channels: Iterable[str],
        since: Position | None = None,
        *,
        policies: Mapping[str, Policy] | None = None,
        who: Hashable = None,
    ) -> Feed:
        """A new reader of `channels`, from `since` or from the present. Use it in a `with` block.

        Args:
            channels: names, and patterns.
            since: where to read on from.
            policies: how much of what piled up is wanted of which of them, if not every event; see `policies_of`.
            who: who reads, as `authorize` knows him.

        Raises:
            Refusal: 4404 unknown channel, 4403 not allowed, 4400 too many channels, 4413 patterns that match too many, 4503
                draining.
        """
        self._parting.check()
        if not self.opened:
            raise EverywireError("the hub is not open yet: await hub.open() first")
        asked = self._selector.asked(channels, policies or {}, who)
        self._evict()
        feed = self._open_feed(asked, self._selector.select(asked), since)
        self._parting.send_after(feed)
        return feed

    def glance(
        self, channels: Iterable[str], since: Position, *, policies: Mapping[str, Policy] | None = None, who: Hashable = None
    ) -> Batch | None:
        """What a reader at `since` would get at once, without a feed for it. None when there is nothing, or that is not all
        there is to say.

        Raises:
            Refusal: as `feed`.
        """
        log = self.log
        if self._parting.ended is not None or since.epoch != log.epoch or since.offset >= log.head:
            return None
        self._evict()
        selection = self._selector.select(self._selector.asked(channels, policies or {}, who))
        found = log.after(since.offset, selection, self.options.batch_bytes)
        return found.events if found.events.items and not found.gaps else None

    def recall(self, question: str) -> Batch | None:
        """What `question` was answered with when it was last asked, if that is still the answer; see `Log.remember`. Nothing
        where not everybody may read the same: each is asked about again.
        """
        if self.authorize is not None or self._parting.ended is not None or time.time() >= self._evict_at:
            return None
        return self.log.recall(question)

    def fork(self, feed: Feed, who: Hashable = None) -> Feed:
        """A feed of its own for `who`, one of those who share `feed`, at the same place."""
        own = self._open_feed(feed.asked._replace(who=who), feed.selection, None)
        own.stand_like(feed)
        if feed.bye is not None:  # who leaves between the word and its telling is told as well, with a time of its own
            self._parting.finish_like(own, feed.bye)
        return own

    def _open_feed(self, asked: Subscription, selection: Selection, since: Position | None) -> Feed:
        limit, patient = self.options.batch_bytes, self._broker.shared
        feed = Feed(self.log, asked, selection, since, limit=limit, leave=self._leave, patient=patient)
        feed.strict = self.options.slow_readers == "close"
        self._ahead.wait_for(feed)
        self._feeds.add(feed)
        self._empty.clear()
        self._bells.hang(feed)
        return feed

    def follow(self, feed: Feed, channels: Iterable[str], policies: Mapping[str, Policy] | None = None) -> None:
        """Let `feed` read `channels` from now on, instead of what it read before.

        Raises:
            Refusal: as `feed`; nothing has changed then.
        """
        asked = self._selector.asked(channels, policies or {}, feed.asked.who)
        self._turn(feed, asked, self._selector.select(asked, feed.asked.names))

    def become(self, feed: Feed, who: Hashable) -> None:
        """Let `feed` be read by `who` from now on. Raises: Refusal 4403, not for him; nothing has changed then."""
        self._turn(feed, asked := feed.asked._replace(who=who), self._selector.select(asked))

    @property
    def asks(self) -> bool:
        """Whether not everybody may read everything."""
        return self.authorize is not None

    @property
    def by_pattern(self) -> list[Feed]:
        """Those who follow patterns."""
        return [feed for feed in self._feeds if feed.selection.patterns]

    def review(self, feed: Feed, may: May) -> None:
        """Let `feed` follow what its patterns match and its reader may read by now. It is ended where that is not known, or is
        too much.
        """
        if not feed.open:
            return
        asked = feed.asked
        try:
            selection = self._selector.allowed(asked, may)
            if selection != feed.selection:
                self._selector.bound(asked, selection)
                self._turn(feed, asked, selection)
        except Refusal as refusal:
            feed.end(refusal)

    def _turn(self, feed: Feed, asked: Subscription, selection: Selection) -> None:
        self._bells.turn(feed, selection)
        feed.asked, feed.fresh = asked, True
        feed.ring()

    def move(self, feed: Feed, since: Position) -> None:
        """Let `feed` read on from `since`."""
        feed.move(since, self._broker.shared)
        self._ahead.wait_for(feed)

    def on_control(self, name: str, callback: Callable[[Record], object]) -> None:
        """Call `callback` with what is published by `control` with this `name`, in whichever process; what is kept from before
        comes too, when the hub opens.
        """
        self._controls[_MARK + name] = callback

    async def tell(self, channel: str, data: bytes, key: str, about: str) -> int:
        """Publish what is told of who is there, once for each `key`. Raises: Refusal 4504."""
        return await self._broker.publish(channel, data, key, about)

    async def head(self) -> Position:
        """The highest offset that there is, which may not have come here yet. Raises: Refusal 4504."""
        return await self._broker.head()

    async def control(self, name: str, data: bytes, key: str | None = None) -> int:
        """Publish JSON to the hubs of all processes, and not to their readers. Raises: Refusal 4504."""
        return await self._broker.publish(_MARK + name, data, key)

    def check(self, channel: str) -> None:
        """Raises: Refusal 4404, unless `channel` is a name that may be read and published."""
        self._names.check(channel)

    def check_open(self) -> None:
        """Raises: Refusal 4503, when nothing is published here any more."""
        self._parting.check()

    def may(self, who: Hashable, action: str, channel: str) -> bool:
        """Whether `authorize` lets `who` do `action` with `channel`. Raises: Refusal 4500, it failed: that is no answer."""
        if self.authorize is None:
            return True
        try:
            found = self.authorize(who, action, channel.removeprefix(PRESENCE))
            if found is True or found is False:
                return found
            if inspect.iscoroutine(found):  # which would be true, whatever it says
                found.close()
                raise TypeError("authorize is a coroutine function, and it has to answer at once")
            return bool(found)
        except Exception as error:
            self.journal.failed("authorize failed", error)
            raise self._parting.spread(Code.INTERNAL) from error

    async def drain(self) -> None:
        """Send the readers to the other processes, and go on serving them until they are there, for `stays` seconds at the most;
        where there are no others, not at all. Then `close`.
        """
        if self._broker.shared and self.opened and not self._parting.begun:
            others = await self._peers.leave(ask=bool(self.readers and self.options.stays))
            if others and self._parting.ended is None:
                await self._until_left(self._parting.send_all())
        await self.close()

    async def _until_left(self, seconds: float) -> None:
        """Wait until nobody reads here any more, or there is nobody else to read from."""
        waits = [asyncio.ensure_future(each.wait()) for each in (self._empty, self._peers.nobody)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def rebalance(self, over: float = OVER, tolerance: float = TOLERANCE) -> list[Share]:
        """Have the processes that share the broker spread their readers evenly. Polls are left alone: the next one may land
        anywhere.

        Args:
            over: seconds over which those are spread who are sent to others, unless it takes longer.
            tolerance: which part of the average a process may have more, and still sends nobody away.

        Returns: what each process had, and how many it sends away.

        Raises:
            ConfigError: there is but one process.
            EverywireError: another rebalancing is under way.
            Refusal: 4504, the broker cannot be reached.
        """
        if not self._broker.shared:
            raise ConfigError(f"there is nothing to balance: {self.options.broker} lives in one process")
        await self.open()
        return await self._peers.rebalance(over, tolerance)

    def _hear(self, record: Record) -> None:
        if self.opened:  # what was said before was said to others
            self._peers.hear(record)

    def _tell_limit(self, limit: str, what: str) -> None:
        """Tell whoever reads the log, who may want to set something else, once a minute."""
        now = time.monotonic()
        if now >= self._limits_told.get(limit, 0.0) + _TELL_EVERY or limit not in self._limits_told:
            self._limits_told[limit] = now
            _log.warning("%s", what)

    def _take_right(self, record: Record) -> None:
        if self.opened:  # nobody read here before
            self.rights.take(record)

    async def close(self, code: Code = Code.DRAINING) -> None:
        """Say `bye` to every reader, wait until they have taken it or `drain` seconds have passed, and let the
        broker go.
        """
        if self._parting.ended is not None:
            await self._closed.wait()
            return
        self._parting.finish(code)
        try:
            async with asyncio.timeout(self.options.drain):
                await self._empty.wait()
        except TimeoutError:
            pass  # those who do not even take a `bye` are cut off by the server
        finally:
            self._closed.set()
            self.pulse.stop()
            self._peers.close()
            self._ahead.stop()
            self._bells.stop()
            await self.rights.stop()
            await self.presence.stop()
            await self._broker.close()

    def _empty_log(self) -> Log:
        options = self.options
        log = Log("", count=options.history_count, age=options.history_age, size=options.history_bytes)
        log.appeared = self._appeared
        return log

    def begin(self, epoch: str, gone: int = 0) -> None:
        """See `Follower.begin`: who reads is told what is lost."""
        self.presence.begin(epoch, gone)
        places = {} if self.log.epoch == epoch else {feed: parse(feed.position) for feed in self._feeds}
        if self.log.epoch != epoch:
            self.log.restart(epoch)
            self._selector.forget()
        if gone:
            self.log.lose(gone)
        for feed, place in places.items():
            if feed.selection.patterns:  # it may be that none of the channels that it knew is there any more
                self._bells.turn(feed, select(feed.asked, ()))
            feed.move(place)
        for feed in list(self._feeds):
            feed.ring()
        self._ahead.catch_up()

    def forget(self, channel: str, through: int) -> None:
        """See `Follower.forget`."""
        self.presence.forget(channel, through)
        if channel.startswith(_MARK):
            self.log.pass_over(max(self.log.head, through))
            return
        self.log.lose(through, channel)
        self._bells.ring(channel)

    def take(self, records: Sequence[Record]) -> None:
        """See `Follower.take`: into the log, and ring for those who follow the channel."""
        self._evict()
        self.figures.events += len(records)
        for record in records:
            self._keep(record)
        self._ahead.catch_up()

    def _keep(self, record: Record) -> None:
        if record.channel.startswith(_OURS):
            if record.channel.startswith(PRESENCE):
                self.presence.take(record)
            else:
                self.log.pass_over(record.offset)
                if (callback := self._controls.get(record.channel)) is not None:
                    callback(record)
                return
        self.log.append(encode_event(self.log.epoch, record.offset, record.channel, record.at, record.data, record.about))
        self._bells.ring_or_collect(record.channel)

    def _appeared(self, channel: str) -> None:
        """A channel is about to have its first event: whoever follows a pattern that matches it follows it too."""
        self._selector.forget()
        if channel not in self._names:
            return
        answers: dict[Hashable, bool | Refusal] = {}
        grown: dict[int, tuple[Selection, Selection]] = {}  # those who shared a selection go on sharing one
        for feed in list(self._bells.matching(channel)):
            if channel in feed.asked.names or not feed.open:
                continue
            who = feed.asked.who
            if (answer := answers.get(who)) is None:
                try:
                    answer = self.may(who, "subscribe", channel)
                except Refusal as refusal:
                    answer = refusal
                answers[who] = answer
            if isinstance(answer, Refusal):  # it is not known whether it may: it comes back, and is asked about again
                feed.end(answer)
            elif answer:
                before, after = grown.get(id(feed.selection), (None, None))
                if before is not feed.selection or after is None:
                    after = grow(feed.asked, feed.selection, channel)
                    grown[id(feed.selection)] = feed.selection, after
                self._widen(feed, after, channel)

    def _widen(self, feed: Feed, selection: Selection, channel: str) -> None:
        try:
            self._selector.bound(feed.asked, selection)
        except Refusal as refusal:
            feed.end(refusal)
            return
        self._bells.widen(feed, selection, channel)

    def _evict(self) -> None:
        now = time.time()
        if now >= self._evict_at:
            self._evict_at = now + _EVICT_EVERY
            self.log.evict(now)

    def _leave(self, feed: Feed) -> None:
        feed.end()
        if feed.cut:
            self.limits.refused["slow_readers"] += 1
        self._bells.unhang(feed)
        self._feeds.discard(feed)
        self._ahead.leave(feed)
        if not self._feeds:
            self._empty.set()
