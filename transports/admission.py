"""Admission: what a request asks for, and whether it may. The same for every edge, which then writes the outcome its own
way: `asgi.py` with receive and send, `front/` on the socket.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from . import codings, position
from .accounts import Account, Alone
from .addresses import Hops, hops, network
from .attendance import LISTED
from .errors import Code, ConfigError, ErrorBody, Refusal
from .feed import Feed
from .figures import ALONE, Outlet
from .hub import Hub
from .items import Batch, Encoded
from .ladder import LADDER
from .limits import Limits
from .offer import Ticket
from .origins import check_host, foreign_page, preflight, shown_to
from .request import Identity, Request, parse_count, parse_seconds
from .rights import Rights
from .subscriptions import PRESENCE
from .tickets import Tickets
from .transport import Transport
from .websocket import check_subprotocol

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
Authenticate: TypeAlias = Callable[[Request], Any]
"""Tells who asks: anything hashable, an `Identity` that also says for how long, or None, which is nobody in particular. May be a
coroutine function, and may raise a `Refusal`: 4401, if nobody may ask without saying who they are.
"""

JSON: Final = b"application/json"
SILENT_BEATS: Final = 2.5  # a client that pings, or that was asked by a ping, is given up after so many beats without a frame
CLOSE_WAIT: Final = 2.0  # seconds for the other side to close a WebSocket that we have closed
FLUSH: Final = 5.0  # seconds for a client to take the last bytes of a connection that we close
_HEALTH = ("health", "health/live")
_BEAT_LEAST = 1.0  # seconds; a client may ask for no shorter beats
_log = logging.getLogger("transports")


class Stream(NamedTuple):
    """A stream that was let in. `beat`: seconds of the longest silence."""

    feed: Feed
    beat: float
    account: Account

    def hello(self) -> Encoded:
        """The first item."""
        return self.feed.hello(self.account.name, self.beat, self.account.expires)


class Poll(NamedTuple):
    """A poll that has to wait, for so many seconds at the most."""

    feed: Feed
    wait: float
    account: Account


class Posted(NamedTuple):
    """Who says commands by POST. See `commands.Speaker`."""

    who: Hashable
    address: str
    limits: Limits
    rights: Rights
    since: float  # on the clock of rights: when it was known who that is

    def allow(self, commands: int, size: int) -> tuple[int, Refusal | None]:
        """See `commands.Speaker.allow`. Raises: Refusal 4401, too: a body may be long on its way."""
        if self.rights.revoked_since(self.who, self.since):
            raise Refusal(Code.UNAUTHORIZED, "what was shown does not hold any more")
        now = asyncio.get_running_loop().time()
        return self.limits.speak(None, self.who, network(self.address), commands, size, now)

    async def renew(self, token: str) -> float | None:
        """Raises: Refusal 4400, each request shows its own."""
        raise Refusal(Code.BAD_COMMAND, "on this transport, each request shows who asks: there is nothing to renew")

    def own(self) -> Feed:
        """Raises: Refusal 4400, whose channels are to change reads on another connection."""
        raise Refusal(Code.BAD_COMMAND, "on this transport, open the stream again from the same position with other channels")


class Listing(NamedTuple):
    """Who wants to know who is in `channel`: behind the name `after`, `limit` of them at the most, not before `since`."""

    channel: str
    since: position.Position | None
    after: str
    limit: int


class Admission:
    """Who asks for what, and gets it or not.

    Args:
        hub: whose events are served. It has been opened whenever anything is asked here.
        transports: what is offered, best first.

    Attributes:
        believe: what of a request is believed about where it comes from.
    """

    def __init__(self, hub: Hub, transports: Sequence[Transport] = LADDER) -> None:
        self.hub, self.transports = hub, transports
        for name in hub.options.encodings:
            codings.coding(name)  # a library that is missing is told where it was asked for
        self.authenticate: Authenticate | None = None  # nobody is known without it
        self.believe: Hops | None = hops(hub.options.trusted_hops, hub.options.trusted_header)
        self.tickets = Tickets(hub)
        self._paths = frozenset(transport.path for transport in transports)  # where a ticket may be shown

    def page(self, request: Request) -> Headers:
        """Whose page asks, before anything is found out about who does: the headers of any answer that it is to see.

        Of a page that is let in only because all are, what its browser knows of the user is forgotten.

        Raises:
            Refusal: 4403, the page is of an origin that may not, or the name is not one of ours.
        """
        options = self.hub.options
        if request.path not in _HEALTH:  # load balancers ask by address
            check_host(request.headers, options.hosts)
        page = foreign_page(request.headers, options.origins, secure=request.secure)
        if page is not None and not page.named:
            request.forget_user()
        shown = shown_to(page)
        return (*shown, *preflight(page)) if request.method == "OPTIONS" else shown

    def find_out(self, request: Request) -> Awaitable[None] | None:
        """Find out who asks, before anything else is asked of `request`. What to wait for, if it cannot be known at once."""
        if self.authenticate is None and "ticket" not in request.query:
            return None
        try:
            found = self._ask(request)
            if inspect.isawaitable(found):
                return self._find_out(request, found)
            request.found = self._identity(found)
        except Exception as error:
            request.found = self._unknown(error)
        return None

    def _ask(self, request: Request) -> Any:
        """Who a ticket says, if there is one; else who `authenticate` says."""
        if "ticket" in request.query and request.path in self._paths:
            return self.tickets.redeem(request.query["ticket"], request.path)
        return None if self.authenticate is None else self.authenticate(request)

    async def _find_out(self, request: Request, found: Awaitable[Any]) -> None:
        begun = self.hub.rights.now
        try:
            async with asyncio.timeout(self.hub.options.body_timeout):
                identity = self._identity(await found)
            if self.hub.rights.revoked_since(identity.who, begun):
                raise Refusal(Code.UNAUTHORIZED, "what was shown does not hold any more")
            request.found = identity
        except Exception as error:
            request.found = self._unknown(error)

    def _unknown(self, error: Exception) -> Refusal:
        """What is said where `authenticate` found nobody."""
        if isinstance(error, Refusal):
            return error
        self.hub.journal.failed("authenticate failed", error)
        return Refusal(Code.INTERNAL, "who asks could not be found out")

    async def identify(self, token: str, address: str) -> Identity:
        """Who shows `token`, and nothing else. Raises: Refusal 4401, nobody in particular; 4500, that could not be found out."""
        request = Request("GET", "", "", {"authorization": f"Bearer {token}"}, address)
        if (finding_out := self.find_out(request)) is not None:
            await finding_out
        if request.who is None:
            raise Refusal(Code.UNAUTHORIZED, "what was shown says nobody")
        return request.identity

    def _identity(self, found: Any) -> Identity:
        """What `authenticate` told. Raises: Refusal 4401, it does not hold any more; TypeError, it is no answer."""
        identity = found if isinstance(found, Identity) else Identity(found)
        hash(identity.who)
        if identity.expires is not None and not (isinstance(identity.expires, float | int) and math.isfinite(identity.expires)):
            raise TypeError(f"expires is {identity.expires!r}: seconds since 1970, or None")
        if identity.expires is not None and not identity.expires > self.hub.accounts.clock():
            raise Refusal(Code.UNAUTHORIZED, "what was shown has expired: come back with something newer")
        return identity

    def give_ticket(self, identity: Identity, path: str) -> Ticket:
        """A ticket for `identity`. Raises: Refusal 4400, there is no transport at `path`; and as `Tickets.give`."""
        self._check_for(path)
        return Ticket(*self.tickets.give(identity, path))

    def _check_for(self, path: str) -> None:
        if path not in self._paths:
            there_are = ", ".join(sorted(self._paths))
            raise Refusal(Code.BAD_COMMAND, f"a ticket for which transport? Say for=PATH, with one of {there_are}")

    def ticket(self, request: Request) -> Ticket:
        """A ticket for who asks, on the transport that `for` names. It counts as a command. Raises: Refusal."""
        path = request.query.get("for", "")
        self._check_for(path)
        if (why := self._posted(request).allow(1, 0)[1]) is not None:
            raise why
        try:
            return Ticket(*self.tickets.give(request.identity, path))
        except ConfigError as error:
            _log.error("no tickets can be given: %s", error)
            raise Refusal(Code.INTERNAL, "no tickets can be given here") from error

    def spoken(self, transport: Transport, request: Request, offered: Sequence[str] = ()) -> Transport:
        """How `transport` is spoken with who asks, whether it is let in or not; `offered`: the subprotocols of a WebSocket."""
        if transport.commands_up:
            return transport.spoken(offered) or transport
        return codings.spoken(transport, request.headers.get("accept-encoding", ""), self.hub.options.encodings)

    def commands(self, request: Request) -> Posted:
        """Who says what comes in the body. Raises: Refusal."""
        said = self._posted(request)
        request.check_json()
        coding = request.headers.get("content-encoding", codings.IDENTITY)
        if coding.lower() != codings.IDENTITY:
            raise Refusal(Code.BAD_COMMAND, f"a body in {coding[:20]}: send it as it is", status=415)
        return said

    def _posted(self, request: Request) -> Posted:
        rights = self.hub.rights
        return Posted(request.who, request.address, self.hub.limits, rights, rights.now)

    def recall(self, question: str) -> Batch | None:
        """What anybody who asks `question` is answered with, if that is known already."""
        return None if self.authenticate is not None or "ticket=" in question else self.hub.recall(question)

    def stream(self, transport: Transport, request: Request) -> Stream:
        """Raises: Refusal."""
        beat = self._beat(request)
        feed = self._feed(transport, request)
        return Stream(feed, beat, self._let_in(transport, request, feed))

    def poll(self, transport: Transport, request: Request, question: str = "") -> Batch | Poll:
        """The answer, or what to wait for.

        Args:
            transport: a transport of one batch.
            request: what is asked.
            question: all that is asked in one string; who asks the same may take the same, see `Hub.recall`.

        Raises:
            Refusal: it is not to be had.
        """
        options = self.hub.options
        wait = parse_seconds("wait", request.query.get("wait"), options.poll_wait, options.poll_wait_max)
        since = request.since()
        batch = None
        if since is not None:
            batch = self.hub.glance(request.channels(), since, policies=request.policies(), who=request.who)
        if batch is None:
            feed = self._feed(transport, request)
            feed.once = True
            batch = self._beginning(request, feed) if since is None else feed.ready()  # a first answer is where to begin
            if batch is None:
                return Poll(feed, wait, self._let_in(transport, request, feed))
            feed.leave()
        elif question and self.authenticate is None and "why" not in request.query:  # which is to be counted
            self.hub.log.remember(question, batch)
        self._count(transport, request)
        return batch

    def outlet(self, transport: Transport) -> Outlet:
        """Where is counted what polls are answered with that do not wait."""
        return self.hub.figures.outlet(transport.name, ALONE)

    def answered(self, transport: Transport, batch: Batch, size: int) -> None:
        """A poll was answered at once. `size`: bytes of the batch, as framed."""
        outlet = self.outlet(transport)
        outlet.wrote(batch.items, size, time.time())
        outlet.at_once += 1

    def refused(self, refusal: Refusal, request: Request | None = None, address: str = "") -> None:
        """Somebody is about to be told no. `address`: where nothing is known of a request."""
        path, address = ("", address) if request is None else (request.path, request.address)
        self.hub.journal.refused(refusal, address, path)

    def _beginning(self, request: Request, feed: Feed) -> Batch:
        return Batch([feed.hello(self.hub.accounts.new_name(), self.hub.options.beat, request.identity.expires)])

    def conversation(self, transport: Transport, request: Request, offered: Sequence[str]) -> Stream:
        """What goes down a WebSocket. Raises: Refusal, which a page cannot see in a refused upgrade: accept, tell and close."""
        check_subprotocol(offered, transport)
        channels, since, beat = request.channels(), request.since(), self._beat(request)
        if since is not None and not channels:
            raise Refusal(Code.BAD_COMMAND, "since says where to read channels on from: say channels=a,b too")
        feed = self.hub.feed(channels, since, policies=request.policies(), who=request.who)
        return Stream(feed, beat, self._let_in(transport, request, feed))

    def listing(self, request: Request) -> Listing:
        """What `presence/<channel>` is asked for. Raises: Refusal 4400, 4403 not for who asks."""
        limit = parse_count(request.query.get("limit"), LISTED, LISTED, "members")
        channel = request.path.removeprefix("presence/")
        if not self.hub.may(request.who, "subscribe", PRESENCE + channel):
            raise Refusal(Code.FORBIDDEN, f"who is in {channel[:40]!r} is not for you to know")
        return Listing(channel, request.since(), request.query.get("after", ""), limit)

    def _feed(self, transport: Transport, request: Request) -> Feed:
        channels = request.channels()
        if not channels:
            raise Refusal(Code.BAD_COMMAND, "which channels? Say channels=a,b")
        since = request.since(header=transport.many)
        return self.hub.feed(channels, since, policies=request.policies(), who=request.who)

    def _let_in(self, transport: Transport, request: Request, feed: Feed) -> Account:
        """Raises: Refusal; nobody reads then."""
        try:
            account = self.hub.accounts.open(transport.name, request, Alone(feed), once=not transport.many)
        except BaseException:
            feed.leave()
            raise
        self._count(transport, request)
        return account

    def _count(self, transport: Transport, request: Request) -> None:
        """A poller says `why` once, with its first poll: so each wire counts once."""
        if transport.many or "why" in request.query:
            self.hub.counts.opened(transport.name, request.query.get("why", ""), request.query.get("tried", ""))

    def _beat(self, request: Request) -> float:
        """The seconds of a beat on a stream: a client whose path bears less silence may ask for shorter ones.

        Raises: Refusal 4400, garbage.
        """
        usual = self.hub.options.beat
        return min(usual, max(_BEAT_LEAST, parse_seconds("beat", request.query.get("beat"), usual, usual)))


def silent_refusal(hub: Hub) -> Refusal:
    """What is said to who opened a WebSocket, follows no channel and says nothing."""
    what = f"no channel is followed, and no command came within {hub.options.first_command_timeout:g} s"
    return hub.limits.refuse("first_command_timeout", Code.SILENT, what)


def refusal_body(refusal: Refusal) -> tuple[bytes, Headers]:
    """The body of an HTTP error with its numbered reason, and the headers that belong to it."""
    headers: Headers = () if refusal.retry is None else ((b"retry-after", b"%d" % math.ceil(refusal.retry)),)
    if refusal.status == 415:
        headers = (*headers, (b"accept-encoding", codings.IDENTITY.encode()))  # what would be taken (RFC 9110 15.5.16)
    return msgspec.json.encode(ErrorBody.of(refusal)), headers
