"""Verdicts: what a check says, and what came of it. A table has those of one part of the protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

WEBSOCKET: Final = "websocket"
SSE: Final = "sse"
LONGPOLL: Final = "longpoll"
ALL: Final = (WEBSOCKET, SSE, LONGPOLL)
HTTP: Final = (SSE, LONGPOLL)
STREAMS: Final = (WEBSOCKET, SSE)


class Unmet(Exception):  # noqa: N818 - it is a finding, and no error of ours
    """What the protocol says does not hold."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected {expected}, saw {seen}")
        self.expected, self.seen = expected, seen


class Unfit(Exception):  # noqa: N818
    """The server is set up so that this cannot be looked at."""


class Check(NamedTuple):
    """One thing that has to hold. `run` raises `Unmet`, or `Unfit`."""

    name: str
    clause: str  # heading of `docs/reference/protocol.md`
    says: str
    run: Callable[[Any], Awaitable[None]]


class Result(msgspec.Struct):
    """What came of a check."""

    name: str
    clause: str
    says: str
    verdict: str  # "pass", "fail" or "skip"
    expected: str = ""
    seen: str = ""  # or why it could not be looked at
    seconds: float = 0.0


_Function: TypeAlias = Callable[..., Awaitable[None]]


class Table:
    """Checks of one part of the protocol, in their order."""

    def __init__(self, clause: str) -> None:
        self.clause = clause
        self.checks: list[Check] = []

    def check(self, name: str, says: str, *, over: Sequence[str] = (), clause: str = "") -> Callable[[_Function], _Function]:
        """Add a function to the table; with `over`, once for each of these transports, which it is given."""

        def add(function: _Function) -> _Function:
            for transport in over or ("",):
                run = partial(function, transport=transport) if transport else function
                whole = f"{name}/{transport}" if transport else name
                self.checks.append(Check(whole, clause or self.clause, says, run))
            return function

        return add


def same(seen: Any, expected: Any, what: str) -> None:
    """Raises: Unmet, `seen` is not `expected`."""
    if seen != expected:
        raise Unmet(f"{what}: {expected!r}"[:300], repr(seen)[:300])


def holds(condition: object, expected: str, seen: Any) -> None:
    """Raises: Unmet, `condition` does not hold."""
    if not condition:
        raise Unmet(expected, repr(seen)[:300])
