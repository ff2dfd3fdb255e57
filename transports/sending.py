"""Sending: how a reader is served where somebody else has the socket, and all there is of it is the `send` of ASGI.

A `send` returns when the client has taken enough, which nearly always is at once. So it is run up to where it wants to wait,
without a task of its own: readers in step cost what a loop over all of them costs. Who makes it wait steps out of the group,
and a task waits for the rest of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from types import CoroutineType
from typing import Any

from .accounts import Account
from .admission import Poll, Stream
from .errors import Code, Refusal
from .feed import Feed
from .figures import ANSWERED
from .group import Framing, Groups, Reader

_log = logging.getLogger("transports")


class Rest:
    """What is left of something that was begun: await it, in whichever task."""

    __slots__ = ("_steps", "_waits_for")

    def __init__(self, steps: Generator[Any, Any, Any], waits_for: Any) -> None:
        self._steps, self._waits_for = steps, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        while True:
            try:
                try:
                    got = yield waits_for
                except GeneratorExit:
                    self._steps.close()
                    raise
                except BaseException as error:
                    waits_for = self._steps.throw(error)
                else:
                    waits_for = self._steps.send(got)
            except StopIteration:
                return


def begun(sent: Awaitable[Any]) -> Rest | None:
    """Run `sent` up to where it wants to wait. None when it is done, else what is left.

    Raises: what `sent` raises.
    """
    steps: Any = sent if isinstance(sent, CoroutineType) else sent.__await__()
    try:
        waits_for = steps.send(None)
    except StopIteration:
        return None
    return Rest(steps, waits_for)


async def in_time(sent: Awaitable[Any], seconds: float) -> None:
    """Await `sent`, but not for a client that takes nothing for `seconds`. Raises: TimeoutError."""
    if (rest := begun(sent)) is not None:
        async with asyncio.timeout(seconds):
            await rest


class Served(Reader):
    """A reader whose server has the socket. The task that serves it listens to the client in a `with` block, which ends as soon
    as it is over.
    """

    __slots__ = ("_listener", "over")

    def __init__(self, groups: Groups, feed: Feed, frame: Framing, beat: float | None, account: Account) -> None:
        super().__init__(groups, feed, frame, beat, account)
        self.over = False
        self._listener: asyncio.Future[Any] | None = None  # what to wake when it is over

    def finish(self) -> None:
        """It is over. Again does no harm."""
        if not self.over:
            self.over = True
            if self._listener is not None:
                self._listener.cancel()

    def __enter__(self) -> None:
        self._listener = asyncio.current_task()
        if self.over and self._listener is not None:
            self._listener.cancel()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        task, self._listener = self._listener, None
        return kind is asyncio.CancelledError and self.over and isinstance(task, asyncio.Task) and not task.uncancel()


class Waiting(Served):
    """A poll that waits for something to happen.

    Args:
        groups: those of its hub.
        poll: what it reads, and how long it waits.
        frame: makes the answer.
    """

    __slots__ = ("_seconds", "_timer", "answer")

    def __init__(self, groups: Groups, poll: Poll, frame: Framing) -> None:
        super().__init__(groups, poll.feed, frame, None, poll.account)
        self._seconds = poll.wait
        self._timer: asyncio.TimerHandle | None = None
        self.answer: bytes | None = None  # None when the client has gone before there was one

    @property
    def blocked(self) -> bool:
        """See `Reader.blocked`. There is but one answer."""
        return False

    def write(self, data: bytes) -> None:
        """This is the answer."""
        self.answer = data
        self.noted(ANSWERED)
        self.leave()
        self.finish()

    def ended(self, why: Refusal | None) -> None:
        """See `Reader.ended`. The last word was the answer; who was not told any is gone."""
        self.leave()
        self.finish()

    def __enter__(self) -> None:
        super().__enter__()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._late)
        self.pump()

    def _late(self) -> None:
        """Nothing has happened in time."""
        if not self.over:
            self._write(self.own().beat())

    def leave(self) -> None:
        """See `Reader.leave`."""
        super().leave()
        if self._timer is not None:
            self._timer.cancel()


class Sending(Served):
    """A reader whose server sends for it.

    Args:
        groups: those of its hub.
        stream: what it reads; the first item has been sent.
        frame: makes of a batch the ASGI message to send.
        send: that of ASGI.
        patience: seconds for a client to take anything, before it is given up.
        at_once: whether `send` bears to be begun in one place and to be awaited in another, as far as is known.
    """

    __slots__ = ("_at_once", "_patience", "_send", "_task", "broken", "silence", "why")

    def __init__(
        self,
        groups: Groups,
        stream: Stream,
        frame: Framing,
        send: Callable[[Any], Awaitable[Any]],
        *,
        patience: float,
        at_once: bool,
    ) -> None:
        super().__init__(groups, stream.feed, frame, stream.beat, stream.account)
        self._send, self._patience, self._at_once = send, patience, at_once
        self.silence = stream.beat  # seconds, the longest
        self._task: asyncio.Task[None] | None = None  # waits for the rest of a `send`
        self.broken = False  # it ended without a last word
        self.why: Refusal | None = None
        self.pump()

    @property
    def blocked(self) -> bool:
        """See `Reader.blocked`."""
        return self._task is not None

    def write(self, data: Any) -> None:
        """Send `data`; who does not take it at once is alone until it has."""
        try:
            rest = begun(self._send({**data})) if self._at_once else self._send({**data})
        except Exception as error:
            if not self._at_once or isinstance(error, OSError):
                self._failed(error)
                return
            rest = self._in_task({**data})
        if rest is not None:
            self._task = asyncio.get_running_loop().create_task(self._wait(rest))
            self.step_out()

    async def _in_task(self, data: Any) -> None:
        """Send once more, and from now on, in a task: what is between us and the server may want to know in which it is, as
        every `asyncio.timeout` does.
        """
        self._at_once = False
        await self._send(data)

    async def _wait(self, rest: Awaitable[Any]) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await rest
        except Exception as error:
            self._failed(error)
        else:
            self._task = None
            self.pump()

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, OSError):  # servers say so when the client has gone; a TimeoutError is one
            _log.error("a batch could not be sent", exc_info=error)
        self.give_up(self.too_slow() if isinstance(error, TimeoutError) else None)

    def too_slow(self) -> Refusal:
        """Why it ends, if it has taken nothing for too long."""
        return self.groups.hub.limits.refuse("send_timeout", Code.TOO_SLOW, Code.TOO_SLOW.meaning)

    def give_up(self, why: Refusal | None) -> None:
        """It is over, without a last word."""
        self.broken = True
        if why is not None:
            self.noted(why.name)
        self.leave()
        self.ended(why)

    def ended(self, why: Refusal | None) -> None:
        """See `Reader.ended`. It leaves when the server has been told as well: until then somebody is there."""
        self.why = why
        self.finish()

    async def send_away(self, why: Refusal) -> None:
        """Tell why, after what is left to read, and wait until that has been said."""
        if not self.over:
            self.own().end(why)
            self._listener = asyncio.get_running_loop().create_future()
            try:
                await self._listener
            except asyncio.CancelledError:
                if not self.over:
                    raise
            finally:
                self._listener = None

    def leave(self) -> None:
        """See `Reader.leave`."""
        super().leave()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
