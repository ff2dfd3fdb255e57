"""The endpoints as one plain ASGI application, below a mount: `/ws /sse /poll /commands /ticket /negotiate /health
/health/live /metrics /status`, `/presence/…`, and the scripts, `/client.js` and what goes with it.

What a request asks for is judged in `admission.py`; here a refusal becomes a status, a `bye` or a close code. What it is
answered with comes from the core, which never learns which wire it is on. Every ASGI server can serve it; nothing here
knows Quart.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any, TypeAlias

import msgspec

from .addresses import Hops
from .admission import (
    CLOSE_WAIT,
    JSON,
    SILENT_BEATS,
    Admission,
    Headers,
    Poll,
    Stream,
    refusal_body,
    silent_refusal,
)
from .commands import hear
from .errors import Code, MissingExtraError, Refusal
from .group import Framing, Groups
from .hub import Hub
from .items import bye_of, encode, encode_batch
from .ladder import LADDER
from .metrics import exposition
from .offer import Alive, Ready, offer
from .request import HEAD_BYTES, LINE_BYTES, Request, fields
from .sending import Sending, Waiting, in_time
from .starlette import starlette_response
from .status import check_observer, page, status
from .transport import FOR_ALL, HEADERS, Frame, Transport
from .websocket import LIMIT, TOO_LONG, WANTED, strange

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_Lasting: TypeAlias = Coroutine[Any, Any, None]
"""What goes on as long as the client is there. It is awaited at the very bottom: whatever waits above it costs each reader half a
kilobyte.
"""
_Serve: TypeAlias = Callable[["Asked", Receive, Send], Awaitable[_Lasting | None]]

# The browser client, the parts that it loads, and what goes beside it.
_SCRIPTS = ("client.js", "outbox.js", "oneway.js", "presence.js", "tabs.js")
_OPEN = frozenset({*_SCRIPTS, "health", "health/live", "negotiate"})  # to everybody, whoever they are
_CUT = 1006  # what a WebSocket is said to be closed with that was not (RFC 6455 7.1.5)
_NOTHING_THERE = Refusal(Code.BAD_COMMAND, "no WebSocket is served there")
_log = logging.getLogger("transports")


def path_below(scope: Scope) -> str:
    """The path below where the application is mounted; some servers leave the mount in `path`, others take it away."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class Asked(Request):
    """A request out of an ASGI scope."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope, believe: Hops | None = None) -> None:
        self.scope = scope
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope.get("query_string", b"").decode("latin-1")
        peer = scope.get("client") or ("",)
        secure = scope.get("scheme") in ("https", "wss")
        below = path_below(scope).strip("/")
        super().__init__(scope.get("method", "GET"), below, query, headers, peer[0], believe, secure=secure)

    def join_headers(self) -> None:
        """Put right what is said twice. Raises: Refusal 4400, what is to be said once; 4413, it is too much."""
        lines, line = self.scope["headers"], len(self.scope["path"]) + len(self.scope.get("query_string", b""))
        if line > LINE_BYTES:
            raise Refusal(Code.TOO_LARGE, f"a URL of more than {LINE_BYTES} bytes", status=414)
        if line + sum(len(name) + len(value) for name, value in lines) > HEAD_BYTES:
            raise Refusal(Code.TOO_LARGE, f"a head of more than {HEAD_BYTES} bytes", status=431)
        if len(self.headers) < len(lines):
            try:
                self.headers = fields((name.decode("latin-1"), value.decode("latin-1")) for name, value in lines)
            except ValueError as error:
                raise Refusal(Code.BAD_COMMAND, f"two headers {error}") from None


class Endpoints:
    """The ASGI application.

    Args:
        hub: whose events are served.
        transports: what is offered, best first.
    """

    def __init__(self, hub: Hub, *, transports: Sequence[Transport] = LADDER) -> None:
        self.hub = hub
        self.transports = transports
        self.admission = Admission(hub, transports)
        self._groups = Groups(hub, self.admission.identify)
        self._routes: dict[str, tuple[str, _Serve]] = {
            "commands": ("POST", self._commands),
            "negotiate": ("GET", self._negotiate),
            "health": ("GET", self._health),
            "ticket": ("POST", self._ticket),
            "health/live": ("GET", self._alive),
            "metrics": ("GET", self._metrics),
            "status": ("GET", self._status),
            "presence/": ("GET", self._members),  # and a channel
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

    @property
    def paths(self) -> dict[str, str]:
        """What is served: the method of each path below the mount."""
        return {path: method for path, (method, _) in self._routes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        try:
            if (lasting := await self._begun(scope, receive, send)) is not None:
                await lasting
        except OSError:  # a TimeoutError is one
            _log.info("a client took nothing for too long, or went away in the middle of an answer")

    async def _begun(self, scope: Scope, receive: Receive, send: Send) -> _Lasting | None:
        """Answer, or begin to. Raises: OSError."""
        request = Asked(scope, self.admission.believe)
        try:
            if scope["type"] == "websocket":
                return await self._websocket(request, scope.get("subprotocols", ()), receive, send)
            request.join_headers()
            if request.path not in _SCRIPTS and (shown := self.admission.page(request)):
                send = _with(shown, send)
            return await self._http(request, receive, send)
        except Refusal as refusal:
            await self._refuse(request, send, refusal)
            return None

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] == "lifespan.startup":
            await self.hub.open(anew=True)
            await send({"type": "lifespan.startup.complete"})
        await self.hub.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, request: Asked, receive: Receive, send: Send) -> _Lasting | None:
        # The statuses here are not those of the code: that tells a client that this path, not its question, is wrong.
        method, serve = self._routes.get("presence/" if request.path.startswith("presence/") else request.path, ("", None))
        if serve is None:
            await self._refuse(request, send, Refusal(Code.BAD_COMMAND, f"nothing is served at {request.path[:80]!r}"), 404)
        elif request.method == "OPTIONS":
            await _answer(send, 200, b"", (b"allow", method.encode()))
        elif request.method != method:
            refusal = Refusal(Code.BAD_COMMAND, f"{request.path} wants {method}")
            await self._refuse(request, send, refusal, 405, (b"allow", method.encode()))
        else:
            request.check_version()
            await self.hub.open()
            await self._find_out(request)
            return await serve(request, receive, send)
        return None

    async def _refuse(
        self, request: Request, send: Send, refusal: Refusal, status: int | None = None, *headers: tuple[bytes, bytes]
    ) -> None:
        """Send an HTTP error with the numbered reason."""
        self.admission.refused(refusal, request)
        body, ours = refusal_body(refusal)
        await _answer(send, status or refusal.status, body, *headers, *ours)

    async def _find_out(self, request: Asked) -> None:
        """Who asks, for whom it matters: what is secret neither in itself nor for what it tells is for everybody."""
        if request.path not in _OPEN and (finding_out := self.admission.find_out(request)) is not None:
            await finding_out

    async def _health(self, request: Asked, receive: Receive, send: Send) -> None:
        """For the check of a load balancer: whether new readers may be sent here. Nothing is asked of the broker: it is that of
        all processes, and when it is away, readers are better off here than nowhere.
        """
        if (leaving := self.hub.leaving) is not None:
            raise leaving
        await _answer(send, 200, msgspec.json.encode(Ready()), kind=b"application/json")

    async def _ticket(self, request: Asked, receive: Receive, send: Send) -> None:
        await _answer(send, 200, msgspec.json.encode(self.admission.ticket(request)))

    async def _alive(self, request: Asked, receive: Receive, send: Send) -> None:
        """For who ends a process that hangs: it answers, so it does not. One that leaves, or whose broker is away, goes on."""
        await _answer(send, 200, msgspec.json.encode(Alive()))

    def _check_observer(self, request: Asked, what: str) -> None:
        version = request.scope.get("http_version", "1.1")
        check_observer(self.hub, request, what, known=self.admission.authenticate is not None, version=version)

    async def _metrics(self, request: Asked, receive: Receive, send: Send) -> None:
        self._check_observer(request, "metrics")
        await self.hub.look()
        try:
            body, kind = exposition(self.hub, request.headers.get("accept", ""))
        except MissingExtraError as error:
            raise Refusal(Code.INTERNAL, str(error), status=501) from error
        await _answer(send, 200, body, kind=kind.encode())

    async def _status(self, request: Asked, receive: Receive, send: Send) -> None:
        """For people a page, for programs JSON."""
        self._check_observer(request, "status")
        await self.hub.look()
        shown = status(self.hub, request)
        if "json" in request.query or "text/html" not in request.headers.get("accept", ""):
            await _answer(send, 200, msgspec.json.encode(shown), (b"vary", b"accept"))
            return
        text, headers = page(shown)
        await _answer(send, 200, text.encode(), (b"vary", b"accept"), kind=b"text/html; charset=utf-8", usual=headers)

    async def _script(self, name: str, request: Asked, receive: Receive, send: Send) -> None:
        # A script holds no secret, and a page that loads it over a proxy which rewrites `Host` seems foreign.
        await _answer(send, 200, served(name), kind=b"text/javascript; charset=utf-8", usual=FOR_ALL)

    async def _wants_upgrade(self, request: Asked, receive: Receive, send: Send) -> None:
        await self._refuse(request, send, Refusal(Code.BAD_COMMAND, "this path wants an upgrade"), 426, *WANTED)

    async def _stream(self, offered: Transport, request: Asked, receive: Receive, send: Send) -> _Lasting | None:
        transport = self.admission.spoken(offered, request)
        headers = [(b"content-type", transport.content_type.encode()), *HEADERS, *transport.headers]
        if (respond := starlette_response(request.scope)) is not None:
            stream = self.admission.stream(transport, request)
            try:
                with stream.feed as feed:
                    await respond(self._chunks(transport, stream), headers, feed, request.scope, receive, self._in_time(send))
            finally:
                stream.account.close()
            return None
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        stream, frame = self.admission.stream(transport, request), _as_part(transport.frame)
        reader = await self._begin(request.scope, stream, frame, send, start, transport.opening)
        return self._streaming(reader, receive, send)

    async def _streaming(self, reader: Sending, receive: Receive, send: Send) -> None:
        """Wait until the client has gone, or has been told everything."""
        try:
            with reader:
                while (await receive())["type"] != "http.disconnect":
                    pass
            if reader.over and not reader.broken:
                await self._in_time(send)({"type": "http.response.body", "body": b""})
        finally:
            reader.leave()
        if reader.broken:
            _log.info("a reader took nothing for too long, or went away in the middle: its stream is cut")

    async def _begin(
        self, scope: Scope, stream: Stream, frame: Framing, send: Send, start: Message, opening: bytes = b""
    ) -> Sending:
        """Say `start`, `opening` and `hello`, and let a reader go on. What it began with is let go of, feed and all."""
        patience = self.hub.options.send_timeout
        try:
            await in_time(send(start), patience)
            if opening:
                await in_time(send({"type": "http.response.body", "body": opening, "more_body": True}), patience)
            await in_time(send(frame([stream.hello()])), patience)
        except BaseException:
            stream.account.close()
            stream.feed.leave()
            raise
        # A framework may have put between us and the server what knows in which task it was called.
        return Sending(self._groups, stream, frame, send, patience=patience, at_once="app" not in scope)

    async def _chunks(self, transport: Transport, stream: Stream) -> AsyncIterator[bytes]:
        """The body of a stream: the first byte at once, then batches and beats until the `bye`."""
        yield transport.opening + transport.frame([stream.hello()])
        while (batch := await stream.feed.take(stream.beat)) is not None:
            data = batch.framed(transport.frame)
            stream.account.items += len(batch.items)
            stream.account.bytes += len(data)
            yield data
            self.admission.outlet(transport).wrote(batch.items, len(data), time.time())

    async def _poll(self, offered: Transport, request: Asked, receive: Receive, send: Send) -> _Lasting | None:
        transport = self.admission.spoken(offered, request)
        asked = self.admission.poll(transport, request)
        if isinstance(asked, Poll):
            return self._waiting(Waiting(self._groups, asked, transport.frame), transport, request.scope, receive, send)
        body = asked.framed(transport.frame)
        self.admission.answered(transport, asked, len(body))
        await self._answer_poll(transport, request.scope, send, body)
        return None

    async def _waiting(self, reader: Waiting, transport: Transport, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait until there is an answer, or the client has gone."""
        try:
            with reader:
                while (await receive())["type"] != "http.disconnect":
                    pass
        finally:
            reader.leave()
        if reader.answer is not None:
            await self._answer_poll(transport, scope, send, reader.answer)

    async def _answer_poll(self, transport: Transport, scope: Scope, send: Send, body: bytes) -> None:
        kind = transport.content_type.encode()
        await _answer(self._in_time(self._last(scope, send)), 200, body, *transport.headers, kind=kind)

    async def _commands(self, request: Asked, receive: Receive, send: Send) -> None:
        speaker = self.admission.commands(request)
        replies, _ = await hear(await self._body(receive), self.hub, speaker)
        await _answer(self._last(request.scope, send), 200, encode_batch(replies))

    def _last(self, scope: Scope, send: Send) -> Send:
        """`send`, which ends the connection while readers are sent to other processes: whatever comes next belongs there."""
        leaving = self.hub.leaving is not None and scope.get("http_version", "1.1") < "2"
        return _with(((b"connection", b"close"),), send) if leaving else send

    async def _members(self, request: Asked, receive: Receive, send: Send) -> None:
        asked = self.admission.listing(request)
        members = await self.hub.presence.members(asked.channel, since=asked.since, after=asked.after, limit=asked.limit)
        await _answer(send, 200, msgspec.json.encode(members))

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
            what = f"the body did not arrive within {options.body_timeout:g} s"
            raise self.hub.limits.refuse("body_timeout", Code.SILENT, what) from None
        if len(body) > options.message_bytes:
            what = f"the body has more than {options.message_bytes} bytes"
            raise self.hub.limits.refuse("message_bytes", Code.TOO_LARGE, what)
        return bytes(body)

    async def _websocket(self, request: Asked, offered: Sequence[str], receive: Receive, send: Send) -> _Lasting | None:
        await receive()  # websocket.connect
        try:
            request.join_headers()
            self.admission.page(request)
            transport = self.admission.spoken(self._sockets[request.path], request, offered)
        except (Refusal, KeyError) as error:
            self.admission.refused(error if isinstance(error, Refusal) else _NOTHING_THERE, request)
            await send({"type": "websocket.close"})  # before accept: the server answers 403
            return None
        if (reader := await self._let_in(transport, request, offered, receive, send)) is None:
            return None
        if (told := request.scope.get("extensions", {}).get(LIMIT)) is not None:
            told["most"] = self.hub.options.message_bytes
        return _Talk(self.hub, transport, reader, receive, send).run()

    async def _let_in(
        self, transport: Transport, request: Asked, offered: Sequence[str], receive: Receive, send: Send
    ) -> Sending | None:
        frame = _as_message(transport.frame, transport.binary)
        subprotocol = transport.content_type if transport.content_type in offered else None
        accept = {"type": "websocket.accept", "subprotocol": subprotocol}
        try:
            request.check_version()
            await self.hub.open()
            await self._find_out(request)
            stream = self.admission.conversation(transport, request, offered)
        except Refusal as refusal:
            self.admission.refused(refusal, request)
            # A page cannot see the status of a refused upgrade, so it is accepted, told why and closed.
            in_time = self._in_time(send)
            await in_time(accept)
            await in_time(frame([encode(bye_of(refusal))]))
            await _close(refusal.code, refusal.name, receive, in_time)
            return None
        return await self._begin(request.scope, stream, frame, send, accept)

    async def _negotiate(self, request: Asked, receive: Receive, send: Send) -> None:
        await _answer(send, 200, msgspec.json.encode(offer(self.hub.options, self.transports)))

    def _in_time(self, send: Send) -> Send:
        """`send`, but a reader is given up who takes nothing for too long: it raises TimeoutError then."""
        seconds = self.hub.options.send_timeout
        return lambda message: in_time(send(message), seconds)


