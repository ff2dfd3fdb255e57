"""Negotiated: the client that applications use, as a Locust user. It chooses its transport itself, and may change its mind.

The client is asyncio's. Its loop runs in one greenlet of the process and, whenever it has nothing to do or has done a round of
what there was, lets the others work; each user is a task there. A delay ends when the event is handed out, so the client's own
work is part of it, and the clock is the process's. Bytes are counted between the client and its sockets (inside of TLS).
HTTP proxies come from the environment, as for every user of the client.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import Counter
from functools import cache
from typing import Any

import gevent
import msgspec
from gevent.event import AsyncResult
from locust import task

from transports.client import Stream, connect
from transports.errors import EverywireError
from transports.items import Event, Lost

from .measuring.readers import Batch, Opening
from .measuring.selector import selector
from .measuring.stamps import Stamp
from .plan import NEGOTIATED
from .samples import Traffic
from .users import StreamUser, wait

_CONNECT_TIMEOUT = 30.0  # seconds
_STOP_WAIT = 2.0  # seconds for a client to give its connections back
_whose: contextvars.ContextVar[Traffic] = contextvars.ContextVar("whose")  # what the connections of a task are counted in


class NegotiatedUser(StreamUser):
    """Reads with `transports.client.connect`. Each is a first visit: nothing is known of the network beforehand."""

    abstract = True
    transport = NEGOTIATED

    def open(self) -> None:
        """Make what is known of it; the stream is opened by `read`."""
        self.traffic = Traffic()
        self.stream: Stream | None = None
        self._task: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Give its connections back."""
        if self._task is not None:
            _loop().call_soon_threadsafe(self._task.cancel)

    @task
    def read(self) -> None:
        """Read; the client comes back by itself, and only if it gives up is another made, which reads on."""
        tries = 0
        while True:
            try:
                self._run()
                raise ConnectionResetError("the stream has ended")
            except (OSError, EverywireError) as error:
                self.fail("cut", f"{type(error).__name__}: {error}")
                gevent.sleep(wait(tries, error))
                tries += 1

    @property
    def ready(self) -> bool:  # type: ignore[override]
        """It has its first item."""
        return self.opening is not None

    @property
    def chosen(self) -> str:  # type: ignore[override]
        """The transport in charge."""
        return (self.stream.transport if self.stream is not None else None) or ""

    def complaints(self) -> Counter[str]:
        """What went wrong. A client that is not in place yet says how far it is."""
        waits = self.stream is not None and not self.ready
        return super().complaints() + Counter([f"waits: {self.stream.sentence}"] if waits and self.stream else [])

    def _run(self) -> None:
        """Have it follow in the loop, and wait for its end."""
        over: AsyncResult[None] = AsyncResult()
        _loop().call_soon_threadsafe(self._begin, over)
        try:
            over.get()
        finally:
            if not over.ready():  # this greenlet is ended from outside
                self.close()

    def _begin(self, over: AsyncResult[None]) -> None:
        context = contextvars.copy_context()
        context.run(_whose.set, self.traffic)
        self._task = _loop().create_task(self._follow(), context=context)
        self._task.add_done_callback(lambda done: _end(done, over))

    async def _follow(self) -> None:
        began, since = _now(), None if self.stream is None else self.stream.position
        self.stream = connect(
            f"{self.host}{self.mount}",
            self.channels,
            since=since,
            on_lost=self._lost,
            on_state=self._turned,
            connect_timeout=_CONNECT_TIMEOUT,
            memory=None,
        )
        async with self.stream as stream:
            self.opening = Opening(None, None, None, _now() - began)
            async for event in stream:
                self._event(event)

    def _event(self, event: Event) -> None:
        received, data = _now(), event.data
        if isinstance(data, dict) and isinstance(data.get("n"), int) and isinstance(data.get("t"), int):
            self.traffic.payload += len(msgspec.json.encode(data))
            self.judge((Stamp(data["n"], data["t"], data.get("s") or event.channel),), received - self.ahead)

    def _lost(self, lost: Lost) -> None:
        self.take(Batch(_now(), (), (lost,)))

    def _turned(self, state: str) -> None:
        if state in ("reconnecting", "offline") and self.stream is not None:
            self.fail("cut", self.stream.sentence)


class Loop(asyncio.SelectorEventLoop):
    """An event loop that counts what its connections carry."""

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        """See asyncio."""
        transport, protocol = await super().create_connection(*args, **options)
        if (traffic := _whose.get(None)) is not None:
            traffic.opened += 1
            _count(transport, protocol, traffic)
        return transport, protocol

    async def start_tls(self, transport: Any, protocol: Any, *args: Any, **options: Any) -> Any:
        """See asyncio. Through the tunnel of a proxy; what goes over the new transport comes to the same protocol."""
        made = await super().start_tls(transport, protocol, *args, **options)
        if made is not None and (traffic := _whose.get(None)) is not None:
            setattr(made, "write", _written(made.write, traffic))  # noqa: B010 - mypy knows it as a method
        return made


def _count(transport: Any, protocol: Any, traffic: Traffic) -> None:
    """Have what passes between the two counted."""
    received = protocol.data_received

    def data_received(data: bytes) -> None:
        traffic.down += len(data)
        if data.startswith(b"HTTP/1."):
            traffic.headers += _head(data)
        received(data)

    protocol.data_received = data_received
    transport.write = _written(transport.write, traffic)


def _written(write: Any, traffic: Traffic) -> Any:
    def written(data: Any) -> None:
        traffic.up += len(data)
        if bytes(data[:5]) in (b"GET /", b"POST ", b"CONNE", b"GET h"):
            traffic.headers += _head(bytes(data))
            traffic.requests += 1
        write(data)

    return written


def _head(data: bytes) -> int:
    """Bytes of the head that data begins with."""
    end = data.find(b"\r\n\r\n")
    return len(data) if end < 0 else end + 4


@cache
def _loop() -> Loop:
    """The loop of this process, running in a greenlet of its own."""
    made = Loop(selector())
    gevent.spawn(made.run_forever)
    return made


def _end(done: asyncio.Task[None], over: AsyncResult[None]) -> None:
    if done.cancelled():
        over.set(None)
    elif (error := done.exception()) is not None:
        over.set_exception(error)
    else:
        over.set(None)


def _now() -> int:
    return time.monotonic_ns() // 1000
