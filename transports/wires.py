"""Wires: the client's side of each transport, over HTTP and WebSocket. What aiohttp raises is known here, and to the doctor's
probes, which tell more of it than a client wants to know.

A wire opens one connection at the position where the reader stands, hands over the items as they come, and tells the
negotiator what it sees. It decides nothing: how it ended becomes a fact, in `ending`.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import secrets
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import msgspec

from . import facts, longpoll
from .errors import (
    Code,
    ConfigError,
    ErrorBody,
    MissingExtraError,
    NotEverywireError,
    Refusal,
    refusal_from,
)
from .items import Beat, Bye, Event, Hello, Item, Lost, Reply, decode_batch
from .memory import proxies
from .position import parse
from .transport import Transport

try:
    import aiohttp
    from yarl import URL
except ImportError as error:  # the message is the line that installs it
    raise MissingExtraError("client", "aiohttp") from error

Http: TypeAlias = aiohttp.ClientSession
Tap: TypeAlias = Callable[[str, bytes], None]
Take: TypeAlias = Callable[["Wire | None", Sequence[Item]], None]
Room: TypeAlias = Callable[["Wire"], Awaitable[None]]
Say: TypeAlias = Callable[["aiohttp.ClientWebSocketResponse", dict[str, Any]], Awaitable[None]]

_BACKOFF_BASE, _BACKOFF_CAP = 0.5, 20.0  # seconds
_TELL_EVERY: Final = 1.0  # seconds; the negotiator wants to know that items come, not of each
_ASK_TIMES: Final = 3  # a request of its own may break where the stream does not
_ASK_TIME: Final = 10.0  # seconds for all of them
_BEAT_LEAST, _BEAT_MOST = 0.05, 86_400.0  # seconds; what a server says beyond is not believed
_GRACE: Final = 1.0  # seconds for a stream to bring what a poll beside it has seen
_POLL_PAUSE: Final = 1.0  # seconds from one poll to the next if the first brought nothing, sooner than asked for
_POLL_MOST: Final = 60.0  # seconds that a poll waits at the most
_POLL_BURST, _POLL_RATE = 100, 20.0  # polls in a row, polls a second: what piles up meanwhile comes in one answer
_POLL_FULL: Final = 20  # items; a poll that brought so many does not count: there is something to catch up with
PUBLISH_TRY: Final = 10.0  # seconds for one answer to a publish; then it is sent again, with the same key
_MESSAGE_MAX: Final = 16 << 20  # bytes of one WebSocket message; a batch of ours has 64 KiB, or one event that is larger
_NO_LIMIT: Final = aiohttp.ClientTimeout(total=None)  # the negotiator has a time for each phase
_WS_CLOSE: Final = aiohttp.ClientWSTimeout(ws_close=1.0)  # seconds for the other side to close a WebSocket that we have closed
_RETRY_MOST: Final = 600.0  # seconds that a middlebox may ask for; our own server may ask for more
_CODES: Final = frozenset({1000, 1001, *range(4400, 4600)})  # ours, of this version and of later ones
_LATER: Final = frozenset({Code.SILENT, Code.RATE_LIMITED, Code.TOO_SLOW})  # 44xx that do not ask for a change
BROKEN = (aiohttp.ClientError, OSError, NotEverywireError, EOFError)  # a TimeoutError is an OSError


class Target(NamedTuple):
    """Where a client reads and publishes."""

    http: Http
    base: Callable[[], Awaitable[str]]  # the URL of the mount
    token: Callable[[], Awaitable[str | None]]
    renew: Callable[[], bool]  # forgets the token; whether there may be another
    channels: Sequence[str]
    tap: Tap
    policies: Mapping[str, str] = MappingProxyType({})  # `latest` and `lag`, as they stand in a URL


class _SaidError(EOFError):
    """The server said goodbye, with a word."""

    def __init__(self, bye: Bye) -> None:
        super().__init__(bye.reason)
        self.bye = bye


class _RefusedError(NotEverywireError):
    """HTTP said something else than yes, and it was not the server's word for it."""

    def __init__(self, status: int, via: str, kind: str, reason: str, code: int = 0, retry: float | None = None) -> None:
        super().__init__(reason)
        self.status, self.via, self.html, self.code, self.retry = status, via, kind == "text/html", code, retry


