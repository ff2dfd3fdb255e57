"""What observations mean: each case is a few observations, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from transports.doctor import Report, report
from transports.doctor.observations import Arrival, Asked, Ending, Head, Observations, Tls, Trial
from transports.evidence import VERDICTS

START = 1_763_850_000.0  # seconds since 1970
DATE = "Sat, 22 Nov 2025 22:20:00 GMT"  # the same


def head(status: int = 200, **headers: str) -> Head:
    return Head("/live/x", status, "1.1", {name.replace("_", "-"): value for name, value in headers.items()}, 0.0, 0.01)


def beats(rung: str, count: int = 20, *, late: Callable[[int], float] = lambda n: 0.0, ended: Ending | None = None) -> Trial:
    """A stream on which a beat comes every second, or later."""
    arrivals = [Arrival("hello", 0.02), *(Arrival("beat", n + late(n), START + n) for n in range(1, count + 1))]
    return Trial(rung, "beats", 0.01, 0.03, 1.0, "fresh", arrivals, [head()], ended, 20.0)


def silence(rung: str, *, ended: Ending | None = None, resumed: str = "exact", dead: bool = False) -> Trial:
    """A wire that is silent for 15 seconds, if it bears that."""
    rest = [] if ended is not None or dead else [Arrival("beat", 15.02, START + 15)]
    first = Arrival("beat" if rung == "longpoll" else "hello", 0.02)
    return Trial(rung, "silence", 0.01, 0.02, 15.0, resumed, [first, *rest], [head()], ended, 17.0 if dead else 15.02)


def failed(rung: str, kind: str, verdict: str, status: int = 0, via: str = "", **rest: object) -> Trial:
    return Trial(rung, kind, ended=Ending(verdict, 0.01, status, via, **rest), took=0.01)


def mute(rung: str, kind: str, opened: float | None = None) -> Trial:
    return Trial(rung, kind, opened, took=5.0)


def seen(*changed: Trial, **rest: object) -> Observations:
    """A path on which all is well but for what is changed."""
    trials = [
        *(beats(rung) for rung in ("websocket", "sse")),
        *(silence(rung) for rung in ("websocket", "sse", "longpoll")),
        msgspec.structs.replace(beats("sse", 3), kind="identity"),
        Trial("sse", "header", 0.01, 0.02, 1.0, "exact", [Arrival("hello", 0.02)]),
        *changed,
    ]
    asked = {
        name: Asked(name, 0.01, [head(date=DATE)], None, START + 0.5) for name in ("negotiate", "position", "post", "origin")
    }
    asked |= rest.pop("asked", {})
    return Observations(
        "http://shop.example/live",
        ["everywire-doctor"],
        20.0,
        20.0,
        offered=["websocket", "sse", "longpoll"],
        since="k3f9.7",
        asked=asked,
        trials={f"{trial.rung} {trial.kind}": trial for trial in trials},
        **{"deflate": True, **rest},
    )


def nothing(verdict: str, status: int = 0, *, cause: str = "", reason: str = "", **rest: object) -> Observations:
    """A path on which the first questions end alike, so that nothing more is tried."""
    ended = Ending(verdict, 0.01, status, reason=reason, cause=cause)
    names = ("negotiate", "position", "post")
    heads = [rest.pop("head", head(status))]
    asked = {name: Asked(name, 0.01, heads if status else [], ended) for name in names}
    return Observations("http://shop.example/live", [], 20.0, 20.0, asked=asked, **rest)


def everywhere(verdict: str, status: int, *, reason: str = "", **headers: str) -> Observations:
    """A path on which everything is answered alike."""
    found = nothing(verdict, status, reason=reason, head=head(status, **headers))
    for rung, kind in (("websocket", "beats"), ("sse", "beats"), ("longpoll", "silence")):
        found.trials[f"{rung} {kind}"] = failed(rung, kind, verdict, status)
    return found


def cut(after: float, verdict: str = "ended") -> Ending:
    return Ending(verdict, after, reason="the stream ended")


CASES = {
    "all is well": (seen(), "ok ok ok", [], 0, "WebSocket works."),
    "no upgrade": (
        seen(failed("websocket", "beats", "upgrade_stripped", 426)),
        "upgrade_stripped ok ok",
        ["upgrade"],
        10,
        "SSE works. WebSocket lost its upgrade on the way.",
    ),
    "upgrades are refused": (
        seen(failed("websocket", "beats", "refused_http", 403, "squid/5.7")),
        "refused_http ok ok",
        ["upgrade"],
        10,
        "SSE works. WebSocket was refused with 403 by squid/5.7.",
    ),
    "upgrades are swallowed": (
        seen(mute("websocket", "beats", 0.01), mute("websocket", "silence", 0.01)),
        "no_answer ok ok",
        ["inspected", "inspection"],
        10,
        "SSE works. WebSocket fell silent. "
        "WebSockets are let through and then looked into, or so it seems. Over HTTPS it could not.",
    ),
    "bodies are held": (
        seen(mute("sse", "beats", 0.01), mute("sse", "identity", 0.01), mute("sse", "silence", 0.01)),
        "ok buffered ok",
        ["buffering"],
        0,
        "WebSocket works. SSE is held back on the way.",
    ),
    "heads are held too": (
        seen(mute("sse", "beats"), mute("sse", "identity"), mute("sse", "silence")),
        "ok buffered ok",
        ["buffering"],
        0,
        "WebSocket works. SSE is held back on the way.",
    ),
    "bodies come in lumps": (
        seen(beats("sse", late=lambda n: -n % 5), msgspec.structs.replace(beats("sse", late=lambda n: -n % 5), kind="identity")),
        "ok buffered ok",
        ["buffering"],
        0,
        "WebSocket works. SSE is held back on the way.",
    ),
    "one hiccup is none": (seen(beats("sse", late=lambda n: 1.8 if n == 7 else 0.0)), "ok ok ok", [], 0, "WebSocket works."),
    "compression holds bodies": (
        seen(mute("sse", "beats", 0.01)),
        "ok buffered ok",
        ["compression"],
        0,
        "WebSocket works. SSE is held back on the way.",
    ),
    "silence is cut": (
        seen(*(silence(rung, ended=cut(5.0)) for rung in ("websocket", "sse", "longpoll"))),
        "cut_idle cut_idle cut_idle",
        ["idle"] * 3,
        10,
        "WebSocket works, but is cut off when nothing comes (after 5.0 s). SSE and long-polling: the same.",
    ),
    "silence is swallowed": (
        seen(silence("sse", dead=True)),
        "ok no_answer ok",
        ["idle"],
        0,
        "WebSocket works. SSE fell silent (after 17.0 s).",
    ),
    "connections are forgotten": (
        seen(beats("websocket", 8), silence("websocket", dead=True)),
        "no_answer ok ok",
        ["life"],
        10,
        "SSE works. WebSocket fell silent (after 8.0 s).",
    ),
    "a poll is cut, and made once more behind our back": (
        seen(msgspec.structs.replace(silence("longpoll", dead=True), heads=[head(), Head("/live/poll", 0, "", {}, 0.02, 10.0)])),
        "ok ok cut_idle",
        ["idle"],
        0,
        "WebSocket works. Long-polling is cut off when nothing comes (after 10.0 s).",
    ),
    "killed as soon as it is seen": (
        seen(beats("websocket", 0, ended=cut(0.3))),
        "cut_early ok ok",
        ["inspected"],
        10,
        "SSE works. WebSocket is cut off early (after 0.3 s).",
    ),
    "every request ends after ten seconds": (
        seen(
            *(beats(rung, 9, ended=cut(10.0)) for rung in ("websocket", "sse")),
            *(silence(rung, ended=cut(10.1)) for rung in ("websocket", "sse", "longpoll")),
        ),
        "cut_early cut_early cut_idle",
        ["life"] * 3,
        10,
        "WebSocket works, but is cut off early (after 10.0 s). SSE: the same. "
        "Long-polling is cut off when nothing comes (after 10.1 s).",
    ),
    "cut before the proof": (
        seen(Trial("websocket", "beats", 0.01, None, 1.0, "fresh", [Arrival("hello", 0.02)], [], cut(0.2), 0.2)),
        "cut_early ok ok",
        ["inspected", "inspection"],
        10,
        "SSE works. WebSocket is cut off early. "
        "WebSockets are let through and then looked into, or so it seems. Over HTTPS it could not.",
    ),
    "the server does not serve WebSockets": (
        msgspec.structs.replace(seen(failed("websocket", "beats", "disabled", 404, code=4400)), offered=["sse", "longpoll"]),
        "disabled ok ok",
        ["disabled"],
        0,
        "SSE works.",
    ),
    "the server refuses the channel": (
        seen(
            failed("sse", "beats", "refused", 404, code=4404, reason="no channel named 'x'"),
            failed("longpoll", "silence", "refused", 404, code=4404, reason="no channel named 'x'"),
        ),
        "ok refused refused",
        ["refused", "refused", "channel"],
        0,
        "WebSocket works. SSE was refused by the server: no channel named 'x', long-polling too.",
    ),
    "the server refuses everything": (
        seen(
            *(
                failed(rung, kind, "refused", 401, code=4401, reason="who are you?")
                for rung, kind in (("websocket", "beats"), ("sse", "beats"), ("longpoll", "silence"))
            ),
            asked={name: Asked(name, ended=Ending("refused", 0.1, 401, code=4401)) for name in ("negotiate", "position", "post")},
        ),
        "refused refused refused",
        ["refused"] * 4 + ["channel"],
        10,
        None,
    ),
    "the host is rewritten": (
        seen(asked={"origin": Asked("origin", ended=Ending("refused", 0.1, 403, code=4403))}),
        "ok ok ok",
        ["host"],
        10,
        "WebSocket works. Pages of this host are taken for foreign ones (4403): somebody on the way writes another Host.",
    ),
    "POST is refused": (
        seen(
            asked={"post": Asked("post", ended=Ending("refused_http", 0.1, 403, reason="HTTP 403 text/html at /live/commands"))}
        ),
        "ok ok ok",
        ["post"],
        0,
        "WebSocket works. POST does not get through: HTTP 403 text/html at /live/commands.",
    ),
    "positions get lost": (
        seen(silence("websocket", resumed="fresh")),
        "ok ok ok",
        ["resume"],
        10,
        "WebSocket works. WebSocket loses the position on the way: nothing can be resumed.",
    ),
    "a cache answers": (
        seen(msgspec.structs.replace(silence("longpoll"), heads=[head(age="7")])),
        "ok ok ok",
        ["cache"],
        0,
        "WebSocket works.",
    ),
    "the clock is wrong": (
        seen(asked={"negotiate": Asked("negotiate", heads=[head(date=DATE)], at=START + 60)}),
        "ok ok ok",
        ["clock"],
        0,
        "WebSocket works.",
    ),
    "compression is what upgrades die of": (
        seen(deflate=None),
        "ok ok ok",
        ["deflate"],
        10,
        "WebSocket works. A WebSocket that offers compression, as those of browsers do, does not get through.",
    ),
    "somebody on the way compresses": (
        seen(msgspec.structs.replace(beats("sse"), heads=[head(content_encoding="br")]), encodings=["gzip"]),
        "ok ok ok",
        ["compressed"],
        0,
        "WebSocket works.",
    ),
    "the server compresses": (
        seen(msgspec.structs.replace(beats("sse"), heads=[head(content_encoding="gzip")]), encodings=["gzip"]),
        "ok ok ok",
        [],
        0,
        "WebSocket works.",
    ),
    "a connection that had been closed is no cut": (
        seen(msgspec.structs.replace(silence("longpoll"), heads=[head(), Head("/live/poll", 0, "", {}, 0.02, 0.01)])),
        "ok ok ok",
        [],
        0,
        "WebSocket works.",
    ),
    "the channel is busy": (
        seen(msgspec.structs.replace(silence("sse"), arrivals=[Arrival("hello", 0.02), Arrival("event", 0.5, START)])),
        "ok ok ok",
        ["busy"],
        0,
        "WebSocket works.",
    ),
    "the server is started again": (
        seen(
            *(beats(rung, 8, ended=cut(8.2)) for rung in ("websocket", "sse")),
            *(silence(rung, ended=cut(8.3)) for rung in ("websocket", "sse", "longpoll")),
            msgspec.structs.replace(beats("sse", 3), kind="identity", took=4.0),
            later="other.1",
        ),
        "ok ok ok",
        ["restart"],
        10,
        "WebSocket works. Everything ended at the same moment: was the server restarted? Run this again to learn of silence "
        "and life.",
    ),
    "all ends after eight seconds, and the server is the same": (
        seen(
            *(beats(rung, 8, ended=cut(8.2)) for rung in ("websocket", "sse")),
            *(silence(rung, ended=cut(8.3)) for rung in ("websocket", "sse", "longpoll")),
            msgspec.structs.replace(beats("sse", 3), kind="identity", took=4.0),
            later="k3f9.9",
        ),
        "cut_early cut_early cut_idle",
        ["life"] * 3,
        10,
        None,
    ),
    "the name is not known": (
        nothing("unreachable", cause="name"),
        "unreachable unreachable unreachable",
        ["unreachable"],
        20,
        "Nothing works here. The server could not be reached: the name of the host is not known here.",
    ),
    "the port is closed": (
        nothing("unreachable", cause="port"),
        "unreachable unreachable unreachable",
        ["unreachable"],
        20,
        "Nothing works here. The server could not be reached: nobody answers at that address and port.",
    ),
    "nobody answers": (
        nothing("timeout_open", cause="time"),
        "timeout_open timeout_open timeout_open",
        ["unreachable"],
        20,
        "Nothing works here. The server could not be reached: there was no answer in time.",
    ),
    "the certificate is another's": (
        nothing("tls_error", tls=Tls("O=Office, CN=Inspection", why="unable to get local issuer certificate")),
        "tls_error tls_error tls_error",
        ["certificate"],
        20,
        "Nothing works here. The certificate that is shown here is not trusted (unable to get local issuer certificate). It was "
        "made by O=Office, CN=Inspection: if that is this network's own authority, it reads what is sent; name it with --ca.",
    ),
    "a proxy wants to know who comes": (
        everywhere("refused_http", 407),
        "refused_http refused_http refused_http",
        ["proxy_auth"],
        20,
        "Nothing works here. The proxy wants to know who you are (407).",
    ),
    "a login page": (
        everywhere("captive_portal", 302, location="http://portal.hotel.example/"),
        "captive_portal captive_portal captive_portal",
        ["login"],
        20,
        "Nothing works here. A login page answers instead of the server (it leads to http://portal.hotel.example/): log in with "
        "a browser, then try again.",
    ),
    "the server wants https": (
        everywhere("captive_portal", 301, location="https://shop.example/live/negotiate"),
        "captive_portal captive_portal captive_portal",
        ["https"],
        20,
        "Nothing works here. The server wants HTTPS: say https:// in the URL.",
    ),
    "no server behind the proxy": (
        everywhere("bad_gateway", 502, server="nginx/1.22.1"),
        "bad_gateway bad_gateway bad_gateway",
        ["gateway"],
        20,
        "Nothing works here. nginx answers, but there is no server behind it.",
    ),
    "a proxy lets nobody through": (
        everywhere("refused_http", 403, via="1.1 office (squid/5.7)"),
        "refused_http refused_http refused_http",
        ["blocked"],
        20,
        "Nothing works here. Squid answers with 403: it lets nobody through. Whoever runs it would have to allow /live.",
    ),
    "somebody else's server": (
        everywhere("refused_http", 404, reason="HTTP 404 text/html at /negotiate"),
        "refused_http refused_http refused_http",
        ["not_everywire"],
        20,
        "Nothing works here. What answers at http://shop.example/live is not everywire (HTTP 404 text/html at /negotiate). Is "
        "the URL that of the mount, such as http://shop.example/live?",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_follows(name: str) -> None:
    observations, verdicts, faults, code, sentence = CASES[name]
    found = report(observations)
    assert [row.verdict for row in found.transports] == verdicts.split()
    assert [each.fault for each in found.findings] == faults
    assert found.exit == code
    assert sentence is None or found.sentence.removesuffix(" There are lines for Squid that mend it.") == sentence


def test_every_verdict_has_its_words() -> None:
    rows = [row for observations, *_ in CASES.values() for row in report(observations).transports]
    assert {row.verdict for row in rows} <= set(VERDICTS)


def test_a_report_comes_back_from_its_json() -> None:
    found = report(CASES["silence is cut"][0])
    assert msgspec.json.decode(msgspec.json.encode(found), type=Report) == found


def test_the_lines_are_for_whom_was_recognised_and_for_all_where_nobody_was() -> None:
    stripped = failed("websocket", "beats", "upgrade_stripped", 426)
    assert {mend.server for mend in report(seen(stripped)).mends} == {"nginx", "HAProxy", "Apache", "Varnish", "Caddy"}
    stripped.heads.append(head(426, server="nginx/1.22.1"))
    found = report(seen(stripped))
    assert {mend.server for mend in found.mends} == {"nginx"}
    assert found.sentence.endswith("There are lines for nginx that mend it.")


def test_a_proxy_of_the_environment_is_offered_its_lines_too() -> None:
    found = report(seen(failed("websocket", "beats", "refused_http", 403), proxy="http://proxy:3128"))
    assert "Squid" in {mend.server for mend in found.mends}


def test_nothing_is_to_be_mended_where_all_is_well() -> None:
    assert report(seen()).mends == []
