"""Evidence in words: what is said of a verdict, and the one sentence that tells a person how things stand."""

from __future__ import annotations

from typing import Final

import msgspec

from .facts import Attempt, Bad, Refused, State


class Evidence(msgspec.Struct):
    """Why a client uses what it uses. `msgspec.json.encode` makes JSON of it."""

    state: str
    transport: str | None  # in charge, or the last that was
    sentence: str  # for people
    rtt: float | None  # seconds of a round trip
    quiet: float | None  # seconds for which this path bears silence, as far as was learnt
    attempts: list[Attempt]  # the last ones
    bad: dict[str, Bad]  # what is remembered against a transport, and until when


def evidence(state: State, transport: str | None) -> Evidence:
    """What there is to say of `state`."""
    return Evidence(state.state, transport, state.sentence, state.rtt, state.quiet, state.attempts, state.bad)


LABELS: Final = {"websocket": "WebSocket", "sse": "SSE", "longpoll": "long-polling"}

VERDICTS: Final = {
    "ok": "{label} works",
    "refused_http": "{label} was refused with {status}{via}",
    "bad_gateway": "{label} was answered with {status}{via}: no server behind it",
    "upgrade_stripped": "{label} lost its upgrade on the way",
    "captive_portal": "a login page answered instead of the server",
    "wrong_content_type": "{label} was answered with something that is not ours",
    "not_ours": "{label} brought something that is not ours",
    "disabled": "{label} is not served there",
    "unsupported": "{label} does not exist here",
    "unreachable": "{label} could not be opened",
    "tls_error": "{label} found no certificate that it trusts",
    "timeout_open": "{label} was not answered",
    "no_answer": "{label} fell silent",
    "buffered": "{label} is held back on the way",
    "cut_early": "{label} is cut off early",
    "cut_idle": "{label} is cut off when nothing comes",
    "ended": "{label} ended",
    "refused": "{label} was refused by the server",
    "remembered_bad": "{label} did not work here before",
}
"""Every verdict there is, and what is said of it."""


def label(rung: str) -> str:
    """What people call a rung."""
    return LABELS.get(rung, rung)


def words(rung: str, verdict: str, status: int = 0, via: str = "") -> str:
    """What a verdict says of a rung."""
    return VERDICTS[verdict].format(label=label(rung), status=status, via=f" by {via}" if via else "")


def seconds(value: float) -> str:
    """Tenths of a second, rounded alike in every language."""
    tenths = int(value * 10 + 0.5)
    return f"{tenths // 10}.{tenths % 10}"


def sentence(state: State) -> str:
    """How things stand, in one sentence."""
    match state.state:
        case "idle":
            return "Not connected yet."
        case "open":
            return _live(state)
        case "offline":
            return f"{_capital(state.rest)}." if state.rest else "This device is offline; going on when it is back."
        case "closed":
            return "Closed by the server." if state.code else "Closed."
        case "failed":
            return f"Refused: {state.cause} ({state.code} {state.name})."
    if state.again is not None:
        return f"{_capital(_cause(state))}; trying again in {seconds(state.delay)} s."
    trying = [label(wire.rung) for wire in state.wires if wire.phase != "waiting" and wire.number != state.using]
    over = f" over {' and '.join(dict.fromkeys(trying))}" if trying else ""
    return f"{'Reconnecting' if state.ever else 'Connecting'}{over}."


def _live(state: State) -> str:
    using = next(wire for wire in state.wires if wire.number == state.using)
    worse = (rung for rung in state.rungs[: state.rungs.index(using.rung)] if rung in state.bad)
    why = next((f": {_bad(rung, state.bad[rung])}" for rung in worse), "")
    moving = "" if using.leave is None else "; moving to another connection"
    return f"Live over {label(using.rung)}{why}{moving}."


def _bad(rung: str, bad: Bad) -> str:
    return words(rung, bad.verdict, bad.status, bad.via)


def _cause(state: State) -> str:
    """Why nothing works."""
    if "captive_portal" in state.failed.values():
        return VERDICTS["captive_portal"]
    if state.cause:
        return state.cause
    if state.failed and all(verdict == "unreachable" for verdict in state.failed.values()):
        return "the server could not be reached"
    last = state.attempts[-1] if state.attempts else None
    return words(last.rung, last.verdict, last.status, last.via) if last is not None else "nothing works yet"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def verdict_of(fact: Refused) -> str:
    """What an answer says that is no yes of ours."""
    if fact.code:
        return {404: "disabled", 405: "disabled", 426: "upgrade_stripped"}.get(fact.status, "refused")
    if 300 <= fact.status < 400 or fact.status == 511 or (fact.html and fact.status < 300):
        return "captive_portal"
    if fact.status < 300:
        return "wrong_content_type"
    return {426: "upgrade_stripped", 502: "bad_gateway", 503: "bad_gateway", 504: "bad_gateway"}.get(fact.status, "refused_http")
