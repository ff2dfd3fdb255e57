"""Diff: what changed between two runs of one plan, beyond the noise of both.

Repeats of two runs have nothing in common, so each run's own scatter is the measure (Welch's t), and all that is compared is
right together in 95 of 100 diffs. That is not enough: two runs differ also by what the machine did meanwhile. The calibration
tells of that: nothing is credited that is not more than the instrument itself changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from transports.errors import ConfigError

from ..plan import Plan
from ..samples import Lane, Round, Run
from .capacity import CLOSE, capacity
from .figures import FIGURES, Figure, least, of_lane
from .names import amount, lane_name, listed, network_name
from .noise import Difference, unpaired
from .verdict import judge

Says: TypeAlias = Literal["better", "worse", "same", "unknown"]

TOLERANCE: Final = 0.05  # a change that nobody would act upon
COMPARED: Final = (
    *("p50", "p99", "lost", "silent", "doubled", "disordered", "bytes", "requests", "cpu", "memory", "footprint"),
    *("hello", "ack", "recovery"),
)  # of FIGURES; the more are compared, the larger a change has to be
_READERS: Final = Figure("capacity", "Capacity", "readers", lambda _: None)
_IRRELEVANT: Final = frozenset({"question", "repeats", "slo", "calibrate", "quick", "patience", "point"})
_FLEETING: Final = frozenset({"load before"})


class Row(NamedTuple):
    """One figure of one lane in both runs."""

    lane: Lane  # of the first run
    figure: str
    label: str
    unit: str
    a: float | None  # None: not measured; infinite: longer than a round
    b: float | None
    difference: Difference | None  # None: the noise is not known, or of no concern
    says: Says


class Diff(NamedTuple):
    """What changed from run `a` to run `b`."""

    rows: list[Row]
    tolerance: float
    doubts: list[str]  # not empty: not trustworthy
    notes: list[str]  # machines and versions that differ, lanes that only one of them has
    names: dict[Lane, str]

    @property
    def code(self) -> int:
        """The exit code: 4 not trustworthy, 3 something is worse, 0 neither."""
        return 4 if self.doubts else 3 if self.worse else 0

    @property
    def worse(self) -> list[Row]:
        """What got worse."""
        return [row for row in self.rows if row.says == "worse"]

    @property
    def better(self) -> list[Row]:
        """What got better."""
        return [row for row in self.rows if row.says == "better"]


def diff(a: Run, b: Run, *, tolerance: float = TOLERANCE, anyway: bool = False) -> Diff:
    """What changed.

    Args:
        a: the run before.
        b: the run after.
        tolerance: 0.05: changes up to 5 % do not count.
        anyway: compare runs of different plans too.

    Raises:
        ConfigError: the plans differ; the message says in what.
    """
    differ = plans_differ(a.plan, b.plan)
    if differ and not anyway:
        raise ConfigError(f"these runs are not of one plan: {'; '.join(differ)}. What can be compared is with --anyway")
    pairs = _pairs(a, b)
    figures = [FIGURES[name] for name in COMPARED]
    comparisons = max(1, sum(_can_compare(figure, a.of(one), b.of(other)) for one, other in pairs for figure in figures))
    rows = [
        _row(a, b, one, other, figure, comparisons=comparisons, tolerance=tolerance) for one, other in pairs for figure in figures
    ] + [_capacity_row(a, b, one, other, tolerance) for one, other in pairs]
    shown = [row for row in rows if row.a is not None or row.b is not None]
    notes = [*differ, *_environments(a, b), *_left_over(a, b, pairs), *_drifts(a, b)]
    return Diff(shown, tolerance, _doubts(a, b, pairs), notes, {lane: _place(lane, a.plan) for lane in a.lanes()})


def plans_differ(a: Plan, b: Plan) -> list[str]:
    """In what two plans differ that matters: `readers 100 and 200`."""
    fields = [name for name in a.__struct_fields__ if name not in _IRRELEVANT]
    return [
        f"{name} {_shown(getattr(a, name))} and {_shown(getattr(b, name))}"
        for name in fields
        if getattr(a, name) != getattr(b, name)
    ]


def text(found: Diff) -> str:
    """For the terminal: a table by lane, then what to think of it."""
    lines = [line for lane in dict.fromkeys(row.lane for row in found.rows) for line in _table(found, lane)]
    lines += ["", sentence(found), *(f"Note: {note}." for note in found.notes)]
    return "\n".join(lines).lstrip("\n")


def sentence(found: Diff) -> str:
    """What to think of it."""
    if found.doubts:
        return f"Not trustworthy: {found.doubts[0]}."
    limit = f"beyond the noise and {found.tolerance * 100:g} %"
    said = [
        f"{word} {limit}: {_places(found, rows)}" for word, rows in (("Worse", found.worse), ("better", found.better)) if rows
    ]
    if not found.rows:
        return "The runs have no lane in common."
    return f"{'; '.join(said)[:1].upper()}{'; '.join(said)[1:]}." if said else f"Nothing changed {limit}."


def as_json(found: Diff) -> bytes:
    """The same for programs. A time longer than a round is null, with `says` telling what that means."""
    return msgspec.json.encode(
        {
            "rows": [_row_as_dict(row) for row in found.rows],
            "tolerance": found.tolerance,
            "trustworthy": not found.doubts,
            "doubts": found.doubts,
            "notes": found.notes,
            "sentence": sentence(found),
        }
    )


def _row_as_dict(row: Row) -> dict[str, Any]:
    finite = {side: value if value is not None and math.isfinite(value) else None for side, value in (("a", row.a), ("b", row.b))}
    times = row.difference.times if row.difference else None
    return {
        **row.lane._asdict(),
        "figure": row.figure,
        "unit": row.unit,
        **finite,
        "ratio": times and times._asdict(),
        "says": row.says,
    }


def _pairs(a: Run, b: Run) -> list[tuple[Lane, Lane]]:
    """Lanes that belong together. A single server is that of the other run, whatever it is called: it may run elsewhere."""
    theirs, alone = b.lanes(), len(a.plan.subjects) == len(b.plan.subjects) == 1
    found = [(lane, lane._replace(subject=b.plan.subjects[0]) if alone else lane) for lane in a.lanes()]
    return [(one, other) for one, other in found if other in theirs]


def _can_compare(figure: Figure, ours: Sequence[Round], theirs: Sequence[Round]) -> bool:
    return not figure.counted and unpaired(_finite(figure, ours), _finite(figure, theirs)) is not None


def _finite(figure: Figure, rounds: Sequence[Round]) -> list[float | None]:
    values = [figure.of(each) for each in rounds]
    return [value if value is None or math.isfinite(value) else None for value in values]


def _row(a: Run, b: Run, one: Lane, other: Lane, figure: Figure, *, comparisons: int, tolerance: float) -> Row:
    ours, theirs = a.of(one), b.of(other)
    before, after = of_lane(figure, ours), of_lane(figure, theirs)
    found = unpaired(_finite(figure, ours), _finite(figure, theirs), comparisons=1 if figure.counted else comparisons)
    limit = max(math.log1p(tolerance), abs(drift(a, b, one.transport, figure)))
    return Row(one, figure.name, figure.label, figure.unit, before, after, found, _says(before, after, found, figure, limit))


def _says(a: float | None, b: float | None, found: Difference | None, figure: Figure, limit: float) -> Says:
    """What the two figures say, `limit` being the logarithm of the least ratio that counts."""
    if a is None and b is None:
        return "unknown"
    if a is None or b is None or math.isinf(a) or math.isinf(b):
        return _by_absence(a, b)
    if figure.counted and (not a or not b):
        return _direction(b - a)
    if found is None:
        return "same" if a == b else "unknown"
    if not found.beyond_noise or abs(found.by.mid) <= figure.resolution:
        return "same"
    if found.times is not None and abs(math.log(found.times.mid)) <= limit:
        return "same"
    return _direction(found.by.mid)


def _by_absence(a: float | None, b: float | None) -> Says:
    """What was there and is not any more is worse."""
    known = [value is not None and math.isfinite(value) for value in (a, b)]
    return "same" if known[0] == known[1] else "worse" if known[0] else "better"


def _direction(more: float) -> Says:
    return "worse" if more > 0 else "better" if more < 0 else "same"


def _capacity_row(a: Run, b: Run, one: Lane, other: Lane, tolerance: float) -> Row:
    """More is better. The search ends within a tenth, so it sees no less."""
    before, after = (
        capacity(run.steps, lane)[0] if any(each.lane == lane for each in run.steps) else None
        for run, lane in ((a, one), (b, other))
    )
    says: Says = "unknown"
    if before is not None and after is not None:
        ratio = (after + 1) / (before + 1)
        says = "same" if max(ratio, 1 / ratio) <= max(CLOSE, 1 + tolerance) else _direction(before - after)
    return Row(one, _READERS.name, _READERS.label, _READERS.unit, before, after, None, says)


def drift(a: Run, b: Run, transport: str, figure: Figure) -> float:
    """By how much a figure of the instrument itself changed, as the logarithm of the ratio; 0 where it was not calibrated."""
    values = [least(figure, [each for each in run.calibration if each.lane.transport == transport]) for run in (a, b)]
    before, after = (value if value is not None and 0 < value < math.inf else None for value in values)
    return math.log(after / before) if before is not None and after is not None else 0.0


def _drifts(a: Run, b: Run) -> list[str]:
    """What the calibrations of both runs tell, if it is more than a tenth."""
    found = []
    for transport in dict.fromkeys(each.lane.transport for each in a.calibration):
        ratio = math.exp(drift(a, b, transport, FIGURES["p50"]))
        if not 1 / CLOSE <= ratio <= CLOSE:
            name = lane_name(Lane("", "", transport), Plan())
            found.append(
                f"the instrument itself took {ratio:.2g} times as long over {name} in the second run, so less is credited"
            )
    return found


def _doubts(a: Run, b: Run, pairs: list[tuple[Lane, Lane]]) -> list[str]:
    found = [] if pairs else ["they have no lane in common"]
    for which, run in (("first", a), ("second", b)):
        verdicts = judge(run)
        reasons = verdicts.doubts + [doubt for each in verdicts.each for doubt in each.doubts]
        if not verdicts.trustworthy:
            found.append(f"in the {which} run, {reasons[0] if reasons else 'nothing was measured'}")
    return found


def _environments(a: Run, b: Run) -> list[str]:
    """Machines and versions that differ."""
    names = [name for name in dict.fromkeys((*a.environment, *b.environment)) if name not in _FLEETING]
    pairs = [(name, a.environment.get(name, "none"), b.environment.get(name, "none")) for name in names]
    return [f"{name} was {before} and is {after}" for name, before, after in pairs if before != after]


def _left_over(a: Run, b: Run, pairs: list[tuple[Lane, Lane]]) -> list[str]:
    """Lanes that only one of them has."""
    lonely = [
        (which, _place(lane, run.plan))
        for which, run, side in (("first", a, 0), ("second", b, 1))
        for lane in run.lanes()
        if lane not in [pair[side] for pair in pairs]
    ]
    return [f"only the {which} run has {name}" for which, name in lonely]


def _place(lane: Lane, plan: Plan) -> str:
    return lane_name(lane, plan) + (f" {network_name(lane.network)}" if len(plan.networks) > 1 else "")


def _places(found: Diff, rows: Iterable[Row]) -> str:
    return listed([f"{row.label} of {found.names[row.lane]}" for row in rows])


def _table(found: Diff, lane: Lane) -> list[str]:
    rows = [
        [row.label, _value(row.a, row.unit), _value(row.b, row.unit), _ratio(row), row.says]
        for row in found.rows
        if row.lane == lane
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:<{widths[3]}}  {row[4]}" for row in rows
    ]
    return ["", found.names[lane], *lines]


def _value(value: float | None, unit: str) -> str:
    return "–" if value is None else "never" if math.isinf(value) else amount(value, unit)


def _ratio(row: Row) -> str:
    if row.difference is None or row.difference.times is None:
        return ""
    low, mid, high = row.difference.times
    return f"{mid:.3g} times ({low:.3g} to {high:.3g})"


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