class Wire:
    """One connection.

    Args:
        transport: how it speaks.
        target: where.
        number: what the negotiator calls it.
        since: the position to read on from; None for the present.
        quiet: seconds of silence that the path bears; None: as the server likes.
        beat: seconds that a poll waits unless `quiet` says otherwise.
        query: what else the server should know.
        tell: takes facts.
        take: takes items, and by which wire they came; None for a question's.
        room: waits until there is room for more.
    """

    def __init__(
        self,
        transport: Transport,
        target: Target,
        number: int,
        *,
        since: str | None,
        quiet: float | None,
        beat: float,
        query: Mapping[str, str],
        tell: Callable[[facts.Fact], None],
        take: Take,
        room: Room,
    ) -> None:
        self.transport, self.number, self.since = transport, number, since
        self.last = since  # the id of the last item that this wire brought
        self.waits = False  # for room: it is we who are slow
        self._target, self._quiet, self._beat, self._query = target, quiet, beat, query
        self._tell, self._take, self._room = tell, take, room
        self._told = float("-inf")
        self._moved = asyncio.Event()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._spoken = transport  # which of its ways the server took
        self._refs = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}  # ref -> whose reply it will be

    async def run(self) -> None:
        """Open it and read until it ends: with one of `BROKEN`, with `Refusal`, or with what `token` or the URL raised."""
        transport = self.transport
        wire = self._websocket if transport.commands_up else self._stream if transport.many else self._poll
        await wire()

    async def ask(self) -> None:
        """Put a question to the other side and tell of the answer. Where nothing comes back, nothing is told."""
        with suppress(*BROKEN):
            async with asyncio.timeout(_ASK_TIME):
                if self._socket is not None:
                    await self.command({"do": "ping"})
                    self._tell(facts.Answered(self.number))
                else:
                    self._tell(facts.Answered(self.number, await self._compared()))

    async def _compared(self) -> bool:
        """`_behind`, asked again if that breaks. Raises: what it raised last."""
        for attempt in itertools.count(1):
            try:
                return await self._behind()
            except (*BROKEN, Refusal) as error:
                if attempt == _ASK_TIMES:
                    raise EOFError(str(error)) from error
                await asyncio.sleep(backoff(attempt, random.random()))
        raise AssertionError

    async def command(self, command: dict[str, Any]) -> Reply:
        """Send a command up the same wire, and wait for its reply. Raises: EOFError, the wire carries none, or ended."""
        socket, ref = self._socket, next(self._refs)
        if socket is None:
            raise EOFError("this wire carries no commands")
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[ref] = reply
        try:
            await self._say(socket, {**command, "ref": ref})
            return await reply
        finally:
            self._waiting.pop(ref, None)

    async def _say(self, socket: aiohttp.ClientWebSocketResponse, command: dict[str, Any]) -> None:
        message = self._spoken.write(command)
        await (socket.send_bytes(message) if self._spoken.binary else socket.send_str(message.decode()))

    # ------------------------------------------------------------------------------------------------------- the three

    async def _websocket(self) -> None:
        pinging = None
        extra = {} if self._quiet is None else {"beat": f"{self._quiet:g}"}
        socket = await self._target.http.ws_connect(
            await self._url({**extra, **self._query}),
            protocols=[each.content_type for each in (self.transport, *self.transport.also)],
            max_msg_size=_MESSAGE_MAX,
            timeout=_WS_CLOSE,
            headers=await _authorization(self._target),
        )
        self._socket = socket
        spoken = self._spoken = self.transport.spoken([socket.protocol]) or self.transport
        reader = spoken.reader()
        self._tell(facts.Opened(self.number))
        try:
            while True:
                message = await socket.receive()
                if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    raise _closed(socket.close_code)
                body = message.data.encode() if isinstance(message.data, str) else message.data
                self._target.tap(self.transport.name, body)
                items = reader.feed(body)
                if pinging is None and (beat := _beat(items)):
                    pinging = asyncio.create_task(_ping(socket, beat, self._say))
                await self._bring(items)
        finally:
            self._socket = None
            for reply in self._waiting.values():
                if not reply.done():
                    reply.set_exception(EOFError("the wire ended before the reply came"))
                    reply.exception()  # nobody may wait any more
            if pinging is not None:
                pinging.cancel()
            await socket.close()

    async def _stream(self) -> None:
        reader = self.transport.reader()
        extra = {} if self._quiet is None else {"beat": f"{self._quiet:g}"}
        async with self._get({**extra, **self._query}) as response:
            self._tell(facts.Opened(self.number))
            while data := await response.content.readany():
                self._target.tap(self.transport.name, data)
                await self._bring(reader.feed(data))
        raise EOFError("the stream ended")

    async def _poll(self) -> None:
        loop, wait, query = asyncio.get_running_loop(), 0.0, self._query  # the first answer proves that it works
        hasty = False  # whether the last answer came empty, and sooner than asked for
        longest = min(self._beat if self._quiet is None else self._quiet, _POLL_MOST)
        allowed = _Ceiling(_POLL_BURST, _POLL_RATE)
        while True:
            asked, before = loop.time(), self.last
            async with self._get({"wait": f"{wait:g}", **query}) as response:
                body = await read(response)
            self._target.tap(self.transport.name, body)
            items = self.transport.reader().feed(body)
            if query is self._query:
                self._tell(facts.Opened(self.number))
            if self._quiet is None:
                longest = min(_beat(items) or longest, _POLL_MOST)
            await self._bring(items, answer=True)
            early = loop.time() - asked < min(wait, _POLL_PAUSE) and all(isinstance(item, Beat) for item in items)
            if early and hasty:  # a server that cannot wait must not make us spin; one that goes answers early once
                await asyncio.sleep(min(wait, _POLL_PAUSE) - (loop.time() - asked))
            elif len(items) < _POLL_FULL or self.last == before:
                await asyncio.sleep(allowed.wait(loop.time()))
            hasty, wait, query = early, longest, {}

    # ------------------------------------------------------------------------------------------------------ what they share

    async def _bring(self, items: list[Item], *, answer: bool = False) -> None:
        """Hand items over, tell that something came, and wait for room. `answer`: they came because we asked.

        Raises: NotEverywireError, they do not continue where we stand; _SaidError, after what came before a `bye`, unless the
        server stays for a while.
        """
        byes = [item for item in items if isinstance(item, Bye)]
        for bye in byes:
            if bye.code not in _CODES:
                raise NotEverywireError(f"a bye with the code {bye.code}")
        replies = [item for item in items if isinstance(item, Reply)]
        news = [item for item in items if not isinstance(item, Bye | Reply)]
        if news:
            self._take(self, news)
            self.last = news[-1].id
            self._moved.set()
        now, beat = asyncio.get_running_loop().time(), _beat(items)
        if answer:
            self._tell(facts.Answered(self.number))
        self._beat = beat or self._beat
        if (news or replies) and (beat or now - self._told >= min(_TELL_EVERY, self._beat / 2)):
            self._told = now
            self._tell(facts.Item(self.number, beat))
        for reply in replies:
            waiting = self._waiting.get(reply.ref or 0)
            if waiting is not None and not waiting.done():
                waiting.set_result(reply)
        self.waits = True
        await self._room(self)
        self.waits = False
        for bye in byes:
            if not _stays(bye):
                raise _SaidError(bye)
            if bye.code == Code.UNAUTHORIZED:  # the next connection shows another
                self._target.renew()
            self._tell(facts.Leaving(self.number, _sensible(bye.retry) or 0.0))

    async def _behind(self) -> bool:
        """Whether a poll that does not wait brings an event that this wire, given a while, does not."""
        try:
            async with _get(self._target, longpoll.TRANSPORT, self.last, {"wait": "0"}) as response:
                items = longpoll.TRANSPORT.reader().feed(await read(response))
        except _RefusedError as refused:
            if refused.code:  # not served there, says our server: an answer all the same
                return False
            raise
        seen = [item for item in items if isinstance(item, Event | Lost)]
        if not seen:
            return False
        if not any(isinstance(item, Lost) for item in seen):  # what is gone there may be on its way here: the wire will tell
            self._take(None, seen)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                while not self.waits and not _passed(self.last, seen[-1].id):
                    self._moved.clear()
                    await self._moved.wait()
        return not self.waits and not _passed(self.last, seen[-1].id)

    async def _url(self, query: Mapping[str, str]) -> URL:
        return await _url(self._target, self.transport.path, _question(self._target, self.last, query))

    def _get(self, query: Mapping[str, str]) -> Any:
        return _get(self._target, self.transport, self.last, query)


