"""Facts, instructions and state: the values that the negotiator takes and gives. All of them travel as JSON, so a log of
them can be replayed anywhere.

A **wire** is one connection of one **rung** (a transport of the ladder); `wire` in a fact or an instruction is its number.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

STATES: Final = ("idle", "connecting", "open", "reconnecting", "offline", "closed", "failed")
BEAT: Final = 15.0  # seconds, until a `hello` says otherwise


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Every number that the negotiator goes by. Times are seconds."""

    gap: float = 0.2  # from one start of a race to the next, as long as no round trip is known, and at the least
    gap_most: float = 2.0
    proof: float = 5.0  # for a wire to bring an item and an answer
    answer: float = 3.0  # for a wire that works to answer a question
    slack: float = 1.0  # by which a beat may be late
    check: float = 2.0  # until a one-way stream in charge is compared with a poll once more; then less and less often
    hidden: float = 70.0  # patience in a hidden tab, whose timers may fire once a minute
    short: float = 20.0  # a life below that is a short one
    strikes: int = 2  # short lives in a row that speak against a rung
    settle: float = 2.0  # for which a better wire must live before it takes over
    retest: float = 30.0  # until a bad rung is tried again; doubles
    retest_most: float = 600.0
    memory: float = 600.0  # for which a verdict is kept
    at_once: float = 0.1  # within which a wire that broke is opened again
    backoff: float = 0.5  # the first pause after a round in which nothing worked, at most; doubles
    backoff_most: float = 20.0
    opens: float = 20.0  # connections that may be opened in a row
    opens_rate: float = 1.0  # connections a second, in the long run


# ---------------------------------------------------------------------------------------------------------------- facts


class _Fact(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower, omit_defaults=True):
    @property
    def kind(self) -> str:
        """The row of the table."""
        return str(self.__struct_config__.tag)


class Start(_Fact, frozen=True):
    """The client begins."""


class Stop(_Fact, frozen=True):
    """The client has enough."""


class Opened(_Fact, frozen=True):
    """The other side answered as it should: 101, or 200 with our content type."""

    wire: int


class Item(_Fact, frozen=True):
    """Something of ours came down. Told for the first, and then not more than about once a second.

    `beat`: from a `hello`, the longest silence in seconds; 0 where none was said.
    """

    wire: int
    beat: float = 0.0


class Answered(_Fact, frozen=True):
    """A question that went up came back.

    `behind`: the answer held an event that the wire has not brought, though it had the time. An answer that came on the wire
    itself is also an `Item`, told before; that of a poll is an `Item` too, told behind it.
    """

    wire: int
    behind: bool = False


class Refused(_Fact, frozen=True):
    """HTTP said something else than yes.

    `html`: a page was the answer; `via`: who says that he answered; `code` and `name`: ours, 0 if the body was not ours;
    `retry`: seconds, if somebody said; `final`: our server says no, for good.
    """

    wire: int
    status: int
    via: str = ""
    html: bool = False
    code: int = 0
    name: str = ""
    reason: str = ""
    retry: float | None = None
    final: bool = False


class Closed(_Fact, frozen=True):
    """A connection ended, or was never made.

    `how`: a verdict, where the client knows it: `tls_error`, `unsupported`, `not_ours`; `code`: of a `bye` or a close frame, 0
    for none; `retry` and `final` as in `Refused`.
    """

    wire: int
    how: str = ""
    code: int = 0
    name: str = ""
    reason: str = ""
    retry: float | None = None
    final: bool = False


class Leaving(_Fact, frozen=True):
    """The server said that it will end this wire, and goes on serving it meanwhile: a `bye` with `stays`.

    `retry`: seconds until another connection may be opened in its place.
    """

    wire: int
    retry: float


class HttpOk(_Fact, frozen=True, tag="http_ok"):
    """A command was answered: plain HTTP works."""


class HttpFailed(_Fact, frozen=True, tag="http_failed"):
    """A command was not answered, and not by the server's will."""


class Tick(_Fact, frozen=True):
    """The time that `State.due` named has come, or more."""


# The next four come from browsers and, where a process can know it, from its clock and its addresses.


class Online(_Fact, frozen=True):
    """The device has a network again, perhaps another one. `same`: it is surely the one from before."""

    same: bool = False


class Offline(_Fact, frozen=True):
    """The device says that it has no network. `let_go`: close everything, whatever still works; `reason`: in words, for a
    client that wants a rest for another reason: its page is put to sleep, its reader cannot keep up.
    """

    let_go: bool = False
    reason: str = ""


class Hidden(_Fact, frozen=True):
    """Nobody looks."""


class Shown(_Fact, frozen=True):
    """Somebody looks again, or the process woke from a sleep."""


class Prefer(_Fact, frozen=True):
    """Somebody wants `rung` from now on."""

    rung: str


_KINDS = (
    *(Start, Stop, Opened, Item, Answered, Refused, Closed, Leaving),
    *(HttpOk, HttpFailed, Tick, Online, Offline, Hidden, Shown, Prefer),
)
FACTS: Final[dict[str, type[_Fact]]] = {str(kind.__struct_config__.tag): kind for kind in _KINDS}
Fact: TypeAlias = (
    Start
    | Stop
    | Opened
    | Item
    | Answered
    | Refused
    | Closed
    | Leaving
    | HttpOk
    | HttpFailed
    | Tick
    | Online
    | Offline
    | Hidden
    | Shown
    | Prefer
)


