"""Running an ASGI application under Hypercorn: how it listens, how a connection lives, and how all of it ends. What a connection
speaks is in `protocols.py`, and no other file than these, `http1.py`, `http2.py` and `upgrades.py` knows Hypercorn's insides.

Hypercorn's own shutdown would cut streams without a word, and on Python 3.12+ wait for clients that never leave. So
readers are sent away first, while connections still work, and there is then nobody to wait for. It also hides the
socket, so what goes down the most, events, does not go through it but through the front, on the same port.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.statsd import StatsdLogger
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app
from hyperframe.frame import GoAwayFrame

from .accepting import Accepting, Loads
from .addresses import network
from .admission import FLUSH
from .errors import ConfigError
from .front import Front
from .front.framing import turned_away
from .limits import Limits
from .options import Options, frame_bytes, idle_seconds, unacknowledged_seconds
from .patience import PATIENCE, Patient
from .protocols import Speaking, Tasks
from .watch import Watch

GRACE = 1.0  # seconds from the end of the drain until what is left is cut off
_ENDING = (signal.SIGINT, signal.SIGTERM)
_BACKLOG = 2048  # connections that may wait to be accepted: Hypercorn's 100 makes a burst of clients wait for seconds
_GOAWAY = GoAwayFrame(stream_id=0, last_stream_id=2**31 - 1).serialize()  # RFC 9113 6.8: no more requests, but no end yet
_UNSENT = 131_072  # bytes that the kernel keeps of what a client has no room for yet: else 4 MB, for each that takes nothing
_POLLS = 2**31  # requests per connection: Hypercorn's 1,000 would cut a poller every few minutes


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any that is free. Raises: OSError, when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def set_aside() -> None:
    """What exists before serving begins is there to stay: the garbage collector need not look at it again and again.

    For a process that does nothing but serve.
    """
    gc.collect()
    gc.freeze()


def address(listening: socket.socket) -> str:
    """The `http://host:port` of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class Settings(Config):
    """Hypercorn's configuration, and what we add to it."""

    deflate: int = 0  # bytes of a client's message that was compressed, when it is inflated; 0: no WebSocket is compressed
    send_timeout: float = 20.0  # seconds until a client that takes nothing is cut off
    body_timeout: float = 10.0  # seconds for a head or a body to come
    connections: set[Connection]  # those that are open
    limits: Limits  # how many there may be
    loads: Loads | None = None  # of the processes that share the socket, if others do
    others: bool = False  # serve the same elsewhere, so that who comes when we leave is better off there
    leaving: bool = False

    def __init__(self) -> None:
        super().__init__()
        self.connections = set()


GiveBack: TypeAlias = Callable[[asyncio.StreamWriter, bytes], bool]
"""Takes a connection on which `bytes` have come, if they are for it."""