class _Talk:
    """What comes up on one WebSocket, while batches go down."""

    __slots__ = ("_mute", "_patience", "hub", "reader", "receive", "send", "transport")

    def __init__(self, hub: Hub, transport: Transport, reader: Sending, receive: Receive, send: Send) -> None:
        self.hub, self.transport, self.reader, self.receive, self.send = hub, transport, reader, receive, send
        self._mute = not reader.follows  # and has said nothing
        self._patience: float | None = hub.options.first_command_timeout if self._mute else None  # seconds until it is silent

    async def run(self) -> None:
        """Talk until the client has gone or has been told everything."""
        reader = self.reader
        try:
            try:
                with reader:
                    while (message := await self._message())["type"] != "websocket.disconnect":
                        await self._answer(message)
                    if message.get("code", _CUT) != _CUT:
                        reader.noted(Code.CLOSED.name.lower())
            except Refusal as refusal:
                await reader.send_away(refusal)
            except TimeoutError:  # it does not take its replies
                reader.give_up(reader.too_slow())
            except OSError:  # uvicorn says so when the client has gone
                return
            except Exception:
                _log.exception("a command over WebSocket failed")
                await reader.send_away(Refusal(Code.INTERNAL))
            if reader.why is not None:
                await _close(reader.why.code, reader.why.name, self.receive, self.send)
        finally:
            reader.leave()

    def _message(self) -> Awaitable[Message]:
        return self.receive() if self._patience is None else self._in_patience(self._patience)

    async def _in_patience(self, seconds: float) -> Message:
        try:
            async with asyncio.timeout(seconds):
                return await self.receive()
        except TimeoutError:
            if self._mute:
                raise silent_refusal(self.hub) from None
            raise Refusal(Code.SILENT, f"no frame for {seconds:g} s, though there were pings before") from None

    async def _answer(self, message: Message) -> None:
        """Answer the commands in one frame. Raises: Refusal, when the frame as a whole is none of ours."""
        if TOO_LONG in message:
            what = f"a message of more than {self.hub.options.message_bytes} bytes"
            raise self.hub.limits.refuse("message_bytes", Code.TOO_LARGE, what)
        said = message.get("bytes" if self.transport.binary else "text")
        if said is None:
            raise strange(self.transport)
        if self._mute:
            self._mute, self._patience = False, None
        replies, pinged = await hear(said, self.hub, self.reader, self.transport.heard)
        if pinged:
            self._patience = SILENT_BEATS * self.reader.silence
        if replies:
            answer = _as_message(self.transport.frame, self.transport.binary)(replies)
            await in_time(self.send(answer), self.hub.options.send_timeout)


