"""Table: what a run says, as text for a terminal and as Markdown for the documentation. Pure.

Figures are medians of the repeats, with half of their span behind them; ratios are those of medians.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .fit import power_law
from .results import Middle, Results, Sample, middle
from .rows import BY_NAME

ANCHORS = ("hypercorn", "c", "nchan", "socket.io")  # what ratios are taken against
_NEAR = 0.8  # of the ceiling of the load client
_WAITED = 0.1  # of the time, from which on others have spoilt a figure


class Section(NamedTuple):
    """One table: a title, what it measures, and rows of cells below the heads."""

    title: str
    note: str
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]


class _Kind(NamedTuple):
    measure: str
    wire: str
    at: float
    title: str
    note: str
    unit: str
    more_is_better: bool


_WIRES = {"ws": "WebSocket", "sse": "Server-Sent Events", "wait": "waiting polls", "poll": "polls"}
_FAN_OUT = "Deliveries a second to 200 readers, on one core: events of 100 bytes, offered on a schedule."
_ONE_BY_ONE = "Deliveries a second to 200 readers: each event is written to all before the next is made."
_POLLS = "Polls a second on 100 kept connections, each answered at once with one event."
_CONNECTS = "Time until 2,000 WebSockets that come at once are all open."
_COST = "CPU seconds of the server for a million deliveries: 10 events a second to 1,000 readers over WebSocket."
_MEMORY = "Resident memory of the server for each reader to whom nothing happens; the kernel's for the socket is not in it."
_PUBLISH = "CPU of a publish that nobody reads, in the process."

_KINDS = (
    *(
        _Kind("saturation", wire, limit, f"Saturation, {_WIRES[wire]}, 99 in 100 within {limit} ms", _FAN_OUT, "/s", True)
        for wire in ("ws", "sse")
        for limit in (50, 250)
    ),
    _Kind("single", "ws", 0, "One event per write, WebSocket", _ONE_BY_ONE, "/s", True),
    _Kind("polls", "poll", 0, "Polls", _POLLS, "/s", True),
    _Kind("connects", "ws", 0, "Connects", _CONNECTS, "s", False),
    _Kind("cpu", "ws", 0, "Cost", _COST, "s", False),
    *(
        _Kind("memory", wire, number, f"Memory of {number:,} readers, {_WIRES[wire]}", _MEMORY, "B", False)
        for wire in ("ws", "sse", "wait")
        for number in (2_000, 10_000)
    ),
    _Kind("publish", "", 0, "Publish", _PUBLISH, "us", False),
)
_CURVES = (
    ("flatness", "readers", "CPU for a delivery, 20,000 deliveries a second over WebSocket"),
    ("channels", "channels", "CPU for a publish that nobody reads, to each channel in turn"),
    ("following", "channels a reader follows", "CPU for a delivery to 200 readers over WebSocket"),
    ("history", "events kept", "CPU for a reader who comes back one event behind"),
    (
        "workers",
        "worker processes",
        "CPU for a delivery to 1,000 readers over WebSocket, of all processes; they share a log in a file",
    ),
    ("sizes", "bytes of an event", "CPU for a delivery to 200 readers over WebSocket"),
)


def sections(results: Results) -> list[Section]:
    """All tables of a run; those of which nothing was measured are left out."""
    made = [_comparison(results, kind) for kind in _KINDS]
    made += [_ceilings(results), _curves(results)]
    return [section for section in made if section.rows]


def markdown(results: Results) -> str:
    """The tables and where they were measured, for the documentation."""
    parts = []
    for title, note, heads, rows in sections(results):
        lines = [_pipes(heads), _pipes(["---"] + ["---:"] * (len(heads) - 1)), *map(_pipes, rows)]
        parts.append("\n".join([f"### {title}", "", note, "", *lines]))
    return "\n\n".join([*parts, "\n".join(["### Where", "", *(f"* {line}" for line in where(results))])]) + "\n"


def text(results: Results) -> str:
    """The same for a terminal."""
    parts = []
    for title, note, heads, rows in sections(results):
        widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
        lines = [_padded(row, widths) for row in (heads, *rows)]
        parts.append("\n".join([title, note, *lines]))
    return "\n\n".join([*parts, "\n".join(where(results))]) + "\n"


def where(results: Results) -> list[str]:
    """The machine, the versions, and what was not measured, a line each."""
    machine = results.machine
    repeats = f"{results.repeats} repeats in {results.seconds / 60:.0f} min{', quick' if results.quick else ''}"
    if results.stopped:
        repeats += ", stopped before their end: some measures have fewer"
    size = f"{machine.cores} cores, {machine.memory / 2**30:.0f} GiB"
    lines = [
        f"{machine.processor}, {size}, Linux {machine.kernel}, Python {machine.python}; {machine.loopback}",
        f"{results.began}, {repeats}; load before it began: {machine.load:g}",
    ]
    lines += [f"{BY_NAME[name].title}: {_versions(versions)}" for name, versions in results.versions.items() if versions]
    lines += [f"{BY_NAME[name].title} was not measured: it needs {lack}" for name, lack in results.missing.items()]
    if spoilt := sum(sample.waited > _WAITED for sample in results.samples):
        share = f"for over {_WAITED:.0%} of the time"
        lines.append(f"others kept the server from its core {share} in {spoilt} of {len(results.samples)} measurements")
    return lines


def amount(value: float, unit: str) -> str:
    """A figure with three digits that count, and its unit."""
    if unit == "/s":
        return (
            f"{_three(value / 1e6)} M/s"
            if value >= 1e6
            else f"{_three(value / 1e3)} k/s"
            if value >= 1e3
            else f"{_three(value)} /s"
        )
    if unit == "B":
        return f"{_three(value / 1024)} KiB"
    if unit == "s":
        return f"{_three(value)} s" if value >= 1 else f"{_three(value * 1e3)} ms"
    return f"{_three(value)} µs"


def _three(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def _comparison(results: Results, kind: _Kind) -> Section:
    here = [s for s in results.samples if (s.measure, s.wire, s.at) == (kind.measure, kind.wire, kind.at)]
    middles = {name: middle(s for s in here if s.subject == name) for name in dict.fromkeys(s.subject for s in here)}
    anchors = [name for name in ANCHORS if middles.get(name) is not None and len(middles) > 1]
    order = sorted(middles, key=lambda name: _rank(middles[name], kind.more_is_better))
    ceiling = _ceiling_for(results, kind)
    rows = [
        (
            BY_NAME[name].title,
            *_figure(middles[name], kind.unit, ceiling(name), _why(here, name)),
            *_ratios(middles, name, anchors),
        )
        for name in order
    ]
    return Section(kind.title, kind.note, ("", "median", "±", *(f"× {_short(name)}" for name in anchors)), rows)


def _rank(found: Middle | None, more_is_better: bool) -> float:
    if found is None:
        return float("inf")
    return -found.value if more_is_better else found.value


def _why(samples: Sequence[Sample], name: str) -> str:
    return next((s.why.splitlines()[0] for s in samples if s.subject == name and s.value is None and s.why), "")


def _figure(found: Middle | None, unit: str, ceiling: float | None, why: str) -> tuple[str, str]:
    if found is None:
        return why[:60] or "could not", ""
    limit = " (at the limit of the load client)" if ceiling is not None and found.value >= _NEAR * ceiling else ""
    return amount(found.value, unit) + limit, f"{found.spread / 2:.0%}" if found.count > 1 else ""


def _ratios(middles: dict[str, Middle | None], name: str, anchors: Sequence[str]) -> tuple[str, ...]:
    mine = middles[name]
    ratios = []
    for anchor in anchors:
        other = middles[anchor]
        ratios.append("" if mine is None or other is None or not other.value else _three(mine.value / other.value))
    return tuple(ratios)


def _short(name: str) -> str:
    return {"hypercorn": "Hypercorn", "c": "C", "nchan": "Nchan", "socket.io": "Socket.IO"}[name]


def _ceiling_for(results: Results, kind: _Kind) -> Callable[[str], float | None]:
    """What the load client could count at the most, of what a subject sends: those that batch, and those that do not."""

    def ceiling(name: str) -> float | None:
        if kind.measure not in ("saturation", "single"):
            return None
        batched = kind.measure == "saturation" and (BY_NAME[name].own or name == "c-batch")
        found = middle(s for s in results.samples if s.measure == "ceiling" and s.wire == kind.wire and (s.at > 1) == batched)
        return None if found is None else found.value

    return ceiling


def _ceilings(results: Results) -> Section:
    rows = []
    for wire in ("ws", "sse"):
        for each in (100.0, 1.0):
            found = middle(s for s in results.samples if (s.measure, s.wire, s.at) == ("ceiling", wire, each))
            if found is not None:
                what = f"{_WIRES[wire]}, {'everywire’s items, 100 to a frame' if each > 1 else 'a bare event a frame'}"
                rows.append((what, amount(found.value, "/s"), f"{found.spread / 2:.0%}", f"{found.busy:.0%}"))
    note = "What the load client counts of frames that were made beforehand, and are sent as fast as it takes them."
    return Section("The load client's own limit", note, ("", "median", "±", "client busy"), rows)


def _curves(results: Results) -> Section:
    rows = []
    for measure, over, what in _CURVES:
        here = [s for s in results.samples if s.measure == measure]
        for name in dict.fromkeys(s.subject for s in here):
            rows += _curve([s for s in here if s.subject == name], BY_NAME[name].title, over, what)
    note = (
        "How a cost grows: the exponent of the power law that lies nearest, 0 for a cost that does not grow and 1 for one "
        "that grows as fast, and the largest factor by which a point lies off it."
    )
    return Section("Growth", note, ("over", "of", "what", "points", "exponent", "off by"), rows)


def _curve(samples: Sequence[Sample], title: str, over: str, what: str) -> list[tuple[str, ...]]:
    points = []
    for at in sorted({s.at for s in samples}):
        found = middle(s for s in samples if s.at == at)
        if found is not None and found.value > 0:
            points.append((at, found.value))
    if len(points) < 2:
        return []
    law = power_law(points)
    shown = ", ".join(f"{at:,.0f}: {amount(value, 'us')}" for at, value in points)
    return [(over, title, what, shown, f"{law.exponent:+.2f}", f"×{law.spread:.2f}")]


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _pipes(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()
