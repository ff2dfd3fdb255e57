"""Findings: what the observations mean, for each transport and for the whole; the verdict, and the sentence for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec

from ..evidence import VERDICTS, label, seconds
from ..ladder import LADDER
from .mends import REVERSE, Mend, mends
from .observations import Head, Observations
from .rows import ONE_WAY, SAME, STREAMS, Row, buffering_of, first_ending, proof_of, row_of
from .servers import Server, recognise, strangers

VERSION: Final = 1
"""Of the JSON that a report makes. A field may be added without a new one."""

WORKS, DEGRADED, NOTHING = 0, 10, 20

_SHORT: Final = 2.0  # seconds of a WebSocket that was cut because it is one
_SKEW: Final = 5.0  # seconds between two clocks that are worth a word
_ASIDES: Final = frozenset({"disabled", "compressed", "header", "http10", "cache", "clock", "busy", "channel"})
"""Faults that are none, and not for the sentence."""

_FREE: Final = frozenset({"ok", "cut_idle", "cut_early"})  # verdicts of a transport that was proven to work
_DEAD: Final = frozenset({"unreachable", "timeout_open", "tls_error"})


class Finding(msgspec.Struct, frozen=True):
    """One thing that is worth telling. `grave`: it keeps the best transport, or the pages, from working as they should."""

    fault: str
    words: str
    grave: bool
    transports: list[str] = msgspec.field(default_factory=list)


class Report(msgspec.Struct, frozen=True):
    """All that there is to say; `msgspec.json.encode` makes JSON of it."""

    v: int
    url: str
    verdict: str  # "works", "degraded", "nothing"
    exit: int
    sentence: str  # for people
    transports: list[Row]
    findings: list[Finding]
    servers: list[Server]
    strangers: list[str]  # headers in which somebody names himself whom we do not know
    mends: list[Mend]
    facts: dict[str, str]  # what else was seen, by name
    observations: Observations


def report(seen: Observations) -> Report:
    """What `seen` means."""
    rows = [row_of(seen, each.name) for each in LADDER]
    servers = recognise(seen)
    found = list(_findings(seen, rows))
    code = _exit(seen, rows, found)
    lines = _mends(seen, found, servers)
    verdict = {WORKS: "works", DEGRADED: "degraded", NOTHING: "nothing"}[code]
    sentence = _sentence(rows, found, code, lines)
    named = strangers(seen)
    return Report(VERSION, seen.url, verdict, code, sentence, rows, found, servers, named, lines, _facts(seen), seen)


# -------------------------------------------------------------------------------------------------------------- findings


def _findings(seen: Observations, rows: list[Row]) -> Iterator[Finding]:
    """All that is worth telling, what is most important first."""
    if (whole := _whole(seen, rows)) is not None:
        yield whole
        return
    best = _best(seen, rows)
    if seen.restarted:
        text = "Everything ended at the same moment: was the server restarted? Run this again to learn of silence and life."
        yield Finding("restart", text, True)
    for rung, fault in _faults(seen, rows):
        row = next(each for each in rows if each.transport == rung)
        yield Finding(fault, f"{_capital(row.words)}.", row is best, [rung])
    yield from _http_findings(seen, best)
    yield from _asides(seen, rows)


def _whole(seen: Observations, rows: list[Row]) -> Finding | None:
    """What keeps everything from working."""
    endings = [asked.ended for asked in seen.asked.values()] + [trial.ended for trial in seen.trials.values()]
    statuses = {ended.status for ended in endings if ended is not None}
    verdicts = {row.verdict for row in rows}
    if verdicts & _FREE or "buffered" in verdicts:
        return None
    names = [row.transport for row in rows]
    if seen.secure:
        return Finding("https", "Does that port speak HTTPS? Say https:// in the URL.", True, names)
    negotiate = seen.asked.get("negotiate")
    if negotiate is not None and negotiate.ended is not None and negotiate.ended.verdict == "disabled":
        text = f"everywire answers, but serves nothing at {seen.url}. Is the URL that of the mount, such as {_mount(seen)}?"
        return Finding("not_mount", text, True, names)
    if 407 in statuses:
        return Finding("proxy_auth", f"The proxy{_at(seen)} wants to know who you are (407).", True, names)
    if "tls_error" in verdicts:
        return _tls(seen, names)
    if "captive_portal" in verdicts:
        return _led_away(seen, names)
    if verdicts <= _DEAD:
        return Finding("unreachable", _unreachable(seen), True, names)
    if "bad_gateway" in verdicts and verdicts <= {"bad_gateway", *_DEAD}:
        return Finding("gateway", f"{_answered(seen)}, but there is no server behind it.", True, names)
    if not any(asked.ended is None or asked.ended.code for asked in seen.asked.values()):
        return _foreign(seen, statuses, names)
    return None


def _led_away(seen: Observations, names: list[str]) -> Finding:
    """A page answers, or we are sent elsewhere."""
    to = next((head.headers["location"] for head in seen.heads() if "location" in head.headers), "")
    if seen.url.startswith("http:") and f"{to}/".startswith(f"https://{urlsplit(seen.url).hostname}/"):
        return Finding("https", "The server wants HTTPS: say https:// in the URL.", True, names)
    where = f" (it leads to {to})" if to else ""
    text = f"A login page answers instead of the server{where}: log in with a browser, then try again."
    return Finding("login", text, True, names)


def _foreign(seen: Observations, statuses: set[int], names: list[str]) -> Finding | None:
    """Nothing that answers is ours."""
    ended = first_ending(seen)
    if ended is None or not statuses & {200, 400, 401, 403, 404, 405}:
        return None
    if statuses & {401, 403} and not statuses & {404, 405}:
        status, path = min(statuses & {401, 403}), urlsplit(seen.url).path or "/"
        text = f"{_answered(seen)} with {status}: it lets nobody through. Whoever runs it would have to allow {path}."
        return Finding("blocked", text, True, names)
    text = f"What answers at {seen.url} is not everywire ({ended.reason}). Is the URL that of the mount, such as {_mount(seen)}?"
    return Finding("not_everywire", text, True, names)


def _mount(seen: Observations) -> str:
    scheme, _, rest = seen.url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/live"


def _faults(seen: Observations, rows: list[Row]) -> Iterator[tuple[str, str]]:
    """What is wrong with each transport: `(transport, fault)`s."""
    lives = [row.life.seconds for row in rows if row.life.state == "bad" and row.life.seconds is not None]
    for row in rows:
        match row.verdict:
            case "ok":
                pass
            case "disabled" | "refused":
                yield row.transport, row.verdict
            case "buffered":
                yield row.transport, _holding(seen)
            case "cut_early" if row.transport in ONE_WAY or (row.life.seconds or 0.0) > _SHORT:
                yield row.transport, "life"
            case "cut_idle" | "no_answer" if row.proof.state == "ok":
                same = row.life.state == "bad" or any(abs(each - (row.idle.seconds or 0.0)) < SAME for each in lives)
                yield row.transport, "life" if same else "idle"
            case _ if not _both_ways(row):
                yield row.transport, "blocked"
            case _:  # opened, and then dead: the upgrade is not what is missing
                yield row.transport, "inspected" if row.handshake.state == "ok" else "upgrade"


def _holding(seen: Observations) -> str:
    """Whether a stream is held back by its compression, or by somebody who waits for more."""
    plain = seen.trial("sse", "identity")
    flows = plain is not None and proof_of(plain, True)[1] == "ok" and buffering_of(plain).state == "ok"
    return "compression" if flows else "buffering"


def _http_findings(seen: Observations, best: Row | None) -> Iterator[Finding]:
    post, origin, asked = seen.asked.get("post"), seen.asked.get("origin"), seen.asked.get("negotiate")
    if (
        origin is not None
        and origin.ended is not None
        and origin.ended.code == 4403
        and asked is not None
        and asked.ended is None
    ):
        text = "Pages of this host are taken for foreign ones (4403): somebody on the way writes another Host."
        yield Finding("host", text, True)
    if post is not None and post.ended is not None and post.ended.verdict != "refused":
        said = post.ended.reason or VERDICTS[post.ended.verdict].format(label="POST", status=post.ended.status, via="")
        alone = best is None or best.verdict not in _FREE or best.transport in ONE_WAY or best.transport not in STREAMS
        yield Finding("post", f"POST does not get through: {said}.", alone)
    if post is not None and post.ended is not None and post.ended.verdict == "refused":
        yield Finding("refused", f"The server refuses commands: {post.ended.reason}.", False)


def _asides(seen: Observations, rows: list[Row]) -> Iterator[Finding]:
    """What no transport's verdict says."""
    for row in rows:
        trial = seen.trial(row.transport, "silence")
        if trial is not None and seen.since and trial.resumed == "fresh":
            text = f"{_capital(label(row.transport))} loses the position on the way: nothing can be resumed."
            yield Finding("resume", text, True, [row.transport])
    if any(row.handshake.state == "ok" and row.proof.state == "bad" and _both_ways(row) for row in rows):
        over = "Over HTTPS it could not." if seen.url.startswith("http:") else "It must have ended TLS: look at the certificate."
        yield Finding("inspection", f"WebSockets are let through and then looked into, or so it seems. {over}", False)
    if seen.trials and seen.deflate is None and any(row.transport == "websocket" and row.verdict in _FREE for row in rows):
        yield Finding("deflate", "A WebSocket that offers compression, as those of browsers do, does not get through.", True)
    yield from _stream_asides(seen, any(row.transport == "sse" and row.verdict == "buffered" for row in rows))
    if any(row.verdict == "refused" for row in rows):
        yield Finding("channel", "If another channel may be read here, name it with --channel.", False)
    if any(row.idle.words == "busy" for row in rows):
        yield Finding("busy", "The channels are never silent, so nothing is known of silences: read a quiet one.", False)
    if any(head.version == "1.0" for head in seen.heads()):
        yield Finding("http10", "Somebody on the way answers in HTTP/1.0.", False)
    if (hit := _cached(seen)) is not None:
        yield Finding("cache", f"A cache answered in place of the server ({hit.path}), although that was forbidden.", False)
    if (skew := _skew(seen)) is not None and abs(skew) > _SKEW:
        text = f"The clocks differ by {seconds(abs(skew))} s: this machine's is {'behind' if skew > 0 else 'ahead'}."
        yield Finding("clock", text, False)


