"""The client's blocking face, for scripts.

with connect("http://127.0.0.1:8000/live", channels=["vitals"]) as stream:
    for event in stream:
        print(event.id, event.data)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from . import client
from .evidence import Evidence
from .items import Event
from .present import Members

_T = TypeVar("_T")


def connect(url: client.Url, channels: Sequence[str], **settings: Any) -> Stream:
    """As `transports.client.connect`, to be used in a plain `with` block."""
    return Stream(url, channels, **settings)


class Stream:
    """As `transports.client.Stream`, with the same settings and errors; each call blocks until it is done.

    Its event loop runs in a thread of its own, so the connection is kept alive however long the loop body takes. Callbacks
    are called in that thread.
    """

    def __init__(self, url: client.Url, channels: Sequence[str], **settings: Any) -> None:
        self._stream = client.Stream(url, channels, **settings)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, name="everywire", daemon=True)

    @property
    def position(self) -> str | None:
        """See `transports.client.Stream`."""
        return self._stream.position

    @property
    def state(self) -> client.State:
        """One of the states of a connection."""
        return self._stream.state

    @property
    def transport(self) -> str | None:
        """The name of the transport in charge, or of the last that was."""
        return self._stream.transport

    @property
    def sentence(self) -> str:
        """How things stand, for people."""
        return self._stream.sentence

    @property
    def evidence(self) -> Evidence:
        """What was tried, and what came of it."""
        return self._stream.evidence

    def __enter__(self) -> Self:
        if self._loop is not None:
            raise RuntimeError("a stream is used once: connect again")
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        try:
            self._run(self._stream.__aenter__())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._run(self._stream.close())
        finally:
            self._end()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        if self._stream.state == "closed" and not self._thread.is_alive():
            raise StopIteration
        try:
            return self._run(self._stream.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def publish(self, channel: str, data: Any, *, key: str | None = None, about: str | None = None, timeout: float = 30.0) -> str:
        """See `transports.client.Stream.publish`."""
        return self._run(self._stream.publish(channel, data, key=key, about=about, timeout=timeout))

    @contextmanager
    def present(self, channel: str, *, as_: str, data: Any = None) -> Iterator[None]:
        """See `transports.client.Stream.present`; for the length of a plain `with` block."""
        stay = self._stream.present(channel, as_=as_, data=data)
        self._run(stay.__aenter__())
        try:
            yield
        finally:
            self._run(stay.__aexit__(None, None, None))

    def members(self, channel: str) -> Members:
        """See `transports.client.Stream.members`."""
        return self._run(self._stream.members(channel))

    def renew(self) -> float | None:
        """See `transports.client.Stream.renew`."""
        return self._run(self._stream.renew())

    def switch(self, transport: str) -> None:
        """See `transports.client.Stream.switch`."""

        async def switch() -> None:
            self._stream.switch(transport)

        self._run(switch())

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do `work` in the other thread. Whoever is interrupted meanwhile takes it back."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a callback cannot wait for its own stream: it runs in the thread that would do the work")
        if self._loop is None or not self._thread.is_alive():
            work.close()
            raise RuntimeError("a stream is used as: with connect(…) as stream")
        waiting = asyncio.run_coroutine_threadsafe(_settled(work), self._loop)
        try:
            value, error = waiting.result()
        except BaseException:
            waiting.cancel()
            raise
        if error is not None:
            raise error
        return value  # type: ignore[return-value]

    def _work(self) -> None:
        assert self._loop is not None  # noqa: S101 - made before the thread was started
        self._loop.run_forever()
        self._loop.run_until_complete(_leave_nothing())
        self._loop.close()

    def _end(self) -> None:
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()


async def _settled(work: Coroutine[Any, Any, _T]) -> tuple[_T | None, BaseException | None]:
    """What came of `work`: no future can carry a `StopAsyncIteration`."""
    try:
        return await work, None
    except Exception as error:
        return None, error


async def _leave_nothing() -> None:
    """End what an interrupted call has left."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