# ------------------------------------------------------------------------------------------------------------------ state


class Wire(msgspec.Struct):
    """One connection, as the negotiator sees it."""

    number: int
    rung: str
    why: str  # "race", "retest", "wish" or "move"
    phase: str = "waiting"  # then opening, opened, heard, proven
    due: float | None = None  # when the phase has lasted too long; for one that waits, when to open it
    began: float = 0.0  # when it was opened
    heard: float = 0.0  # when the last item came
    still: float = 0.0  # seconds, the longest silence that it has survived
    proven: float = 0.0  # when
    beat: float = BEAT  # seconds, the longest silence
    gap: float | None = None  # seconds from item to item, smoothed
    answered: bool = False
    asked: float | None = None  # since when a question is out
    check: float | None = None  # of a one-way stream in charge: when it is compared again
    leave: float | None = None  # of one that the server is going to end: when another is to be opened in its place
    struck: bool = False  # its end, or the suspicion, has been held against its rung
    spared: bool = False  # it was given more time after a sleep, which happens once


class Bad(msgspec.Struct):
    """What is remembered against a rung in one network."""

    verdict: str
    until: float  # from then on it is tried first again; 0 once it works, while it is remembered how long it had not
    retest: float  # when it is tried again beside one that works
    delay: float  # seconds; doubles with every failure
    status: int = 0
    via: str = ""


class Doubt(msgspec.Struct):
    """A wire that worked has gone. What it means is seen when something works again, or when nothing does."""

    rung: str
    verdict: str
    quiet: float | None = None  # seconds for which the path bore silence


class Attempt(msgspec.Struct):
    """Evidence: one try of one rung, or the end of one that worked."""

    rung: str
    why: str
    phase: str  # how far it had come
    ms: int
    verdict: str
    status: int = 0
    via: str = ""
    reason: str = ""


class State(msgspec.Struct):
    """All that the negotiator knows."""

    rungs: list[str]  # best first
    pace: Pace = msgspec.field(default_factory=Pace)
    held: list[str] = msgspec.field(default_factory=list)  # rungs whose bodies a proxy can hold back: one-way streams
    bad: dict[str, Bad] = msgspec.field(default_factory=dict)
    quiet: float | None = None  # seconds for which this path bears silence, as far as was learnt
    quiet_until: float = 0.0
    state: str = "idle"
    sentence: str = "Not connected yet."
    wires: list[Wire] = msgspec.field(default_factory=list)
    using: int = 0  # the wire in charge; 0 for none
    numbers: int = 0
    due: float | None = None  # when the next tick is wanted
    again: float | None = None  # when the next round begins
    delay: float = 0.0  # seconds of that pause
    retry: float = 0.0  # seconds that somebody on the way asked for in this round
    wanted: float | None = None  # when the server said that it wants to be asked again
    rise: float | None = None  # when better rungs are tried that nobody blamed; None after a wish
    failed: dict[str, str] = msgspec.field(default_factory=dict)  # rung -> verdict, in this round
    rounds: int = 0  # in a row in which nothing worked
    short: dict[str, int] = msgspec.field(default_factory=dict)  # rung -> short lives in a row
    doubt: Doubt | None = None
    rtt: float | None = None  # seconds
    beat: float = BEAT
    opens: float = 0.0  # that may still be made in a row
    opens_at: float = 0.0
    online: bool = True
    hidden: bool = False
    ever: bool = False  # it was open before
    cause: str = ""  # of the last end, in words
    rest: str = ""  # why the client wants none of the network, if not because there is none
    code: int = 0  # of an end for good
    name: str = ""  # of that code
    attempts: list[Attempt] = msgspec.field(default_factory=list)

    def copy(self) -> State:
        """One that can be changed without changing this one."""
        again = msgspec.structs.replace
        return again(
            self,
            bad={rung: again(bad) for rung, bad in self.bad.items()},
            wires=[again(wire) for wire in self.wires],
            failed=dict(self.failed),
            short=dict(self.short),
            doubt=None if self.doubt is None else again(self.doubt),
        )


# ----------------------------------------------------------------------------------------------------------- instructions


class _Instruction(msgspec.Struct, frozen=True, tag_field="do", tag=str.lower, omit_defaults=True):
    pass


class Open(_Instruction, frozen=True):
    """Open a connection of `rung` at the position where the client stands.

    `quiet`: seconds of silence that the path bears, to be asked for as `beat` or as a poll's `wait`; None: as the server likes.
    """

    wire: int
    rung: str
    quiet: float | None = None


class Close(_Instruction, frozen=True):
    """Close it, without waiting for anything."""

    wire: int


class Ask(_Instruction, frozen=True):
    """Put a question to the other side: a ping on the wire itself or, where nothing can be sent, a poll that does not wait."""

    wire: int


class Deliver(_Instruction, frozen=True):
    """This wire is in charge from now on."""

    wire: int
    rung: str


class Announce(_Instruction, frozen=True):
    """Tell people."""

    state: str
    sentence: str


class Remember(_Instruction, frozen=True):
    """Keep this for the next start in the same network."""

    bad: dict[str, Bad]
    quiet: float | None = None
    quiet_until: float = 0.0


Instruction: TypeAlias = Open | Close | Ask | Deliver | Announce | Remember
