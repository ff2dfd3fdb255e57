"""The asyncio client: events as they come, over whichever transport works, resumed after any cut.

    async with connect("http://127.0.0.1:8000/live", channels=["vitals"]) as stream:
        async for event in stream:
            print(event.id, event.data)

It reads when it is asked to, and keeps no queue: a consumer that takes its time slows the connection down, and what
it cannot follow is told as lost. HTTP proxies come from the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`),
with a user and password if they name them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeAlias

from . import wires
from .errors import (
    ConfigError,
    ConnectionFailedError,
    EventsLostError,
    Refusal,
    refusal_from,
)
from .items import Beat, Bye, Event, Hello, Item, Lost, Reply
from .ladder import LADDER
from .reading import Reading
from .transport import Transport
from .wires import Publication, Tap, backoff

State: TypeAlias = Literal["idle", "connecting", "open", "reconnecting", "closed", "failed"]
_News: TypeAlias = tuple[Item | None, str | None]  # an item, or None for a repeat, and the position after it

_LEAST_WAIT = 0.01  # seconds; whatever a server says, we do not spin
_AT_ONCE = 0.1  # seconds; after a cut all clients come back at once, but not in the same instant


class _CallbackError(Exception):
    """A defect of a callback of the caller's: none of the network's."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


class Attempt(NamedTuple):
    """One try to read over one transport, and how it ended: kept as evidence."""

    transport: str
    seconds: float
    outcome: str


class _Tries:
    """Which transport to try next, and when: best first, the one that works again and again, and with growing patience
    when none does.
    """

    def __init__(self, rungs: Sequence[Transport]) -> None:
        self._rungs = rungs
        self._rung = 0
        self._failures = 0  # since something worked

    @property
    def transport(self) -> Transport:
        return self._rungs[self._rung]

    def after(self, worked: bool, luck: float) -> float:
        """Seconds until the next try; `worked` tells how the last one went, `luck` is from 0 to 1."""
        if worked:
            self._failures = 0
            return luck * _AT_ONCE
        self._failures += 1
        self._rung = (self._rung + 1) % len(self._rungs)
        rounds, left = divmod(self._failures, len(self._rungs))
        return 0.0 if left else backoff(rounds - 1, luck)


def connect(url: str, channels: Sequence[str], **settings: Any) -> Stream:
    """A stream of the events of `channels`; see `Stream` for the settings. Use it in an `async with` block."""
    return Stream(url, channels, **settings)


