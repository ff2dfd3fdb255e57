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

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from .errors import ConfigError
from .options import Options

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


def configuration(
    listening: socket.socket, options: Options, *, certfile: str | None = None, keyfile: str | None = None
) -> Config:
    """Hypercorn's configuration, with what streams need changed. It takes `listening` over and will close it."""
    if (certfile is None) != (keyfile is None):
        raise ConfigError("TLS needs both: a certificate and its key")
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.certfile, config.keyfile = certfile, keyfile
    config.backlog = _BACKLOG
    config.keep_alive_max_requests = _POLLS
    config.keep_alive_timeout = max(options.beat, config.keep_alive_timeout)  # a poller thinks between two polls
    config.graceful_timeout = 1.0  # seconds for what is left after the drain
    config.websocket_max_message_size = 4 * options.message_bytes  # ours answers 4413 first; this bounds the memory
    config.include_server_header = False
    config.loglevel = "WARNING"  # who starts it says where it serves
    return config


async def serve(app: Any, config: Config, drain: Callable[[], Awaitable[None]], *, stop: asyncio.Event | None = None) -> None:
    """Serve until `stop` is set or, without one, SIGINT or SIGTERM comes; then `drain` and end.

    Args:
        app: the ASGI application.
        config: see `configuration`.
        drain: sends the readers away; `Hub.close`.
        stop: ends the serving; a second signal always ends it at once.
    """
    if stop is None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _on_signal, stop)

    async def trigger() -> None:
        await stop.wait()
        await drain()

    await hypercorn_serve(app, config, shutdown_trigger=trigger)


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        raise KeyboardInterrupt
    stop.set()