class _Ceiling:
    """So many in a row, then so many a second (a token bucket)."""

    def __init__(self, burst: float, rate: float) -> None:
        self._left, self._burst, self._rate, self._at = burst, burst, rate, 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next one may be made; it is counted as made then."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        self._left -= 1
        return max(0.0, -self._left / self._rate)


def ending(number: int, error: BaseException) -> facts.Refused | facts.Closed:
    """The fact that `error`, out of a wire's `run`, is to the negotiator."""
    match error:
        case _SaidError(bye=bye):
            return facts.Closed(number, "", bye.code, bye.name, bye.reason, _sensible(bye.retry), final=bye.retry is None)
        case Refusal():
            code, retry = error.code, _sensible(error.retry)
            return facts.Refused(number, code.status, "", False, int(code), error.name, error.reason, retry, retry is None)
        case _RefusedError():
            return facts.Refused(number, error.status, error.via, error.html, error.code, reason=str(error), retry=error.retry)
        case aiohttp.ClientResponseError():  # a refused upgrade, a proxy that wants to know who we are
            headers: Mapping[str, str] = error.headers or {}
            kind = str(headers.get("content-type", "")).partition(";")[0]
            reason = f"HTTP {error.status} {kind or error.message}: no upgrade"
            return facts.Refused(number, error.status, _via(headers), kind == "text/html", reason=reason)
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return facts.Closed(number, "tls_error", reason=str(error))
        case NotEverywireError():
            return facts.Closed(number, "not_ours", reason=str(error))
    return facts.Closed(number, reason=str(error) or "the connection broke")