def _stream_asides(seen: Observations, held: bool) -> Iterator[Finding]:
    """What happens to the head of a stream."""
    if (coding := _coding(seen)) and not (held and _holding(seen) == "compression"):
        but = "" if held else ". It passes, but costs memory and time"
        yield Finding("compressed", f"Somebody compresses the stream ({coding}){but}.", False, ["sse"])
    header = seen.trial("sse", "header")
    if header is not None and header.resumed == "fresh":
        text = "Last-Event-ID gets lost on the way. Our clients do not need it; a plain EventSource does."
        yield Finding("header", text, False)


def _coding(seen: Observations) -> str:
    """How a stream is compressed on the way; "" for not at all, or by the server itself."""
    usual = seen.trial("sse", "beats")
    heads = usual.heads if usual is not None else []
    codings = (head.headers["content-encoding"] for head in heads if "content-encoding" in head.headers)
    return next((coding for coding in codings if coding not in seen.encodings), "")


def _cached(seen: Observations) -> Head | None:
    return next((head for head in seen.heads() if head.status == 200 and _from_cache(head.headers)), None)


def _from_cache(headers: dict[str, str]) -> bool:
    hit = headers.get("x-cache", "").lower().startswith("hit")
    age = headers.get("age", "")
    return hit or (age.isascii() and age.isdigit() and int(age[:9]) > 0)


