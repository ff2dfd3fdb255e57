"""Server: CPU, memory and sockets while a round went on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, median
from typing import Final, NamedTuple

from ...samples import Lane, Look, Round, Run
from ..charts import BOX, Scale, Tick, joined, upside, zero_scale
from ..table import form
from .places import Table, kind, servers, table_of

LOOKS: Final = 24  # moments at which the server is drawn


class Line(NamedTuple):
    """One lane over time."""

    kind: str
    line: str


class Metric(NamedTuple):
    """One quantity of the server over time, with a box for each network and server."""

    name: str
    unit: str
    panels: list[tuple[str, list[Line]]]
    y_ticks: list[Tick]


class Server(NamedTuple):
    """CPU, memory and sockets over time."""

    metrics: list[Metric]
    x_ticks: list[Tick]
    table: Table


_METRICS: Final[tuple[tuple[str, str, Callable[[Look], float]], ...]] = (
    ("CPU", "% of a core", lambda look: look.cpu * 100),
    ("Memory", "MiB", lambda look: look.rss / 2**20),
    ("Sockets", "", lambda look: float(look.sockets)),
)


def server(run: Run) -> Server | None:
    """The mean of the repeats at each moment: the system counts CPU in steps that are longer than one look."""
    looks = {lane: [each.server.looks for each in run.of(lane) if each.server] for lane in run.lanes()}
    every = [look for each in looks.values() for one in each for look in one]
    if not every:
        return None
    x = Scale(0, max(look.at for look in every) or 1.0)
    metrics = [_metric(run, name, unit, value, looks, x) for name, unit, value in _METRICS]
    head = ["Lane", "CPU, mean", "CPU, most", "Memory before", "Memory, most", "Sockets, most"]
    caption = "CPU in percent of one core, memory in MiB; the median of the repeats, of what is called most the most of all."
    return Server(metrics, x.ticks(), table_of(run, caption, head, lambda lane: _used(run.of(lane))))


def _metric(
    run: Run, name: str, unit: str, value: Callable[[Look], float], looks: dict[Lane, list[list[Look]]], x: Scale
) -> Metric:
    paths = {lane: _mean_line(each, value, x) for lane, each in looks.items()}
    y = zero_scale([height for points in paths.values() for _, height in points])
    panels = []
    for title, lanes in servers(run):
        lines = [Line(kind(lane), joined((place, BOX - y(height)) for place, height in paths[lane])) for lane in lanes]
        panels.append((title, [line for line in lines if line.line]))
    return Metric(name, unit, panels, upside(y.ticks()))


def _mean_line(repeats: Sequence[Sequence[Look]], value: Callable[[Look], float], x: Scale) -> list[tuple[int, float]]:
    """The mean over the repeats in each stretch of time."""
    heaps: list[list[float]] = [[] for _ in range(LOOKS)]
    for looks in repeats:
        for look in looks:
            heaps[min(LOOKS - 1, x(look.at) * LOOKS // BOX)].append(value(look))
    return [(round((place + 0.5) * BOX / LOOKS), fmean(heap)) for place, heap in enumerate(heaps) if heap]


def _used(rounds: Sequence[Round]) -> list[str] | None:
    watched = [(each.server, each.sample.seconds) for each in rounds if each.server]
    if not watched:
        return None
    busiest = max((look.cpu for used, _ in watched for look in used.looks), default=None)
    return [
        f"{median(used.cpu / seconds for used, seconds in watched):.0%}",
        form(busiest, ".0%"),
        f"{median(used.rss_before for used, _ in watched) / 2**20:.1f}",
        f"{max(used.rss for used, _ in watched) / 2**20:.1f}",
        f"{max(used.sockets for used, _ in watched):,}",
    ]
