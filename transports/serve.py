"""Running an ASGI application under Hypercorn: everything that we know of its insides is here.

Hypercorn's own shutdown would cut streams without a word, and on Python 3.12+ wait for clients that never leave. So
readers are sent away *inside* the shutdown trigger, while connections still work, and Hypercorn then finds nobody
to wait for.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import hypercorn.asyncio
import hypercorn.asyncio.run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.events import Event
from hypercorn.protocol.h2 import BUFFER_LOW_WATER, StreamBuffer

from .errors import ConfigError
from .options import Options
from .watch import Watch

_FLUSH = 5.0  # seconds for a client to take the last bytes of a connection that we close
_GRACE = 1.0  # seconds from the end of the drain until what is left is cut off
_BACKLOG = 2048  # connections that may wait to be accepted: Hypercorn's 100 makes a burst of clients wait for seconds
_POLLS = 2**31  # requests per connection: Hypercorn's 1,000 would cut a poller every few minutes


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any that is free. Raises: OSError, when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def address(listening: socket.socket) -> str:
    """The `http://host:port` of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class Settings(Config):
    """Hypercorn's configuration, and what we add to it."""

    send_timeout: float = 30.0  # seconds until a client that takes nothing is cut off
    connections: set[Connection]  # those that are open

    def __init__(self) -> None:
        super().__init__()
        self.connections = set()


class Connection(TCPServer):
    """Hypercorn's connection, but it waits for nobody for ever.

    Neither its sending nor its closing has a time-out: a client that reads nothing would keep its socket, its tasks and
    the whole server at shutdown.
    """

    config: Settings

    async def run(self) -> None:
        """Serve the connection to its end."""
        self._sending = 0  # how many wait for the client to take what they have
        self._watch = Watch(self.writer.transport.abort)
        self.config.connections.add(self)
        try:
            await super().run()
        finally:
            self._watch.stop()
            self.config.connections.discard(self)

    async def protocol_send(self, event: Event) -> None:
        """Send what the protocol has for the client."""
        patience = self.config.send_timeout + _FLUSH  # our endpoints give up first, with a word
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

    async def _close(self) -> None:
        timer = self.loop.call_later(_FLUSH, self.writer.transport.abort)
        try:
            await super()._close()
        finally:
            timer.cancel()


async def _pop(self: StreamBuffer, most: int) -> bytes:
    """Take up to `most` bytes that the HTTP/2 flow control lets through.

    Hypercorn judges by what it took whether there is room for more. Where the client opens no window it takes nothing,
    finds that little, and lets the application fill the memory. What counts is what is left.
    """
    data = bytes(self.buffer[:most])
    del self.buffer[: len(data)]
    if len(self.buffer) < BUFFER_LOW_WATER:
        await self._paused.set()
    if not self.buffer:
        await self._is_empty.set()
    return data


hypercorn.asyncio.run.TCPServer = Connection  # type: ignore[attr-defined]
StreamBuffer.pop = _pop  # type: ignore[assignment, method-assign]


def configuration(
    listening: socket.socket, options: Options, *, certfile: str | None = None, keyfile: str | None = None
) -> Settings:
    """The configuration for `serve`. It takes `listening` over and will close it.

    Raises:
        ConfigError: a certificate without its key, or a key alone.
    """
    if (certfile is None) != (keyfile is None):
        raise ConfigError("TLS needs both: a certificate and its key")
    config = Settings()
    config.bind = [f"fd://{listening.detach()}"]
    config.certfile, config.keyfile = certfile, keyfile
    config.backlog = _BACKLOG
    config.keep_alive_max_requests = _POLLS
    config.keep_alive_timeout = max(options.beat, config.keep_alive_timeout)  # a poller thinks between two polls
    config.graceful_timeout = 2 * _GRACE
    config.send_timeout = options.send_timeout
    config.websocket_max_message_size = 4 * options.message_bytes  # ours answers 4413 first; this bounds the memory
    config.include_server_header = False
    config.loglevel = "WARNING"  # who starts it says where it serves
    return config


async def serve(app: Any, config: Settings, drain: Callable[[], Awaitable[None]], *, stop: asyncio.Event | None = None) -> None:
    """Serve until `stop` is set or, without one, SIGINT or SIGTERM comes; then `drain` and end.

    Args:
        app: the ASGI application.
        config: see `configuration`.
        drain: sends the readers away; `Hub.close`.
        stop: ends the serving; a second signal always ends it at once.
    """
    loop = asyncio.get_running_loop()
    if stop is None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _on_signal, stop)

    async def trigger() -> None:
        await stop.wait()
        await drain()
        loop.call_later(_GRACE, _abort, config.connections)

    await hypercorn.asyncio.serve(app, config, shutdown_trigger=trigger)


def _abort(connections: set[Connection]) -> None:
    """Cut off who has not even taken a `bye`."""
    for each in list(connections):
        each.writer.transport.abort()


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        raise KeyboardInterrupt
    stop.set()
