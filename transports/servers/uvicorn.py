"""Running an ASGI application under uvicorn: everything that we know of its insides is here.

uvicorn closes WebSockets with 1012, cuts streams, and waits for polls that nobody answers before the lifespan could
say `bye`. So readers are sent away where its main loop ends, while connections still work.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httptools  # noqa: F401 - uvicorn would be without a word as slow as h11 is
import uvicorn
import websockets  # noqa: F401 - one delivery costs 15 us of CPU with it, 22 us with wsproto

from ..accepting import Accepting, Loads
from ..admission import FLUSH
from ..patience import PATIENCE, Patient
from ..serve import GRACE, Settings, nothing, on_signals, taken_over

_LOOK = 0.01  # seconds between two looks at who has gone


class _Server(uvicorn.Server):
    """uvicorn, but it sends readers away with a word, and waits for nobody for ever."""

    def __init__(
        self,
        config: uvicorn.Config,
        drain: Callable[[], Awaitable[None]],
        stop: asyncio.Event,
        ready: Callable[[], object],
        loads: Loads | None,
        others: bool,
    ) -> None:
        super().__init__(config)
        self._drain, self._stop, self._ready, self._loads, self._others = drain, stop, ready, loads, others
        self._accepting: Accepting | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to whoever set `stop` up."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does, but from a socket that others take from as well, connections are taken as `accepting.py` says."""
        if self._loads is None or not sockets:
            await super().startup(sockets)
            return
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(1)
        state = {"server_state": self.server_state, "app_state": self.lifespan.state}
        protocol: Any = partial(self.config.http_protocol_class, **{"config": self.config, **state})
        serve = partial(asyncio.get_running_loop().connect_accepted_socket, protocol, ssl=self.config.ssl)
        self._accepting = Accepting(sockets[0], self._loads, lambda: len(self.server_state.connections), serve)
        self.servers: list[asyncio.base_events.Server] = []
        self.started = True

    async def main_loop(self) -> None:
        """Serve until the stop, then send the readers away. What is left has a moment, and is cut off then."""
        self._ready()
        meanwhile = [asyncio.create_task(work) for work in (super().main_loop(), self._cut_off())]
        try:
            await self._stop.wait()
            await self._leave()
            await self._drain()
        finally:
            for task in meanwhile:
                task.cancel()
        asyncio.get_running_loop().call_later(GRACE, self._abort)
        await self._closed()

    async def _leave(self) -> None:
        """Take no more connections, if others do, and let go of those on which nothing is under way."""
        if self._accepting is not None:
            await self._accepting.leave()
        if self._others:
            for server in self.servers:
                server.close()
            for each in list(self.server_state.connections):
                if hasattr(each, "timeout_keep_alive_task"):  # HTTP
                    each.shutdown()

    async def _cut_off(self) -> None:
        """Abort what does not get on from one look to the next."""
        before: set[Any] = set()
        while True:
            await asyncio.sleep(FLUSH)
            stuck = {each for each in self.server_state.connections if _stuck(each)}
            for each in stuck & before:
                each.transport.abort()
            before = stuck

    async def _closed(self) -> None:
        """Wait until those who were told that their WebSocket closes have answered (RFC 6455 section 5.5.1), or are cut off."""
        told = {each for each in self.server_state.connections if getattr(each, "close_sent", False)}
        while told & self.server_state.connections:  # noqa: ASYNC110 - they ring no bell of ours
            await asyncio.sleep(_LOOK)

    def _abort(self) -> None:
        for each in list(self.server_state.connections):
            each.transport.abort()


def _stuck(connection: Any) -> bool:
    """Whether the client should do something: take the last bytes, or say the rest of a request's head."""
    if connection.transport.is_closing():
        return True
    cycle = getattr(connection, "cycle", connection)  # the request and its answer, where it is HTTP
    return cycle is None or (cycle is not connection and cycle.response_complete and not connection.timeout_keep_alive_task)


def _worth_telling(record: logging.LogRecord) -> bool:
    """Whether there is something to mend. An answer that was given up because its client took nothing is told of already."""
    return "without completing response" not in record.msg


async def serve(
    app: Any,
    config: Settings,
    drain: Callable[[], Awaitable[None]],
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[], object] = nothing,
) -> None:
    """As `transports.serve.serve`, under uvicorn."""
    logging.getLogger("uvicorn.error").addFilter(_worth_telling)
    server = _Server(_translated(app, config), drain, stop or on_signals(), ready, config.loads, config.others)
    await server.serve(sockets=[taken_over(config)])


def _translated(app: Any, config: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        Patient(app, PATIENCE * config.body_timeout),
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=config.websocket_max_message_size,
        ws_per_message_deflate=False,  # 100 KB for each connection, and for messages that are small
        ws_ping_interval=None,  # beats and pings are items of ours, and a slow reader has its own time
        lifespan="on",
        log_config=None,
        log_level="error",  # a bad request is answered, and nothing to mend
        access_log=False,
        server_header=config.include_server_header,
        proxy_headers=False,
        backlog=config.backlog,
        timeout_keep_alive=math.ceil(config.keep_alive_timeout),
        timeout_graceful_shutdown=math.ceil(config.graceful_timeout),
        ssl_certfile=config.certfile,
        ssl_keyfile=config.keyfile,
    )