class Connection(TCPServer):
    """Hypercorn's connection, but it waits for nobody for ever.

    Neither its sending nor its closing has a time-out: a client that reads nothing would keep its socket, its tasks and
    the whole server at shutdown.
    """

    config: Settings

    def __init__(self, *args: Any, give_back: GiveBack | None = None) -> None:
        super().__init__(*args)
        self._give_back = give_back
        self._idle = False  # between two requests
        self._went = False  # the client was told to make no more requests here
        self._given = False  # the connection is the front's again

    async def run(self) -> None:
        """Serve the connection to its end, or up to a request that is for the front."""
        self._sending = 0  # how many wait for the client to take what they have
        self._watch = Watch(self.writer.transport.abort)
        self.config.connections.add(self)
        try:
            await self._speak()
        except OSError:
            pass
        finally:
            await self._close()
            self._watch.stop()
            self.config.connections.discard(self)

    async def _speak(self) -> None:
        """As Hypercorn does, but what is spoken is stricter; see `protocols.py`."""
        transport = self.writer.transport
        client, server = [_address(transport.get_extra_info(name)) for name in ("peername", "sockname")]
        tls = transport.get_extra_info("ssl_object")
        async with Tasks(self.loop) as tasks:
            self._task_group = tasks
            what = (self.app, self.config, self.context, tasks, ConnectionState(self.state))
            who = (tls is not None, client, server, self.protocol_send)
            alpn = None if tls is None else tls.selected_alpn_protocol()
            self.protocol = Speaking(*what, *who, alpn=alpn, abort=transport.abort)
            await self.protocol.initiate()
            await self.idle_task.restart(tasks, self._idle_timeout)
            await self._read_data()
            await (
                self.idle_task.stop()
            )  # nobody is idle there any more: else it would be kept, and counted, as long as that lasts

    async def protocol_send(self, event: Event) -> None:
        """Send what the protocol has for the client."""
        if isinstance(event, Updated):
            self._idle = event.idle
            if self.config.leaving:
                self.leave()
        if isinstance(event, RawData) and not self.send_lock.locked():
            transport = self.writer.transport
            if not transport.is_closing() and not transport.get_write_buffer_size():
                transport.write(event.data)
                if transport.is_closing():  # it has gone: where nothing is read from it, this is how that shows
                    await self.protocol.handle(Closed())
                    return
                if self.config.leaving:
                    self.leave()
                if not transport.get_write_buffer_size():
                    return  # the client has taken it: there is nothing to wait for, and that is nearly always so
                event = RawData(b"")
        patience = self.config.send_timeout + FLUSH  # our endpoints give up first, with a word
        if not self._sending:
            self._watch.begin(patience)
        self._sending += 1
        try:
            await super().protocol_send(event)
        finally:
            self._sending -= 1
            if self._sending:  # those behind it have their own time
                self._watch.begin(patience)
            else:
                self._watch.end()

    def leave(self) -> None:
        """Have the client make its next request on another connection: go on with what is under way, or end at once."""
        begun = hasattr(self, "protocol")
        if begun and self._between:
            self.writer.close()
        elif begun and isinstance(self.protocol.protocol, H2Protocol) and not self._went:
            self._went = True
            self.writer.write(_GOAWAY)  # not by h2, which would then send nothing more

    @property
    def _between(self) -> bool:
        """Whether all requests have been answered, and nothing has come of another: what comes next begins one."""
        protocol = self.protocol.protocol
        return self._idle and isinstance(protocol, H11Protocol) and not protocol.connection.trailing_data[0]

    async def _read_data(self) -> None:
        """As Hypercorn does, but a request that is for the front goes there: a browser that has fetched a page polls on the
        same connection.
        """
        while not self.reader.at_eof():
            try:
                data = await self.reader.read(MAX_RECV)
            except OSError:  # an SSLError is one
                break
            if self._between and self._give_back is not None and len(data) < MAX_RECV and self._give_back(self.writer, data):
                self._given = True
                await self.idle_task.stop()
                return
            await self.protocol.handle(RawData(data))
        await self.protocol.handle(Closed())

    async def _close(self) -> None:
        if self._given:
            return
        timer = self.loop.call_later(FLUSH, self.writer.transport.abort)
        try:
            with suppress(OSError):  # such as that the other side acknowledged nothing any more
                await super()._close()
        finally:
            timer.cancel()


def _address(name: Any) -> tuple[str, int] | None:
    """What ASGI wants of an address; of a Unix socket there is none."""
    return (name[0], name[1]) if isinstance(name, tuple) else None


def _host(writer: asyncio.StreamWriter) -> str:
    name = _address(writer.get_extra_info("peername"))
    return "" if name is None else name[0]


