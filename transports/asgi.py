"""The endpoints as one plain ASGI application: `/ws /sse /poll /commands /negotiate /client.js` below a mount.

What a request asks for is read here, where a refusal becomes a status, a `bye` or a close code. What it is answered
with comes from the core, which never learns which wire it is on. Every ASGI server can serve it; nothing here knows
Quart.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import logging
import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from . import position
from .commands import Ping, execute, parse
from .errors import Code, ErrorBody, Refusal
from .feed import Feed
from .hub import Hub
from .items import VERSION, Batch, Encoded, bye_of, encode, encode_batch
from .ladder import LADDER
from .longpoll import parse_seconds
from .starlette import starlette_response
from .transport import HEADERS, Frame, Transport
from .watch import Watch
from .websocket import choose_subprotocol

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_Serve: TypeAlias = Callable[["Request", Receive, Send], Awaitable[None]]
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

_JSON = b"application/json"
_SCRIPTS = ("client.js", "outbox.js", "oneway.js", "tabs.js")  # the browser client, and the parts that it loads
_log = logging.getLogger("transports")
_SILENT_BEATS = 2.5  # a client that pings is given up after so many beats without a frame
_BEAT_LEAST = 1.0  # seconds; a client may ask for no shorter beats
_CLOSE_WAIT = 2.0  # seconds for the other side to close a WebSocket that we have closed


def path_below(scope: Scope) -> str:
    """The path below where the application is mounted; some servers leave the mount in `path`, others take it away."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class Request:
    """What the endpoints want to know of a request, out of an ASGI scope.

    Where something is said twice, the first of two parameters and the last of two headers counts.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.method: str = scope.get("method", "GET")
        self.headers: dict[str, str] = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.query = dict(reversed(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)))
        self.path = path_below(scope).strip("/")

    def channels(self) -> list[str]:
        """The names in `channels=a,b`."""
        return [name for name in self.query.get("channels", "").split(",") if name]

    def since(self, header: bool = False) -> position.Position | None:
        """Where to read on from; `header` says that `Last-Event-ID` goes before. Raises: Refusal 4400, garbage."""
        text = (header and self.headers.get("last-event-id")) or self.query.get("since")
        return position.parse(text) if text else None

    def check_version(self) -> None:
        """Raises: Refusal 4426."""
        if (asked := self.query.get("v", str(VERSION))) != str(VERSION):
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


class Endpoints:
    """The ASGI application.

    Args:
        hub: whose events are served.
        transports: what is offered, best first.
    """

    def __init__(self, hub: Hub, *, transports: Sequence[Transport] = LADDER) -> None:
        self.hub = hub
        self.transports = transports
        self._routes: dict[str, tuple[str, _Serve]] = {
            "commands": ("POST", self._commands),
            "negotiate": ("GET", self._negotiate),
            **{name: ("GET", partial(self._script, name)) for name in _SCRIPTS},
        }
        self._sockets = {transport.path: transport for transport in transports if transport.commands_up}
        for transport in transports:
            serve = (
                self._wants_upgrade
                if transport.commands_up
                else partial(self._stream if transport.many else self._poll, transport)
            )
            self._routes[transport.path] = "GET", serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        request = Request(scope)
        if scope["type"] == "websocket":
            await self._websocket(request, scope.get("subprotocols", ()), receive, send)
            return
        try:
            # A script holds no secret, and a page that loads it over a proxy which rewrites `Host` seems foreign.
            origins = ("*",) if request.path in _SCRIPTS else self.hub.options.origins
            if (origin := request.foreign_origin(origins)) is not None:
                send = _shared_with(origin, send)
            await self._http(request, receive, send)
        except Refusal as refusal:
            await _refuse(send, refusal)
        except OSError:  # a TimeoutError is one
            _log.info("a client took nothing for too long, or went away in the middle of an answer")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] == "lifespan.startup":
            await self.hub.open(anew=True)
            await send({"type": "lifespan.startup.complete"})
        await self.hub.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, request: Request, receive: Receive, send: Send) -> None:
        # The statuses here are not those of the code: that tells a client that this path, not its question, is wrong.
        method, serve = self._routes.get(request.path, ("", None))
        if serve is None:
            await _refuse(send, Refusal(Code.BAD_COMMAND, f"nothing is served at {request.path[:80]!r}"), 404)
        elif request.method == "OPTIONS":
            await _answer(send, 200, b"", (b"allow", method.encode()))
        elif request.method != method:
            await _refuse(send, Refusal(Code.BAD_COMMAND, f"{request.path} wants {method}"), 405, (b"allow", method.encode()))
        else:
            request.check_version()
            await self.hub.open()
            await serve(request, receive, send)

    async def _script(self, name: str, request: Request, receive: Receive, send: Send) -> None:
        await _answer(send, 200, served(name), kind=b"text/javascript; charset=utf-8")

    async def _wants_upgrade(self, request: Request, receive: Receive, send: Send) -> None:
        await _refuse(send, Refusal(Code.BAD_COMMAND, "this path wants an upgrade"), 426, (b"upgrade", b"websocket"))

    def _feed(self, transport: Transport, request: Request) -> Feed:
        """What an HTTP request asks to read. Raises: Refusal."""
        channels = request.channels()
        if not channels:
            raise Refusal(Code.BAD_COMMAND, "which channels? Say channels=a,b")
        feed = self.hub.feed(channels, request.since(header=transport.many))
        self._count(transport, request)
        return feed

    def _count(self, transport: Transport, request: Request) -> None:
        """A poller says `why` once, with its first poll: so each wire counts once."""
        if transport.many or "why" in request.query:
            self.hub.counts.opened(transport.name, request.query.get("why", ""), request.query.get("tried", ""))

    async def _stream(self, transport: Transport, request: Request, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", transport.content_type.encode()), *HEADERS]
        beat = self._beat(request)
        respond = starlette_response(request.scope) or _respond
        with self._feed(transport, request) as feed, self._in_time(send) as in_time:
            await respond(self._chunks(transport, feed, beat), headers, feed, request.scope, receive, in_time)

    async def _chunks(self, transport: Transport, feed: Feed, beat: float) -> AsyncIterator[bytes]:
        """The body of a stream: the first byte at once, then batches and beats until the `bye`."""
        yield transport.frame([_hello(feed, beat)])
        while (batch := await feed.take(beat)) is not None:
            yield batch.framed(transport.frame)

    async def _poll(self, transport: Transport, request: Request, receive: Receive, send: Send) -> None:
        options = self.hub.options
        wait = parse_seconds("wait", request.query.get("wait"), options.poll_wait, options.poll_wait_max)
        with self._feed(transport, request) as feed:
            if feed.resumed == "fresh":  # no `since`: the answer is where to begin
                batch: Batch | None = Batch([_hello(feed, options.beat)])
            elif (batch := feed.ready()) is None:
                watch = asyncio.create_task(_until_gone(receive, feed))
                try:
                    batch = await feed.take(wait)
                finally:
                    watch.cancel()
        if batch is not None:
            with self._in_time(send) as in_time:
                await _answer(in_time, 200, batch.framed(transport.frame), kind=transport.content_type.encode())

    async def _commands(self, request: Request, receive: Receive, send: Send) -> None:
        commands = parse(await self._body(receive))
        replies = [encode(await execute(command, self.hub)) for command in commands]
        await _answer(send, 200, encode_batch(replies))

    async def _body(self, receive: Receive) -> bytes:
        """The body of a request. Raises: Refusal 4413 too large, 4408 too slow."""
        options, body, more = self.hub.options, bytearray(), True
        try:
            async with asyncio.timeout(options.body_timeout):
                while more and len(body) <= options.message_bytes:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(Code.GOING_AWAY, "the client went away in the middle of its request")
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Refusal(Code.SILENT, f"the body did not arrive within {options.body_timeout:g} s") from None
        if len(body) > options.message_bytes:
            raise Refusal(Code.TOO_LARGE, f"the body has more than {options.message_bytes} bytes")
        return bytes(body)

    async def _websocket(self, request: Request, offered: Sequence[str], receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            request.foreign_origin(self.hub.options.origins)
            transport = self._sockets[request.path]
        except (Refusal, KeyError):
            await send({"type": "websocket.close"})  # before accept: the server answers 403
            return
        with self._in_time(send) as in_time:
            try:
                subprotocol = choose_subprotocol(offered, transport.content_type)
                request.check_version()
                await self.hub.open()
                channels, since, beat = request.channels(), request.since(), self._beat(request)
                if since is not None and not channels:
                    raise Refusal(Code.BAD_COMMAND, "since says where to read channels on from: say channels=a,b too")
                feed = self.hub.feed(channels, since)
            except Refusal as refusal:
                # A page cannot see the status of a refused upgrade, so it is accepted, told why and closed.
                await in_time({"type": "websocket.accept"})
                await _text(in_time, transport.frame([encode(bye_of(refusal))]))
                await _close(refusal.code, refusal.name, receive, in_time)
                return
            with feed, self._in_time(send) as reply:
                await in_time({"type": "websocket.accept", "subprotocol": subprotocol})
                self._count(transport, request)
                await _Conversation(self.hub, transport, feed, beat, receive, in_time, reply).run()

    async def _negotiate(self, request: Request, receive: Receive, send: Send) -> None:
        options = self.hub.options
        known = {
            "versions": [VERSION],
            "transports": [{"name": each.name, "path": each.path, "many": each.many} for each in self.transports],
            "commands": "commands",
            "beat": options.beat,
            "limits": {
                "message_bytes": options.message_bytes,
                "channels_per_reader": options.channels_per_reader,
                "poll_wait": options.poll_wait,
                "poll_wait_max": options.poll_wait_max,
            },
        }
        await _answer(send, 200, msgspec.json.encode(known))

    def _in_time(self, send: Send) -> _InTime:
        return _InTime(send, self.hub.options.send_timeout)

    def _beat(self, request: Request) -> float:
        """The seconds of a beat on a stream: a client whose path bears less silence may ask for shorter ones.

        Raises: Refusal 4400, garbage.
        """
        usual = self.hub.options.beat
        return min(usual, max(_BEAT_LEAST, parse_seconds("beat", request.query.get("beat"), usual, usual)))


class _InTime:
    """A `send` that gives a reader up who takes nothing for `seconds`. For one task; the timer goes with the `with` block.

    Raises, when called:
        TimeoutError: nothing was taken.
    """

    def __init__(self, send: Send, seconds: float) -> None:
        self._send, self._seconds = send, seconds
        self._watch = Watch(self._late)
        self._task: asyncio.Task[Any] | None = None
        self._given_up = False

    def __enter__(self) -> Send:
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.stop()

    async def __call__(self, message: Message) -> None:
        self._task = asyncio.current_task()
        self._watch.begin(self._seconds)
        try:
            await self._send(message)
        except asyncio.CancelledError:
            if self._given_up and self._task is not None and self._task.uncancel() == 0:
                raise TimeoutError(f"nothing was taken for {self._seconds:g} s") from None
            raise
        finally:
            self._watch.end()

    def _late(self) -> None:
        if self._task is not None:
            self._given_up = self._task.cancel()


class _Conversation:
    """One WebSocket: batches go down, commands come up, side by side."""

    def __init__(
        self, hub: Hub, transport: Transport, feed: Feed, beat: float, receive: Receive, send: Send, reply: Send
    ) -> None:
        self.hub, self.transport, self.feed, self.beat = hub, transport, feed, beat
        self.receive, self.send, self.reply = receive, send, reply
        self._patience: float | None = None  # seconds until a client that promised to go on is silent

    async def run(self) -> None:
        """Talk until the client has gone or the feed has ended."""
        listener = asyncio.create_task(self._listen())
        try:
            await _text(self.send, self.transport.frame([_hello(self.feed, self.beat)]))
            while (batch := await self.feed.take(self.beat)) is not None:
                await self.send({"type": "websocket.send", "text": batch.framed(_as_text(self.transport.frame))})
        except TimeoutError:
            self.feed.end(Refusal(Code.TOO_SLOW))
        except OSError:  # uvicorn says so when the client has gone
            self.feed.end()
        finally:
            listener.cancel()
            await asyncio.wait([listener])  # only one task may receive
        if (why := self.feed.bye) is not None:
            await _close(why.code, why.name, self.receive, self.send)

    async def _listen(self) -> None:
        """Take what comes up; the feed ends when that is over."""
        try:
            while (message := await self._message())["type"] != "websocket.disconnect":
                if replies := await self._answers(message):
                    await _text(self.reply, self.transport.frame(replies))
            self.feed.end()
        except Refusal as refusal:
            self.feed.end(refusal)
        except TimeoutError:  # it does not take its replies
            self.feed.end(Refusal(Code.TOO_SLOW))
        except OSError:
            self.feed.end()
        except Exception:
            _log.exception("a command over WebSocket failed")
            self.feed.end(Refusal(Code.INTERNAL))

    async def _message(self) -> Message:
        try:
            async with asyncio.timeout(self._patience):
                return await self.receive()
        except TimeoutError:
            raise Refusal(Code.SILENT, f"no frame for {self._patience:g} s, though there were pings before") from None

    async def _answers(self, message: Message) -> list[Encoded]:
        """The replies to the commands in one frame. Raises: Refusal, when the frame as a whole is none of ours."""
        text = message.get("text")
        if text is None:
            raise Refusal(Code.BAD_COMMAND, "a binary frame, where text is spoken")
        if len(text) > (limit := self.hub.options.message_bytes) or len(text.encode()) > limit:
            raise Refusal(Code.TOO_LARGE, f"a frame of more than {limit} bytes")
        commands = parse(text)
        if any(isinstance(command, Ping) for command in commands):
            self._patience = _SILENT_BEATS * self.beat
        return [encode(await execute(command, self.hub, self.feed)) for command in commands]


@cache
def _as_text(frame: Frame) -> Callable[[Sequence[Encoded]], str]:
    """As `frame`, but a `str`, as ASGI wants it: decoded once for all readers at the same place."""
    return lambda items: frame(items).decode()


def _hello(feed: Feed, beat: float) -> Encoded:
    return feed.hello(secrets.token_urlsafe(6), beat)


async def _text(send: Send, body: bytes) -> None:
    await send({"type": "websocket.send", "text": body.decode()})


async def _close(code: Code, name: str, receive: Receive, send: Send) -> None:
    """Close a WebSocket, and go on receiving until the other side has closed too.

    A server whose queue of received frames is full cannot end the connection unless somebody empties it.
    """
    with suppress(OSError):  # a TimeoutError is one
        async with asyncio.timeout(_CLOSE_WAIT):
            await send({"type": "websocket.close", "code": int(code), "reason": name})
            while (await receive())["type"] != "websocket.disconnect":
                pass


async def _until_gone(receive: Receive, feed: Feed) -> None:
    """End `feed` when the client has gone. An application that does not receive never learns of it."""
    while (await receive())["type"] != "http.disconnect":
        pass
    feed.end()


async def _respond(
    chunks: AsyncIterator[bytes], headers: Headers, feed: Feed, scope: Scope, receive: Receive, send: Send
) -> None:
    """Send an endless body."""
    watch = asyncio.create_task(_until_gone(receive, feed))
    try:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except (TimeoutError, OSError):
        _log.info("a reader took nothing for too long, or went away in the middle: its stream is cut")
    finally:
        watch.cancel()


async def _answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes], kind: bytes = _JSON) -> None:
    """Send a whole answer."""
    start = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *HEADERS, *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def _refuse(send: Send, refusal: Refusal, status: int | None = None, *headers: tuple[bytes, bytes]) -> None:
    """Send an HTTP error with the numbered reason."""
    if refusal.retry is not None:
        headers = (*headers, (b"retry-after", b"%d" % math.ceil(refusal.retry)))
    await _answer(send, status or refusal.code.status, msgspec.json.encode(ErrorBody.of(refusal)), *headers)


def _shared_with(origin: str, send: Send) -> Send:
    """`send`, with what a browser wants to see before it hands the answer to a page of another origin (WHATWG Fetch 3.3)."""
    headers = [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-headers", b"authorization, content-type, last-event-id"),
        (b"access-control-max-age", b"600"),
        (b"vary", b"origin"),
    ]

    async def shared(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return shared


@cache
def served(name: str) -> bytes:
    """A script as it travels: `client.js` is the smaller `client.min.js`, made of the source beside it by `make client`."""
    return importlib.resources.files(__package__).joinpath("static", name.replace(".js", ".min.js")).read_bytes()
