"""The client's blocking face, for scripts.

with connect("http://127.0.0.1:8000/live", channels=["vitals"]) as stream:
    for event in stream:
        print(event.id, event.data)
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from . import client
from .items import Event

_T = TypeVar("_T")


def connect(url: str, channels: Sequence[str], **settings: Any) -> Stream:
    """As `transports.client.connect`, to be used in a plain `with` block."""
    return Stream(url, channels, **settings)


class Stream:
    """As `transports.client.Stream`, with the same settings and errors; each call blocks until it is done.

    It has an event loop of its own that runs within the calls, so it belongs to one thread.
    """

    def __init__(self, url: str, channels: Sequence[str], **settings: Any) -> None:
        self._stream = client.Stream(url, channels, **settings)
        self._runner = asyncio.Runner()

    @property
    def position(self) -> str | None:
        """The id of the last item that was handled."""
        return self._stream.position

    @property
    def state(self) -> client.State:
        """One of the states of a connection."""
        return self._stream.state

    @property
    def transport(self) -> str | None:
        """The name of the transport in use."""
        return self._stream.transport

    def __enter__(self) -> Self:
        try:
            self._run(self._stream.__aenter__())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._run(self._stream.close())
        finally:
            self._runner.close()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        if self._stream.state == "closed":
            raise StopIteration
        try:
            return self._run(self._stream.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def publish(self, channel: str, data: Any, *, key: str | None = None, timeout: float = 30.0) -> str:
        """See `transports.client.Stream.publish`."""
        return self._run(self._stream.publish(channel, data, key=key, timeout=timeout))

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self._runner.run(work)