@cache
def _as_message(frame: Frame, binary: bool) -> Framing:
    """What `frame` makes, as the message that ASGI wants to be sent: made once for all readers at the same place."""
    if binary:
        return lambda items: {"type": "websocket.send", "bytes": frame(items)}
    return lambda items: {"type": "websocket.send", "text": frame(items).decode()}


@cache
def _as_part(frame: Frame) -> Framing:
    """See `_as_message`."""
    return lambda items: {"type": "http.response.body", "body": frame(items), "more_body": True}


async def _close(code: Code, name: str, receive: Receive, send: Send) -> None:
    """Close a WebSocket, and go on receiving until the other side has closed too.

    A server whose queue of received frames is full cannot end the connection unless somebody empties it.
    """
    with suppress(OSError):  # a TimeoutError is one
        async with asyncio.timeout(CLOSE_WAIT):
            await send({"type": "websocket.close", "code": int(code), "reason": name})
            while (await receive())["type"] != "websocket.disconnect":
                pass


async def _answer(
    send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes], kind: bytes = JSON, usual: Headers = HEADERS
) -> None:
    """Send a whole answer."""
    start = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *usual, *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


def _with(headers: Headers, send: Send) -> Send:
    """`send`, with more headers."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return sent


@cache
def served(name: str) -> bytes:
    """A script as it travels: `client.js` is the smaller `client.min.js`, made of the source beside it by `make client`."""
    return importlib.resources.files(__package__).joinpath("static", name.replace(".js", ".min.js")).read_bytes()