# --------------------------------------------------------------------------------------------------------------- verdict


def _best(seen: Observations, rows: list[Row]) -> Row | None:
    """The best transport that the server has to offer."""
    there = [row for row in rows if row.verdict != "disabled" and (not seen.offered or row.transport in seen.offered)]
    return there[0] if there else None


def _exit(seen: Observations, rows: list[Row], found: list[Finding]) -> int:
    best = _best(seen, rows)
    if best is not None and best.verdict == "ok":
        return DEGRADED if any(each.grave for each in found) else WORKS
    alive = any(row.verdict in _FREE or row.verdict == "refused" or row.proof.state == "ok" for row in rows)
    return DEGRADED if alive else NOTHING


def _sentence(rows: list[Row], found: list[Finding], code: int, lines: list[Mend]) -> str:
    """What there is to say to a person, and whether there are lines for somebody."""
    live = next((row for row in rows if row.verdict == "ok"), None)
    live = live or next((row for row in rows if row.verdict in _FREE or row.proof.state == "ok"), None)
    whole = any(len(each.transports) == len(rows) for each in found)
    of_rows = [] if whole else list(_others(rows, live))
    said = {f"{_capital(row.words)}." for row in rows}
    rest = [each.words for each in found if each.fault not in _ASIDES and each.words not in said]
    names = list(dict.fromkeys(mend.server for mend in lines))
    wrong = of_rows or rest or live is None or live.verdict != "ok"
    mended = [f"There are lines for {names[0]} that mend it."] if wrong and len(names) == 1 and names != ["client"] else []
    return " ".join([_start(live, code), *of_rows, *rest, *mended])


