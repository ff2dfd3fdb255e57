"""Tickets: what identifies a client that can set no headers, for half a minute, once, on one transport.

A plain EventSource or somebody else's WebSocket can show a token only in its URL, and URLs are written down: by proxies, in
histories. So what travels there is no token. It is good for one request, and for nothing when it is read later.

Used once means: in all processes. Who redeems a ticket publishes a value of its own to the other hubs under the ticket's number
as the key; a key publishes once, so whose value stands at that offset was first.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeAlias

import itsdangerous
import msgspec

from .brokers import Record
from .errors import Code, ConfigError, Refusal
from .options import Options
from .request import Identity
from .rights import Rights

CONTROL: Final = "tickets"  # the channel in which hubs tell each other
LIFE: Final = 30.0  # seconds; a client asks for one when it is about to connect
_SALT = "everywire.ticket"  # what the same secret signs elsewhere is no ticket
_WAIT = 2.0  # seconds for what was published to come back
_SLACK = (
    5.0  # seconds that the clocks of hosts may differ: who was revoked so long before a ticket was given may have been so after
)
_KEPT = 10_000  # what others have redeemed, the newest: it is looked at at once

Secret: TypeAlias = Callable[[], str | bytes]


class _Ticket(msgspec.Struct, array_like=True):
    number: str
    given: float  # seconds since 1970
    expires: float
    path: str  # of the transport that it is for
    epoch: str  # of the log; with another one it is forgotten who was redeemed
    who: Any
    until: float | None  # when what was shown for it expires


class _Accounts(Protocol):
    @property
    def clock(self) -> Callable[[], float]: ...


class _Log(Protocol):
    @property
    def epoch(self) -> str: ...

    @property
    def head(self) -> int: ...


class _Hub(Protocol):
    """What tickets need of a hub."""

    @property
    def options(self) -> Options: ...

    @property
    def shared(self) -> bool: ...

    @property
    def accounts(self) -> _Accounts: ...

    @property
    def log(self) -> _Log: ...

    @property
    def rights(self) -> Rights: ...

    def on_control(self, name: str, callback: Callable[[Record], object]) -> None: ...

    async def control(self, name: str, data: bytes, key: str | None = None) -> int: ...


class Tickets:
    """Gives and redeems tickets.

    Args:
        hub: for whose processes they are good.
    """

    def __init__(self, hub: _Hub) -> None:
        self._hub = hub
        self.secret: Secret = lambda: hub.options.secret
        self._made_up = secrets.token_bytes(32)  # good enough for one process
        self._redeemed: dict[str, float] = {}  # numbers, here, and when they expire anyway
        self._unsure: dict[str, bytes] = {}  # those of them of which the broker did not say who was first, and what we published
        self._values: dict[int, bytes] = {}  # what was published at which offset
        self._came = asyncio.Event()
        hub.on_control(CONTROL, self._take)

    def give(self, identity: Identity, path: str) -> tuple[str, float]:
        """A ticket for the transport at `path`, and until when it is good, in seconds since 1970.

        Raises:
            Refusal: 4401 for nobody.
            ConfigError: there is no secret that all processes have, or who asks is nothing that can be written into a ticket.
        """
        if identity.who is None:
            raise Refusal(Code.UNAUTHORIZED, "a ticket is for somebody: say who you are")
        now, hub = self._hub.accounts.clock(), self._hub
        expires = min(now + min(LIFE, hub.options.key_window), identity.expires or now + LIFE)
        ticket = _Ticket(secrets.token_urlsafe(12), now, expires, path, hub.log.epoch, identity.who, identity.expires)
        try:
            text = msgspec.json.encode(ticket)
            same = _hashable(msgspec.json.decode(text, type=_Ticket).who) == identity.who
        except (TypeError, ValueError, msgspec.MsgspecError):
            same = False
        if not same:
            kind = type(identity.who).__name__
            raise ConfigError(f"who is a {kind}, which does not survive JSON: tickets need a text, a number or a tuple of them")
        return self._serializer().dumps(text.decode()), expires

    def redeem(self, shown: str, path: str) -> Identity | Awaitable[Identity]:
        """Who shows a ticket to the transport at `path`; to be awaited where other processes have a say.

        Raises:
            Refusal: 4401, it is none, is for something else, too old, or was redeemed before. 4504, nobody knows that: the same
                ticket may be shown again to this process.
        """
        ticket, now = self._read(shown), self._hub.accounts.clock()
        if ticket.path != path:
            raise Refusal(Code.UNAUTHORIZED, f"this ticket is for {ticket.path}, and this is {path}")
        if ticket.expires <= now or ticket.epoch != self._hub.log.epoch:
            raise Refusal(Code.UNAUTHORIZED, "this ticket is too old: ask for another")
        if ticket.number in self._redeemed and ticket.number not in self._unsure:
            raise _used()
        self._remember(ticket, now)
        identity = Identity(_hashable(ticket.who), ticket.until)
        age = now - ticket.given + (_SLACK if self._hub.shared else 0.0)
        if self._hub.rights.revoked_since(identity.who, self._hub.rights.now - age):
            raise Refusal(Code.UNAUTHORIZED, "what this ticket was given for does not hold any more")
        return self._claim(ticket.number, identity) if self._hub.shared else identity

    def _remember(self, ticket: _Ticket, now: float) -> None:
        redeemed = self._redeemed
        while redeemed and redeemed[oldest := next(iter(redeemed))] <= now:
            del redeemed[oldest]
            self._unsure.pop(oldest, None)
        redeemed[ticket.number] = ticket.expires

    async def _claim(self, number: str, identity: Identity) -> Identity:
        """`identity`, if no other process was first. Raises: Refusal."""
        ours = self._unsure.pop(number, None) or b'"%b"' % secrets.token_hex(8).encode()
        try:
            first = await self._first(await self._hub.control(CONTROL, ours, number))
        except Refusal:
            self._unsure[number] = ours
            raise
        if first != ours:
            raise _used()
        return identity

    async def _first(self, offset: int) -> bytes | None:
        """What was published at `offset`; None: it came before this process did. Raises: Refusal 4504, it does not come."""
        try:
            async with asyncio.timeout(_WAIT):
                while offset not in self._values and offset > self._hub.log.head:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise Refusal(Code.BROKER_DOWN, "whether this ticket was used before is not known yet") from None
        return self._values.get(offset)

    def _take(self, record: Record) -> None:
        while len(self._values) >= _KEPT:
            del self._values[next(iter(self._values))]
        self._values[record.offset] = bytes(record.data)
        self._came.set()

    def _read(self, shown: str) -> _Ticket:
        try:
            return msgspec.json.decode(self._serializer().loads(shown), type=_Ticket)
        except (itsdangerous.BadData, msgspec.MsgspecError, TypeError, ConfigError):
            raise Refusal(Code.UNAUTHORIZED, "this is no ticket of ours") from None  # nor is it repeated: it may be a secret

    def _serializer(self) -> itsdangerous.URLSafeSerializer:
        secret = self.secret()
        if not secret and self._hub.shared:
            raise ConfigError("tickets need a secret that all processes have: set LIVE_SECRET, or Quart's SECRET_KEY")
        signer = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
        return itsdangerous.URLSafeSerializer(secret or self._made_up, salt=_SALT, signer_kwargs=signer)


def _used() -> Refusal:
    return Refusal(Code.UNAUTHORIZED, "this ticket was used before: ask for another")


def _hashable(who: Any) -> Any:
    """`who` out of JSON, where a tuple is a list."""
    return tuple(_hashable(each) for each in who) if isinstance(who, list) else who