def _stays(bye: Bye) -> bool:
    """Whether the server goes on serving the wire on which it said goodbye, until another one works."""
    return bye.retry is not None and isinstance(bye.stays, int | float) and bye.stays > 0


def _sensible(retry: float | None) -> float | None:
    """What a server asks for, at the most a day."""
    return None if retry is None else min(max(retry, 0.0), _BEAT_MOST)


async def read(response: aiohttp.ClientResponse) -> bytes:
    """A whole body. Raises: NotEverywireError, it does not end."""
    body = bytearray()
    while part := await response.content.readany():
        body += part
        if len(body) > _MESSAGE_MAX:
            raise NotEverywireError(f"an answer of more than {_MESSAGE_MAX} bytes")
    return bytes(body)


def backoff(attempt: int, luck: float) -> float:
    """Seconds to wait before a further try, with full jitter: `luck` (0 to 1) of 0.5, 1, 2, … up to 20 seconds.
    `attempt` counts from 0.
    """
    return luck * float(min(_BACKOFF_CAP, _BACKOFF_BASE * 2 ** min(attempt, 10)))


async def _ping(socket: aiohttp.ClientWebSocketResponse, beat: float, say: Say) -> None:
    """Show, once a beat, that we are there; a server gives up a client that stops doing so."""
    with suppress(OSError, aiohttp.ClientError):
        while not socket.closed:
            await asyncio.sleep(beat)
            await say(socket, {"do": "ping"})


