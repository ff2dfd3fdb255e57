"""Rows: each transport, property by property, and the first that is bad is its verdict."""

from __future__ import annotations

from typing import Final

import msgspec

from ..evidence import seconds, words
from ..ladder import LADDER
from .observations import Ending, Observations, Trial

_LATE: Final = 1.5  # seconds by which a beat is late that was held back; fewer may be chance
_LATE_BEATS: Final = 2  # late ones, of those that come every second, that are no hiccup
_GONE: Final = 4.0  # seconds without a beat, of those that come every second, after which no more will come
_STALE: Final = 1.0  # seconds within which a request breaks that was made on a connection which had been closed
SAME: Final = 1.5  # seconds between two ends that have the same reason
STREAMS: Final = frozenset(each.name for each in LADDER if each.many)
ONE_WAY: Final = frozenset(each.name for each in LADDER if each.many and not each.commands_up)


class Cell(msgspec.Struct, frozen=True):
    """One property of one transport. `state`: `ok`, `bad`, or `unknown` where it was not or could not be seen."""

    state: str
    seconds: float | None = None
    words: str = ""


class Row(msgspec.Struct, frozen=True):
    """One transport. `verdict` is one of `evidence.VERDICTS`."""

    transport: str
    verdict: str
    words: str
    handshake: Cell
    proof: Cell
    buffering: Cell
    life: Cell
    idle: Cell


def row_of(seen: Observations, rung: str) -> Row:
    """A transport, property by property; the first that is bad is its verdict."""
    trial = seen.trial(rung, "beats" if rung in STREAMS else "silence")
    if trial is None:
        return _unseen(rung, first_ending(seen))
    others = _http_works(seen)
    proof, verdict = proof_of(trial, others)
    if verdict == "ok":
        buffering = buffering_of(trial) if rung in STREAMS else Cell("ok", words="")
        life = _life(seen, trial) if rung in STREAMS else Cell("unknown")
        idle, silent = _idle(seen, rung)
        if seen.restarted:  # which says nothing of the way
            life, idle = Cell("unknown"), Cell("unknown")
        verdict = _first_bad((buffering, "buffered"), (life, "cut_early" if trial.ended else "no_answer"), (idle, silent))
    else:
        buffering = life = idle = Cell("unknown")
    handshake = Cell("ok" if trial.opened is not None else "bad", trial.opened)
    said = _words(rung, verdict, trial.ended, life if life.state == "bad" else idle)
    if verdict == "no_answer" and trial.first is not None and rung in ONE_WAY and proof.state == "bad":
        said = f"{said}: items come, but polls that ask after them are not answered"
    return Row(rung, verdict, said, handshake, proof, buffering, life, idle)


def _first_bad(*cells: tuple[Cell, str]) -> str:
    return next((verdict for cell, verdict in cells if cell.state == "bad"), "ok")


def _unseen(rung: str, ended: Ending | None) -> Row:
    """One that was not tried, because nothing at all came back."""
    verdict = "unreachable" if ended is None else ended.verdict
    none = Cell("unknown")
    return Row(rung, verdict, words(rung, verdict), Cell("bad"), none, none, none, none)


def first_ending(seen: Observations) -> Ending | None:
    """How the first question ended that was not answered as it should be."""
    return next((asked.ended for asked in seen.asked.values() if asked.ended is not None), None)


def _http_works(seen: Observations) -> bool:
    return any(asked.ended is None for asked in seen.asked.values())


def proof_of(trial: Trial, http: bool) -> tuple[Cell, str]:
    """Whether an item came down and an answer came back, as the negotiator has it."""
    if trial.first is not None and trial.answered is not None:
        return Cell("ok", max(trial.first, trial.answered)), "ok"
    held = trial.rung in ONE_WAY and http  # a head may be held back with its body
    if trial.ended is not None and not (trial.ended.verdict == "ended" and trial.first is not None):
        return Cell("bad"), trial.ended.verdict
    if trial.first is not None and trial.ended is not None:
        return Cell("bad"), "cut_early"
    if trial.opened is None:
        return Cell("bad"), "buffered" if held else "timeout_open"
    return Cell("bad"), "buffered" if held and trial.first is None else "no_answer"


def buffering_of(trial: Trial) -> Cell:
    """Whether beats come when they were sent, or later, together."""
    late = trial.lateness
    if not late:
        return Cell("unknown" if trial.ended is not None else "bad", words="" if trial.ended is not None else "no beat came")
    worst = max(late)
    if sum(each > _LATE for each in late) >= _LATE_BEATS:
        return Cell("bad", worst, f"held for up to {seconds(worst)} s")
    return Cell("ok", worst)


def _life(seen: Observations, trial: Trial) -> Cell:
    """How long a stream lives on which something comes every second."""
    last = trial.arrivals[-1].came if trial.arrivals else 0.0
    if trial.ended is None and seen.life and trial.took - last > _GONE:
        return Cell("bad", last, f"silent after {seconds(last)} s")
    if trial.ended is None:
        return Cell("ok" if seen.life else "unknown", trial.took, f"{seconds(trial.took)} s and more" if seen.life else "")
    if trial.ended.code:
        return Cell("unknown", trial.ended.at, "the server said goodbye")
    return Cell("bad", trial.ended.at, f"cut after {seconds(trial.ended.at)} s")


def _idle(seen: Observations, rung: str) -> tuple[Cell, str]:
    """How long nothing may come, and the verdict if that is too short."""
    trial = seen.trial(rung, "silence")
    if trial is None or not seen.idle or trial.first is None:
        return Cell("unknown"), ""
    if (silence := _cut_silence(trial)) is not None:
        return Cell("bad", silence, f"cut after {seconds(silence)} s"), "cut_idle"
    if trial.ended is not None:
        if trial.ended.code or _one_end(trial, seen.trial(rung, "beats")):
            return Cell("unknown"), ""
        silence = round(trial.ended.at - trial.silent_since, 4)
        return Cell("bad", silence, f"cut after {seconds(silence)} s"), "cut_idle"
    if len(trial.arrivals) == 1:
        silence = round(trial.took - trial.silent_since, 4)
        return Cell("bad", silence, f"nothing came for {seconds(silence)} s"), "no_answer"
    return _borne(trial), ""


def _cut_silence(trial: Trial) -> float | None:
    """How long a request had waited that broke and was made again. One that breaks at once met a connection closed before."""
    return next((each.took for each in trial.heads if not each.status and each.took > _STALE), None)


def _borne(trial: Trial) -> Cell:
    """The silence before the second item."""
    before, last = trial.arrivals[0], trial.arrivals[1]
    if last.kind != "beat":
        return Cell("unknown", words="busy")
    silence = round(last.came - max([before.came, *(each.began for each in trial.heads)]), 4)
    return Cell("ok", silence, f"{seconds(silence)} s and more")


def _one_end(silent: Trial, beats: Trial | None) -> bool:
    """Whether a stream with beats was cut at the same age: then it was not the silence."""
    if beats is None or beats.ended is None or silent.ended is None:
        return False
    return abs(beats.ended.at - silent.ended.at) < SAME


def _words(rung: str, verdict: str, ended: Ending | None, cell: Cell) -> str:
    """What is said of a transport; `cell` is the property that is bad."""
    status, via = (ended.status, ended.via) if ended is not None else (0, "")
    said = words(rung, verdict, status, via)
    if verdict in ("cut_idle", "cut_early", "no_answer") and cell.state == "bad" and cell.seconds is not None:
        return f"{said} (after {seconds(cell.seconds)} s)"
    if verdict == "refused" and ended is not None:
        return f"{said}: {ended.reason}"
    return said
