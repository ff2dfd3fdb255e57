"""Peers: the hubs of other processes that share the broker. Who is there, and who has more readers than the others.

They talk in a channel that readers cannot name. Nobody keeps a list: who wants to know asks, and who is there answers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Annotated, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from .brokers import Broker, Record
from .errors import ConfigError, EverywireError, Refusal
from .leaving import PROVE, excess

CHANNEL: Final = "$peers"  # as `Hub.control` names it
OVER: Final = 10.0  # seconds over which readers are spread who are sent to others, unless it takes longer
TOLERANCE: Final = 0.1  # a tenth more than the average is as even as chance makes it
_PATIENCE: Final = 1.0  # seconds to wait for answers; they come by the broker, within milliseconds
_OLD: Final = 30.0  # seconds; what a broker hands over later than that was meant for another situation

_log = logging.getLogger("transports")

_Name: TypeAlias = Annotated[str, Meta(max_length=200)]
_Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=86_400)]


class Ask(msgspec.Struct, tag_field="do", tag="ask", omit_defaults=True):
    """Who is there? With `over`: and whoever has too many readers sends the excess away, over so many seconds."""

    id: _Name
    over: _Seconds | None = None
    tolerance: Annotated[float, Meta(ge=0, le=1000)] = TOLERANCE


class Here(msgspec.Struct, tag_field="do", tag="here", omit_defaults=True):
    """The answer of each. `busy`: it still is with what was asked before, so nobody does anything."""

    id: _Name  # of what was asked
    name: _Name
    readers: Annotated[int, Meta(ge=0)]
    busy: bool = False


class Gone(msgspec.Struct, tag_field="do", tag="gone"):
    """I leave."""

    name: _Name


_decoder: msgspec.json.Decoder[Ask | Here | Gone] = msgspec.json.Decoder(Ask | Here | Gone)


class Share(NamedTuple):
    """A process, how many readers it had, and how many of them it sends away."""

    name: str
    readers: int
    goes: int


class Peers:
    """What a hub knows of the others, and tells them of itself.

    Args:
        publish: hands JSON to all, this one included; raises Refusal 4504.
        readers: how many there are here that can be sent away; None for one who only asks.
        send_away: sends so many of them away, spread over so many seconds.
        patience: seconds to wait for answers.
    """

    def __init__(
        self,
        publish: Callable[[bytes], Awaitable[object]],
        readers: Callable[[], int] | None = None,
        send_away: Callable[[int, float], object] = lambda number, over: None,
        *,
        patience: float = _PATIENCE,
    ) -> None:
        self.name = f"{platform.node()[:100]}:{os.getpid()}:{secrets.token_hex(2)}"
        self._publish, self._readers, self._send_away, self._patience = publish, readers, send_away, patience
        self._rounds: dict[str, dict[str, Here]] = {}  # what was asked lately -> the answers, by name
        self._heard = asyncio.Event()  # another answer
        self._left = False
        self._busy_until = 0.0  # on the loop's clock
        self._others: dict[str, Here] = {}  # who is there when this one leaves
        self.nobody = asyncio.Event()  # set when all of them have left as well
        self._tasks: set[asyncio.Task[None]] = set()

    def hear(self, record: Record) -> None:
        """What one of them said, not what is kept from before."""
        if time.time() - record.at > _OLD:
            return
        try:
            said = _decoder.decode(record.data)
        except msgspec.MsgspecError:
            _log.info("a process of another version says %r", record.data[:80])
            return
        if isinstance(said, Ask):
            self._asked(said)
        elif isinstance(said, Here):
            if said.id in self._rounds:
                self._rounds[said.id][said.name] = said
                self._heard.set()
        elif self._others.pop(said.name, None) is not None and not self._others:
            self.nobody.set()

    def _asked(self, ask: Ask) -> None:
        if self._readers is None or self._left:
            return
        loop = asyncio.get_running_loop()
        busy = ask.over is not None and loop.time() < self._busy_until
        if ask.over is not None and not busy:
            self._busy_until = loop.time() + self._patience + ask.over + PROVE
            answers = self._rounds.setdefault(ask.id, {})
            loop.call_later(self._patience, self._decide, ask, answers)
        self._own(self._say(Here(ask.id, self.name, self._readers(), busy)))

    def _decide(self, ask: Ask, answers: dict[str, Here]) -> None:
        """Everybody has heard the same and finds the same, each for itself."""
        self._rounds.pop(ask.id, None)
        own = next((share for share in _shares(answers, ask.tolerance) if share.name == self.name), None)
        if own is not None and own.goes and not self._left:
            self._send_away(own.goes, ask.over or 0.0)

    async def leave(self, ask: bool = True) -> bool:
        """Tell the others that this one leaves; whether any of them is there to take its readers, unless nobody wants to know.

        When the broker cannot be reached nobody can be asked: as it is one that can be shared, there are others.
        """
        self._left = True
        id_ = secrets.token_hex(8)
        answers = self._others = self._rounds[id_] = {}
        try:
            async with asyncio.timeout(self._patience):
                await self._publish(msgspec.json.encode(Gone(self.name)))
                if not ask:
                    return False
                await self._publish(msgspec.json.encode(Ask(id_)))
        except (Refusal, TimeoutError):
            return ask
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while not answers:
                    self._heard.clear()
                    await self._heard.wait()
        return bool(answers)

    async def rebalance(self, over: float = OVER, tolerance: float = TOLERANCE) -> list[Share]:
        """Have the readers spread evenly; returns what each process had, and how many it sends away.

        Raises:
            EverywireError: nobody answers, or is still busy with what was asked before.
            Refusal: 4504, the broker cannot be reached.
        """
        id_ = secrets.token_hex(8)
        answers = self._rounds[id_] = {}
        try:
            await self._publish(msgspec.json.encode(Ask(id_, over, tolerance)))
            await asyncio.sleep(self._patience)  # for whoever is there
        finally:
            self._rounds.pop(id_, None)
        if any(each.busy for each in answers.values()):
            raise EverywireError("a rebalancing is under way: ask again when its readers have moved")
        if not answers:
            raise EverywireError("no process answers: nobody serves the events of this broker")
        return _shares(answers, tolerance)

    def come(self) -> None:
        """Be there again, after `leave`."""
        self._left, self._others = False, {}
        self._rounds.clear()
        self.nobody.clear()

    def close(self) -> None:
        """Say no more."""
        for task in self._tasks:
            task.cancel()

    async def _say(self, what: Here) -> None:
        with suppress(Refusal):  # who cannot be reached needs no answer
            await self._publish(msgspec.json.encode(what))

    def _own(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Ear:
    """Hears what processes say, and nothing else that a broker has."""

    def __init__(self) -> None:
        self.peers: Peers | None = None  # once what is kept from before has been handed over

    def begin(self, epoch: str, gone: int = 0) -> None:
        """See `Follower`."""

    def forget(self, channel: str, through: int) -> None:
        """See `Follower`."""

    def take(self, records: Sequence[Record]) -> None:
        """See `Follower`."""
        for record in records:
            if record.channel == CHANNEL and self.peers is not None:
                self.peers.hear(record)


async def rebalance(broker: Broker, over: float = OVER, tolerance: float = TOLERANCE) -> list[Share]:
    """As `Hub.rebalance`, from a process that serves nobody. The broker is closed at the end.

    Raises:
        ConfigError: it is that of one process.
        EverywireError: nobody answers, or is still busy with what was asked before.
        Refusal: 4504, the broker cannot be reached.
    """
    if not broker.shared:
        raise ConfigError("there is nothing to balance: a broker in memory lives in one process")
    ear = _Ear()
    await broker.tail(ear)
    try:
        ear.peers = Peers(lambda data: broker.publish(CHANNEL, data, None))
        return await ear.peers.rebalance(over, tolerance)
    finally:
        await broker.close()


def _shares(answers: dict[str, Here], tolerance: float) -> list[Share]:
    """Nobody sends anybody away where one is busy."""
    counts = {name: each.readers for name, each in sorted(answers.items())}
    goes = {} if any(each.busy for each in answers.values()) else excess(counts, tolerance)
    return [Share(name, readers, goes.get(name, 0)) for name, readers in counts.items()]
