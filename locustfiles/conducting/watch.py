"""Watch: what the server, the network and the machine use, looked at from outside while a round is played, on the clock of
the samples.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

import psutil

from ..samples import Look, Usage

LOOKS: Final = 120  # that are kept of a round, at the most
_EVERY: Final = 0.05  # seconds between two looks
_SELDOM: Final = 0.5  # seconds between two looks at what costs more to find out: sockets, and who is a child of whom


class Seen(NamedTuple):
    """One look."""

    at: int  # µs of CLOCK_MONOTONIC
    cpu: float  # seconds that the server has used, user and system
    rss: int  # bytes
    sockets: int
    relay: float  # CPU seconds that the network has used
    busy: float  # seconds that all cores together were in use, by whomever


class Tree:
    """A process and those that it started. What they used adds up over all that there ever were: a server that is restarted
    goes on counting.

    Args:
        root: gives the pid; None: there is none at present.
    """

    def __init__(self, root: Callable[[], int | None]) -> None:
        self._root = root
        self._spent: dict[tuple[int, float], float] = {}  # CPU seconds by pid and birth
        self._members: list[psutil.Process] = []
        self._known: int | None = None
        self._until = 0.0
        self.rss = self.sockets = 0

    def look(self) -> float:
        """Its CPU seconds so far; notes `rss` and `sockets`."""
        pid, now = self._root(), time.monotonic()
        if pid != self._known or now >= self._until:
            self._known, self._until = pid, now + _SELDOM
            self._members = _family(pid)
            self.sockets = sum(map(_sockets, self._members))
        self.rss = sum(map(self._note, self._members))
        return sum(self._spent.values())

    def _note(self, process: psutil.Process) -> int:
        """Remember what it has spent; its resident bytes."""
        try:
            with process.oneshot():
                times, rss = process.cpu_times(), process.memory_info().rss
        except psutil.Error:
            return 0
        self._spent[process.pid, process.create_time()] = times.user + times.system
        return rss


class Watch:
    """Looks at the server and at the network from when it is entered until it is left.

    Args:
        server: gives its pid; None: it is not ours to watch.
        relay: the same for the process that plays the network.
    """

    def __init__(self, server: Callable[[], int | None] | None, relay: Callable[[], int | None] | None) -> None:
        self._server = Tree(server) if server else None
        self._relay = Tree(relay) if relay else None
        self._over = threading.Event()
        self._seen: list[Seen] = []
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Watch:
        self._seen.append(self._look())  # before the first reader comes
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def usage(self, started: int, ended: int) -> Usage | None:
        """What the server used between two times; None if it is not ours to watch."""
        return None if self._server is None else usage(self._seen, started, ended, psutil.cpu_count() or 1)

    def share(self, started: int, ended: int) -> float | None:
        """Share of one core that the network used between two times; None if there is none."""
        if self._relay is None:
            return None
        used = _between(self._seen, started, ended, attrgetter("relay"))
        return used / max(1e-6, (ended - started) / 1e6)

    def _work(self) -> None:
        while not self._over.wait(_EVERY):
            self._seen.append(self._look())

    def _look(self) -> Seen:
        cpu = self._server.look() if self._server else 0.0
        rss, sockets = (self._server.rss, self._server.sockets) if self._server else (0, 0)
        relay = self._relay.look() if self._relay else 0.0
        return Seen(time.monotonic_ns() // 1000, cpu, rss, sockets, relay, _busy())


def usage(seen: Sequence[Seen], started: int, ended: int, cores: int) -> Usage:
    """What `seen` shows between two times. CPU is interpolated between looks; a round shorter than two looks is not wrong by
    that.
    """
    during = [each for each in seen if started <= each.at <= ended] or [min(seen, key=lambda each: abs(each.at - started))]
    seconds = max(1e-6, (ended - started) / 1e6)
    return Usage(
        cpu=_between(seen, started, ended, attrgetter("cpu")),
        rss=max(each.rss for each in during),
        rss_before=seen[0].rss,
        machine=min(1.0, _between(seen, started, ended, attrgetter("busy")) / seconds / cores),
        sockets=max(each.sockets for each in during),
        looks=looks(during, started),
    )


def looks(seen: Sequence[Seen], started: int) -> list[Look]:
    """What is kept of them: at most `LOOKS`, evenly, each with the CPU share since the one before it."""
    step = max(1, -(-(len(seen) - 1) // LOOKS))
    kept = [*seen[::step]] if len(seen) > 1 else []
    return [
        Look(
            at=round((now.at - started) / 1e6, 3),
            cpu=round((now.cpu - before.cpu) / max(1e-6, (now.at - before.at) / 1e6), 4),
            rss=now.rss,
            sockets=now.sockets,
        )
        for before, now in itertools.pairwise(kept)
    ]


def _between(seen: Sequence[Seen], started: int, ended: int, value: Callable[[Seen], float]) -> float:
    return max(0.0, _at(seen, ended, value) - _at(seen, started, value))


def _at(seen: Sequence[Seen], at: int, value: Callable[[Seen], float]) -> float:
    """A sum that grows, at a time between two looks."""
    before = max((each for each in seen if each.at <= at), key=attrgetter("at"), default=seen[0])
    after = min((each for each in seen if each.at >= at), key=attrgetter("at"), default=seen[-1])
    if after.at <= before.at:
        return value(before)
    return value(before) + (value(after) - value(before)) * (at - before.at) / (after.at - before.at)


def _busy() -> float:
    times = psutil.cpu_times()
    # Linux counts what guests used as the user's, too.
    return sum(times) - times.idle - sum(getattr(times, name, 0.0) for name in ("iowait", "guest", "guest_nice"))


def _family(pid: int | None) -> list[psutil.Process]:
    if pid is None:
        return []
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def _sockets(process: psutil.Process) -> int:
    """How many it has open. Linux tells by its links, which is quicker than to go through the tables of all connections."""
    place = f"/proc/{process.pid}/fd"
    if not os.path.isdir("/proc/self/fd"):
        with contextlib.suppress(psutil.Error):
            return len(process.net_connections())
        return 0
    try:
        return sum(_link(f"{place}/{name}").startswith("socket:") for name in os.listdir(place))
    except OSError:
        return 0


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # closed meanwhile
        return ""
