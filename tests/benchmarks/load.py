"""Load: the load client, see `load.c`: readers of one wire in a process of its own."""

from __future__ import annotations

from typing import Any

import msgspec

from .program import Program


class Opened(msgspec.Struct, frozen=True):
    """What came of opening connections."""

    open: int  # all that are open now
    failed: int  # of those that were to be opened
    seconds: float


class Round(msgspec.Struct, frozen=True):
    """What the readers counted in one round; delays in nanoseconds, behind the time at which an event was due."""

    readers: int
    gone: int  # connections that the server has closed
    delivered: int  # events, over all readers, each counted once
    lost: int
    doubled: int
    disorder: int  # events that came behind a later one
    frames: int  # WebSocket messages, chunks, bodies
    bytes: int
    polls: int
    seconds: float  # from the first byte to the last
    cpu: float  # seconds that the load client used
    p50: int
    p90: int
    p99: int
    p999: int
    slowest: int

    @property
    def whole(self) -> bool:
        """Nothing lost, doubled or out of order, and nobody cut off."""
        return not (self.lost or self.doubled or self.disorder or self.gone)


class Load:
    """The load client, reading from a server on 127.0.0.1. A context manager that ends it.

    Args:
        program: the compiled client.
        port: of the server.
        path: what to ask for.
        wire: `ws`, `sse`, `poll` or `wait`.
        flags: more arguments; see `load.c`.
        core: the core to run on; None for any.
    """

    def __init__(
        self, program: str, port: int, path: str, wire: str, *, flags: tuple[str, ...] = (), core: int | None = None
    ) -> None:
        self._program = Program([program, "127.0.0.1", str(port), path, wire, *flags], core)

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()

    def add(self, readers: int, at_once: int = 256) -> Opened:
        """Open more connections, so many at a time. Raises: ProgramError."""
        return msgspec.convert(self._program.ask(f"add {readers} {at_once}", 120.0), Opened)

    def begin(self, size: int) -> None:
        """Count from 0 again: events with `size` bytes of data will come. Raises: ProgramError."""
        self._program.ask(f"round {size}")

    def expect(self, events: int, patience: float = 2.0) -> Round:
        """What has been counted when each reader has `events`, or when nothing more came for `patience` seconds.

        Raises: ProgramError.
        """
        return self._round(f"expect {events} {round(patience * 1000)}", 300.0)

    def poll(self, seconds: float) -> Round:
        """Ask on every connection, again and again, for so long. Raises: ProgramError."""
        return self._round(f"poll {seconds}", seconds + 30.0)

    def _round(self, told: str, timeout: float) -> Round:
        answer: dict[str, Any] = self._program.ask(told, timeout)
        return msgspec.convert(answer, Round)
