"""Lanes: one direction of a connection, from what comes in, through the stages of the network, to the other side."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, Protocol

from .behaviours import Behaviour, Stage
from .pieces import Piece
from .profiles import Profile

_QUEUED: Final = 65_536  # bytes on their way in one direction; then the sender waits, as it would for a router's queue
_HELD: Final = 8 << 20  # bytes that stages hold back; then the sender waits, too


class Line(Protocol):
    """What a lane wants to know of the connection that it belongs to."""

    forgotten: bool  # nothing passes, and nobody is told

    @property
    def profile(self) -> Profile:
        """The network, as it is now."""

    def luck(self) -> float:
        """A number from 0 to 1."""

    def note(self, piece: Piece, *, up: bool, lost: bool) -> None:
        """A piece passes, or never will."""

    def passed(self, piece: Piece) -> None:
        """It has gone to the client."""


class Lane:
    """One direction of a connection: from what comes in, through the stages, to the other side."""

    def __init__(self, connection: Line, *, down: bool) -> None:
        self.writer: asyncio.StreamWriter | None = None
        self._connection, self._down = connection, down
        self._luck = random.Random(connection.luck()).random  # its own: others do not disturb its sequence
        self._queue: deque[Piece] = deque()
        self._queued = 0
        self._stir = asyncio.Event()
        self._refitted = asyncio.Event()
        self._last = 0.0
        self._kept: list[Stage] = []  # of an earlier network, until the body that they have changed so far has ended
        self._stages = self._fresh()

    def _fresh(self) -> list[Stage]:
        behaviours: Iterable[Behaviour] = self._connection.profile.behaviours
        if self._down:  # they stand in order from the client's side
            behaviours = reversed(tuple(behaviours))
        stages = (each.stage(down=self._down, luck=self._luck) for each in sorted(behaviours, key=lambda each: each.late))
        return [stage for stage in stages if stage is not None]

    def refit(self) -> None:
        """Take the stages of the network as it is now. What the old ones held goes on, as far as the new ones let it."""
        held = self._released()
        self._kept = [stage for stage in (*self._kept, *self._stages) if stage.needed]
        self._stages = self._fresh()
        self._last = 0.0
        for piece in (*self._queue, *held):
            piece.due = 0.0
        for piece in held:
            self._send(piece, self._stages)
        self._refitted.set()
        self._stir.set()

    def release(self) -> None:
        """Nothing more will come: what is held goes on."""
        for piece in self._released():
            self._send(piece, ())

    def _released(self) -> list[Piece]:
        held: list[Piece] = []
        for stage in (*self._kept, *self._stages):
            held = [out for piece in held for out in stage.feed(piece, now())]
            held += stage.release()
        return held

    async def put(self, piece: Piece) -> None:
        """Let a piece in; wait while too much is on its way."""
        piece.came = piece.came or now()
        self._send(piece, (*self._kept, *self._stages))
        self._kept = [stage for stage in self._kept if stage.needed]
        while self._queued > _QUEUED or sum(stage.held for stage in self._stages) > _HELD:
            self._stir.clear()
            await self._stir.wait()

    def _send(self, piece: Piece, stages: Iterable[Stage]) -> None:
        if self._connection.forgotten:
            self._connection.note(piece, up=not self._down, lost=True)
            return
        pieces: list[Piece] = [piece]
        for stage in stages:
            pieces = [out for each in pieces for out in stage.feed(each, now())]
        for out in pieces:
            out.came = out.came or piece.came
            out.due = self._last = max(self._last, out.due)  # nothing overtakes
            self._queue.append(out)
            self._queued += len(out.raw)
        self._stir.set()

    async def run(self) -> None:
        """Pass on what is due, until it is cancelled."""
        while True:
            while not self._queue:
                self._stir.clear()
                await self._stir.wait()
            if (wait := self._queue[0].due - now()) > 0:
                self._refitted.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._refitted.wait()
                continue
            piece = self._queue.popleft()
            await self._pass(piece)
            self._queued -= len(piece.raw)
            self._stir.set()

    async def _pass(self, piece: Piece) -> None:
        lost = piece.lost or self._connection.forgotten or self.writer is None
        self._connection.note(piece, up=not self._down, lost=lost)
        if lost or self.writer is None:
            return
        try:
            await self._write(self.writer, piece)
        except OSError:
            if not self._connection.forgotten:  # or else nobody is told
                raise
        if self._down:
            self._connection.passed(piece)

    async def _write(self, writer: asyncio.StreamWriter, piece: Piece) -> None:
        if not piece.singly:
            writer.write(piece.raw)
            await writer.drain()
            return
        for byte in piece.raw:
            if self._connection.forgotten:
                return
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0)  # or it would all be there before anybody reads

    async def empty(self) -> None:
        """Wait until nothing is on its way. What a stage holds stays there."""
        while self._queue:
            self._stir.clear()
            await self._stir.wait()


def now() -> float:
    """The clock of all networks."""
    return asyncio.get_running_loop().time()
