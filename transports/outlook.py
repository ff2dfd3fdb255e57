"""Outlook: what the negotiator reads out of a state: which rungs come into question, and how long to wait for what. Nothing is
changed here.
"""

from __future__ import annotations

from typing import Final

from .facts import State, Wire

_QUIET_LEAST: Final = 4.0  # seconds without an item before a cut may have been for silence; a stall is often shorter
_RECORD: Final = 0.8  # of the longest silence that a wire has survived: about as long as that, or longer


def better(state: State, rung: str, than: str) -> bool:
    """Whether `rung` stands higher on the ladder."""
    return state.rungs.index(rung) < state.rungs.index(than)


def could_rise(state: State, using: Wire) -> list[str]:
    """The better rungs that are not being tried."""
    tried = {*(wire.rung for wire in state.wires), *state.failed}
    return [rung for rung in state.rungs if better(state, rung, using.rung) and rung not in tried]


def rises(state: State, using: Wire) -> list[tuple[str, float]]:
    """When each of the better rungs is to be tried again. One that nobody blamed has a time too: it was never proven bad."""
    if using.why == "wish":
        return []
    times = [(rung, state.bad[rung].retest if rung in state.bad else state.rise) for rung in could_rise(state, using)]
    return [(rung, at) for rung, at in times if at is not None]


def moving(state: State) -> bool:
    """Whether a wire is under way that is to take the place of one whose server goes."""
    return any(wire.why == "move" for wire in state.wires)


def moves_at(state: State, using: Wire) -> float | None:
    """When such a wire is to be opened; also in a hidden tab, since the server goes all the same."""
    return using.leave if state.online and not moving(state) else None


def forgiven_at(state: State, using: Wire) -> float:
    """When a wire has lived so long that how often its rung had failed is forgotten. One-way streams may be held back without
    anybody seeing it, as long as there is nothing to be held back.
    """
    return using.proven + (state.pace.memory if using.rung in state.held else 3 * state.pace.short)


def doubtful(state: State, rung: str, now: float) -> bool:
    """Whether a rung comes last in a race."""
    bad = state.bad.get(rung)
    return state.short.get(rung, 0) >= state.pace.strikes or (bad is not None and bad.until > now)


def trying(state: State) -> str:
    """What the state is called while nothing works."""
    return "reconnecting" if state.ever else "connecting"


def gap(state: State) -> float:
    """Seconds from one start of a race to the next: about one and a half round trips."""
    pace = state.pace
    return pace.gap if state.rtt is None else min(max(1.5 * state.rtt, pace.gap), pace.gap_most)


def proof(state: State) -> float:
    """Seconds for a wire to be proven: more where round trips are long, and after rounds in which nothing was."""
    pace = state.pace
    return max(pace.proof, min(10 * (state.rtt or 0.0), 4 * pace.proof)) * min(1.0 + 0.5 * state.rounds, 4.0)


def quiet(state: State, now: float) -> float | None:
    """Seconds for which this path bears silence, as far as was learnt."""
    if state.doubt is not None and state.doubt.quiet is not None:
        return state.doubt.quiet
    return state.quiet if state.quiet_until > now else None


def silence(state: State, wire: Wire) -> float:
    """Seconds without an item after which a beat is missing."""
    limit = wire.beat + state.pace.slack + 2 * (state.rtt or 0.0)
    return max(limit, state.pace.hidden) if state.hidden else limit


def patience_ends(state: State, wire: Wire) -> float:
    """When the wire in charge is to be asked or, if it was asked, given up."""
    pace = state.pace
    if wire.asked is not None:
        return wire.asked + min(max(pace.answer, 4 * (state.rtt or 0.0)), 4 * pace.answer)
    limit = silence(state, wire)
    if wire.gap is not None and not state.hidden:  # events were flowing: that they stop is noticed sooner
        limit = min(limit, max(pace.answer, 4 * wire.gap))
    return wire.heard + limit


def how_it_died(state: State, wire: Wire, now: float) -> str:
    """The verdict on a proven wire that ended: `cut_idle` if it had never survived such a silence, or if nothing had come for
    about as long as it may take, `cut_early` for a short life, else `ended`; so it is if the server had said that it would.
    """
    if wire.leave is not None:
        return "ended"
    if was_silent(wire, now) or now - wire.heard >= max(_QUIET_LEAST, 0.7 * wire.beat):
        return "cut_idle"
    return "cut_early" if now - wire.proven < state.pace.short else "ended"


def was_silent(wire: Wire, now: float) -> bool:
    """Whether nothing has come on a proven wire for longer than it ever survived: somebody on the way may have lost patience."""
    return wire.phase == "proven" and now - wire.heard >= max(_QUIET_LEAST, _RECORD * wire.still)


def next_tick(state: State, now: float) -> float | None:
    """When something is due next; None when only a fact can change anything."""
    if state.state in ("idle", "closed", "failed"):
        return None
    times = [wire.due for wire in state.wires if wire.due is not None]
    if state.again is not None:
        times.append(state.again)
    using = next((wire for wire in state.wires if wire.number == state.using), None)
    if using is not None and state.state == "open":
        times.append(patience_ends(state, using))
        if (at := moves_at(state, using)) is not None:
            times.append(at)
        if using.check is not None and not state.hidden:
            times.append(using.check)
        if state.online and not state.hidden:
            times += [at for _, at in rises(state, using)]
            times += [forgiven_at(state, using)] if using.rung in state.bad else []
    return max(now, min(times)) if times else None
