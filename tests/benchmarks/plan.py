"""Plan: which subjects a measure is made with, over which wires, how often and how long. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .rows import ROWS, Subject

_OWN = frozenset({"everywire", "everywire-off"})
_OTHER_SERVERS = frozenset({"everywire-uvicorn", "everywire-granian"})  # when they are asked for
_SEVERAL = frozenset({"everywire-workers"})  # for what depends on how many they are
_ALL = frozenset(row.name for row in ROWS) - _OTHER_SERVERS - _SEVERAL
_ANCHORS = _OWN | {"hypercorn", "c", "nchan", "socket.io"}  # what all others are compared with
_PEERS = _ANCHORS | {"uvicorn", "picows", "websockets", "ws"}
_QUICK = _ANCHORS - {"everywire-off"}
_NOBODY: frozenset[str] = frozenset()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured of whom."""

    measure: str
    subjects: frozenset[str]
    wires: tuple[str, ...]
    seconds: float  # of one measurement, or of one probe of a search
    repeats: int  # at the most: what hardly differs is not measured five times
    quick: frozenset[str] = _QUICK  # of whom a quick run measures it


PLANS: tuple[Plan, ...] = (
    Plan(measure="ceiling", subjects=frozenset({"c"}), wires=("ws", "sse"), seconds=1.0, repeats=5),
    Plan(measure="single", subjects=_ALL - {"c-batch"}, wires=("ws",), seconds=1.0, repeats=5),
    Plan(measure="saturation", subjects=_ALL, wires=("ws", "sse"), seconds=0.8, repeats=5, quick=_QUICK | {"c-batch"}),
    Plan(measure="polls", subjects=_ALL, wires=("poll",), seconds=1.0, repeats=5),
    Plan(measure="connects", subjects=_ALL - {"c-batch"}, wires=("ws",), seconds=0.0, repeats=5),
    Plan(measure="cpu", subjects=_PEERS, wires=("ws",), seconds=2.0, repeats=5),
    Plan(measure="publish", subjects=_OWN, wires=("",), seconds=0.5, repeats=5),
    Plan(
        measure="memory",
        subjects=_PEERS,
        wires=("ws", "sse", "wait"),
        seconds=0.0,
        repeats=2,
        quick=frozenset({"everywire", "hypercorn"}),
    ),
    Plan(measure="flatness", subjects=_OWN | {"hypercorn", "c"}, wires=("ws",), seconds=1.0, repeats=3, quick=_NOBODY),
    Plan(measure="channels", subjects=_OWN, wires=("",), seconds=1.5, repeats=3, quick=_NOBODY),
    Plan(measure="following", subjects=_OWN - {"everywire-off"}, wires=("ws",), seconds=1.0, repeats=3, quick=_NOBODY),
    Plan(measure="history", subjects=_OWN, wires=("",), seconds=0.5, repeats=3, quick=_NOBODY),
    Plan(measure="workers", subjects=_SEVERAL, wires=("ws",), seconds=2.0, repeats=3, quick=_NOBODY),
    Plan(measure="sizes", subjects=_OWN - {"everywire-off"}, wires=("ws",), seconds=1.0, repeats=3, quick=_NOBODY),
)
NAMES = tuple(plan.measure for plan in PLANS)
ONE_OF_OURS = frozenset({"publish", "channels", "history"})  # in the process, where no edge plays a part: once is enough


def chosen(*, quick: bool, only: Sequence[str], subjects: Sequence[str]) -> list[tuple[Plan, Subject, str]]:
    """The lanes of a run, in the order of one repeat: a plan, a subject, a wire.

    Args:
        quick: a few subjects and the first measures.
        only: measures; all if there are none. A measure that is asked for by name is made in a quick run too.
        subjects: names, of any subjects; those of the plans if there are none.
    """
    lanes = []
    for plan in PLANS:
        if only and plan.measure not in only:
            continue
        for row in ROWS:
            if not _wanted(plan, row, quick and not only, subjects):
                continue
            lanes += [(plan, row, wire) for wire in plan.wires if not wire or wire in row.wires]
    return lanes


def _wanted(plan: Plan, row: Subject, quick: bool, subjects: Sequence[str]) -> bool:
    if plan.measure == "ceiling":
        return row.name == "c"  # the C server sends what the load client counts
    if plan.measure in ONE_OF_OURS:
        wanted = subjects or (plan.quick if quick else plan.subjects)
        return row.name == "everywire" and row.name in wanted
    if plan.measure == "following" and not row.own:
        return False
    if plan.measure == "workers" and row.name not in _SEVERAL:
        return False
    if subjects:
        return row.name in subjects
    return row.name in (plan.quick if quick else plan.subjects)
