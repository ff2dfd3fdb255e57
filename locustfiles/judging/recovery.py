"""Recovery: how long after a fault was over readers had events again.

What counts is the end of the fault, as far as the server and the network are concerned: how long they were away is not the
reader's doing, what it then took to notice and come back is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from ..histogram import Histogram
from ..samples import Mark, Pause, Recovery, Sample

_UNDER_WAY: Final = 200_000  # µs; what was sent before a fault may still arrive after it


def recoveries(sample: Sample, marks: Sequence[Mark]) -> list[Recovery]:
    """How readers fared after each of `marks`."""
    return [_after(place, mark, _next(mark, marks), sample) for place, mark in enumerate(marks)]


def _next(mark: Mark, marks: Sequence[Mark]) -> float:
    """When the next fault explains what begins."""
    return min([each.began for each in marks if each.began > mark.began], default=math.inf)


def _after(place: int, mark: Mark, until: float, sample: Sample) -> Recovery:
    waits: dict[int, int] = {}  # by reader, in µs; of several pauses, the last to end
    never: set[int] = set()
    for pause in _during(sample.pauses, mark, until):
        if pause.ended is None:
            never.add(pause.reader)
        else:
            waits[pause.reader] = max(waits.get(pause.reader, 0), pause.ended - mark.ended)
    back = Histogram()
    for reader in waits.keys() - never:
        back.record(waits[reader])
    if (unhurt := sample.ready - len(waits.keys() | never)) > 0:
        back.record(0, unhurt)
    return Recovery(mark=place, back=back, never=len(never))


def _during(pauses: Iterable[Pause], mark: Mark, until: float) -> list[Pause]:
    """Those that the mark explains: they began before it was over, or with what was still under way, and ended after it began."""
    over = min(mark.ended + _UNDER_WAY, until)
    return [each for each in pauses if each.began <= over and (each.ended is None or each.ended > mark.began)]
