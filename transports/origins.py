"""Origins: whose page asks, whether it may, and what its browser is told about that.

A browser sends its user's cookies with requests that any page makes, and lets any page open a WebSocket. What it adds for the
server to judge by are `Origin` (RFC 6454 7) and `Sec-Fetch-Site` (W3C Fetch Metadata 2.1). No page can forge either, and whoever
is no browser may write what it likes: this protects those who use browsers, from pages, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from .errors import Code, Refusal

_Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

ANY: Final = "*"  # in the setting `origins`: pages of all of them, but nobody's cookies with them

_EXPOSED = (b"access-control-expose-headers", b"retry-after, server, via")  # `server`, `via`: who on the way refused something
_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"authorization, content-type, last-event-id"),
    (b"access-control-max-age", b"600"),  # seconds; browsers take no more than 600 to 86,400
)
_ELSEWHERE = frozenset({"cross-site", "same-site"})  # `none` is the user, who typed it
_PORTS = {"http": ":80", "https": ":443"}  # that need not be said
_NAME = re.compile(r"(\[[0-9a-f:.]+\]|[^:]*)(:[0-9]*)?")


class Page(NamedTuple):
    """A page of another origin that asks, and may.

    `named`: its origin is one of the setting; else it is let in because all are, and nobody vouches for it.
    """

    origin: str
    named: bool


def foreign_page(headers: Mapping[str, str], allowed: Sequence[str], *, secure: bool = False) -> Page | None:
    """Whose page asks, if it is of another origin than ours; None for one of ours, for a user, and for what is no page.

    Args:
        headers: of the request, with names in lower case.
        allowed: the setting `origins`.
        secure: it came over TLS as far as here, so that a page that came without is not one of ours.

    Raises:
        Refusal: 4403, it may not.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site == "same-origin":  # a proxy that rewrites `Host` leaves that alone
        return None
    # Chromium says no `Sec-Fetch-Site` with a WebSocket; and where others do, `wss` and `https` have to be the same to them.
    elsewhere = site in _ELSEWHERE and headers.get("sec-fetch-mode") != "websocket"
    if origin is None:  # as with <img>, <script> and links
        if not elsewhere or _is_link(headers):
            return None
        origin = "a page elsewhere"
    elif not elsewhere and _is_ours(origin.lower(), headers.get("host", "").lower(), secure):
        return None
    if _plain(origin) in _named(tuple(allowed)):
        return Page(origin, True)
    if ANY in allowed:
        return Page(origin, False)
    raise Refusal(Code.FORBIDDEN, f"pages from {origin[:80]} may not connect: it is not in the setting origins")


def _is_link(headers: Mapping[str, str]) -> bool:
    """Whether the user goes to the answer, as by a link: it is shown to nobody else, and in no frame."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _is_ours(origin: str, host: str, secure: bool) -> bool:
    """Whether a page of `origin` came from `host`; whether it came over TLS is known only if it did so up to here."""
    schemes = ("https",) if secure else ("https", "http")
    ours = [f"{scheme}://{host}" for scheme in schemes]
    return bool(host) and (origin in ours or _plain(origin) in map(_plain, ours))


def _plain(origin: str) -> str:
    """An origin as browsers write it (WHATWG HTML 7.1.1): in lower case, without the port that is usual."""
    origin = origin.lower()
    scheme, _, _ = origin.partition(":")
    return origin.removesuffix(_PORTS.get(scheme, "?"))


@lru_cache(16)
def _named(allowed: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(_plain, allowed)) - {ANY}


def shown_to(page: Page | None) -> _Headers:
    """What a browser wants to see before it hands an answer to a page of another origin (WHATWG Fetch 3.3).

    To a page that is named with what the user is known by; to any other without: a browser then shows it nothing that was asked
    for with cookies.
    """
    if page is None:
        return ()
    if not page.named:
        return ((b"access-control-allow-origin", b"*"), _EXPOSED)
    origin = page.origin.encode("latin-1")
    known = ((b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true"), (b"vary", b"origin"))
    return (*known, _EXPOSED)


def preflight(page: Page | None) -> _Headers:
    """What a browser wants to know before it asks for a page (WHATWG Fetch 3.3.6)."""
    return () if page is None else _PREFLIGHT


def check_host(headers: Mapping[str, str], hosts: Sequence[str]) -> None:
    """Whether the client meant this server.

    A name that somebody else owns may lead here: its pages are then of our origin, as far as a browser can tell (DNS rebinding).

    Args:
        headers: of the request, with names in lower case.
        hosts: the setting `hosts`; without any, every name will do.

    Raises:
        Refusal: 4403, by a name that is not ours.
    """
    if hosts:
        match = _NAME.fullmatch(host := headers.get("host", "").lower())
        if match is None or match[1] not in hosts:
            raise Refusal(Code.FORBIDDEN, f"nothing is served as {host[:80]!r}: it is not in the setting hosts", status=421)
