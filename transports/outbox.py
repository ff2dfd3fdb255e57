"""Outbox: publishes on their way up. In order, each acknowledged, sent again under the same key until it is; while there is no
connection they wait, up to a number.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from .errors import Code, ConnectionFailedError, QueueFullError, Refusal, refusal_from
from .items import Reply
from .wires import BROKEN, Target, backoff, hint, post

Send: TypeAlias = Callable[[Sequence[dict[str, Any]]], Awaitable[list[Reply]]]
Publication: TypeAlias = tuple[str, Any, str | None] | tuple[str, Any, str | None, str | None]  # channel, data, key, about

_TOGETHER: Final = 50  # commands in one request at the most
_BYTES: Final = 32_768  # of commands in one request, below the server's default limit of 64 KiB
_RETRY_LEAST: Final = 0.1  # seconds; whatever a server says, we do not spin


class _Letter:
    """A command on its way, and who waits for its reply."""

    def __init__(self, command: dict[str, Any]) -> None:
        self.command = command
        self.size = len(msgspec.json.encode(command))
        self.reply: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.trouble: Exception | None = None  # why it is still here


class Outbox:
    """Publishes, one request at a time.

    Args:
        send: sends commands and gives their replies in order. Raises: Refusal, or one of `wires.BROKEN`.
        most: publishes that may be under way.
    """

    def __init__(self, send: Send, most: int) -> None:
        self._send, self._most = send, most
        self._letters: deque[_Letter] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._alone = 0  # how many are to be sent one by one: one of them was refused, and with it all that came along

    async def publish(self, command: dict[str, Any], timeout: float) -> str:
        """Send one, and wait for the id that it got.

        Raises:
            QueueFullError: too many wait already.
            Refusal: the server says no.
            ConnectionFailedError: not acknowledged within `timeout` seconds. It may have been published.
        """
        if len(self._letters) >= self._most:
            raise QueueFullError(f"{self._most} publishes are under way already")
        letter = _Letter(command)
        self._letters.append(letter)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._work())
        try:
            async with asyncio.timeout(timeout):
                return await letter.reply
        except TimeoutError:
            why = letter.trouble
            raise ConnectionFailedError(f"not acknowledged within {timeout:g} s: {why}{hint(str(why))}") from why
        finally:
            if letter in self._letters:
                self._letters.remove(letter)

    def hurry(self) -> None:
        """There is a connection again: no need to wait out a pause."""
        self._hurry.set()

    async def close(self) -> None:
        """Give up; whoever waits is told."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        for letter in self._letters:
            if not letter.reply.done():
                letter.reply.set_exception(ConnectionFailedError("closed before it was acknowledged: it may have been published"))

    async def _work(self) -> None:
        failures = 0
        while self._letters:
            bundle, pause = self._bundle(), 0.0
            try:
                for letter, reply in zip(bundle, await self._send([each.command for each in bundle]), strict=True):
                    pause = max(pause, self._settle(letter, reply))
                failures = 0
            except Refusal as refusal:
                if refusal.retry is not None:
                    pause = max(refusal.retry, _RETRY_LEAST)
                elif len(bundle) > 1:
                    self._alone = len(bundle)
                else:
                    self._end(bundle[0], refusal)
                self._trouble(bundle, refusal)
            except BROKEN as error:
                pause = max(backoff(failures, random.random()), _RETRY_LEAST)
                failures += 1
                self._trouble(bundle, error)
            except Exception as error:  # of the caller's own, such as a token that cannot be had: it is his to see
                for letter in bundle:
                    self._end(letter, error)
            if pause:
                await self._rest(pause, firm=any(_too_much(letter.trouble) for letter in bundle))

    def _bundle(self) -> list[_Letter]:
        """What goes together in one request: the oldest, as many as fit."""
        bundle: list[_Letter] = []
        size, most = 0, 1 if self._alone else _TOGETHER
        self._alone = max(0, self._alone - 1)
        for letter in self._letters:
            size += letter.size
            if bundle and (len(bundle) == most or size > _BYTES):
                break
            bundle.append(letter)
        return bundle

    def _settle(self, letter: _Letter, reply: Reply) -> float:
        """End a letter, or keep it; seconds until the server wants it again."""
        try:
            self._end(letter, accepted(reply))
        except Refusal as refusal:
            if refusal.retry is not None:
                letter.trouble = refusal
                return max(refusal.retry, _RETRY_LEAST)
            self._end(letter, refusal)
        return 0.0

    def _end(self, letter: _Letter, outcome: str | Exception) -> None:
        if letter in self._letters:
            self._letters.remove(letter)
        if letter.reply.done():
            return
        if isinstance(outcome, str):
            letter.reply.set_result(outcome)
        else:
            letter.reply.set_exception(outcome)

    def _trouble(self, bundle: Sequence[_Letter], error: Exception) -> None:
        for letter in bundle:
            letter.trouble = error

    async def _rest(self, seconds: float, *, firm: bool) -> None:
        """Wait; unless it is `firm`, no longer than until there is a connection again."""
        if firm:
            await asyncio.sleep(seconds)
            return
        self._hurry.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            pass


async def publish(target: Target, events: Sequence[Publication], timeout: float) -> list[str]:
    """Publish `events` in one request, again and again for `timeout` seconds until it is answered; their ids.

    Raises: Refusal, when the server says no for good; ConnectionFailedError, when no answer came.
    """
    commands = [publication(*event) for event in events]
    ids: list[str] = []
    last: Exception | None = None
    try:
        async with asyncio.timeout(timeout):
            for attempt in itertools.count():
                try:
                    for reply in await post(target, commands[len(ids) :]):  # what is through already counts as said again
                        ids.append(accepted(reply))  # noqa: PERF401 - those before one that is refused stay
                    return ids
                except Refusal as refusal:
                    if refusal.retry is None:
                        raise
                    last = refusal
                    await asyncio.sleep(max(refusal.retry, _RETRY_LEAST))
                except BROKEN as error:
                    last = error
                    await asyncio.sleep(backoff(attempt, random.random()))
    except TimeoutError:
        pass
    raise ConnectionFailedError(f"not acknowledged within {timeout:g} s: {last}{hint(str(last))}") from last


def _too_much(trouble: Exception | None) -> bool:
    """Whether too much was said: a new connection does not change that."""
    return isinstance(trouble, Refusal) and trouble.code is Code.RATE_LIMITED


def publication(channel: str, data: Any, key: str | None, about: str | None = None) -> dict[str, Any]:
    """The command that publishes, with a key that makes it the same one when it is sent again."""
    command = {"do": "publish", "channel": channel, "data": data, "key": key or uuid.uuid4().hex}
    return command if about is None else {**command, "about": about}


def accepted(reply: Reply) -> str:
    """The id that a reply gives. Raises: Refusal, when it is a no."""
    if not reply.ok:
        raise refusal_from(reply.code, reply.reason, reply.retry)
    return reply.id or ""