def configuration(
    listening: socket.socket,
    options: Options,
    *,
    certfile: str | None = None,
    keyfile: str | None = None,
    loads: Loads | None = None,
    others: bool = False,
    limits: Limits | None = None,
) -> Settings:
    """The configuration for `serve`. It takes `listening` over and will close it.

    Args:
        listening: where to take connections.
        options: sizes and times.
        certfile: serve TLS with this certificate.
        keyfile: its key.
        loads: for a socket that other processes take connections from, too; see `transports.workers`.
        others: whether other processes serve the same; `Hub.shared`.
        limits: where connections are counted, if not by themselves; `Hub.limits`.

    Raises:
        ConfigError: a certificate without its key, or a key alone.
    """
    if (certfile is None) != (keyfile is None):
        raise ConfigError("TLS needs both: a certificate and its key")
    _bound_silence(listening, options)
    _bound_unsent(listening)
    config = Settings()
    config.limits = limits or Limits(options)
    config.ssl_handshake_timeout = options.handshake_timeout
    config.bind = [f"fd://{listening.detach()}"]
    config.certfile, config.keyfile, config.loads = certfile, keyfile, loads
    config.backlog = _BACKLOG
    config.others = others
    config.keep_alive_max_requests = _POLLS
    config.keep_alive_timeout = idle_seconds(options)
    config.graceful_timeout = 2 * GRACE
    config.send_timeout, config.body_timeout = options.send_timeout, options.body_timeout
    config.websocket_max_message_size = frame_bytes(options)
    config.deflate = options.message_bytes if options.deflate else 0
    config.include_server_header = False
    config.loglevel = "WARNING"  # who starts it says where it serves
    return config


