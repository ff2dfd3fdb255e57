"""What a connection is busy with, beside reading streams: a body and its commands, what has to come first, an end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from ..admission import Headers
from ..commands import Speaker, hear
from ..errors import Code, Refusal
from ..items import encode_batch
from ..request import Request
from .requests import CONTINUE, END, Head, Part

if TYPE_CHECKING:
    from .connection import Connection

_log = logging.getLogger("transports")
_LINGER = 2.0  # seconds for a client to read why it was refused, before the connection is closed (RFC 9112 9.6)


class Exchange(Protocol):
    """What a connection is busy with, from a request to the end of its answer."""

    def came(self, data: bytes) -> None:
        """Bytes came up."""

    def late(self) -> None:
        """What was waited for did not come in time."""

    def full(self) -> None:
        """The client does not take everything at once."""

    def empty(self) -> None:
        """It has taken everything."""

    def too_slow(self) -> None:
        """It has taken nothing for too long."""

    def leave(self) -> None:
        """The connection is gone."""


class Ended:
    """Nothing more is said: the client takes the last bytes, or is cut off."""

    __slots__ = ("line",)

    def __init__(self, line: Connection) -> None:
        self.line = line

    def came(self, data: bytes) -> None:
        """See `Exchange`. Nobody listens any more."""

    def late(self) -> None:
        """See `Exchange`."""
        self.line.abort()

    def full(self) -> None:
        """See `Exchange`."""

    def empty(self) -> None:
        """See `Exchange`."""

    def too_slow(self) -> None:
        """See `Exchange`."""
        self.line.abort()

    def leave(self) -> None:
        """See `Exchange`."""


class Lingering(Ended):
    """The client is refused and may still be sending: were the connection closed at once, it would not see why."""

    __slots__ = ()

    def __init__(self, line: Connection) -> None:
        super().__init__(line)
        if line.transport.can_write_eof():
            with suppress(OSError):  # it has been cut, and that has not been noticed yet
                line.transport.write_eof()
        line.watch.begin(_LINGER)


class Pending(Ended):
    """A request that cannot be looked at yet: the hub is not open, or who asks has to be found out.

    Args:
        line: the connection.
        waits_for: what has to be done first.
        go_on: called when it is done; serves the request.
        refuse: called with the reason when it cannot be done.
    """

    __slots__ = ("_go_on", "_refuse", "_task")

    def __init__(
        self, line: Connection, waits_for: Awaitable[None], go_on: Callable[[], None], refuse: Callable[[Refusal], None]
    ) -> None:
        super().__init__(line)
        self._go_on, self._refuse = go_on, refuse
        self._task = line.loop.create_task(self._wait(waits_for))

    async def _wait(self, waits_for: Awaitable[None]) -> None:
        line = self.line
        try:
            await waits_for
        except Refusal as refusal:
            line.last()
            self._refuse(refusal)
        except Exception:
            _log.exception("a request could not be looked at")
            line.last()
            self._refuse(Refusal(Code.INTERNAL))
        else:
            line.exchange = None
            self._go_on()
            line.deal()

    def came(self, data: bytes) -> None:
        """See `Exchange`."""
        self.line.hold(data)

    def late(self) -> None:
        """See `Exchange`. What is waited for has its own patience."""

    def leave(self) -> None:
        """See `Exchange`."""
        self._task.cancel()


class Commands(Ended):
    """A POST: its body, then what its commands come to."""

    __slots__ = ("_body", "_headers", "_request", "_speaker", "_task")

    def __init__(self, line: Connection, request: Request, headers: Headers, speaker: Speaker) -> None:
        super().__init__(line)
        self._request, self._headers, self._speaker = request, headers, speaker
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None  # what executes them, once the body is there

    @property
    def reading(self) -> bool:
        """Whether the body has not come to its end."""
        return self._task is None

    def begin(self, head: Head) -> None:
        """Wait for the body."""
        if head.length is not None and head.length > self._limit:
            self._refuse(self._too_large())
            return
        if head.expect:
            self.line.write(CONTINUE)
        self.line.watch.begin(self.line.front.hub.options.body_timeout)

    def take(self, part: Part) -> None:
        """A part of the body, or its end."""
        if part is END:
            self.line.watch.end()
            self._task = self.line.loop.create_task(self._answer())
        elif isinstance(part, bytes):
            self._body += part
            if len(self._body) > self._limit:
                self._refuse(self._too_large())

    def came(self, data: bytes) -> None:
        """See `Exchange`."""
        if self.reading:
            self.line.read(data)
        else:
            self.line.hold(data)

    async def _answer(self) -> None:
        try:
            replies, _ = await hear(bytes(self._body), self.line.front.hub, self._speaker)
        except Refusal as refusal:
            self.line.refuse(refusal, headers=self._headers, request=self._request)
        except Exception:
            _log.exception("a command over HTTP failed")
            self.line.refuse(Refusal(Code.INTERNAL), headers=self._headers, request=self._request)
        else:
            self.line.answer(200, encode_batch(replies), self._headers)

    def _refuse(self, refusal: Refusal) -> None:
        """Refuse what has not been read in full."""
        self.line.last()
        self.line.refuse(refusal, headers=self._headers, request=self._request)

    def _too_large(self) -> Refusal:
        what = f"the body has more than {self._limit} bytes"
        return self.line.front.hub.limits.refuse("message_bytes", Code.TOO_LARGE, what)

    @property
    def _limit(self) -> int:
        return self.line.front.hub.options.message_bytes

    def late(self) -> None:
        """See `Exchange`."""
        if self.reading:
            hub = self.line.front.hub
            what = f"the body did not arrive within {hub.options.body_timeout:g} s"
            self._refuse(hub.limits.refuse("body_timeout", Code.SILENT, what))