async def post(target: Target, commands: Sequence[dict[str, Any]]) -> list[Reply]:
    """Send commands up by POST; their replies, in order. A token that became too old is renewed, once.

    Raises: Refusal; one of `BROKEN`, when no answer came.
    """
    body = msgspec.json.encode([{**command, "ref": ref} for ref, command in enumerate(commands)])
    try:
        replies = await _post(target, body)
    except Refusal as refusal:
        if refusal.code is not Code.UNAUTHORIZED or not target.renew():
            raise
        replies = await _post(target, body)
    if len(replies) != len(commands):
        raise NotEverywireError(f"{len(replies)} replies to {len(commands)} commands")
    return replies


async def _post(target: Target, body: bytes) -> list[Reply]:
    headers = {"content-type": "application/json", **await _authorization(target)}
    async with asyncio.timeout(PUBLISH_TRY):
        url = f"{await target.base()}/commands"
        async with target.http.post(url, data=body, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                raise await _refused(response)
            return [item for item in decode_batch(await read(response)) if isinstance(item, Reply)]


def hint(outcome: str) -> str:
    """What may have been meant, where an outcome tells that nothing of ours is served."""
    wrong = "HTTP 404" in outcome or "HTTP 405" in outcome
    return ". Is the URL that of the mount, such as http://127.0.0.1:8000/live?" if wrong else ""


def _get(target: Target, transport: Transport, since: str | None, query: Mapping[str, str]) -> Any:
    return get(target, transport.path, transport.content_type, _question(target, since, query))


@asynccontextmanager
async def get(
    target: Target, path: str, content_type: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None
) -> AsyncIterator[aiohttp.ClientResponse]:
    """An answer whose head says that it is ours. Raises: one of `BROKEN`; Refusal, our server says no."""
    url, headers = await _url(target, path, query), {**(headers or {}), **await _authorization(target)}
    async with target.http.get(url, headers=headers, allow_redirects=False) as response:
        if response.status != 200:
            raise await _refused(response)
        if response.content_type != content_type:
            raise _RefusedError(
                200, _via(response.headers), response.content_type, f"200 {response.content_type}: not an everywire answer"
            )
        yield response


def _question(target: Target, since: str | None, query: Mapping[str, str]) -> dict[str, str]:
    """What is to be read. All that matters is in the URL, because headers get lost on the way."""
    place = {"since": since} if since else {}
    return {"channels": ",".join(target.channels), **target.policies, **place, **query}


async def _url(target: Target, path: str, query: Mapping[str, str]) -> URL:
    """Where to ask. It is unique, because some caches ignore `no-store`."""
    return URL(f"{await target.base()}/{path}").with_query({**query, "_": secrets.token_hex(4)})


async def _authorization(target: Target) -> dict[str, str]:
    token = await target.token()
    return {} if token is None else {"authorization": f"Bearer {token}"}


async def _refused(response: aiohttp.ClientResponse) -> Exception:
    """Why an HTTP error came: the answer to what was asked, with its code, or something about this path or on the
    way to it.
    """
    status, path, kind, via = response.status, response.url.path, response.content_type, _via(response.headers)
    try:
        body = msgspec.json.decode(await read(response), type=ErrorBody)
        if body.code not in _CODES:  # somebody else's JSON
            raise msgspec.DecodeError
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        where = f" redirects to {response.headers['location']}" if "location" in response.headers else ""
        reason = f"HTTP {status} {kind} at {path}{where}{f' from {via}' if via else ''}"
        return _RefusedError(status, via, kind, reason, retry=_retry_after(response))
    if body.refusal().code.status != status:  # ours, but it does not serve this transport here
        return _RefusedError(status, via, kind, f"HTTP {status}: {body.reason}", body.code)
    return body.refusal()


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    text = response.headers.get("retry-after", "")
    return min(float(text), _RETRY_MOST) if text.isascii() and text.isdigit() else None


def _via(headers: Mapping[str, str]) -> str:
    """Who answered, as far as he says."""
    return str(headers.get("via") or headers.get("server") or "")[:60]


def _closed(code: int | None) -> EOFError:
    """A WebSocket that was closed without a `bye`."""
    if code is not None and 4400 <= code < 4500 and code not in _LATER:
        return _SaidError(Bye(code, refusal_from(code, "", None).name, f"closed with {code}", None))
    return EOFError(f"closed with {code}" if code else "closed without a word")


def _beat(items: list[Item]) -> float:
    """The seconds of a beat, if these items begin with a `hello` that says a sensible number; 0 if not."""
    beat = items[0].beat if items and isinstance(items[0], Hello) else 0.0
    return beat if _BEAT_LEAST <= beat <= _BEAT_MOST else 0.0


def _passed(last: str | None, place: str) -> bool:
    """Whether a wire that has brought `last` has brought what is at `place`. One of another life of the log has not."""
    if last is None:
        return False
    ours, theirs = parse(last), parse(place)
    return ours.epoch == theirs.epoch and ours.offset >= theirs.offset


def mount_url(url: str) -> str:
    """The URL of a mount without the slash at its end. Raises: ConfigError, when it can never be one."""
    try:
        parts = urlsplit(url)
        parsed = URL(url)
        good = parsed.scheme in ("http", "https") and bool(parts.hostname) and bool(parsed.host) and parts.port != 0
        good = good and "?" not in url and "#" not in url and url.isprintable() and " " not in url
        (parts.hostname or "").encode("idna")
    except ValueError:  # of the port, of brackets, of a name's labels (a UnicodeError is one)
        good = False
    if not good:
        raise ConfigError(f"{_shown(url)!r} is not the URL of a mount, such as http://127.0.0.1:8000/live")
    return f"{parts.scheme}{url[len(parts.scheme) :]}".rstrip("/")


def _shown(url: str) -> str:
    """A URL, or what was meant to be one, without what may be a user and a password."""
    head, _, rest = url.rpartition("@")
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]{0,20}://", head)
    return (scheme[0] if scheme else "") + (f"…@{rest}" if head else rest)


