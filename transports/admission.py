"""Admission: what a request asks for, and whether it may. The same for every edge, which then writes the outcome its own
way: `asgi.py` with receive and send, `front/` on the socket.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from . import position
from .attendance import LISTED
from .errors import Code, ErrorBody, Refusal
from .feed import Feed
from .hub import Hub
from .items import VERSION, Batch, Encoded
from .ladder import LADDER
from .longpoll import parse_seconds
from .subscriptions import PRESENCE, Policy, policies_of, read_lag
from .transport import Transport
from .websocket import choose_subprotocol

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

JSON: Final = b"application/json"
SILENT_BEATS: Final = 2.5  # a client that pings, or that was asked by a ping, is given up after so many beats without a frame
CLOSE_WAIT: Final = 2.0  # seconds for the other side to close a WebSocket that we have closed
FLUSH: Final = 5.0  # seconds for a client to take the last bytes of a connection that we close
_SPOKEN: Final = str(VERSION)
_DIGITS = 10
_SHORT = 256  # characters of channels that are kept as they were read
_BEAT_LEAST = 1.0  # seconds; a client may ask for no shorter beats


class Request:
    """What can be asked for.

    Where something is said twice, the first of two parameters and the last of two headers counts.

    Args:
        method: `GET`, `POST`, …
        path: below the mount, without slashes around it.
        query: what is behind the question mark, still encoded.
        headers: names in lower case.
    """

    __slots__ = ("headers", "method", "path", "query")

    def __init__(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> None:
        self.method, self.path, self.headers = method, path, headers
        self.query = parameters(query)

    def channels(self) -> tuple[str, ...]:
        """The names in `channels=a,b`."""
        return _names(self.query.get("channels", ""))

    def policies(self) -> dict[str, Policy]:
        """How much of which is wanted: `latest=a,b` and `lag=c:100`. Raises: Refusal 4400, garbage."""
        query = self.query
        if "latest" not in query and "lag" not in query:
            return {}
        return policies_of(_names(query.get("latest", "")), read_lag(query.get("lag", "")))

    def since(self, header: bool = False) -> position.Position | None:
        """Where to read on from; `header` says that `Last-Event-ID` goes before. Raises: Refusal 4400, garbage."""
        text = (header and self.headers.get("last-event-id")) or self.query.get("since")
        return position.parse(text) if text else None

    def check_version(self) -> None:
        """Raises: Refusal 4426."""
        if (asked := self.query.get("v", _SPOKEN)) != _SPOKEN:
            raise Refusal(Code.VERSION, f"this server speaks version {VERSION}, not {asked[:20]}")

    def foreign_origin(self, allowed: Sequence[str]) -> str | None:
        """The origin of the page that asks, if it is another than ours and allowed; None for our own and for no page.

        Raises:
            Refusal: 4403, it is not allowed.
        """
        origin = self.headers.get("origin")
        # No page can forge `Sec-Fetch-Site`, and a proxy that rewrites `Host` leaves it alone.
        if origin is None or self.headers.get("sec-fetch-site") == "same-origin":
            return None
        host = self.headers.get("host", "").lower()
        if host and origin.lower() in (f"http://{host}", f"https://{host}"):
            return None
        if origin in allowed or "*" in allowed:
            return origin
        raise Refusal(Code.FORBIDDEN, f"pages from {origin[:80]} may not connect: it is not in the setting origins")


def parameters(query: str) -> dict[str, str]:
    """The parameters of a query; of two with the same name, the first."""
    if "%" not in query and "+" not in query:
        with suppress(ValueError):  # a part without "="
            return dict([part.split("=", 1) for part in reversed(query.split("&"))])  # the same, several times as fast
    return dict(reversed(parse_qsl(query, keep_blank_values=True)))


def _names(text: str) -> tuple[str, ...]:
    return _usual(text) if len(text) <= _SHORT else _split(text)


def _split(text: str) -> tuple[str, ...]:
    return tuple([name for name in text.split(",") if name])


_usual = lru_cache(1024)(_split)  # most readers read what others read; what is longer must not fill the memory


class Stream(NamedTuple):
    """A stream that was let in. `beat`: seconds of the longest silence."""

    feed: Feed
    beat: float

    def hello(self) -> Encoded:
        """The first item."""
        return hello(self.feed, self.beat)


class Poll(NamedTuple):
    """A poll that has to wait, for so many seconds at the most."""

    feed: Feed
    wait: float


class Listing(NamedTuple):
    """Who wants to know who is in `channel`: behind the name `after`, `limit` of them at the most, not before `since`."""

    channel: str
    since: position.Position | None
    after: str
    limit: int


class Conversation(NamedTuple):
    """A WebSocket that was let in, with the subprotocol to accept, if the client offered any."""

    stream: Stream
    subprotocol: str | None


class Admission:
    """Who asks for what, and gets it or not.

    Args:
        hub: whose events are served. It has been opened whenever anything is asked here.
        transports: what is offered, best first.
    """

    def __init__(self, hub: Hub, transports: Sequence[Transport] = LADDER) -> None:
        self.hub, self.transports = hub, transports
        self.authenticate: Callable[[Request], Hashable] | None = None  # who asks; may refuse. Nobody is known without it

    def who(self, request: Request) -> Hashable:
        """Who asks. Raises: Refusal, when that has to be known and is not."""
        return None if self.authenticate is None else self.authenticate(request)

    def recall(self, question: str) -> Batch | None:
        """What anybody who asks `question` is answered with, if that is known already."""
        return None if self.authenticate is not None else self.hub.recall(question)

    def stream(self, transport: Transport, request: Request) -> Stream:
        """Raises: Refusal."""
        beat = self._beat(request)
        feed = self._feed(transport, request)
        self._count(transport, request)
        return Stream(feed, beat)

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
            batch = self.hub.glance(request.channels(), since, policies=request.policies(), who=self.who(request))
        if batch is None:
            feed = self._feed(transport, request)
            feed.once = True
            batch = Batch([hello(feed, options.beat)]) if since is None else feed.ready()  # a first answer is where to begin
            if batch is None:
                self._count(transport, request)
                return Poll(feed, wait)
            feed.leave()
        elif question and self.authenticate is None and "why" not in request.query:  # which is to be counted
            self.hub.log.remember(question, batch)
        self._count(transport, request)
        return batch

    def conversation(self, transport: Transport, request: Request, offered: Sequence[str]) -> Conversation:
        """Raises: Refusal, which a page cannot see in a refused upgrade: accept, tell and close."""
        subprotocol = choose_subprotocol(offered, transport.content_type)
        channels, since, beat = request.channels(), request.since(), self._beat(request)
        if since is not None and not channels:
            raise Refusal(Code.BAD_COMMAND, "since says where to read channels on from: say channels=a,b too")
        feed = self.hub.feed(channels, since, policies=request.policies(), who=self.who(request))
        self._count(transport, request)
        return Conversation(Stream(feed, beat), subprotocol)

    def listing(self, request: Request) -> Listing:
        """What `presence/<channel>` is asked for. Raises: Refusal 4400, 4403 not for who asks."""
        limit = request.query.get("limit", str(LISTED))
        if not (limit.isascii() and limit.isdecimal() and len(limit) < _DIGITS):
            raise Refusal(Code.BAD_COMMAND, f"limit={limit[:20]}: a number of members, {LISTED} at the most")
        channel = request.path.removeprefix("presence/")
        if not self.hub.may(self.who(request), "subscribe", PRESENCE + channel):
            raise Refusal(Code.FORBIDDEN, f"who is in {channel[:40]!r} is not for you to know")
        return Listing(channel, request.since(), request.query.get("after", ""), min(int(limit), LISTED))

    def _feed(self, transport: Transport, request: Request) -> Feed:
        channels = request.channels()
        if not channels:
            raise Refusal(Code.BAD_COMMAND, "which channels? Say channels=a,b")
        since = request.since(header=transport.many)
        return self.hub.feed(channels, since, policies=request.policies(), who=self.who(request))

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


def hello(feed: Feed, beat: float) -> Encoded:
    """The first item, with a name for the connection that nobody else has."""
    return feed.hello(_new_name(), beat)


def _made_up() -> Iterator[str]:
    """Names that cannot be guessed, of 8 characters each. The kernel is asked for many at once: a crowd comes at once too."""
    while True:
        text = secrets.token_urlsafe(6 * 256)
        yield from map("".join, zip(*[iter(text)] * 8, strict=True))


_new_name = _made_up().__next__


def refusal_body(refusal: Refusal) -> tuple[bytes, Headers]:
    """The body of an HTTP error with its numbered reason, and the headers that belong to it."""
    headers = () if refusal.retry is None else ((b"retry-after", b"%d" % math.ceil(refusal.retry)),)
    return msgspec.json.encode(ErrorBody.of(refusal)), headers


def shared_with(origin: str) -> Headers:
    """What a browser wants to see before it hands the answer to a page of another origin (WHATWG Fetch 3.3)."""
    return (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-headers", b"authorization, content-type, last-event-id"),
        (b"access-control-max-age", b"600"),
        (b"vary", b"origin"),
    )
