"""The table of attacks: each is a function over real sockets that says whether it has succeeded, and names what stops it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from .guards import GUARDS
from .stage import EDGES, WIRES, Target

Run: TypeAlias = Callable[[Target], Awaitable[bool]]

ONCE: Final = ("poll",)  # for what is the same on all of them
STREAMS: Final = ("ws", "sse")
ALL: Final = tuple(WIRES)
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Attack(NamedTuple):
    """Something that somebody may try.

    Attributes:
        name: in the table of the security model.
        guards: what stops it. If there are several, each does alone, and it succeeds only where all are gone.
        run: tries it, and says whether it has succeeded.
        over: the transports that it is tried over.
        edges: that it is tried at.
        settings: of the server, as `stage` takes them.
    """

    name: str
    guards: tuple[str, ...]
    run: Run
    over: tuple[str, ...]
    edges: tuple[str, ...]
    settings: Mapping[str, Any]


ATTACKS: dict[str, Attack] = {}


def attack(
    name: str, *guards: str, over: Sequence[str] = ONCE, edges: Sequence[str] = EDGES, **settings: Any
) -> Callable[[Run], Run]:
    """Put an attack into the table; see `Attack`."""

    def entered(run: Run) -> Run:
        assert name not in ATTACKS
        assert set(guards) <= set(GUARDS)
        ATTACKS[name] = Attack(name, guards, run, tuple(over), tuple(edges), settings)
        return run

    return entered