def _bound_silence(listening: socket.socket, options: Options) -> None:
    """Have the system end connections whose other side acknowledges nothing: a beat to somebody who is gone would be sent
    again for a quarter of an hour. What is accepted has it from who listens.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT") and listening.family in (socket.AF_INET, socket.AF_INET6):
        ms = round(1000 * unacknowledged_seconds(options))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, ms)


def _bound_unsent(listening: socket.socket) -> None:
    """Have the system keep little of what a client has no room for. What is accepted has it from who listens."""
    if hasattr(socket, "TCP_NOTSENT_LOWAT") and listening.family in (socket.AF_INET, socket.AF_INET6):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)


def taken_over(config: Settings) -> socket.socket:
    """The listening socket that `configuration` took over, for other servers than Hypercorn."""
    return socket.socket(fileno=int(config.bind[0].removeprefix("fd://")))


def nothing() -> None:
    """What is called when nobody wants to know."""


async def serve(
    app: Any,
    config: Settings,
    drain: Callable[[], Awaitable[None]],
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[], object] = nothing,
    front: Front | None = None,
) -> None:
    """Serve until `stop` is set or, without one, SIGINT or SIGTERM comes; then `drain` and end.

    Where others serve the same, no connection is taken after `stop`, and those that are there get no second answer: what comes
    then goes to them. Streams go on until `drain` has ended.

    Args:
        app: the ASGI application.
        config: see `configuration`.
        drain: sends the readers away; `Hub.drain`.
        stop: ends the serving; a second signal always ends it at once.
        ready: called when connections are taken.
        front: takes the connections, and hands over those that are not for it. Without it Hypercorn has them all.
    """
    stop = stop or on_signals()
    worker = Worker(app, config, front)
    try:
        await worker.start()
        ready()
        await stop.wait()
        await worker.leave()
        await drain()
    finally:
        await worker.stop()


class Worker:
    """Hypercorn, for one application and one socket.

    What its own `serve` does, but for two things: who listens may be the front, and connections that stay open do not keep
    it from ending (on Python 3.12 and later they would, for ever).
    """

    def __init__(self, app: Any, config: Settings, front: Front | None) -> None:
        patient: Any = Patient(app, PATIENCE * config.body_timeout)
        self._app = wrap_app(patient, config.wsgi_max_body_size, "asgi")
        self._limits = config.limits if front is None else front.hub.limits
        self._config, self._front = config, front
        self._loop = asyncio.get_running_loop()
        self._context = WorkerContext(None)
        self._state: dict[str, Any] = {}
        self._lifespan = Lifespan(self._app, config, self._loop, self._state)
        self._living: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._accepting: Accepting | None = None

    async def start(self) -> None:
        """Start the application, then listen. Raises: what the application's start raised, OSError, ssl.SSLError."""
        self._config.set_statsd_logger_class(StatsdLogger)
        sockets = self._config.create_sockets()
        listening, *_ = [*sockets.secure_sockets, *sockets.insecure_sockets]
        tls = self._config.create_ssl_context() if self._config.ssl_enabled else None
        self._living = self._loop.create_task(self._lifespan.handle_lifespan())
        await self._lifespan.wait_for_startup()
        if self._living.done():
            self._living.result()
        protocol = self._streams if self._front is None else partial(self._front.connection, self.take)
        handshake = self._config.ssl_handshake_timeout if tls else None
        if (loads := self._config.loads) is not None:
            serve = partial(self._loop.connect_accepted_socket, protocol, ssl=tls, ssl_handshake_timeout=handshake)
            self._accepting = Accepting(listening, loads, self._count, serve)
            return
        self._server = await self._loop.create_server(
            protocol, sock=listening, backlog=self._config.backlog, ssl=tls, ssl_handshake_timeout=handshake
        )

    def _count(self) -> int:
        return len(self._config.connections) + (0 if self._front is None else len(self._front.connections))

    async def leave(self) -> None:
        """Take no more connections, if others do, and let those that are there end with the next answer. Streams go on."""
        if self._accepting is not None:
            await self._accepting.leave()
        if not self._config.others:
            return
        self._config.leaving = True
        if self._server is not None:
            self._server.close()
        if self._front is not None:
            self._front.leave()
        for connection in list(self._config.connections):
            connection.leave()

    def take(self, transport: asyncio.Transport, data: bytes) -> None:
        """Serve a connection from which `data` has been read already."""
        protocol = self._streams()
        transport.set_write_buffer_limits()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def _streams(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=self._loop), self._serve, self._loop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        hypercorns = (self._app, self._loop, self._config, self._context, self._state, reader, writer)
        peer = network(_host(writer))
        if not self._limits.knock(peer):
            writer.write(turned_away())
            writer.close()
            return
        try:
            await Connection(*hypercorns, give_back=None if self._front is None else self._back)
        finally:
            self._limits.hang_up(peer)

    def _back(self, writer: asyncio.StreamWriter, data: bytes) -> bool:
        """Give a connection to the front again, if a request for it has come; see `GiveBack`."""
        assert self._front is not None  # noqa: S101 - nobody else asks
        if not self._front.begins(data):
            return False
        self._front.connection(self.take).take_over(_released(writer), data)
        return True

    async def stop(self) -> None:
        """Serve nobody any more: wait for what is under way, but not long."""
        await self._context.terminated.set()
        if self._accepting is not None:
            self._accepting.stop()
        if self._server is not None:
            self._server.close()
        self._loop.call_later(GRACE, _abort, self._config.connections)
        if self._front is not None:
            await self._front.close(GRACE)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2 * GRACE)
        if self._living is not None:
            await self._lifespan.wait_for_shutdown()
            self._living.cancel()
            with suppress(asyncio.CancelledError):
                await self._living


class _Released:
    """In the place of the transport of a writer whose connection goes on without it: it would close it when it is let go of."""

    def is_closing(self) -> bool:
        """There is nothing to close."""
        return True


def _released(writer: asyncio.StreamWriter) -> asyncio.Transport:
    transport: asyncio.Transport = writer.transport  # type: ignore[assignment]  # it is a stream of bytes
    writer._transport = _Released()  # type: ignore[attr-defined]
    return transport


def _abort(connections: set[Connection]) -> None:
    """Cut off who has not even taken a `bye`."""
    for each in list(connections):
        each.writer.transport.abort()


def on_signals() -> asyncio.Event:
    """What SIGINT and SIGTERM set from now on. After the first, a second one ends the process at once, as signals do."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def first() -> None:
        stop.set()
        for number in _ENDING:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)  # no exception: that would go through code of everybody, and be told

    for number in _ENDING:
        loop.add_signal_handler(number, first)
    return stop
