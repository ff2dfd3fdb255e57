"""Being present: a lease that is taken, renewed and given up, for whoever can send a command; and a list of who is there that
goes on with the stream.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from .errors import ConnectionFailedError, Refusal
from .items import Event, Lost
from .position import parse
from .presence import PREFIX, Member, Page

Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[float]]

_FIRST: Final = 30.0  # seconds to be let in
_LAST: Final = 3.0  # seconds to say that we go; the lease ends anyway
_LEAST: Final = 0.05  # seconds between two renewals, whatever the server says
_AGAIN: Final = 1.0  # seconds, about, until what did not come through is said again


class Present:
    """Somebody is in a channel as long as its `async with` block runs, whatever the connection goes through meanwhile.

    Args:
        send: sends a command and gives the seconds for which the lease was taken. Raises: Refusal, or one of `broken`.
        command: `channel`, `as`, and whatever else stays the same.
        data: what is said of the member; see `say`.
        broken: what `send` raises when nothing came through.
    """

    def __init__(self, send: Send, command: dict[str, Any], data: Any, broken: tuple[type[Exception], ...] = ()) -> None:
        self._send = send
        self._broken: tuple[type[Exception], ...] = (*broken, TimeoutError)
        self._command = {"do": "present", "lease": uuid.uuid4().hex, **command}
        self._data = data
        self._lasts = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self.refusal: Refusal | None = None  # why it came to an end: the server says no for good

    async def __aenter__(self) -> Self:
        await self._tell(_FIRST)
        self._renewing = asyncio.create_task(self._renew())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        with suppress(Refusal, *self._broken):
            async with asyncio.timeout(_LAST):
                await self._send({**self._command, "for": 0})

    async def say(self, data: Any) -> None:
        """Say something else of the member: busy, typing, away.

        Raises:
            Refusal: the server says no.
            ConnectionFailedError: it did not come through; it is said again with the next renewal.
        """
        self._data = data
        await self._tell(_FIRST)

    async def _renew(self) -> None:
        """Renew it after a third: two may get lost. What does not come through is sent again soon."""
        while True:
            await asyncio.sleep(max(self._lasts / 3, _LEAST))
            try:
                await self._tell(max(self._lasts, _AGAIN))
            except ConnectionFailedError:
                continue  # the lease has ended; whenever there is a connection, it is taken anew
            except Refusal as refusal:
                self.refusal = refusal
                return

    async def _tell(self, timeout: float) -> None:
        """Send it until it is answered. Raises: Refusal, for good; ConnectionFailedError, not within `timeout` seconds."""
        last: Exception | None = None
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        self._lasts = await self._send({**self._command, "data": self._data})
                        return
                    except Refusal as refusal:
                        if refusal.retry is None:
                            raise
                        last, pause = refusal, refusal.retry
                    except self._broken as error:
                        last, pause = error, _AGAIN
                    await asyncio.sleep(max(pause * (0.5 + random.random()), _LEAST))
        except TimeoutError:
            raise ConnectionFailedError(f"not present: not acknowledged within {timeout:g} s: {last}") from last


class Members:
    """Who is in a channel, at a position; `take` goes on with the stream.

    Attributes:
        id: the position: all changes through it are in the list, and none behind it.
        channel: whose members they are.
    """

    def __init__(self, page: Page) -> None:
        self.id, self.channel = page.id, page.channel
        self._members = {member.name: member for member in page.members}

    def __iter__(self) -> Iterator[Member]:
        return iter(sorted(self._members.values(), key=lambda member: member.name))

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __getitem__(self, name: str) -> Member:
        return self._members[name]

    def add(self, page: Page) -> None:
        """The next page of the same list. Its position does not count: what is behind that of the first is still to be taken."""
        self._members |= {member.name: member for member in page.members}

    def take(self, event: Event) -> bool:
        """Take an event of the stream; whether it has changed anything. Those of other channels, and those that the list knows
        of, do not.
        """
        if event.channel != PREFIX + self.channel:
            return False
        place, here = parse(event.id), parse(self.id)
        if place.epoch == here.epoch and place.offset <= here.offset:
            return False
        self.id = event.id
        name, visit = event.data["as"], event.data["visit"]
        if event.data["change"] != "left":
            self._members[name] = Member(name, event.data["at"], event.data["data"], visit)
            return True
        if name in self._members and self._members[name].visit == visit:
            del self._members[name]
            return True
        return False

    def stale(self, lost: Lost) -> bool:
        """Whether a loss makes the list worthless: ask for another."""
        return lost.channel == PREFIX + self.channel
