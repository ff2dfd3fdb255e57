"""Parts: the sample of a round, put together from what the stations have got. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..histogram import Histogram, merged
from ..plan import Plan
from ..samples import Pause, Phases, Published, Sample, Tally, Traffic, total
from . import timeline
from .questions import Part
from .timeline import Row


def nothing(plan: Plan, readers: int, parts: Sequence[Part]) -> Sample:
    """The sample of a round in which no reader got in: nothing was published, and only what the readers complain of is known."""
    return Sample(
        readers=readers,
        ready=0,
        started=0,
        ended=0,
        tally=Tally(),
        delays=Histogram(),
        traffic=Traffic(),
        published=Published(rate=plan.rate, size=plan.size),
        lag=Histogram(),
        cpu=0.0,
        clock="process",
        failures=_counted(part.failures for part in parts),
        processes=len(parts),
    )


def together(
    parts: Sequence[Part], published: Published, due: Iterable[tuple[str, int, int]], speaks: Mapping[str, str]
) -> tuple[Sample, list[Row]]:
    """The whole sample, and a row for each event.

    Args:
        parts: of at least one station.
        published: what the publisher did.
        due: source, number and time of each event that was published.
        speaks: the channel of each source.
    """
    followers = sum((Counter(part.followers) for part in parts), Counter[str]())
    rows = timeline.merged(part.rows for part in parts)
    rows = timeline.completed(rows, due, {source: followers[channel] for source, channel in speaks.items()})
    sample = Sample(
        readers=0,
        ready=0,
        started=published.started,
        ended=max([published.started, *(part.ended for part in parts)]),
        tally=total(part.tally for part in parts),
        slow_tally=total(part.slow_tally for part in parts),
        delays=merged(part.delays for part in parts),
        slow=merged(part.slow for part in parts),
        traffic=_traffic(part.traffic for part in parts),
        published=published,
        lag=merged(part.lag for part in parts),
        cpu=max(part.cpu for part in parts),
        clock="kernel" if all(part.stamped for part in parts) else "process",
        phases=_phases(part.phases for part in parts),
        timeline=timeline.slots(rows, published.started),
        pauses=_pauses(parts),
        acknowledged=merged(part.acknowledged for part in parts),
        chosen=_counted(part.chosen for part in parts),
        failures=_counted(part.failures for part in parts),
        processes=len(parts),
    )
    return sample, rows


def _traffic(found: Iterable[Traffic]) -> Traffic:
    whole = Traffic()
    for each in found:
        whole = whole.plus(each)
    return whole


def _phases(found: Iterable[Phases]) -> Phases:
    whole = Phases()
    for each in found:
        for name in whole.__struct_fields__:
            getattr(whole, name).merge(getattr(each, name))
    return whole


def _pauses(parts: Sequence[Part]) -> list[Pause]:
    """With readers numbered through."""
    found, before = [], 0
    for part in parts:
        found += [Pause(before + each.reader, each.began, each.ended) for each in part.pauses]
        before += part.counted
    return found


def _counted(found: Iterable[Mapping[str, int]]) -> dict[str, int]:
    whole: Counter[str] = Counter()
    for each in found:
        whole.update(each)
    return dict(whole)
