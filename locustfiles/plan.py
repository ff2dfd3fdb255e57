"""Plan: what is asked of a measurement. A scenario is a question with the numbers that suit it; a plan is a scenario as somebody
wants it played here and now.

Pure data: read by `compare`, which must not import Locust, and by Locust itself.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

TRANSPORTS: Final = ("websocket", "sse", "longpoll")
NEGOTIATED: Final = "negotiated"  # the client chooses
# Which figure answers a question: the median of the delay, its 99th percentile, the time until readers are back after a fault,
# the server's memory per reader, the readers that a server bears, or the time until a reader's own publish is acknowledged.
POINTS: Final = ("delay", "tail", "recovery", "memory", "capacity", "acknowledgement")

# What a number may be is checked wherever one comes from outside: a file, a scenario, the command line.
Some: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]
Rate: TypeAlias = Annotated[float, Meta(ge=1e-6, le=1e6)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=1e7)]  # four months
_Point: TypeAlias = Annotated[str, Meta(pattern=f"^({'|'.join(POINTS)})?$")]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is done while events flow.

    `do` is one of: `cut` (reset all connections), `close` (end them properly), `forget` (drop them without a word), `restart`
    (ask the server to end, and start it again), `kill` (the same, without asking), or `network NAME` (become another network, and
    the old one again when the time is over).
    """

    at: Seconds  # seconds since the first event was due
    do: str
    lasts: Seconds = 0.0  # seconds; for `network …`


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers that suit a question. The question is the first sentence of the file that holds it."""

    transports: tuple[str, ...] = TRANSPORTS
    networks: tuple[str, ...] = ("open",)
    readers: Some = 100
    rate: Rate = 50.0  # events per second
    burst: Some = 1  # events that are due at the same moment; the rate stays what it is
    size: Annotated[int, Meta(ge=60, le=30_000)] = 100  # bytes of one event's data
    seconds: Annotated[float, Meta(gt=0, le=1e7)] = 10.0  # of publishing in each round
    repeats: Some = 5
    channels: Some = 1  # to which the events go in turn
    follows: Some = 1  # of these, how many a reader follows
    slow: Annotated[float, Meta(ge=0, le=1)] = 0.0  # share of the readers that take their time
    says: Annotated[float, Meta(ge=0, le=1e6)] = 0.0  # events per second that each reader publishes itself
    goal: Annotated[float, Meta(gt=0, le=1e9)] | None = None  # ms: search for the most readers whose p99 stays below it
    faults: tuple[Fault, ...] = ()
    patience: Seconds = 30.0  # seconds to wait for readers to be in place; who is not there then does not get through
    quick: dict[str, float] = {}  # what changes with --quick: {"readers": 50}
    point: _Point = ""  # which figure answers the question, one of POINTS; empty: what the other numbers suggest

    @property
    def answered_by(self) -> str:
        """The point, given or suggested by the numbers."""
        suggested = (
            (self.goal is not None, "capacity"),
            (self.faults, "recovery"),
            (self.says, "acknowledgement"),
            (self.slow, "tail"),
        )
        return self.point or next((point for met, point in suggested if met), "delay")


class Plan(Scenario, frozen=True, kw_only=True):
    """A scenario, as it is to be played."""

    scenario: str = "fanout"  # name, or path of the file
    question: str = ""
    subjects: tuple[str, ...] = ("everywire",)  # the servers: names, paths of adapters, or URLs
    processes: Annotated[int, Meta(ge=1, le=64)] = 1  # of Locust
    slo: tuple[str, ...] = ()  # `p99<50ms`
    calibrate: bool = True
