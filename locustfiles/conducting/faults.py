"""Faults: what a plan has done to the network and the server while events flow, and when it was done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from ..plan import Fault
from ..samples import Mark
from .stage import Relay, Server

ON_CONNECTIONS: Final = ("cut", "close", "forget")
ON_SERVER: Final = ("restart", "kill")
_NETWORK: Final = "network "


class FaultError(ValueError):
    """A plan wants what cannot be done; the message says why."""


def network_of(fault: Fault) -> str | None:
    """The network that it brings; None if it does something else."""
    return fault.do.removeprefix(_NETWORK).strip() if fault.do.startswith(_NETWORK) else None


def needs_relay(faults: Iterable[Fault]) -> bool:
    """One of them is done by the process that plays the network."""
    return any(each.do not in ON_SERVER for each in faults)


def within(faults: Sequence[Fault], seconds: float) -> tuple[Fault, ...]:
    """Those that come while events flow, which they do for so long. Raises: FaultError, one of them is not known, or none
    comes.
    """
    for each in faults:
        if each.do not in (*ON_CONNECTIONS, *ON_SERVER) and not network_of(each):
            known = ", ".join((*ON_CONNECTIONS, *ON_SERVER, "network NAME"))
            raise FaultError(f"the scenario wants {each.do!r} to be done; known are {known}")
    kept = tuple(each for each in faults if each.at < seconds)
    if faults and not kept:
        first = min(each.at for each in faults)
        raise FaultError(f"{seconds:g} s of publishing are over before the scenario does anything, which is after {first:g} s")
    return kept


class _Step(NamedTuple):
    """Something to do at a time; `mark` is the place of the mark that it ends, None if it begins one."""

    at: float
    do: str
    mark: int | None


def _when(step: _Step) -> float:
    return step.at


class Faults:
    """Does them when they are due, and keeps the marks.

    Args:
        faults: what to do.
        server: whom to restart.
        relay: who plays the network; None: no fault needs it.
        now: µs of CLOCK_MONOTONIC.
    """

    def __init__(
        self,
        faults: Iterable[Fault],
        server: Server,
        relay: Relay | None,
        now: Callable[[], int] = lambda: time.monotonic_ns() // 1000,
    ) -> None:
        self._server, self._relay, self._now = server, relay, now
        faults = list(faults)
        self._lasts = {(each.at, each.do): each.lasts for each in faults}
        self._steps = sorted((_Step(each.at, each.do, None) for each in faults), key=_when)
        self.marks: list[Mark] = []
        self._open: set[int] = set()

    def look(self, started: int | None) -> None:
        """Do what is due by now. `started`: when the first event was due, in µs; None: not yet known. Raises: StageError."""
        while started is not None and self._steps and self._now() >= started + self._steps[0].at * 1e6:
            step = self._steps.pop(0)
            self._end(step) if step.mark is not None else self._begin(step, started)

    def over(self, ended: int) -> list[Mark]:
        """The marks, when the round is over: what lasts until now, ends now."""
        for place in self._open:
            self.marks[place].ended = max(ended, self.marks[place].began)
        return self.marks

    def _begin(self, step: _Step, started: int) -> None:
        began, lasts = self._now(), self._lasts[step.at, step.do]
        self._do(step.do)
        self.marks.append(Mark(do=step.do, began=began, ended=self._now()))
        if lasts and step.do.startswith(_NETWORK):
            self._open.add(len(self.marks) - 1)
            assert self._relay is not None  # noqa: S101 - `needs_relay`
            before = f"{_NETWORK}{self._relay.profile.name}"
            back = _Step((began - started) / 1e6 + lasts, before, len(self.marks) - 1)
            self._steps = sorted([*self._steps, back], key=_when)

    def _end(self, step: _Step) -> None:
        assert step.mark is not None  # noqa: S101 - who calls has seen that
        self._do(step.do)
        self.marks[step.mark].ended = self._now()
        self._open.discard(step.mark)

    def _do(self, what: str) -> None:
        if what in ON_SERVER:
            self._server.restart(kill=what == "kill")
        else:
            assert self._relay is not None  # noqa: S101 - `needs_relay`
            self._relay.tell(what.removeprefix(_NETWORK).strip())
