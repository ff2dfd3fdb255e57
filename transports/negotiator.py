"""Negotiator: which transport to use, decided by proof. Facts in, instructions out.

`step(state, fact, now, luck) -> (state, instructions)` is the whole of it: no clock, no chance, no network. The client
(`driver.py`; `static/client.js` has the same machine) tells it what happened and does what it says. Any log of
`(fact, now, luck)` can be replayed, in either language.

How it decides:

* **Race.** The best rung of the ladder is opened at once, the next after about a round trip, and so on. A rung that fails
  makes room for the next at once.
* **Proof.** A wire works when an item of ours came down *and* an answer came back (`Ask`, `Answered`). Items are
  delivered from whichever wire brings them, since repeats are dropped by position; proof decides which wire stays.
* **Make before break.** A wire in charge that falls silent stays until another is proven. A better one that comes late
  takes over. Nothing is lost or doubled in between, because every wire reads on from the same position.
* **Moving.** A server that goes says so in time, and stays for a while: when it said, another wire of the same rung is opened
  beside the old one, and takes its place once it is proven.
* **Blame.** A rung is remembered as bad only when another one works at the same time. An outage blames nobody.
* **Way back up.** Bad rungs are tried again in the background, after 30 seconds, then 60, up to 10 minutes; one must live for
  `settle` seconds before it takes over, and for `short` if short lives were what spoke against it.
* **Learning.** A wire that was cut while nothing came gets shorter beats; two short lives in a row speak against a rung.

`TABLE` decides every pair of state and fact; the diagram in the documentation is made from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from . import outlook
from .evidence import sentence, verdict_of
from .facts import (
    FACTS,
    STATES,
    Announce,
    Answered,
    Ask,
    Attempt,
    Bad,
    Close,
    Closed,
    Deliver,
    Doubt,
    Fact,
    Instruction,
    Item,
    Leaving,
    Offline,
    Online,
    Open,
    Opened,
    Prefer,
    Refused,
    Remember,
    State,
    Wire,
)

GRID: Final = """
            idle    connecting open    reconnecting offline closed failed