def _start(live: Row | None, code: int) -> str:
    if code == NOTHING:
        return "Nothing works here."
    if live is None:
        return "The way to the server is free, but it does not let itself be read."
    return f"{_capital(label(live.transport))} works{'' if live.verdict == 'ok' else f', but {_predicate(live)}'}."


def _others(rows: list[Row], live: Row | None) -> Iterator[str]:
    """What is wrong with the transports that are not in use, each fault once."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row is not live and row.verdict not in ("ok", "disabled"):
            groups.setdefault(row.verdict, []).append(row)
    for verdict, group in groups.items():
        names = [label(row.transport) for row in group]
        if live is not None and verdict == live.verdict:
            yield f"{_capital(' and '.join(names))}: the same."
        else:
            also = f", {' and '.join(names[1:])} too" if names[1:] else ""
            colon = "" if group[0].words.startswith(names[0]) else ":"
            yield f"{_capital(names[0])}{colon} {_predicate(group[0])}{also}."


def _predicate(row: Row) -> str:
    """The words without the name, if they begin with it."""
    return row.words.removeprefix(label(row.transport)).strip()


def _mends(seen: Observations, found: Iterable[Finding], servers: list[Server]) -> list[Mend]:
    """For whom was recognised; for all, where that is nobody who stands in the way."""
    names = [server.name for server in servers if server.kind in ("reverse", "forward")]
    forward = ["Squid"] if seen.proxy and "Squid" not in names else []
    names = names or [*REVERSE, *forward]
    faults = {each.fault for each in found} | {f"{each.fault}/{rung}" for each in found for rung in each.transports}
    return mends(faults, [*names, "client"], seen.url)


# ----------------------------------------------------------------------------------------------------------------- facts


def _facts(seen: Observations) -> dict[str, str]:
    """What else was seen, in words."""
    facts: dict[str, str] = {}
    if seen.proxy:
        facts["proxy"] = f"{seen.proxy}, from the environment"
    if seen.tls is not None:
        trust = f"not trusted: {seen.tls.why}" if seen.tls.why else "trusted"
        facts["certificate"] = f"made by {seen.tls.issuer or 'somebody'}, {trust}"
        facts["TLS"] = " ".join(each for each in (seen.tls.version, seen.tls.alpn and f"with {seen.tls.alpn}") if each)
    versions = sorted({head.version for head in seen.heads() if head.version})
    if versions:
        facts["HTTP"] = " and ".join(versions)
    if seen.deflate is not None:
        facts["WebSocket compression"] = "agreed to" if seen.deflate else "not agreed to"
    if (skew := _skew(seen)) is not None:
        facts["clocks"] = f"{seconds(abs(skew))} s apart"
    return facts


def _skew(seen: Observations) -> float | None:
    """Seconds by which the server's clock is ahead of ours, as far as a Date header tells."""
    for asked in seen.asked.values():
        for head in asked.heads:
            moment = _date(head.headers.get("date", ""))
            if moment is not None and asked.at:
                return moment + 0.5 - asked.at  # the header tells whole seconds
    return None


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _at(seen: Observations) -> str:
    return f" at {seen.proxy}" if seen.proxy else ""


def _answered(seen: Observations) -> str:
    names = [server.name for server in recognise(seen)]
    return f"{' and '.join(names) or 'Somebody'} answers"


def _tls(seen: Observations, names: list[str]) -> Finding:
    if seen.tls is not None and seen.tls.why:
        return Finding("certificate", _certificate(seen), True, names)
    ended = first_ending(seen)
    text = f"TLS does not come about ({ended.reason if ended is not None else ''}). Does that port speak plain HTTP?"
    return Finding("tls", text, True, names)


def _certificate(seen: Observations) -> str:
    who = f"It was made by {seen.tls.issuer}" if seen.tls is not None and seen.tls.issuer else "It is not known who made it"
    why = f" ({seen.tls.why})" if seen.tls is not None and seen.tls.why else ""
    return (
        f"The certificate that is shown here is not trusted{why}. {who}: if that is this network's own authority, "
        "it reads what is sent; name it with --ca."
    )


_CAUSES: Final = {
    "name": "the name of the host is not known here",
    "port": "nobody answers at that address and port",
    "proxy": "the proxy that the environment names does not answer",
    "time": "there was no answer in time",
}


def _unreachable(seen: Observations) -> str:
    ended = first_ending(seen)
    cause = _CAUSES.get(ended.cause, ended.reason) if ended is not None else "there was no answer"
    return f"The server could not be reached: {cause}."


def _both_ways(row: Row) -> bool:
    return row.transport in STREAMS and row.transport not in ONE_WAY


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
