"""Report: a recorded run as text for the terminal and as one page that needs nothing else. It never opens a socket.

A table is a list of `Line`s, a figure for each lane. The terminal and the page show the same lines.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import jinja2

from ..judging import slo
from ..judging.advice import advise
from ..judging.figures import FIGURES
from ..judging.names import NAMES, amount, capital, lane_name
from ..judging.verdict import Verdicts, judge
from ..samples import Lane, Run
from .drawings import bars
from .drawings.capacity import searches
from .drawings.differences import differences
from .drawings.glance import glance
from .drawings.percentiles import percentiles
from .drawings.places import kind, networks, overview
from .drawings.rates import rates
from .drawings.returns import returns
from .drawings.server import server
from .drawings.timeline import timeline
from .drawings.trust import trust
from .table import COUNTING, NONE, Line, table

COLUMNS = 100  # of the terminal
_COUNTS = 4000  # letters of what the server counted


def text(run: Run) -> str:
    """The tables and the verdicts for a terminal, a block for each network."""
    several = len(run.networks()) > 1
    blocks = []
    for place in networks(run):
        lines = [line for line in table(run, place.lanes) if line.key or not several]
        blocks.append("\n".join([*([place.title] if place.title else []), *_blocks(run, place.lanes, lines)]))
    return "\n\n".join([*blocks, said(judge(run))])


def said(verdicts: Verdicts) -> str:
    """The sentences, why not to believe them, and what else to know."""
    own = [note for each in verdicts.each for note in each.notes]
    lines = [
        *(each.sentence for each in verdicts.each),
        *(f"Not trustworthy: {doubt}." for doubt in _doubts(verdicts)),
        *(f"Note: {note}." for note in dict.fromkeys([*verdicts.notes, *own])),
    ]
    return "\n".join(textwrap.fill(line, COLUMNS, subsequent_indent="  ") for line in lines)


def html(run: Run) -> str:
    """The page."""
    verdicts, results = judge(run), slo.check(run, map(slo.slo, run.plan.slo))
    page: dict[str, Any] = {
        "run": run,
        "title": run.plan.question or f"{', '.join(_transports(run))} compared",
        "condition": _condition(run, verdicts),
        "names": {**NAMES, "other": "other"},
        "kinds": list(dict.fromkeys(kind(lane) for lane in run.lanes())),
        "several_subjects": len(run.plan.subjects) > 1,
        "verdicts": verdicts,
        "doubts": _doubts(verdicts),
        "notes": _notes(verdicts),
        "slos": results,
        "thresholds": [_threshold(run, each) for each in results],
        "tables": [(title, [lane_name(lane, run.plan) for lane in lanes], table(run, lanes)) for title, lanes in networks(run)],
        "overview": overview(run),
        "counting": COUNTING,
        "glance": glance(run),
        "percentiles": percentiles(run),
        "differences": differences(run),
        "capacity": searches(run),
        "timeline": timeline(run),
        "returns": returns(run),
        "rates": rates(run),
        "part_bars": list(_part_bars(run)),
        "server": server(run),
        "advice": advise(run),
        "trust": trust(run),
        "clocks": sorted({each.sample.clock for each in run.rounds}),
        "counts": json.dumps(run.counts, indent=1, ensure_ascii=False)[:_COUNTS],
    }
    return _template().render(page, contents=_contents(page))


_CONTENTS = {
    "thresholds": ("slos", "Thresholds"),
    "glance": ("glance", "At a glance"),
    "figures": ("run", "Figures"),
    "percentiles": ("percentiles", "Percentiles"),
    "differences": ("differences", "Differences"),
    "capacity": ("capacity", "Capacity"),
    "timeline": ("timeline", "Over time"),
    "recovery": ("returns", "Recovery"),
    "rates": ("rates", "Rates"),
    "server": ("server", "Server"),
    "advice": ("advice", "Advice"),
    "trust": ("trust", "Trust"),
    "method": ("run", "Method"),
}


def _contents(page: dict[str, Any]) -> list[tuple[str, str]]:
    """The sections that there are, by their ids."""
    found = [(id_, name) for id_, (key, name) in _CONTENTS.items() if page[key]]
    place = next(place for place, (id_, _) in enumerate(found) if id_ in ("server", "advice", "trust"))
    return [*found[:place], *((id_, name) for id_, _, _, name, *_ in page["part_bars"]), *found[place:]]


def _part_bars(run: Run) -> Iterator[tuple[str, str, str, str, str, bars.Bars, Sequence[str]]]:
    """Those of the sections with bars of parts that have something to show."""
    if found := bars.setup(run):
        lead = "The steps of opening a wire before publishing began, the median over all readers."
        yield "setup", "How long does setting up take?", lead, "Set-up", "Milliseconds.", found, bars.SETUP
    if found := bars.wire(run):
        lead = "What went over the wire for each event that one reader got."
        yield (
            "bytes",
            "What does an event cost on the wire?",
            lead,
            "Bytes",
            "Bytes per event, both directions.",
            found,
            bars.BYTES,
        )


def _transports(run: Run) -> list[str]:
    return list(dict.fromkeys(NAMES.get(lane.transport, lane.transport) for lane in run.lanes()))


def _condition(run: Run, verdicts: Verdicts) -> str:
    """What was the same everywhere, in the words of the verdicts."""
    plan = run.plan
    common = verdicts.each[0].sentence.partition(": ")[0].partition(", ")[2] if verdicts.each else f"{plan.readers:,} readers"
    return f"{common}; {plan.repeats} × {plan.seconds:g} s on each lane, in turns."


def _doubts(verdicts: Verdicts) -> list[str]:
    """What speaks against the run and each of its networks."""
    several = len(verdicts.each) > 1
    own = [f"{each.network}: {doubt}" if several else doubt for each in verdicts.each for doubt in each.doubts]
    return [*verdicts.doubts, *own]


def _notes(verdicts: Verdicts) -> list[str]:
    """What else to know, but for what stands beside the sentence of a network."""
    hidden = [] if verdicts.trustworthy or len(verdicts.each) > 1 else [note for each in verdicts.each for note in each.notes]
    return [*verdicts.notes, *hidden]


def _threshold(run: Run, each: slo.Result) -> tuple[str, str, str, bool]:
    """Text, lane, what was measured, and whether that is met."""
    where = NONE
    if each.lane is not None:
        where = lane_name(each.lane, run.plan) + (f", {each.lane.network}" if len(run.networks()) > 1 else "")
    return each.slo.text, where, _measured(each), each.met


def _measured(each: slo.Result) -> str:
    if each.value is None:
        return "not measured"
    if math.isinf(each.value):
        return "never"
    return amount(each.value, FIGURES[each.slo.metric].unit if each.slo.metric in FIGURES else "readers")


def _blocks(run: Run, lanes: Sequence[Lane], lines: Sequence[Line]) -> Iterator[str]:
    """The table, in as many blocks as it needs to be no wider than the terminal."""
    heads = [_head(run, lane) for lane in lanes]
    first = max((len(f"{each.label} {each.unit}") for each in lines), default=0)
    columns = [[*head, *(each.figures[place] for each in lines)] for place, head in enumerate(heads)]
    labels = ["", "", *(f"{each.label} {each.unit}".rstrip() for each in lines)]
    for group in _fitting(columns, COLUMNS - first):
        rows = zip(labels, *group, strict=True)
        widths = [max(map(len, column)) for column in group]
        for label, *cells in rows:
            if label or any(cells):
                yield f"{label:<{first}}" + "".join(f"   {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _head(run: Run, lane: Lane) -> tuple[str, str]:
    """The lane in two lines, the first empty if there is one server only."""
    name, _, subject = lane_name(lane, run.plan).partition(" of ")
    return subject, name


def _fitting(columns: Sequence[list[str]], place: int) -> Iterator[list[list[str]]]:
    """As many columns at a time as there is place for, but at least one."""
    group: list[list[str]] = []
    used = 0
    for column in columns:
        width = 3 + max(map(len, column))
        if group and used + width > place:
            yield group
            group, used = [], 0
        group.append(column)
        used += width
    if group:
        yield group


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=jinja2.select_autoescape(),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["capitalized"] = capital
    return environment.get_template("report.html")