start       begin   -          -       -            -       -      -
stop        finish  finish     finish  finish       finish  -      -
opened      -       reach      reach   reach        reach   -      -
item        -       hear       hear    hear         hear    -      -
answered    -       settle     settle  settle       settle  -      -
refused     -       refuse     refuse  refuse       refuse  -      -
closed      -       lose       lose    lose         lose    -      -
leaving     -       move       move    move         move    -      -
http_ok     -       hurry      -       hurry        hurry   -      -
http_failed -       -          wonder  -            -       -      -
tick        -       look       look    look         look    -      -
online      connect afresh     afresh  afresh       afresh  -      -
offline     part    lie_low    lie_low lie_low      lie_low -      -
hidden      veil    veil       veil    veil         veil    -      -
shown       unveil  wake       wake    wake         wake    -      -
prefer      -       wish       wish    wish         wish    -      -
"""
"""Which rule answers which fact in which state. `-`: decided, and nothing changes."""

_ENDS = ("closed", "refused")
ARROWS: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("idle", "connecting"): ("start",),
    ("idle", "closed"): ("stop",),
    ("connecting", "open"): ("item", "answered"),
    ("connecting", "offline"): ("offline", *_ENDS, "tick", "answered"),
    ("connecting", "closed"): ("stop", "closed"),
    ("connecting", "failed"): _ENDS,
    ("open", "reconnecting"): (*_ENDS, "tick", "answered"),
    ("open", "offline"): ("offline", *_ENDS),
    ("open", "closed"): ("stop", "closed"),
    ("open", "failed"): _ENDS,
    ("reconnecting", "open"): ("item", "answered", "tick", *_ENDS, "prefer"),
    ("reconnecting", "offline"): ("offline", *_ENDS, "tick", "answered"),
    ("reconnecting", "closed"): ("stop", "closed"),
    ("reconnecting", "failed"): _ENDS,
    ("offline", "connecting"): ("online",),
    ("offline", "reconnecting"): ("online",),
    ("offline", "open"): ("item", "answered", "tick", *_ENDS),
    ("offline", "closed"): ("stop", "closed"),
    ("offline", "failed"): _ENDS,
}
"""Which facts may lead from one state to another."""

_ATTEMPTS: Final = 30  # kept as evidence
_SLEPT: Final = 5.0  # seconds by which a tick is late if the process slept, or its timers were throttled
_SOFT: Final = frozenset(
    {"unreachable", "bad_gateway", "tls_error", "timeout_open", "no_answer", "buffered", "cut_early", "not_ours", "ended"}
)
"""Verdicts that may only mean that the server was just starting: they are looked at once more before they count."""


def step(state: State, fact: Fact, now: float, luck: float) -> tuple[State, list[Instruction]]:
    """What follows from `fact`.

    Args:
        state: as the last step left it; it is not changed.
        fact: what happened.
        now: seconds since 1970, never going back: the memory outlives the process.
        luck: from 0 to below 1; spreads what many clients would do at the same moment.
    """
    run = _Step(state.copy(), now, luck)
    TABLE[state.state][fact.kind](run, fact)
    return run.end(state)


class _Step:
    """One step: the state under change, and what is to be done."""

    def __init__(self, state: State, now: float, luck: float) -> None:
        self.s, self.now, self.luck = state, now, luck
        self.pace = state.pace
        self.out: list[Instruction] = []

    def end(self, before: State) -> tuple[State, list[Instruction]]:
        """The new state, with the time of the next tick; a change of state or of its sentence is announced."""
        s = self.s
        s.sentence, s.due = sentence(s), outlook.next_tick(self.s, self.now)
        if (s.state, s.sentence) != (before.state, before.sentence):
            self.out.append(Announce(s.state, s.sentence))
        return s, self.out

    # ------------------------------------------------------------------------------------------ rules: client and network

    def begin(self, _: Fact) -> None:
        """Start. What was remembered of this network is in the state."""
        s, now = self.s, self.now
        s.state, s.opens, s.opens_at = "connecting", self.pace.opens, now
        s.bad = {rung: bad for rung, bad in s.bad.items() if rung in s.rungs}
        for rung, bad in s.bad.items():
            bad.until = min(bad.until, now + max(self.pace.memory, self.pace.retest_most))  # a clock may have been wrong
            if bad.until > now:  # first something must work: no re-test at once
                least = now + self.pace.retest * (0.5 + self.luck / 2)
                bad.retest = min(max(bad.retest, least), now + self.pace.retest_most)
                self._record(Attempt(rung, "memory", "waiting", 0, "remembered_bad", bad.status, bad.via, bad.verdict))
        self._race()

    def finish(self, _: Fact) -> None:
        """Stop."""
        self._drop_all()
        self.s.state = "closed"

    def look(self, _: Fact) -> None:
        """Tick: do whatever is due."""
        s, now = self.s, self.now
        if s.due is not None and now - s.due > _SLEPT:
            self._slept()
        if s.again is not None and s.again <= now:
            self._race()
        for number in [wire.number for wire in s.wires]:
            wire = self._any(number)
            if wire is not None and wire.due is not None and wire.due <= now:
                self._overdue(wire)
        using = self._using()
        if using is not None and s.state == "open":
            self._move(using)
            self._check(using)
            self._listen(using)
            if s.online and not s.hidden:
                self._retest(using)

    def connect(self, _: Fact) -> None:
        """Online, before anything began."""
        self.s.online = True

    def part(self, _: Fact) -> None:
        """Offline, before anything began."""
        self.s.online = False

    def afresh(self, fact: Fact) -> None:
        """Online again, perhaps in another network: what was bad elsewhere is forgotten."""
        s = self.s
        same = isinstance(fact, Online) and fact.same
        s.online, s.rest, s.rounds, s.short, s.doubt, s.failed = True, "", 0, {}, None, {}
        if not same and (s.bad or s.quiet is not None):
            s.bad, s.quiet, s.quiet_until = {}, None, 0.0
            self._remember()
        using = self._using()
        if using is not None and s.state == "open":
            self._ask(using)  # it may be a connection of the network that has gone
            for rung in [] if same or using.why == "wish" else outlook.could_rise(self.s, using):
                self._open(self._plan(rung, self.now, "retest"))
        elif s.wanted is not None and s.wanted > self.now:
            s.state, s.again, s.delay = (
                outlook.trying(self.s),
                s.wanted,
                s.wanted - self.now,
            )  # the server said when, and still means it
        else:
            self._drop_all()
            s.state = outlook.trying(self.s)
            self._race()

    def lie_low(self, fact: Fact) -> None:
        """Offline: try nothing new. A wire that still works goes on: the server may be on this very machine."""
        s = self.s
        s.online = False
        let_go, s.rest = (fact.let_go, fact.reason) if isinstance(fact, Offline) else (False, "")
        for wire in list(s.wires):
            if let_go or wire.number != s.using:
                self._drop(wire)
        if not s.using or s.state != "open":
            self._pause(self.pace.backoff_most)

    def veil(self, _: Fact) -> None:
        """Hidden: from now on timers may fire once a minute."""
        self.s.hidden = True

    def unveil(self, _: Fact) -> None:
        """Shown, before anything began."""
        self.s.hidden = False

    def wake(self, fact: Fact) -> None:
        """Shown, or back from a sleep: is the wire still good? And no pause is waited out."""
        self.s.hidden = False
        using = self._using()
        if using is not None and self.now - using.heard > self.pace.slack:
            using.heard = self.now  # nobody listened: that was no silence
            self._ask(using)
        self.hurry(fact)

    def hurry(self, _: Fact) -> None:
        """Plain HTTP works: a pause that was made for an outage is over. One that the server wished for is not."""
        s = self.s
        if s.again is not None and s.wanted is None and (s.rounds or not s.online):
            s.delay = max(0.0, min(s.again - self.now, self.luck * self.pace.at_once))
            s.again = self.now + s.delay

    def wonder(self, _: Fact) -> None:
        """Plain HTTP failed: does the wire in charge still work?"""
        using = self._using()
        if using is not None and using.asked is None:
            self._ask(using)

    def wish(self, fact: Fact) -> None:
        """Prefer: somebody wants this rung. It takes over as soon as it is proven."""
        rung = fact.rung if isinstance(fact, Prefer) else ""
        using = self._using()
        if rung not in self.s.rungs or (using is not None and using.rung == rung):
            return
        if not self.s.online or self.s.wanted is not None:  # neither a dead network nor a server that wants peace is for wishes
            return
        for other in list(self.s.wires):  # the last wish counts
            if other.why == "wish" and other is not using and other.rung != rung:
                self._drop(other)
        wire = next((wire for wire in self.s.wires if wire.rung == rung), None) or self._plan(rung, self.now, "wish")
        wire.why = "wish"
        if wire.phase == "waiting":
            self._open(wire)
        elif wire.phase == "proven":
            self._take_over(wire)

    def ignore(self, _: Fact) -> None:
        """It changes nothing here."""

    # --------------------------------------------------------------------------------------------------- rules: the wires

    def reach(self, fact: Fact) -> None:
        """Opened. That is not yet "works"."""
        wire = self._wire(fact)
        if isinstance(fact, Opened) and wire is not None and wire.phase == "opening":
            wire.phase = "opened"
            self._measure(self.now - wire.began)
            self._more_time(wire)

    def hear(self, fact: Fact) -> None:
        """Something of ours came down."""
        wire = self._wire(fact)
        if not isinstance(fact, Item) or wire is None:
            return
        if fact.beat:
            wire.beat = self.s.beat = fact.beat
        passed, wire.heard = self.now - wire.heard, self.now
        if wire.phase == "proven":
            wire.gap = passed if wire.gap is None else 0.8 * wire.gap + 0.2 * passed
            wire.still, wire.asked = max(wire.still, passed), None
            self._alive(wire)
        elif wire.phase in ("opening", "opened"):
            wire.phase = "heard"
            self._more_time(wire)
            if wire.answered:
                self._proven(wire)
            else:
                self._ask(wire)

    def settle(self, fact: Fact) -> None:
        """A question came back. On a one-way stream that clears the path, not the stream: if its beat is missing all the
        same, or an event that the answer held, it is held back.
        """
        wire = self._wire(fact)
        if not isinstance(fact, Answered) or wire is None:
            return
        waited = None if wire.asked is None else self.now - wire.asked
        if waited is not None:
            self._measure(waited)
        wire.asked, wire.answered = None, not fact.behind
        if wire.phase == "heard":
            if fact.behind:
                self._give_up(wire, "buffered")
            else:
                self._proven(wire)
        elif wire.number == self.s.using:
            wire.gap = None  # quiet, but not stuck
            if waited is not None and waited > 4 * self.pace.answer:
                wire.heard = self.now  # nobody listened: the process slept
            late = waited is not None and self.now - wire.heard > outlook.silence(self.s, wire)
            if fact.behind or late:
                self._suspect(wire, "buffered" if wire.rung in self.s.held else "no_answer", sure=fact.behind)
            else:
                self._alive(wire)

    def refuse(self, fact: Fact) -> None:
        """HTTP said something else than yes. A 504 to one that worked is a gateway without patience: that was a cut."""
        wire = self._wire(fact)
        if isinstance(fact, Refused) and wire is not None:
            cut = fact.status == 504 and outlook.was_silent(wire, self.now)
            self._over(wire, "cut_idle" if cut else verdict_of(fact), fact)

    def lose(self, fact: Fact) -> None:
        """A connection ended, or was never made."""
        wire = self._wire(fact)
        if isinstance(fact, Closed) and wire is not None:
            alive = {"proven": outlook.how_it_died(self.s, wire, self.now), "opening": "unreachable"}
            self._over(wire, fact.how or alive.get(wire.phase, "cut_early"), fact)

    def move(self, fact: Fact) -> None:
        """The server is going to end a wire. Another is opened beside it when the server says: it has spread its readers."""
        wire = self._wire(fact)
        if isinstance(fact, Leaving) and wire is not None:
            wire.leave = self.now + fact.retry

    # ------------------------------------------------------------------------------------------------------- how wires begin

    def _race(self) -> None:
        """A round: a try of every rung, best first; those that two short lives or the memory speak against come last."""
        s = self.s
        s.again, s.wanted, s.retry, s.failed, s.cause = None, None, 0.0, {}, ""
        s.wires = [wire for wire in s.wires if wire.phase != "waiting" or wire.why == "wish"]
        under_way = {wire.rung for wire in s.wires if wire.number != s.using}
        order = sorted(s.rungs, key=lambda rung: (outlook.doubtful(self.s, rung, self.now), s.rungs.index(rung)))
        for place, rung in enumerate(rung for rung in order if rung not in under_way):
            wire = self._plan(rung, self.now + place * outlook.gap(self.s), "race")
            if place == 0:
                self._open(wire)

    def _plan(self, rung: str, at: float, why: str) -> Wire:
        """A wire that waits until `at`."""
        self.s.numbers += 1
        wire = Wire(self.s.numbers, rung, why, due=at)
        self.s.wires.append(wire)
        return wire

    def _open(self, wire: Wire) -> None:
        """Open a wire, unless there were too many of late: that ceiling holds whatever happens."""
        s, now, pace = self.s, self.now, self.pace
        s.opens = min(pace.opens, s.opens + (now - s.opens_at) * pace.opens_rate)
        s.opens_at = now
        if s.opens < 1:
            wire.due = now + (1 - s.opens) / pace.opens_rate
            return
        s.opens -= 1
        quiet = outlook.quiet(self.s, self.now)
        wire.phase, wire.began, wire.heard, wire.due = "opening", now, now, now + outlook.proof(self.s)
        wire.beat = s.beat if quiet is None else min(quiet, s.beat)
        self.out.append(Open(wire.number, wire.rung, quiet))

    def _proven(self, wire: Wire) -> None:
        """An item came down and an answer came back: it works."""
        wire.phase, wire.proven, wire.due, wire.asked = "proven", self.now, None, None
        self._record(Attempt(wire.rung, wire.why, "proven", _ms(self.now - wire.began), "ok"))
        if wire.why == "retest" and self.s.state == "open":
            cut = wire.rung in self.s.bad and self.s.bad[wire.rung].verdict == "cut_early"  # then that would prove nothing
            wire.due = self.now + (self.pace.short if cut else self.pace.settle)  # up we go if it lives that long
        else:
            self._take_over(wire)

    def _take_over(self, wire: Wire) -> None:
        """Put a proven wire in charge. Those that are no better are closed; a better one still gets its time, and what is
        slow here is slow for all.
        """
        s = self.s
        using = self._using()
        moved = wire.why == "move"
        if moved:  # in every respect it takes the other's place; a wish is still one
            wire.why = "race" if using is None else using.why
        needed = moved or wire.why == "wish" or using is None or outlook.better(self.s, wire.rung, using.rung)
        if s.state == "open" and not needed:
            self._drop(wire)
            return
        for other in list(s.wires):
            if other is wire:
                continue
            promising = other.why == "wish" or (
                wire.why != "wish"
                and outlook.better(s, other.rung, wire.rung)
                and (other.why != "race" or not outlook.doubtful(s, other.rung, self.now))  # that one has to live for a while
            )
            if other.number == s.using or other.phase == "waiting" or not promising:
                self._drop(other)
            elif other.phase != "proven" and wire.why == "race" and other.due is not None:
                other.due = max(other.due, self.now + 1.5 * (self.now - wire.began))
        s.using, wire.due, s.state, s.ever = wire.number, None, "open", True
        wire.check = self.now + self.pace.check if wire.rung in s.held else None
        s.rise = None if wire.why == "wish" else self.now + self.pace.retest * (0.75 + self.luck / 2)
        if wire.rung in s.bad and s.bad[wire.rung].until > 0:
            s.bad[wire.rung].until = 0.0  # it works; how long it had not is forgotten when it has lived for a while
            self._remember()
        self.out.append(Deliver(wire.number, wire.rung))
        self._settle_blame(wire)
        s.rounds, s.again, s.wanted, s.retry, s.cause, s.failed = 0, None, None, 0.0, "", {}

    def _settle_blame(self, wire: Wire) -> None:
        """Something works here, so what did not beside it is to blame; what may have been the server's start is looked at
        once more.
        """
        s = self.s
        doubt, s.doubt = s.doubt, None
        if doubt is not None:
            if doubt.rung != wire.rung and s.short.get(doubt.rung, 0) >= self.pace.strikes:
                s.failed.pop(doubt.rung, None)
                self._blame(doubt.rung, doubt.verdict)
            if doubt.quiet is not None:
                s.quiet, s.quiet_until = doubt.quiet, self.now + self.pace.memory
                self._remember()
        for rung, verdict in s.failed.items():
            if not outlook.better(self.s, rung, wire.rung):
                continue
            if verdict in _SOFT and rung not in s.bad:
                if wire.why != "wish" and all(each.rung != rung for each in s.wires):
                    self._open(self._plan(rung, self.now, "race"))
            else:
                self._blame(rung, verdict)

    def _move(self, using: Wire) -> None:
        """Open another of the same rung beside the one in charge, whose server goes, when its time has come."""
        at = outlook.moves_at(self.s, using)
        if at is not None and at <= self.now:
            self._open(self._plan(using.rung, self.now, "move"))

    def _retest(self, using: Wire) -> None:
        """Try a better rung beside the one in charge when its time has come. One that lives is forgiven all."""
        s = self.s
        if using.rung in s.bad and outlook.forgiven_at(self.s, using) <= self.now:
            del s.bad[using.rung]
            self._remember()
        for rung, at in outlook.rises(self.s, using):
            if at <= self.now:
                self._open(self._plan(rung, self.now, "retest"))

    # --------------------------------------------------------------------------------------------------------- how wires end

    def _over(self, wire: Wire, verdict: str, fact: Refused | Closed) -> None:
        """A wire has ended; the server may have said why, and when to come back."""
        s = self.s
        if fact.final and s.state == "open" and wire.number != s.using:
            self._gone(wire, "refused", fact)  # whatever it has against this one, another one works
        elif fact.final:
            self._leave(wire, verdict, fact)
            self._drop_all()
            s.state = "closed" if fact.code == 1000 else "failed"
            s.cause, s.code, s.name = fact.reason, fact.code, fact.name
        elif fact.retry is not None and fact.code and s.using in (0, wire.number) and not outlook.moving(self.s):
            self._leave(wire, "refused", fact)  # the server spoke: no other wire would know better
            self._drop_all()
            s.cause, s.wanted = fact.reason, self.now + max(fact.retry, 0.01)
            self._pause(max(fact.retry, 0.01))
        elif fact.retry is not None and fact.code and s.state == "open" and wire.number != s.using:
            self._leave(wire, "refused", fact)  # busy, it says: no fault of the rung's
            if wire.rung in s.bad:
                s.bad[wire.rung].retest = self.now + max(self.pace.retest, fact.retry)
            elif s.rise is not None:
                s.rise = self.now + max(self.pace.retest, fact.retry)
        else:
            if s.state != "open" or wire.number == s.using:
                s.retry = max(s.retry, fact.retry or 0.0)
            self._gone(wire, verdict, fact)

    def _overdue(self, wire: Wire) -> None:
        """The time of a wire's phase is over."""
        if wire.phase == "waiting":
            self._open(wire)
        elif wire.phase == "proven":
            self._take_over(wire)
        else:
            silent = {"opening": "timeout_open", "opened": "buffered" if wire.rung in self.s.held else "no_answer"}
            self._give_up(wire, silent.get(wire.phase, "no_answer"))

    def _give_up(self, wire: Wire, verdict: str) -> None:
        self.out.append(Close(wire.number))
        self._gone(wire, verdict, None)

    def _gone(self, wire: Wire, verdict: str, fact: Refused | Closed | None) -> None:
        """A wire has ended, for a reason of the network's."""
        s = self.s
        in_charge, state = wire.number == s.using, s.state
        self._leave(wire, verdict, fact)
        cause = fact.reason if fact is not None else ""
        if in_charge:
            self._hold_against(wire, verdict)
            self._succeed(state, cause)
        elif state == "open":
            using = self._using()
            if using is not None and wire.why != "wish" and outlook.better(self.s, wire.rung, using.rung):
                s.failed[wire.rung] = verdict  # to blame, if the one in charge turns out to be alive
                if using.asked is None:
                    self._ask(using)
        elif s.again is None:
            s.cause, s.failed[wire.rung] = cause, verdict
            self._bring_forward()

    def _succeed(self, state: str, cause: str) -> None:
        """The wire in charge has gone: one that is proven already takes its place, or another round begins."""
        s = self.s
        ready = sorted((wire for wire in s.wires if wire.phase == "proven"), key=lambda wire: s.rungs.index(wire.rung))
        if ready:
            s.failed = {}  # who knows whether that was an outage
            self._take_over(ready[0])
        elif state == "open":
            s.cause = cause
            self._pause(max(self.luck * self.pace.at_once, s.retry))
        elif s.again is None:  # it was suspected, and the race is on
            self._bring_forward(hasten=False)

    def _bring_forward(self, hasten: bool = True) -> None:
        """One fewer in the race: the next starts at once. With nobody left the round has failed."""
        s = self.s
        rest = [wire for wire in s.wires if wire.number != s.using]
        waiting = [wire for wire in rest if wire.phase == "waiting"]
        if waiting:
            if hasten:
                self._open(waiting[0])
        elif not rest:
            # Nothing works: that is an outage, and no transport's fault.
            s.doubt, s.short = None, {}
            self._drop_all()  # the silent one, if it still stands
            self._pause(max(self._backoff(), s.retry))

    def _backoff(self) -> float:
        """Seconds to wait after one more round in which nothing worked."""
        self.s.rounds += 1
        return self.luck * min(self.pace.backoff_most, self.pace.backoff * 2.0 ** min(self.s.rounds - 1, 10))

    def _pause(self, seconds: float) -> None:
        """Wait before the next round. Offline: look now and then, since a device may be wrong about itself; but not if the
        client wants a rest.
        """
        s = self.s
        s.state = outlook.trying(self.s) if s.online else "offline"
        s.delay = seconds if s.online else max(seconds, self.pace.backoff_most)
        s.again = None if s.rest else max(self.now + s.delay, s.wanted or 0.0)

    def _hold_against(self, wire: Wire, verdict: str, sure: bool = False) -> None:
        """A wire that had worked does no more. Whether that speaks against its rung is seen when something works again; if it
        is `sure`, once is enough.
        """
        s = self.s
        if wire.struck:  # one life, one strike
            return
        wire.struck = True
        if wire.leave is not None:  # the server had said so
            return
        idle, lived = self.now - wire.heard, self.now - wire.proven
        if sure:
            s.short[wire.rung] = self.pace.strikes
        elif lived < self.pace.short:
            s.short[wire.rung] = s.short.get(wire.rung, 0) + 1
        else:
            s.short.pop(wire.rung, None)
        s.doubt = Doubt(wire.rung, verdict, max(1.0, min(0.6 * idle, wire.beat)) if verdict == "cut_idle" else None)

    def _check(self, using: Wire) -> None:
        """Compare a one-way stream again: a proxy that passes a body in lumps may have passed one just in time. That no answer
        comes is no suspicion as long as beats do.
        """
        if using.check is not None and using.check <= self.now and not self.s.hidden:
            using.check = self.now + min(max(self.pace.check, (self.now - using.proven) / 2), self.pace.retest_most)
            if using.asked is None:
                self.out.append(Ask(using.number))

    def _listen(self, using: Wire) -> None:
        """Judge the silence of the wire in charge: ask and, if no answer comes, open others beside it."""
        if outlook.patience_ends(self.s, using) <= self.now:
            if using.asked is None:
                self._ask(using)
            else:
                self._suspect(using, "no_answer")

    def _suspect(self, wire: Wire, verdict: str, sure: bool = False) -> None:
        """It seems dead, or held back: race beside it. `sure`: positions prove it."""
        s = self.s
        if s.state == "open":
            wire.asked = None
            self._record(Attempt(wire.rung, wire.why, "proven", _ms(self.now - wire.proven), verdict))
            self._hold_against(wire, verdict, sure)
            s.state = "reconnecting"
            self._race()

    def _alive(self, wire: Wire) -> None:
        """The wire in charge shows that it lives. What failed beside it is to blame; if it was suspected, it no longer is."""
        s = self.s
        if wire.number != s.using:
            return
        if s.state == "open":
            failed, s.failed = s.failed, {}
            for rung, verdict in failed.items():
                self._blame(rung, verdict)
        elif s.short.get(wire.rung, 0) < self.pace.strikes:
            for other in list(s.wires):
                if other is not wire and other.why != "wish":
                    self._drop(other)
            wire.struck = False
            s.state, s.again, s.doubt, s.failed, s.cause = "open", None, None, {}, ""

    def _slept(self) -> None:
        """The process slept, or its timers did. No silence of that time counts, once; who is in charge is asked."""
        for wire in self.s.wires:
            if wire.number == self.s.using:
                if wire.asked is None:
                    wire.heard = self.now
                    self._ask(wire)
            elif wire.phase not in ("waiting", "proven") and not wire.spared:
                wire.spared, wire.due = True, self.now + self.pace.proof

    # --------------------------------------------------------------------------------------------------------- the memory

    def _blame(self, rung: str, verdict: str) -> None:
        """Remember that `rung` does not work in this network, and when to look again."""
        s = self.s
        if verdict == "timeout_open" and rung in s.held:
            verdict = "buffered"  # others are answered: its head was held back with its body
        before = s.bad.get(rung)
        delay = self.pace.retest if before is None else min(before.delay * 2, self.pace.retest_most)
        last = next((each for each in reversed(s.attempts) if each.rung == rung), None)
        status, via = (last.status, last.via) if last is not None else (0, "")
        until = self.now + max(self.pace.memory, delay)
        s.bad[rung] = Bad(verdict, until, self.now + delay * (0.75 + self.luck / 2), delay, status, via)
        s.short.pop(rung, None)
        self._remember()

    def _remember(self) -> None:
        s = self.s
        kept = Remember({rung: msgspec.structs.replace(bad) for rung, bad in s.bad.items()}, s.quiet, s.quiet_until)
        self.out = [*(each for each in self.out if not isinstance(each, Remember)), kept]

    # ------------------------------------------------------------------------------------------------------- small questions

    def _wire(self, fact: Fact) -> Wire | None:
        """The wire that a fact is about; None if it is over, and the fact comes late."""
        wire = self._any(getattr(fact, "wire", 0))
        return None if wire is None or wire.phase == "waiting" else wire

    def _any(self, number: int) -> Wire | None:
        return next((wire for wire in self.s.wires if wire.number == number), None)

    def _using(self) -> Wire | None:
        return self._any(self.s.using)

    def _measure(self, seconds: float) -> None:
        """Learn the round trip: the shortest, with a little forgetting. A sleep is none."""
        rtt = self.s.rtt
        if seconds <= 4 * self.pace.answer:
            self.s.rtt = seconds if rtt is None else min(seconds, rtt + 0.1 * (seconds - rtt))

    def _more_time(self, wire: Wire) -> None:
        """A wire got further: from here it has its time anew, and longer where round trips are."""
        if wire.due is not None:
            wire.due = max(wire.due, self.now + outlook.proof(self.s))

    def _ask(self, wire: Wire) -> None:
        wire.asked = self.now
        self.out.append(Ask(wire.number))

    def _record(self, attempt: Attempt) -> None:
        self.s.attempts = [*self.s.attempts, attempt][-_ATTEMPTS:]

    def _leave(self, wire: Wire, verdict: str, fact: Refused | Closed | None) -> None:
        """Note how a wire ended, and forget it."""
        s = self.s
        status, via = (fact.status, fact.via) if isinstance(fact, Refused) else (0, "")
        since = wire.proven if wire.phase == "proven" else wire.began
        reason = fact.reason if fact is not None else ""
        self._record(Attempt(wire.rung, wire.why, wire.phase, _ms(self.now - since), verdict, status, via, reason))
        self._forget(wire)
        using = self._using()
        if wire.why == "move" and using is not None and using.leave is not None and s.state == "open":
            asked = fact.retry if fact is not None else None
            using.leave = self.now + max(self._backoff(), asked or 0.0)  # the old one still works: another try, later

    def _forget(self, wire: Wire) -> None:
        self.s.wires.remove(wire)
        if wire.number == self.s.using:
            self.s.using = 0

    def _drop(self, wire: Wire) -> None:
        """Close a wire without a word against it."""
        if wire.phase != "waiting":
            self.out.append(Close(wire.number))
        self._forget(wire)

    def _drop_all(self) -> None:
        for wire in list(self.s.wires):
            self._drop(wire)
        self.s.again = None


def _ms(seconds: float) -> int:
    return int(seconds * 1000 + 0.5)


Rule: TypeAlias = Callable[[_Step, Fact], None]


def _table(grid: str) -> dict[str, dict[str, Rule]]:
    """State -> fact -> rule. Raises: KeyError, ValueError, when the grid is not complete."""
    head, *rows = [line.split() for line in grid.strip().splitlines()]
    rules = {"-": _Step.ignore}
    table: dict[str, dict[str, Rule]] = {state: {} for state in head}
    for fact, *names in rows:
        for state, name in zip(head, names, strict=True):
            table[state][fact] = rules.get(name) or getattr(_Step, name)
    if tuple(head) != STATES or any(set(row) != set(FACTS) for row in table.values()):
        raise ValueError("the table is not complete")
    return table


TABLE: Final = _table(GRID)
