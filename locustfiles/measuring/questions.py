"""Questions: what is asked of a station in the course of a round, and what it answers. Values alone, so that a station may be in
another process or on another host.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ..histogram import Histogram
from ..samples import Pause, Phases, Tally, Traffic
from .timeline import Row


class Clock(msgspec.Struct, tag=True):
    """What does your clock show?"""


class Glance(msgspec.Struct, tag=True):
    """How far are you? `last`: of each source, the number that has to come last."""

    last: dict[str, int] = {}


class Begin(msgspec.Struct, tag=True):
    """What comes from now on counts.

    `ahead`: microseconds by which your clock is ahead of the publisher's. `interval`: between a reader's events, in
    microseconds, if all is well. `keep`: deliveries, for a sample.
    """

    ahead: int
    interval: float | None
    keep: bool


class Start(msgspec.Struct, tag=True):
    """The first event is due at `at`, the last before `until`, both in microseconds of the publisher's clock; `says`: events
    per second of each reader, of `size` bytes.
    """

    at: int
    until: int | None
    says: float
    size: int


class Hush(msgspec.Struct, tag=True):
    """Take no more time, if you did; what did your readers say?"""


class Said(msgspec.Struct, array_like=True):
    """What one reader has said: to whom, and when each was due, in microseconds of the publisher's clock."""

    source: str
    channel: str
    dues: list[int]


class Stock(msgspec.Struct, tag=True):
    """It is over: what have you got? `last`: of each source, the number that had to come last; `channels`: to which each
    source speaks.
    """

    last: dict[str, int]
    channels: dict[str, str]


class Glimpse(msgspec.Struct):
    """How far a station is."""

    ready: int
    delivered: int
    received: int  # when the last event came, in microseconds of the publisher's clock
    there: bool  # nothing is missing any more
    silent: bool  # nobody is speaking
    cpu: float
    lag: int  # µs at p99


class Part(msgspec.Struct, kw_only=True):
    """A station's part of a sample; times in microseconds of the publisher's clock. See `samples.Sample` for what has the same
    name.
    """

    ended: int
    tally: Tally
    slow_tally: Tally
    delays: Histogram
    slow: Histogram
    traffic: Traffic
    lag: Histogram
    cpu: float
    stamped: bool
    phases: Phases
    rows: list[Row]
    pauses: list[Pause]
    acknowledged: Histogram
    chosen: dict[str, int]
    failures: dict[str, int]
    followers: dict[str, int]  # readers of each channel, without slow ones
    counted: int


Question: TypeAlias = Clock | Glance | Begin | Start | Hush | Stock
Answer: TypeAlias = int | Glimpse | list[Said] | Part | None
