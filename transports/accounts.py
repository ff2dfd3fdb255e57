"""Accounts: who is connected, over what and since when, what has gone to them, and who went last, and why.

An account is opened for each reader that is let in, whatever it reads over, and closed when it has gone. What concerns one
connection and not the events hangs on it: when its credentials end, how much it may say, what is told of it in logs, counters
and the status page.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from .addresses import network
from .errors import Code, Refusal
from .feed import Feed
from .figures import Figures
from .items import Encoded, bye_of, encode
from .journal import Journal
from .limits import Limits, Said
from .options import Options
from .request import Identity, Request

KEPT: Final = 100  # accounts that were closed
NOTICE: Final = 20.0  # seconds before what was shown expires that a stream is told; half of what is left, if that is less,
_NOTICE_LEAST = 0.5  # and nothing where nobody could use it
WENT: Final = "went"  # why, if it is no code: the client went away without a word


class Reads(Protocol):
    """What an account needs of who reads."""

    @property
    def position(self) -> str:
        """Where it stands."""

    def in_step(self) -> tuple[int, int]:
        """How many items, and bytes as framed, have gone to it together with others, since it is in step with them."""

    @property
    def follows(self) -> Sequence[str]:
        """The names and patterns that it follows."""

    def end(self, why: Refusal) -> None:
        """Send it away, with a word."""

    def tell(self, word: Encoded) -> None:
        """Tell it something between two events, if it reads a stream."""


class Alone(NamedTuple):
    """Who has nothing but a feed. See `Reads`."""

    feed: Feed

    @property
    def position(self) -> str:
        """See `Reads`."""
        return self.feed.position

    def in_step(self) -> tuple[int, int]:
        """See `Reads`."""
        return 0, 0

    @property
    def follows(self) -> Sequence[str]:
        """See `Reads`."""
        return self.feed.asked.names

    def end(self, why: Refusal) -> None:
        """See `Reads`."""
        self.feed.end(why)

    def tell(self, word: Encoded) -> None:
        """See `Reads`."""
        if not self.feed.once:
            self.feed.tell(lambda: word)


class Account:
    """One connection. Opened by `Accounts.open`, closed once, by `close`.

    Attributes:
        name: of the connection, as its `hello` has it; a poll that waits has one as well.
        transport: the name of it.
        who: as `authorize` knows it.
        address: of the client.
        opened: seconds since 1970; `closed` as well, None as long as it is there.
        expires: seconds since 1970 until which the credentials hold; None: for ever.
        saw: what the client says that it tried before, and why it comes: `why` and `tried`.
        reader: who reads; when it has gone, nobody.
        items: that have gone to it alone, with `bytes`, as they are framed; see `sent` for all of them.
        commands: that have come from it.
        reason: why it was closed: the name of a code, or `went`.
        once: whether it reads one batch only, as a poll does.
    """

    __slots__ = (
        "_accounts",
        "_expiry",
        "_position",
        "_said",
        "address",
        "bytes",
        "closed",
        "commands",
        "expires",
        "items",
        "name",
        "once",
        "opened",
        "reader",
        "reason",
        "saw",
        "transport",
        "who",
    )  # fmt: skip

    def __init__(
        self, accounts: Accounts, name: str, transport: str, request: Request, reader: Reads, now: float, once: bool = False
    ) -> None:
        self.name, self.transport, self.once = name, transport, once
        self.reader: Reads | None = reader
        self.who, self.expires = request.identity
        self.address = request.address
        self.saw = (request.query.get("why", ""), request.query.get("tried", "")) if "why" in request.query else ("", "")
        self.opened = now
        self.closed: float | None = None
        self.items = self.bytes = self.commands = 0
        self.reason = ""
        self._accounts = accounts
        self._said: Said | None = None  # made when something is said
        self._position = ""
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def counted(self) -> tuple[Hashable, str]:
        """As whose it is counted: `who`, and the network of `address`."""
        return self.who, network(self.address)

    @property
    def position(self) -> str:
        """Where it reads, or read last."""
        return self._position if self.reader is None else self.reader.position

    def sent(self) -> tuple[int, int]:
        """How many items, and bytes as they are framed, have gone to it."""
        items, size = self.reader.in_step() if self.reader is not None else (0, 0)
        return self.items + items, self.bytes + size

    def allow(self, commands: int, size: int) -> tuple[int, Refusal | None]:
        """See `commands.Speaker.allow`."""
        if self._said is None:
            self._said = Said()
        self.commands += commands
        who, address = self.counted
        now = asyncio.get_running_loop().time()
        return self._accounts.limits.speak(self._said, who, address, commands, size, now)

    def rename(self, who: Hashable) -> None:
        """Somebody else is known to be there from now on."""
        if self.closed is None:
            self._accounts.limits.rename(self.who, who)
        self.who = who

    def hold_until(self, expires: float | None) -> None:
        """The credentials hold until then, in seconds since 1970: the connection ends with 4401 unless they are renewed. Who
        reads a stream is told before, and comes back on another connection without a gap.
        """
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self.expires = expires
        if expires is not None:
            seconds = max(0.0, expires - self._accounts.clock())
            notice = min(NOTICE, seconds / 2)
            self._expiry = asyncio.get_running_loop().call_later(seconds - notice, self._warn, notice)

    def _warn(self, notice: float) -> None:
        """So many seconds are left. Who came together with others is not sent back together with them."""
        if self.reader is not None and notice >= _NOTICE_LEAST:
            soon = "what was shown expires: come back with something newer"
            self.reader.tell(
                encode(bye_of(Refusal(Code.UNAUTHORIZED, soon, retry=round(notice / 4 * random.random(), 3)), round(notice, 3)))
            )
        self._expiry = asyncio.get_running_loop().call_later(notice, self._expire)

    def become(self, identity: Identity) -> None:
        """What was shown is another from now on."""
        self.rename(identity.who)
        self.hold_until(identity.expires)

    def _expire(self) -> None:
        self.end(Refusal(Code.UNAUTHORIZED, "what was shown has expired: come back with something newer", retry=0.0))

    def end(self, why: Refusal) -> None:
        """Send it away, with a word."""
        if self.reader is not None:
            self.reader.end(why)

    def close(self, why: Code | str | None = None) -> None:
        """It has gone. Again and again does no harm: the first reason counts.

        Args:
            why: if nothing was noted in `reason` before.
        """
        if self.closed is None:
            if not self.reason:
                self.reason = WENT if why is None else why.name.lower() if isinstance(why, Code) else why
            self._position, (self.items, self.bytes), self.reader = self.position, self.sent(), None
            if self._expiry is not None:
                self._expiry.cancel()
                self._expiry = None
            self._accounts.let_go(self)


class Accounts:
    """All accounts of a hub.

    Args:
        clock: seconds since 1970.
        journal: is told who comes and goes.
        limits: how many there may be; the usual ones, if none are given.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, journal: Journal | None = None, limits: Limits | None = None
    ) -> None:
        self.clock = clock
        self._journal = journal or Journal(Figures())
        self.limits = limits or Limits(Options())
        self.closed: deque[Account] = deque(maxlen=KEPT)  # the last, the newest at the end
        self._open: dict[Account, None] = {}  # in the order in which they came
        self._names = _made_up()

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def __iter__(self) -> Iterator[Account]:
        """Those that are open, the oldest first; they may change meanwhile."""
        return iter(list(self._open))

    def new_name(self) -> str:
        """A name for a connection that nobody else has, and nobody can guess."""
        return next(self._names)

    def open(self, transport: str, request: Request, reader: Reads, *, once: bool = False) -> Account:
        """Somebody was let in, and reads. Raises: Refusal, who asks is not known; 4429, there are too many."""
        account = Account(self, self.new_name(), transport, request, reader, self.clock(), once)
        self.limits.connect(*account.counted, request.forwarded)
        self._open[account] = None
        if account.expires is not None:
            account.hold_until(account.expires)
        self._journal.opened(account)
        return account

    def let_go(self, account: Account) -> None:
        """Called by `Account.close`."""
        account.closed = self.clock()
        del self._open[account]
        self.limits.disconnect(*account.counted)
        self.closed.append(account)
        self._journal.closed(account)


def _made_up() -> Iterator[str]:
    """Names that cannot be guessed, of 8 characters each. The kernel is asked for many at once: a crowd comes at once too."""
    while True:
        text = secrets.token_urlsafe(6 * 256)
        yield from map("".join, zip(*[iter(text)] * 8, strict=True))
