"""A connection: bytes in, requests out. What is ours is served here; at the first request that is not, the connection is
handed over.

At any time it is either waiting for a request, or in an exchange: a body that is being read, a command that is executed,
a poll that waits, a stream, a WebSocket, an end.
"""

from __future__ import annotations

import asyncio
import logging
import re
from functools import partial
from typing import TYPE_CHECKING

from ..addresses import Hops
from ..admission import FLUSH, JSON, Headers, refusal_body
from ..deflate import agree
from ..errors import Code, Refusal
from ..figures import Outlet
from ..frames import accept
from ..items import Batch
from ..request import Request
from ..transport import HEADERS, Transport
from ..watch import Watch
from ..websocket import WANTED
from .exchanges import Commands, Ended, Exchange, Lingering, Pending
from .framing import Whole, chunked, date, stream_head, switch_head, turned_away, whole
from .readers import Streaming, Talk, Waiting
from .requests import LAST_CHUNK, Head, Part, RequestError, Requests, answer, chunk

if TYPE_CHECKING:
    from . import Front, HandOver

_log = logging.getLogger("transports")
_HELD_MOST = 65_536  # bytes that may wait for the answer to the request before them
_LOOKS = 4  # at a client that takes nothing, in the time that it has: it may have taken something at the beginning
_AT_ONCE = 50  # requests of one client in a turn of the event loop: others have to have theirs
_QUERY = re.compile(rb'[!"$-~]{1,4096}')  # what may stand in one; no space and no line end, so that it is one
_HTTP2 = b"PRI * HTTP/2.0\r\n"  # how it begins without TLS (RFC 9113 3.4)


class Again:
    """A poll after a poll: the same bytes, but for the query. What was made of them need not be made again.

    Args:
        transport: that was asked for.
        request: what was asked.
        target: its path and query, as they came.
        lines: its header lines, as they came.
        shared: headers of the answer.
        whole: makes the answer.
        peer: the address at the other end.
        believe: what the proxies in front say.
        outlet: where the answers are counted.
    """

    __slots__ = ("_beginning", "_believe", "_end", "_peer", "_request", "outlet", "shared", "transport", "whole")

    def __init__(
        self,
        transport: Transport,
        request: Request,
        target: bytes,
        lines: bytes,
        shared: Headers,
        whole: Whole,
        peer: str,
        believe: Hops | None,
        outlet: Outlet,
    ) -> None:
        self.transport, self.shared, self.whole, self.outlet = transport, shared, whole, outlet
        self._request, self._peer, self._believe = request, peer, believe
        self._beginning = b"GET %b?" % target.partition(b"?")[0]
        self._end = b" HTTP/1.1\r\n%b\r\n" % lines

    def query(self, data: bytes) -> str | None:
        """The query of the request `data`; None if it is another one, or not one alone."""
        if not (data.startswith(self._beginning) and data.endswith(self._end)):
            return None
        query = data[len(self._beginning) : len(data) - len(self._end)]
        return query.decode() if _QUERY.fullmatch(query) else None

    def request(self, query: str) -> Request:
        """The request with this query."""
        first = self._request
        return Request("GET", first.path, query, first.headers, self._peer, self._believe, secure=first.secure)