class Stream:
    """Events, in order, each once.

    Args:
        url: of the mount, such as `https://shop.example/live`.
        channels: the names to follow.
        since: the position to read on from; the present by default.
        transport: `auto`, or the name of the only one to use.
        transports: what there is to use, best first.
        on_lost: called with a `Lost` for what is gone for good. Without it, `EventsLostError` is raised from the iteration,
            which may then be continued: loss is never silent.
        on_state: called with the new state.
        tap: called with a transport's name and the bytes as they came from it.
        headers: to send with every request.
        ca: path of a certificate authority to trust instead of the system's.
        open_timeout: seconds for a transport to show its first item.
        connect_timeout: seconds for the `async with` to have a first connection; afterwards it tries for ever.

    Raises:
        ConnectionFailedError: on entering, nothing worked within `connect_timeout`; the message tells what was tried.
        Refusal: the server says no for good (44xx without `retry`).
    """

    def __init__(
        self,
        url: str,
        channels: Sequence[str],
        *,
        since: str | None = None,
        transport: str = "auto",
        transports: Sequence[Transport] = LADDER,
        on_lost: Callable[[Lost], None] | None = None,
        on_state: Callable[[State], None] | None = None,
        tap: Tap | None = None,
        headers: Mapping[str, str] | None = None,
        ca: str | None = None,
        open_timeout: float = 5.0,
        connect_timeout: float = 20.0,
    ) -> None:
        if isinstance(channels, str):
            raise TypeError(f"channels is a list of names: [{channels!r}]")
        if not channels or not all(channels) or any("," in name for name in channels):
            raise ConfigError(f"{list(channels)} are no channels: at least one name, and none with a comma")
        self._rungs = [each for each in transports if transport in ("auto", each.name)]
        if not self._rungs:
            raise ValueError(f"transport={transport!r}: there is auto, {', '.join(each.name for each in transports)}")
        self._base = wires.mount_url(url)
        self._channels = list(channels)
        self._reading = Reading(since)
        self._on_lost = on_lost
        self._on_state, self._tap = _guarded(on_state), _guarded(tap)
        self._headers, self._ca = headers, ca
        self._open_timeout, self._connect_timeout = open_timeout, connect_timeout
        self._tries = _Tries(self._rungs)
        self._http: wires.Http | None = None
        self._batches: AsyncGenerator[list[_News]] | None = None
        self._coming: asyncio.Task[list[_News]] | None = None  # the next batch, if somebody waits for it or has
        self._arrived: deque[_News] = deque()  # the rest of the last batch
        self._position = since
        self.state: State = "idle"
        self.transport: str | None = None
        self.evidence: deque[Attempt] = deque(maxlen=50)

    @property
    def position(self) -> str | None:
        """The position after the last event that was handed out: send it back as `since` to go on from there."""
        return self._position

    async def __aenter__(self) -> Self:
        self._http = wires.open_session(self._headers, self._ca)
        self._batches = self._read()
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self._more()
        except TimeoutError:
            await self.close()
            raise ConnectionFailedError(f"no connection to {self._base}: {self._tried()}") from None
        except BaseException:
            await self.close()
            raise
        while self._arrived and isinstance(self._arrived[0][0], Hello | Beat):  # the `hello` says where we stand
            self._position = self._arrived.popleft()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self.state == "idle":
            raise RuntimeError("a stream is used as: async with connect(…) as stream")
        while True:
            while not self._arrived:
                if self._batches is None:
                    raise StopAsyncIteration
                await self._more()
            item, self._position = self._arrived.popleft()
            if isinstance(item, Event):
                return item
            if isinstance(item, Lost):
                if self._on_lost is None:
                    raise EventsLostError(item)
                self._on_lost(item)

    async def _more(self) -> None:
        """Wait for a batch. A caller who loses patience leaves the wire as it is: the next one waits for the same batch."""
        if self._coming is None:
            assert self._batches is not None  # noqa: S101 - asked before
            self._coming = asyncio.create_task(_next(self._batches))
        coming = self._coming
        await asyncio.wait([coming])
        if self._coming is coming:  # the first of those who waited takes it, and `close` takes it from all
            self._coming = None
            try:
                self._arrived.extend(coming.result())
            except _CallbackError as error:
                raise error.cause from None

    async def publish(self, channel: str, data: Any, *, key: str | None = None, timeout: float = 30.0) -> str:
        """Publish `data` and return the event's id.

        It is sent again after a lost answer, with the same `key`, and so published once.

        Args:
            channel: its name.
            data: anything that JSON can say.
            key: what makes it the same publish when it is sent again; made up unless given.
            timeout: seconds to go on trying.

        Raises:
            Refusal: the server says no.
            ConnectionFailedError: not acknowledged within `timeout`. It may have been published.
        """
        if self._http is None:
            raise RuntimeError("a stream is used as: async with connect(…) as stream")
        return (await wires.publish(self._http, self._base, [(channel, data, key)], timeout))[0]

    async def close(self) -> None:
        """Give the connection back; the iteration ends, also in another task that waits for its next event."""
        batches, self._batches = self._batches, None
        coming, self._coming = self._coming, None
        self._arrived.clear()
        try:
            if coming is not None:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
            if batches is not None:
                await batches.aclose()
        finally:
            if self._http is not None:
                await self._http.close()
            if self.state != "failed":
                with suppress(_CallbackError):
                    self._enter("closed")

    def _enter(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._on_state(state)

    def _tried(self) -> str:
        last = {each.transport: each.outcome for each in self.evidence}
        if not last:
            return f"no answer for {self._connect_timeout:g} s"
        if len(set(last.values())) == 1:
            return f"{', '.join(last)}: {last.popitem()[1]}"
        return "; ".join(f"{name}: {outcome}" for name, outcome in last.items()) + wires.hint(str(last))

    async def _read(self) -> AsyncGenerator[list[_News]]:
        """Everything that comes, over one wire after the other, for ever, each item once."""
        tries = self._tries
        while True:
            self._enter("connecting" if self.transport is None else "reconnecting")
            transport, began, opened, proven = tries.transport, time.monotonic(), False, False
            wait: float | None = None  # seconds, if the server says how long
            outcome = "ended"
            try:
                async with aclosing(self._over(transport)) as batches:
                    async for items in batches:
                        news, bye = self._judge(items)
                        # A wire that brings its hello and then dies, again and again, does not work; one that lives does.
                        opened, proven = True, proven or any(not isinstance(item, Hello) for item in items)
                        if news:
                            self.transport = transport.name
                            self._enter("open")
                            yield news
                        if bye is not None:
                            raise refusal_from(bye.code, bye.reason, bye.retry)
            except Refusal as refusal:
                if refusal.retry is None:
                    self._enter("failed")
                    raise
                outcome, wait = str(refusal), max(refusal.retry, _LEAST_WAIT)
            except wires.BROKEN as error:
                outcome = f"{type(error).__name__}: {error}".rstrip(": ")
            lived = time.monotonic() - began
            self.evidence.append(Attempt(transport.name, lived, outcome))
            self._enter("connecting" if self.transport is None else "reconnecting")
            if wait is None:
                wait = tries.after(proven or (opened and lived > self._open_timeout), random.random())
            await asyncio.sleep(wait)

    def _judge(self, items: list[Item]) -> tuple[list[_News], Bye | None]:
        """What of `items` is news, each with the position after it, and the `bye` at their end if there is one."""
        news: list[_News] = []
        for item in items:
            if isinstance(item, Bye):
                return news, item
            if not isinstance(item, Reply):
                news.append((self._reading.take(item), self._reading.position))
        return news, None

    def _over(self, transport: Transport) -> AsyncGenerator[list[Item]]:
        """What comes over one connection of `transport`."""
        assert self._http is not None  # noqa: S101 - entered
        target = wires.Target(self._http, self._base, self._channels, self._open_timeout, self._tap)
        return wires.over(transport, target, self._reading)


@asynccontextmanager
async def publisher(
    url: str, *, headers: Mapping[str, str] | None = None, ca: str | None = None
) -> AsyncIterator[Callable[[Sequence[Publication]], Awaitable[list[str]]]]:
    """For those who only publish: a function that takes `(channel, data, key)`s, publishes them in order in one
    request, and returns their ids. It retries and raises as `Stream.publish` does.
    """
    base = wires.mount_url(url)
    async with wires.open_session(headers, ca) as http:

        async def publish(events: Sequence[Publication], *, timeout: float = 30.0) -> list[str]:
            return await wires.publish(http, base, events, timeout)

        yield publish


async def _next(batches: AsyncGenerator[list[_News]]) -> list[_News]:
    return await anext(batches)


def _guarded(callback: Callable[..., None] | None) -> Callable[..., None]:
    """`callback`, whose errors are told from those of the network."""

    def call(*arguments: Any) -> None:
        if callback is not None:
            try:
                callback(*arguments)
            except Exception as error:
                raise _CallbackError(error) from error

    return call
