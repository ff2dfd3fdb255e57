"""Progress: what is played now and how long it will take. On a terminal one line that changes, elsewhere a line when a round is
over.

How long: each lane takes as long as it did last time; one that was never played, its publishing and what the others took beside
theirs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Hashable, Iterable
from statistics import mean
from typing import Any, Final, NamedTuple, TextIO

from ..judging.doubts import GENERATOR_CPU
from ..judging.names import NAMES, subject_name
from ..plan import Plan
from ..samples import Lane, Round
from .swarm import Beat

_BESIDE: Final = 5.0  # seconds that a round takes beside publishing, as long as none has shown it
_REFRESH: Final = 4  # times a second


class Turn(NamedTuple):
    """A round to play: what it is, for people and for comparing its duration with others; how long it publishes."""

    what: str
    kind: Hashable
    seconds: float


class Estimate:
    """How long what is left will take, learnt from what was played."""

    def __init__(self) -> None:
        self._took: dict[Hashable, float] = {}
        self._beside: list[float] = []

    def learn(self, turn: Turn, seconds: float) -> None:
        """A round took so long, all in all."""
        self._took[turn.kind] = seconds
        self._beside.append(seconds - turn.seconds)

    def of(self, turn: Turn) -> float:
        """Seconds that a round will take."""
        beside = mean(self._beside) if self._beside else _BESIDE
        return self._took.get(turn.kind, turn.seconds + max(0.0, beside))

    def left(self, turns: Iterable[Turn], begun: float = 0.0) -> float:
        """Seconds that all these will take, the first of which began `begun` seconds ago."""
        first, *others = [self.of(turn) for turn in turns] or [0.0]
        return max(0.0, first - begun) + sum(others)


class Progress:
    """Tells of the rounds as they are played.

    Args:
        turns: what will be played, in this order. More may be added.
        search: there will be more than `turns`, but nobody knows how many.
        stream: where it is told.
        now: seconds that only grow.
    """

    def __init__(
        self,
        turns: Iterable[Turn],
        *,
        search: bool = False,
        stream: TextIO = sys.stderr,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left = list(turns)
        self._search = search
        self._done = 0
        self._stream, self._now = stream, now
        self._estimate = Estimate()
        self._began = now()
        self._beat = Beat()
        self._rate = Rate()
        self._live = _live(stream, self)

    def add(self, turn: Turn) -> None:
        """There is another round to play."""
        self._left.append(turn)

    def begin(self) -> None:
        """The next round begins."""
        self._began, self._beat, self._rate = self._now(), Beat(), Rate()

    def beat(self, beat: Beat) -> None:
        """What Locust says of itself."""
        self._beat = beat
        self._rate.note(self._now(), beat.delivered)

    def over(self, told: str) -> None:
        """The round is over."""
        turn = self._left.pop(0)
        self._estimate.learn(turn, self._now() - self._began)
        self._done += 1
        self.begin()
        self.say(f"{self._count(self._done)} {turn.what:<{_WIDTH}} {told}")

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._live is not None:
            self._live.console.print(text, highlight=False, markup=False, soft_wrap=True)
            self._live.refresh()
        else:
            print(text, file=self._stream, flush=True)

    def line(self) -> str:
        """The line that changes."""
        if not self._left:
            return ""
        now = self._now()
        parts = [self._left[0].what, doing(self._beat, self._left[0].seconds, time.monotonic_ns() // 1000)]
        if self._beat.phase in ("publishing", "draining"):
            parts.append(f"{self._rate.now:,.0f} deliveries/s")
        if self._beat.started is not None:
            parts.append(f"generator {self._beat.cpu:.0%} CPU, {self._beat.lag / 1000:.1f} ms late")
        if not self._search:
            parts.append(f"about {duration(self._estimate.left(self._left, now - self._began))} left")
        return f"{self._count(self._done)} {'   '.join(parts)}"

    @property
    def strained(self) -> bool:
        """The generator is so busy that what it measures is itself."""
        return self._beat.cpu > GENERATOR_CPU

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def _count(self, done: int) -> str:
        if self._search:
            return f"{done:>3}"
        total = str(self._done + len(self._left))
        return f"{done:>{len(total)}}/{total}"


_WIDTH: Final = 34  # columns for what a round is


class Rate:
    """Deliveries a second, over the last seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._before: tuple[float, int] | None = None

    def note(self, at: float, delivered: int) -> None:
        """So many until now."""
        if self._before is None or delivered < self._before[1]:
            self._before = at, delivered
        elif at - self._before[0] >= 0.5:
            self.now = (delivered - self._before[1]) / (at - self._before[0])
            self._before = at, delivered


def doing(beat: Beat, seconds: float, now: int) -> str:
    """What a round is at. `now`: µs of CLOCK_MONOTONIC."""
    if beat.phase == "opening":
        return f"opening {beat.ready:,}/{beat.readers:,}"
    if beat.phase == "publishing" and beat.started is not None:
        return f"publishing {min(seconds, max(0.0, (now - beat.started) / 1e6)):.0f}/{seconds:g} s"
    return beat.phase


def duration(seconds: float) -> str:
    """For people: `45 s`, `2:05 min`."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60}:{whole % 60:02} min"


def named(lane: Lane, plan: Plan) -> str:
    """A lane in few words: network and subject only where there are several."""
    parts = [lane.network] * (len(plan.networks) > 1) + [subject_name(lane.subject)] * (len(plan.subjects) > 1)
    return " · ".join([*parts, NAMES.get(lane.transport, lane.transport)])


def outcome(each: Round) -> str:
    """What a round brought."""
    sample = each.sample
    if not sample.ready:
        return "nobody got through"
    p50, p99 = (_ms(sample.delays.percentile(percent)) for percent in (50, 99))
    told = [f"p50 {p50:>8} ms   p99 {p99:>8} ms"]
    if sample.ready < sample.readers:
        told.append(f"{sample.ready:,} of {sample.readers:,} readers got in")
    counts = {"lost": sample.tally.lost, "doubled": sample.tally.doubled, "out of order": sample.tally.disordered}
    told += [f"{count:,} {name}" for name, count in counts.items() if count]
    return "   ".join(told)


def _ms(us: float | None) -> str:
    return "–" if us is None else f"{us / 1000:,.3f}"


def _live(stream: TextIO, progress: Progress) -> Any:
    """What draws the line that changes; None where there is no terminal that can, or `rich` is not there."""
    if not stream.isatty():
        return None
    try:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text
    except ImportError:
        return None
    console = Console(file=stream)
    if console.is_dumb_terminal:
        return None

    def drawn() -> Text:
        text = Text(progress.line(), no_wrap=True, overflow="ellipsis")
        if progress.strained:
            text.highlight_regex(r"generator \S+ CPU", "red")
        return text

    return Live(get_renderable=drawn, console=console, refresh_per_second=_REFRESH, transient=True)
