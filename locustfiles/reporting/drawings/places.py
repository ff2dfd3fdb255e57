"""Places: the networks and servers of a run as pictures and tables have them beside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...judging.doubts import shut_out
from ...judging.names import NAMES, lane_name, subject_name
from ...samples import Lane, Round, Run
from ..table import COUNTING, QUANTITIES

Row = tuple[str, list[str]]  # its name and its cells


class Table(NamedTuple):
    """Figures beside a picture, grouped by network."""

    caption: str
    head: list[str]
    groups: list[tuple[str, list[Row]]]


class Place(NamedTuple):
    """One network, or one server in one network, as a picture has it."""

    title: str
    lanes: list[Lane]


def networks(run: Run) -> list[Place]:
    """One for each network; a single one needs no title."""
    names = run.networks()
    return [Place(name if len(names) > 1 else "", run.lanes(name)) for name in names]


def servers(run: Run) -> list[Place]:
    """One for each network and server."""
    if len(run.plan.subjects) < 2:
        return networks(run)
    several = len(run.networks()) > 1
    return [
        Place(f"{network}, {subject_name(subject)}" if several else subject_name(subject), lanes)
        for network in run.networks()
        for subject in run.plan.subjects
        if (lanes := [lane for lane in run.lanes(network) if lane.subject == subject])
    ]


def kind(lane: Lane) -> str:
    """The class of a lane's colour and dash."""
    return lane.transport if lane.transport in NAMES else "other"


def table_of(run: Run, caption: str, head: Sequence[str], cells: Callable[[Lane], list[str] | None]) -> Table:
    """A row for each lane that has cells."""
    groups = []
    for title, lanes in networks(run):
        rows = [(lane_name(lane, run.plan), found) for lane in lanes if (found := cells(lane)) is not None]
        if rows:
            groups.append((title, rows))
    return Table(caption, list(head), groups)


def silence(rounds: Sequence[Round]) -> str:
    """Why a lane has no delays."""
    return "does not get through" if shut_out(rounds) else "nothing arrived"


def overview(run: Run) -> Table | None:
    """Of several networks: what matters most, a row for each lane. One network has its whole table instead."""
    if len(run.networks()) < 2:
        return None
    keys = [each for each in QUANTITIES if each.key]
    head = ["Lane", *(f"{each.label} {each.unit}".strip() for each in keys)]
    return table_of(run, COUNTING, head, lambda lane: [each.shown(run.of(lane)) for each in keys] if run.of(lane) else None)
