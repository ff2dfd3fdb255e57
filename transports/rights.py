"""Rights: asked about again while somebody reads, and taken away, in all processes.

Who was let in is not let in for ever. So `authorize` is asked again every few seconds, once for each pair of who and channel, and
whoever may no longer read a channel that they named is sent away; what their patterns match follows. `revoke` ends all
connections of somebody at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Set
from contextlib import suppress
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from .accounts import Account
from .brokers import Record
from .errors import Code, ConfigError, Refusal
from .feed import Feed
from .subscriptions import is_pattern

CONTROL: Final = "rights"  # the channel in which hubs tell each other
KEPT: Final = 60.0  # seconds for which it is remembered who was revoked: longer than it takes to find out who asks
_TURN = 0.002  # seconds of a turn of the event loop that asking may take
_REST = 0.008  # seconds in which others have theirs

May: TypeAlias = Callable[[Hashable, str], bool]


_NOBODY = msgspec.Raw(b"null")


class _Word(msgspec.Struct, omit_defaults=True):
    """What hubs tell each other."""

    do: str  # "revoke", "recheck", or "recheck_all"
    who: msgspec.Raw = _NOBODY  # as JSON says it


class _Hub(Protocol):
    """What rights need of a hub."""

    @property
    def accounts(self) -> Iterable[Account]: ...

    @property
    def by_pattern(self) -> Iterable[Feed]: ...

    @property
    def asks(self) -> bool: ...

    def may(self, who: Hashable, action: str, channel: str) -> bool: ...

    def review(self, feed: Feed, may: May) -> None: ...

    async def open(self) -> None: ...

    async def control(self, name: str, data: bytes, key: str | None = None) -> int: ...


class Rights:
    """Who may still read. Owned by a hub.

    Args:
        hub: whose readers it is about.
        every: seconds from one asking to the next.
        clock: seconds, never back.
    """

    def __init__(self, hub: _Hub, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._hub, self._every, self._clock = hub, every, clock
        self._task: asyncio.Task[None] | None = None
        self._now: set[bytes | None] = set()  # who is to be asked about at once; None: everybody
        self._bell = asyncio.Event()
        self._revoked: dict[bytes, float] = {}  # who, as JSON, and when

    def start(self) -> None:
        """Begin to ask."""
        self._now.clear()
        self._bell = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def revoke(self, who: Hashable) -> None:
        """End all connections of `who`, in all processes, with 4401. Who it is must not be found out any more by then.

        Raises:
            ConfigError: JSON cannot say who that is.
            Refusal: 4504, the broker cannot be reached.
        """
        await self._tell(_Word("revoke", msgspec.Raw(said(who))))

    async def recheck(self, who: Hashable = None) -> None:
        """Ask about the rights of `who` now, or of everybody, in all processes.

        Raises: as `revoke`.
        """
        await self._tell(_Word("recheck_all") if who is None else _Word("recheck", msgspec.Raw(said(who))))

    def revoked_since(self, who: Hashable, when: float) -> bool:
        """Whether `who` was revoked since `when`, on the clock: whoever was let in by what was known before is not."""
        if not self._revoked:
            return False
        try:
            at = self._revoked.get(said(who))
        except ConfigError:  # then nobody could say so
            return False
        return at is not None and at >= when

    @property
    def now(self) -> float:
        """What the clock says."""
        return self._clock()

    async def _tell(self, word: _Word) -> None:
        await self._hub.open()
        await self._hub.control(CONTROL, msgspec.json.encode(word))

    def take(self, record: Record) -> None:
        """Something was told, in whichever process."""
        try:
            word = msgspec.json.decode(record.data, type=_Word)
        except msgspec.MsgspecError:
            _log.warning("a record of rights at %d is none of ours", record.offset)
            return
        if word.do == "revoke":
            self._end(bytes(word.who))
        elif word.do.startswith("recheck"):
            self._now.add(None if word.do == "recheck_all" else bytes(word.who))
            self._bell.set()

    def _end(self, who: bytes) -> None:
        now = self._clock()
        self._revoked = {each: when for each, when in self._revoked.items() if when > now - KEPT} | {who: now}
        known: dict[Hashable, bool] = {}
        for account in self._hub.accounts:
            if account.who not in known:
                known[account.who] = _is_one(account.who, {who})
            if known[account.who]:
                account.end(Refusal(Code.UNAUTHORIZED, "what was shown does not hold any more"))

    # ------------------------------------------------------------------------------------------------------------- asking

    async def _run(self) -> None:
        while True:
            begun = self._clock()
            while not self._now and (left := begun + self._every - self._clock()) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._bell.wait()
            self._bell.clear()
            whom, self._now = self._now or {None}, set()
            if self._hub.asks:
                try:
                    await self._ask(None if None in whom else {who for who in whom if who is not None})
                except Exception:
                    _log.exception("rights could not be asked about; they will be again")

    async def _ask(self, whom: set[bytes] | None) -> None:
        """Ask about all who read, or about `whom`; in small pieces, since it does not matter to a millisecond."""
        until = self._clock() + _TURN
        for review in self._reviews(whom):
            try:
                review()
            except Exception:
                _log.exception("a reader's rights could not be looked at")
            if self._clock() >= until:
                await asyncio.sleep(_REST)
                until = self._clock() + _TURN

    def _reviews(self, whom: set[bytes] | None) -> Iterator[Callable[[], None]]:
        answers: dict[str, dict[Hashable, bool | Refusal]] = {}  # by channel: no pair is an object that Python has to look after

        def may(who: Hashable, channel: str) -> bool:
            """Raises: Refusal 4500, it is not known."""
            known = answers.setdefault(channel, {})
            if (answer := known.get(who)) is None:
                try:
                    answer = self._hub.may(who, "subscribe", channel)
                except Refusal as refusal:
                    answer = refusal
                known[who] = answer
            if isinstance(answer, Refusal):
                raise answer
            return answer

        def meant(who: Hashable) -> bool:
            return whom is None or _is_one(who, whom)

        # Who is not meant is found out piece by piece as well.
        for account in self._hub.accounts:
            if account.closed is None:
                yield lambda account=account: _review(account, may) if meant(account.who) else None  # type: ignore[misc]
        for feed in self._hub.by_pattern:
            if feed.open:
                yield lambda feed=feed: self._hub.review(feed, may) if meant(feed.asked.who) else None  # type: ignore[misc]


def _review(account: Account, may: May) -> None:
    """Send away who may not read any more what they named."""
    if account.reader is None:
        return
    try:
        for name in account.reader.follows:
            if not is_pattern(name) and not may(account.who, name):
                account.end(Refusal(Code.FORBIDDEN, f"{name} is not for you any more"))
                return
    except Refusal as refusal:  # whether it may is not known: it comes back, and is asked about again
        account.end(refusal)


def said(who: Any) -> bytes:
    """`who` as JSON says it. Raises: ConfigError, it cannot."""
    try:
        return _encoder.encode(who)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        kind = type(who).__name__
        raise ConfigError(f"who is a {kind}, and other processes are told in JSON: use a text, a number or a tuple") from error


def _is_one(who: Hashable, of: Set[bytes]) -> bool:
    try:
        return said(who) in of
    except ConfigError:
        return False


_encoder = msgspec.json.Encoder(order="sorted")
_log = logging.getLogger("transports")
