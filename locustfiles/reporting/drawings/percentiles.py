"""Percentiles: how late the few late events are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ...samples import Round, Run
from ..charts import PercentileChart, percentile_chart
from ..table import ms, whole
from .places import Table, servers, table_of

PERCENTS: Final = (0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)


class Percentiles(NamedTuple):
    """Delay by percentile."""

    chart: PercentileChart
    table: Table


def percentiles(run: Run) -> Percentiles | None:
    """A panel for each network and server, all on one scale."""
    panels = {}
    for title, lanes in servers(run):
        delays = {lane.transport: (whole(run.of(lane)), [each.sample.delays for each in run.of(lane)]) for lane in lanes}
        if any(len(both) for both, _ in delays.values()):
            panels[title] = delays
    if not panels:
        return None
    named = {0.0: "shortest", 100.0: "longest"}
    head = ["Lane", *(named.get(percent, f"{percent:g} %") for percent in PERCENTS)]
    table = table_of(run, "Delay in milliseconds, all repeats together.", head, lambda lane: _all_percentiles(run.of(lane)))
    return Percentiles(percentile_chart(panels, 48 if len(panels) < 4 else 32), table)


def _all_percentiles(rounds: Sequence[Round]) -> list[str] | None:
    both = whole(rounds)
    return [ms(both.percentile(percent)) for percent in PERCENTS] if rounds else None