class Connection(asyncio.BufferedProtocol):
    """One connection to the front.

    Args:
        front: what is served.
        hand_over: takes the connection, should it not be for us.
    """

    __slots__ = (
        "_again",
        "_asked",
        "_error",
        "_hand_over",
        "_heard",
        "_held",
        "_keep",
        "_last",
        "_looks",
        "_parts",
        "_paused",
        "_requests",
        "_slow",
        "_untaken",
        "_version",
        "exchange",
        "front",
        "full",
        "gone",
        "loop",
        "peer",
        "transport",
        "watch",
    )

    def __init__(self, front: Front, hand_over: HandOver) -> None:
        self.front = front
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.watch = Watch(self._late)  # over what the client is to do next
        self.exchange: Exchange | None = None
        self.full = False  # the client has not taken everything yet
        self.gone = False  # the connection is lost, or handed over
        self.peer = ""  # the address at the other end, if it is no Unix socket
        self._hand_over = hand_over
        self._requests: Requests | None = None
        self._parts: list[Part] | None = None  # of requests that were read and have not been dealt with; few, and mostly none
        self._heard = False  # there was a request since the watch was told of one
        self._held = b""  # what came behind them
        self._again: Again | None = None  # how the last request looked, if it was a poll
        self._error: RequestError | None = None  # what is behind them is no request
        self._asked = False  # a request has begun to come
        self._keep = True  # the connection, after the answer
        self._last = False  # the client says no more: close when all that it said has been answered
        self._version = "1.1"
        self._paused = False
        self._looks = 0  # that are still to come before it is too slow
        self._untaken = 0  # bytes that the client had not taken when that was last looked at
        self._slow: Watch | None = None  # over a client that is to take something

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self.transport = transport  # type: ignore[assignment]  # it is a stream of bytes
        if isinstance(name := transport.get_extra_info("peername"), tuple):
            self.peer = name[0]
        ssl = transport.get_extra_info("ssl_object")
        if ssl is not None and ssl.selected_alpn_protocol() not in (None, "http/1.1"):
            self._give(b"")
            return
        if not self.front.take(self):
            self.gone = True
            self.transport.write(turned_away())
            self.transport.close()
            return
        self.transport.set_write_buffer_limits(high=1, low=0)  # who does not take everything at once is to be known
        self.watch.begin(self.front.idle)

    def take_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """Go on with a connection that was handed over, of which `data` has been read since."""
        transport.set_protocol(self)
        self.connection_made(transport)
        if not self.gone:
            self.read(data)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio."""
        return self.front.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio."""
        data = bytes(self.front.buffer[:nbytes])
        if self.exchange is not None:
            self.exchange.came(data)
        elif self.full or self._parts or self._held:  # what came before it is dealt with first, in the next turn
            self.hold(data)
        else:
            self.read(data)

    def eof_received(self) -> bool:
        """See asyncio. Who has said all it wants to say may still wait for an answer, but not for an event."""
        answering = isinstance(self.exchange, Pending) or (isinstance(self.exchange, Commands) and not self.exchange.reading)
        if answering or (self.exchange is None and (self.full or self._parts or self._held)):
            self._last = True
            return self.transport.get_extra_info("sslcontext") is None  # over TLS there is no half of a connection
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self.gone = True
        self.front.let_go(self)
        self.watch.stop()
        if self._slow is not None:
            self._slow.stop()
        if self.exchange is not None:
            self.exchange.leave()
            self.exchange = None

    def pause_writing(self) -> None:
        """See asyncio."""
        self.full = True
        if self._slow is None:
            self._slow = Watch(self._too_slow)
        self._begin_taking()
        if self.exchange is not None:
            self.exchange.full()

    def _begin_taking(self) -> None:
        self._untaken, self._looks = self.transport.get_write_buffer_size(), _LOOKS
        self._look_again()

    def _look_again(self) -> None:
        assert self._slow is not None  # noqa: S101 - made when it is first needed
        self._looks -= 1
        self._slow.begin(self.front.hub.options.send_timeout / _LOOKS)

    def resume_writing(self) -> None:
        """See asyncio."""
        self.full = False
        if self._slow is not None:
            self._slow.end()
        if self.exchange is not None:
            self.exchange.empty()
        else:
            self.deal()

    # What exchanges call.

    @property
    def over(self) -> bool:
        """Whether nothing can be said any more."""
        return self.gone or self.transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send `data`, unless nobody is there any more."""
        if not self.over:
            self.transport.write(data)

    def hold(self, data: bytes) -> None:
        """Keep what cannot be dealt with yet; of much of it, the rest stays where it is."""
        self._held += data
        if len(self._held) > _HELD_MOST:
            self.pause()

    def _let_go(self) -> bytes:
        """What was held, to be dealt with now."""
        held, self._held = self._held, b""
        self.go_on()
        return held

    def pause(self) -> None:
        """Read no more for now."""
        if not self._paused and not self.over:
            self._paused = True
            self.transport.pause_reading()

    def go_on(self) -> None:
        """Read on."""
        if self._paused and not self.over:
            self._paused = False
            self.transport.resume_reading()

    def read(self, data: bytes) -> None:
        """Read requests, or more of one, and deal with them as far as can be done at once."""
        requests = self._requests
        if requests is None:
            if data.startswith(_HTTP2):
                self._give(data)
                return
            requests = self._requests = Requests(self.front.serves)
            self._parts = []
        elif self._again is not None and not requests.under_way and (query := self._again.query(data)) is not None:
            self._poll_again(self._again, query)
            return
        assert self._parts is not None  # noqa: S101 - made with the other
        try:
            self._parts += requests.feed(data)
        except RequestError as error:
            self._parts += error.before  # type: ignore[arg-type]
            self._error = error
        self.deal()

    def last(self) -> None:
        """Close the connection after this answer."""
        self._keep = False

    def answered(self, data: bytes) -> None:
        """Send the answer, `data`; the next request may come."""
        self.write(data)
        if self.gone:
            return
        if not self._keep:
            self.close()
            return
        self._asked = False
        self.watch.begin(self.front.idle)
        if self.exchange is not None:
            self.exchange = None
            self.loop.call_soon(self.deal)  # not within what the exchange is doing

    def answer(self, status: int, body: bytes, headers: Headers = ()) -> None:
        """Answer a request in full, with JSON."""
        lines = ((b"content-type", JSON), *HEADERS, *headers, date())
        data = answer(status, lines, body, keep_alive=self._keep, version=self._version)
        if self._keep or status < 400:
            self.answered(data)
        else:
            self.write(data)
            self.exchange = Ended(self) if self.over else Lingering(self)

    def refuse(self, refusal: Refusal, status: int | None = None, headers: Headers = (), request: Request | None = None) -> None:
        """Answer with the numbered reason. `request`: what was asked, where that is known."""
        self.front.admission.refused(refusal, request, self.peer)
        body, ours = refusal_body(refusal)
        self.answer(status or refusal.status, body, (*ours, *headers))

    def close(self) -> None:
        """Close when the client has taken everything; cut it off if it does not."""
        self.exchange = Ended(self)
        self.watch.begin(FLUSH)
        self.loop.call_soon(self.transport.close)  # asyncio would end a connection twice that is closed in `resume_writing`

    def abort(self) -> None:
        """Cut the connection."""
        if not self.gone:
            self.transport.abort()

    def finish(self) -> None:
        """The server stops: let go of a connection on which nothing is under way, and of others with the answer."""
        self._keep, self._again = False, None
        if isinstance(self.exchange, Waiting):
            self.exchange.last()
        elif self.exchange is None and not (self._parts or self._held):
            self.transport.close()

    # Requests.

    def deal(self) -> None:
        """Deal with what has been read, request by request, as long as each can be answered at once."""
        parts, left = self._parts, _AT_ONCE
        while parts and not self.over:
            if not left:
                self.loop.call_soon(self.deal)
                return
            if isinstance(self.exchange, Commands) and self.exchange.reading:
                self.exchange.take(parts.pop(0))
            elif self.exchange is None and not self.full:
                if isinstance(part := parts.pop(0), Head):
                    self._begin(part)
                    left -= 1
            else:
                return
        if self.exchange is None and not self.full and not self.over:
            self._behind()
        elif isinstance(self.exchange, Commands) and self.exchange.reading:
            if self._error is not None:
                self._refuse_rest(self._error)
            elif self._held:
                self.read(self._let_go())

    def _behind(self) -> None:
        """What is behind the requests that have been answered."""
        requests = self._requests
        if self._error is not None:
            self._refuse_rest(self._error)
        elif requests is not None and requests.foreign:
            self._give(requests.rest + self._let_go())
        elif self._held:
            self.read(self._let_go())
        elif self._last:
            self.close()
        elif requests is not None and requests.under_way and not self._asked:
            self._asked = True
            self.watch.begin(self.front.hub.options.body_timeout)

    def _refuse_rest(self, error: RequestError) -> None:
        self._error = None
        self._keep = False
        self.refuse(Refusal(error.code, error.reason), error.status)

    def _give(self, data: bytes) -> None:
        """Hand the connection over, from the request on that `data` begins with."""
        self.gone = True
        self.watch.stop()
        self.front.let_go(self)
        self._hand_over(self.transport, data)

    def _begin(self, head: Head) -> None:
        self._keep = head.keep_alive and self._keep and not self.front.leaving
        self._version = head.version
        path, _, query = head.target.decode("latin-1").partition("?")
        secure = self.transport.get_extra_info("sslcontext") is not None
        below, believe = path[len(self.front.mount) + 1 :], self.front.admission.believe
        request = Request(head.method, below, query, head.headers, self.peer, believe, secure=secure)
        shared: Headers = ()
        try:
            shared = self.front.admission.page(request)
            if not self._talks(request, head):  # which is told later what is wrong: it has to be accepted for that
                request.check_version()
        except Refusal as refusal:
            self._refuse_unread(refusal, head, shared, request)
            return
        if self.front.hub.opened:
            self._find_out(request, head, shared)
            return
        find_out, refuse = partial(self._find_out, request, head, shared), partial(self._turn_away, request, head, shared)
        self.exchange = Pending(self, self.front.hub.open(), find_out, refuse)

    def _talks(self, request: Request, head: Head) -> bool:
        return head.upgrade and request.path != "commands" and self.front.transports[request.path].commands_up

    def _turn_away(self, request: Request, head: Head, shared: Headers, refusal: Refusal) -> None:
        if self._talks(request, head):
            self._talk(request, head, refusal)
        else:
            self.refuse(refusal, headers=shared, request=request)

    def _find_out(self, request: Request, head: Head, shared: Headers) -> None:
        serve = partial(self._serve_known, request, head, shared)
        if not request.spoken or (finding_out := self.front.admission.find_out(request)) is None:
            serve()
        else:
            self.exchange = Pending(self, finding_out, serve, partial(self._turn_away, request, head, shared))

    def _serve_known(self, request: Request, head: Head, shared: Headers) -> None:
        """Serve a request of which it is known who asks."""
        try:
            self._serve(request, head, shared)
        except Refusal as refusal:
            self._refuse_unread(refusal, head, shared, request)
        except Exception:
            _log.exception("a request failed")
            self._keep = False
            self.refuse(Refusal(Code.INTERNAL), headers=shared, request=request)

    def _refuse_unread(self, refusal: Refusal, head: Head, shared: Headers, request: Request) -> None:
        if head.body or head.upgrade:  # what is behind it has not been read
            self._keep = False
        self.refuse(refusal, headers=shared, request=request)

    def _serve(self, request: Request, head: Head, shared: Headers) -> None:
        if request.path == "commands":
            self.exchange = commands = Commands(self, request, shared, self.front.admission.commands(request))
            commands.begin(head)
            return
        if self._talks(request, head):
            self._talk(request, head)
            return
        transport = self.front.transports[request.path]
        transport = self.front.admission.spoken(transport, request)
        if transport.commands_up:
            self.refuse(Refusal(Code.BAD_COMMAND, "this path wants an upgrade"), 426, (*WANTED, *shared), request)
        elif transport.many:
            self._stream(transport, request, head, shared)
        else:
            if head.upgrade:  # to nothing that could be had here; what is behind it is not read as requests
                self._keep = False
            lines = (*transport.headers, *shared)
            answer = whole(transport.frame, transport.content_type, lines, self._keep, self._version)
            self._poll(transport, request, answer)
            plain = (
                self._keep and self._version == "1.1" and not head.body
            )  # a body that nobody wants has to be read all the same
            if plain and self._requests is not None and (block := self._requests.repeated):
                admission = self.front.admission
                believe, outlet = admission.believe, admission.outlet(transport)
                self._again = Again(transport, request, head.target, block, shared, answer, self.peer, believe, outlet)

    def _poll_again(self, again: Again, query: str) -> None:
        """Answer a poll whose head is known to be sound, and all that follows from it but for the query.

        In that, `_` makes every poll another one for caches on the way; what is asked is the rest.
        """
        question, _, unique = query.rpartition("&_=")
        if not question or "&" in unique:
            question = query
        batch = self.front.admission.recall(question)
        if batch is not None and self._keep:  # as it is for all who have what others have
            body = batch.framed(again.transport.frame)
            self.transport.write(again.whole.around(body))
            again.outlet.again(len(batch.items), len(body))
            self._heard = True
            if self._held:
                self.deal()
            return
        request = again.request(query)
        answer = partial(self._answer_again, again, request, question)
        if not request.spoken or (finding_out := self.front.admission.find_out(request)) is None:
            answer()
        else:
            self.exchange = Pending(self, finding_out, answer, partial(self.refuse, headers=again.shared, request=request))
        if self._held and self.exchange is None:
            self.deal()

    def _answer_again(self, again: Again, request: Request, question: str) -> None:
        try:
            request.check_version()
            self._poll(again.transport, request, again.whole, question)
        except Refusal as refusal:
            self.refuse(refusal, headers=again.shared, request=request)

    def _poll(self, transport: Transport, request: Request, answer: Whole, question: str = "") -> None:
        found = self.front.admission.poll(transport, request, question)
        if isinstance(found, Batch):
            body = found.framed(transport.frame)
            self.front.admission.answered(transport, found, len(body))
            self.answered(answer.around(body))
        else:
            self.exchange = waiting = Waiting(self, found, answer)
            waiting.begin(found.wait)

    def _stream(self, transport: Transport, request: Request, head: Head, shared: Headers) -> None:
        chunks = head.version == "1.1"
        stream = self.front.admission.stream(transport, request)
        frame = chunked(transport.frame) if chunks else transport.frame
        self.watch.stop()
        self._requests, self._parts = None, None  # there is no answer after one that has no end
        self.exchange = streaming = Streaming(self, stream, frame, LAST_CHUNK if chunks else b"")
        head_lines = stream_head(transport.content_type, (*transport.headers, *shared), chunks)
        opening = chunk(transport.opening) if chunks else transport.opening
        streaming.begin(head_lines + opening, stream)

    def _talk(self, request: Request, head: Head, why: Refusal | None = None) -> None:
        """Begin a WebSocket. `why`: it is only told, and ends."""
        assert self._requests is not None  # noqa: S101 - they have read the head
        rest, self._requests, self._parts = self._requests.rest + self._let_go(), None, None
        lines = [(b"upgrade", b"websocket"), (b"connection", b"Upgrade")]
        lines.append((b"sec-websocket-accept", accept(head.headers["sec-websocket-key"])))
        offered = _listed(head, "sec-websocket-protocol")
        transport = self.front.admission.spoken(self.front.transports[request.path], request, offered)
        if transport.content_type in offered:
            lines.append((b"sec-websocket-protocol", transport.content_type.encode()))
        try:
            if why is not None:
                raise why
            request.check_version()
            stream = self.front.admission.conversation(transport, request, offered)
        except Refusal as refusal:
            # A page cannot see the status of a refused upgrade, so it is accepted, told why and closed.
            self.front.admission.refused(refusal, request)
            self.exchange = refused = Talk(self, transport, None)
            refused.refuse(switch_head(lines), refusal)
            return
        packed = agree(_listed(head, "sec-websocket-extensions")) if self.front.hub.options.deflate else None
        if packed is not None:
            lines.append((b"sec-websocket-extensions", packed.encode()))
        self.watch.stop()
        self.exchange = talking = Talk(self, transport, stream, packed is not None)
        talking.begin(switch_head(lines), stream)
        if rest:
            talking.came(rest)

    def _late(self) -> None:
        if self.exchange is not None:
            self.exchange.late()
        elif self._asked:
            self._keep = False
            self.refuse(self.front.hub.limits.refuse("body_timeout", Code.SILENT, "the request did not arrive in time"))
        elif self._heard:
            self._heard = False
            self.watch.begin(self.front.idle)
        else:
            self.close()

    def _too_slow(self) -> None:
        if self.transport.get_write_buffer_size() < self._untaken:  # it is slow, but it takes something
            self._begin_taking()
            return
        if self._looks:
            self._look_again()
            return
        self.front.hub.limits.refused["send_timeout"] += 1
        if self.exchange is not None:
            self.exchange.too_slow()
        else:
            self.abort()


def _listed(head: Head, name: str) -> list[str]:
    """The elements of a header that is a list."""
    return [each.strip() for each in head.headers.get(name, "").split(",") if each.strip()]