def open_session(
    headers: Mapping[str, str] | None, ca: str | None, *, watch: Sequence[aiohttp.ClientMiddlewareType] = ()
) -> Http:
    """Connections to share, with proxies from the environment. `watch`: who sees each request and its answer.

    Raises: ConfigError, when `ca` holds no authority.
    """
    try:
        tls: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca) if ca else True
    except OSError as error:  # SSLError is one
        raise ConfigError(f"{ca} holds no certificate authority: {error}") from error
    return aiohttp.ClientSession(
        headers=headers,
        # HTTP_PROXY and the like. To look for them costs half a millisecond a request, so it is done only where there are any;
        # elsewhere than on Linux they may also be set where only a look can tell.
        trust_env=any(proxies()) or sys.platform != "linux",
        timeout=_NO_LIMIT,
        connector=aiohttp.TCPConnector(
            ssl=tls, limit=0
        ),  # the negotiator has a ceiling; a full pool would only look like a dead network
        middlewares=(_no_upgrade_elsewhere, *watch),
    )


async def _no_upgrade_elsewhere(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A WebSocket that is led elsewhere: to a login page, and with our headers. We do not go there."""
    response = await handler(request)
    if 300 <= response.status < 400 and "upgrade" in request.headers:
        response.close()
        status, headers = response.status, response.headers
        raise aiohttp.ClientResponseError(response.request_info, (), status=status, message="redirected", headers=headers)
    return response
