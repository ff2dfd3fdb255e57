"""Observations: what the probes have seen, as values. Texts in them come from strangers: they were cut to a length and
made printable when they were written down.

Times are seconds, counted from the beginning of the probe that they belong to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

_TEXT: Final = 200  # characters kept of a header's value or of a reason
_HEADERS: Final = 40  # headers kept of an answer
_MOMENT: Final = 1.0  # seconds between ends that are one
_TOGETHER: Final = 2  # transports; fewer can break for a reason of their own

SILENCE_SLACK: Final = 2.0  # seconds by which a beat may be late after a long silence


def printable(text: object, most: int = _TEXT) -> str:
    """`text` on one line, at the most so long; what could move a terminal's cursor or turn its writing is escaped."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii", "replace") for each in str(text)[:most]
    )


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as they are written down. Cookies are nobody's business."""
    named = [(printable(name).lower(), printable(value)) for name, value in list(headers.items())[:_HEADERS]]
    return {name: value for name, value in named if not name.startswith("set-cookie")}


class Head(msgspec.Struct, frozen=True):
    """A request, and the head of its answer."""

    path: str
    status: int  # 0 if the connection broke before there was one; the request may have been made again
    version: str  # of HTTP: "1.1"; "" if there was none
    headers: dict[str, str]  # names in lower case
    began: float  # when it was asked for
    took: float


class Ending(msgspec.Struct, frozen=True):
    """How it ended, and not by us. `verdict` is one of `evidence.VERDICTS`."""

    verdict: str
    at: float
    status: int = 0
    via: str = ""
    code: int = 0  # ours, if it was our server that said no
    reason: str = ""
    cause: str = ""  # of what could not be reached: "name", "port", "proxy", "time"; "" for anything else


class Arrival(msgspec.Struct, frozen=True):
    """An item that came."""

    kind: str
    came: float
    at: float = 0.0  # beats and events: when the server sent it off, in seconds since 1970


class Trial(msgspec.Struct):
    """One wire of one transport.

    `kind` is `beats` (one is asked for every second), `silence` (as few as possible, from a known position), or what is
    different from `beats`.
    """

    rung: str
    kind: str
    opened: float | None = None  # when it was answered as it should be
    answered: float | None = None  # when a question came back
    beat: float = 0.0  # the longest silence, as the server says
    resumed: str = ""  # as the server says
    arrivals: list[Arrival] = msgspec.field(default_factory=list)
    heads: list[Head] = msgspec.field(default_factory=list)
    ended: Ending | None = None
    took: float = 0.0

    @property
    def first(self) -> float | None:
        """When the first item came."""
        return self.arrivals[0].came if self.arrivals else None

    @property
    def silent_since(self) -> float:
        """When something was last asked for, or came."""
        return max([0.0, self.opened or 0.0, *(each.came for each in self.arrivals), *(each.began for each in self.heads)])

    @property
    def broke(self) -> float | None:
        """When it broke that had been well; None if it did not. One that the server ended with a word did not."""
        if self.first is None or (self.ended is not None and self.ended.code):
            return None
        again = [each.began + each.took for each in self.heads if not each.status and each.began + each.took > _MOMENT]
        return min(again, default=None) if again or self.ended is None else self.ended.at

    @property
    def lateness(self) -> list[float]:
        """By how much each beat came later than the fastest of them, in seconds."""
        beats = [each.came - each.at for each in self.arrivals if each.kind == "beat" and each.at]
        fastest = min(beats, default=0.0)
        return [round(each - fastest, 4) for each in beats]


class Asked(msgspec.Struct):
    """One question of plain HTTP. `ended` is None if it was answered as it should be."""

    name: str
    took: float = 0.0
    heads: list[Head] = msgspec.field(default_factory=list)
    ended: Ending | None = None
    at: float = 0.0  # when it was answered by the clock of this machine, in seconds since 1970


class Tls(msgspec.Struct, frozen=True):
    """Who showed a certificate."""

    issuer: str
    subject: str = ""
    version: str = ""  # of TLS
    alpn: str = ""  # "h2", "http/1.1"
    why: str = ""  # why it is not trusted; "" if it is


class Observations(msgspec.Struct):
    """All that was seen."""

    url: str
    channels: list[str]
    idle: float  # seconds of silence that were tried at the most; 0 if none were
    life: float  # seconds for which a stream was held; 0 if for no more than it takes to prove it
    proxy: str = ""  # that the environment names, without its password
    offered: list[str] = msgspec.field(default_factory=list)  # transports, as the server says, best first; [] if it did not
    beat: float = 15.0  # seconds; the longest silence, as the server says
    encodings: list[str] = msgspec.field(default_factory=list)  # codings in which the server itself answers
    since: str = ""  # the position from which reading went on
    asked: dict[str, Asked] = msgspec.field(default_factory=dict)
    trials: dict[str, Trial] = msgspec.field(default_factory=dict)  # "sse beats"
    edge: str = ""  # what was answered to a request that nobody can understand
    tls: Tls | None = None
    deflate: bool | None = None  # whether a WebSocket is compressed if the client offers it; None: not known
    secure: bool = False  # whether TLS is spoken where plain HTTP was tried, and not answered by us
    later: str | None = None  # the position once all had ended at one moment; "": nobody was there; None: not asked

    def trial(self, rung: str, kind: str) -> Trial | None:
        """What was seen of it, if it was tried."""
        return self.trials.get(f"{rung} {kind}")

    @property
    def broke_together(self) -> bool:
        """Whether every wire that was still there at some moment broke then, those of several transports."""
        moments = {name: moment for name, trial in self.trials.items() if (moment := trial.broke) is not None}
        if len({self.trials[name].rung for name in moments}) < _TOGETHER:
            return False
        first, last = min(moments.values()), max(moments.values())
        return last - first < _MOMENT and all(name in moments or trial.took < first for name, trial in self.trials.items())

    @property
    def restarted(self) -> bool:
        """Whether they broke together, and behind that there was another server, or none."""
        if self.later is None or not self.broke_together:
            return False
        return not self.later or (bool(self.since) and self.later.rpartition(".")[0] != self.since.rpartition(".")[0])

    def heads(self) -> Iterator[Head]:
        """The heads of all answers."""
        for asked in self.asked.values():
            yield from asked.heads
        for trial in self.trials.values():
            yield from trial.heads
