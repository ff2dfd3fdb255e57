"""Report: a recorded run as text for the terminal and as one page that needs nothing else. It never opens a socket.

A table is a list of `Line`s, a figure for each transport. The terminal and the page show the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from statistics import median
from typing import NamedTuple

import jinja2

from . import charts
from .charts import DotChart, PercentileChart, dot_chart, percentile_chart
from .histogram import Histogram, merged
from .samples import Round, Run, Tally, Traffic, total
from .verdict import NAMES, delays, judge

_NONE = "–"
PERCENTS = (0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)


class Line(NamedTuple):
    """A quantity of the table: its name, its unit, and a figure for each transport."""

    label: str
    unit: str
    figures: list[str]


def text(run: Run) -> str:
    """The table for a terminal."""
    names = run.transports()
    rows = [["", "", *(NAMES[name] for name in names)], *([line.label, line.unit, *line.figures] for line in table(run))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_aligned(row, widths) for row in rows)


def line(each: Round, repeats: int) -> str:
    """One line of progress."""
    sample = each.sample
    p50, p99 = (_ms(sample.delays.percentile(percent)) for percent in (50, 99))
    faults = f"lost {sample.tally.lost}, doubled {sample.tally.doubled}, disordered {sample.tally.disordered}"
    return f"{NAMES[each.transport]:<12} {each.repeat}/{repeats}   delay p50 {p50:>8} ms   p99 {p99:>8} ms   {faults}"


def html(run: Run) -> str:
    """The page."""
    names = run.transports()
    return _template().render(
        run=run,
        names=[NAMES[name] for name in names],
        verdict=judge(run),
        table=table(run),
        percentiles=percentiles(run),
        curves=_curves(run),
        dots=_dots(run),
        rounds=[_round_row(each) for each in run.rounds],
        chart=_geometry(),
    )


def table(run: Run) -> list[Line]:
    """Every quantity, beside each other for the transports: counts are sums over the repeats, everything else is their median."""
    rows: list[tuple[str, str, Callable[[Sequence[Round]], str]]] = [
        ("Readers", "", lambda rounds: f"{rounds[0].sample.readers:,}"),
        ("Deliveries offered", "/s", _each(lambda each: each.sample.published.rate * each.sample.readers, ",.0f")),
        ("Deliveries achieved", "/s", _each(lambda each: each.sample.tally.delivered / each.sample.seconds, ",.0f")),
        ("Delivered", "", lambda rounds: f"{_tally(rounds).delivered:,}"),
        ("Lost in silence", "", lambda rounds: f"{_tally(rounds).lost - _tally(rounds).declared:,}"),
        ("Lost and declared", "", lambda rounds: f"{_tally(rounds).declared:,}"),
        ("Doubled", "", lambda rounds: f"{_tally(rounds).doubled:,}"),
        ("Out of order", "", lambda rounds: f"{_tally(rounds).disordered:,}"),
        ("Connections cut", "", lambda rounds: f"{_cuts(rounds):,}"),
        ("Delay p50", "ms", _delay(50)),
        ("Delay p90", "ms", _delay(90)),
        ("Delay p99", "ms", _delay(99)),
        ("Delay, longest", "ms", lambda rounds: _ms(max((each.sample.delays.most or 0 for each in rounds), default=None))),
        ("Requests per event", "", _per_event(lambda traffic: traffic.requests, ".3f")),
        ("Bytes per event", "B", _per_event(lambda traffic: traffic.down + traffic.up, ",.0f")),
        ("… of which its data", "B", lambda rounds: f"{rounds[0].sample.published.size:,}"),
        ("Server CPU per 1,000 deliveries", "s", _server_cpu),
        ("Server memory, most", "MiB", _memory),
    ]
    return [Line(label, unit, [figure(run.of(name)) for name in run.transports()]) for label, unit, figure in rows]


def percentiles(run: Run) -> list[Line]:
    """The delays at fixed percentiles, all repeats together."""
    wholes = [_whole(run.of(name)) for name in run.transports()]
    named = {0.0: "shortest", 100.0: "longest"}
    return [Line(named.get(p, f"{p:g} %"), "ms", [_ms(whole.percentile(p)) for whole in wholes]) for p in PERCENTS]


def _curves(run: Run) -> PercentileChart:
    each = {NAMES[name]: run.of(name) for name in run.transports()}
    return percentile_chart({name: (_whole(rounds), [one.sample.delays for one in rounds]) for name, rounds in each.items()})


def _dots(run: Run) -> DotChart:
    """Median and 99th percentile of each round."""
    values = []
    for percent in (50, 99):
        for name in run.transports():
            found = [us for each in run.of(name) if (us := each.sample.delays.percentile(percent)) is not None]
            values.append((NAMES[name], f"p{percent}", found))
    return dot_chart([value for value in values if value[2]])


def _round_row(each: Round) -> list[str]:
    sample, server = each.sample, each.server
    return [
        f"{NAMES[each.transport]} {each.repeat}",
        _ms(sample.delays.percentile(50)),
        _ms(sample.delays.percentile(99)),
        f"{sample.tally.lost:,}",
        f"{sample.cpu:.0%}",
        _ms(sample.lag.percentile(99)),
        _ms(sample.published.lag.percentile(99)),
        _ms(sample.published.answers.percentile(50)),
        f"{server.cpu / sample.seconds:.0%}" if server else _NONE,
        f"{server.machine:.0%}" if server else _NONE,
    ]


def _whole(rounds: Sequence[Round]) -> Histogram:
    return merged(each.sample.delays for each in rounds)


def _tally(rounds: Sequence[Round]) -> Tally:
    return total(each.sample.tally for each in rounds)


def _cuts(rounds: Sequence[Round]) -> int:
    return sum(times for each in rounds for reason, times in each.sample.failures.items() if reason.startswith("cut"))


def _each(value: Callable[[Round], float], form: str) -> Callable[[Sequence[Round]], str]:
    return lambda rounds: format(median(map(value, rounds)), form)


def _delay(percent: float) -> Callable[[Sequence[Round]], str]:
    return lambda rounds: _ms(found.mid) if (found := delays(rounds, percent)) else _NONE


def _per_event(value: Callable[[Traffic], int], form: str) -> Callable[[Sequence[Round]], str]:
    return _each(lambda each: value(each.sample.traffic) / max(1, each.sample.tally.delivered), form)


def _server_cpu(rounds: Sequence[Round]) -> str:
    costs = [each.server.cpu * 1000 / max(1, each.sample.tally.delivered) for each in rounds if each.server]
    return f"{median(costs):.3f}" if costs else _NONE


def _memory(rounds: Sequence[Round]) -> str:
    most = [each.server.rss for each in rounds if each.server]
    return f"{max(most) / 2**20:.1f}" if most else _NONE


def _ms(us: float | None) -> str:
    return _NONE if us is None else f"{us / 1000:,.3f}"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    words = [cell.ljust(width) for cell, width in zip(row[:2], widths, strict=False)]
    figures = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
    return "   ".join([" ".join(words), *figures]).rstrip()


def _geometry() -> dict[str, float]:
    """The measures that the template draws with."""
    return {name.lower(): getattr(charts, name) for name in ("WIDTH", "HEIGHT", "LEFT", "RIGHT", "TOP", "BOTTOM")}


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")
