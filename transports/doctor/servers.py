"""Servers: who answered, as far as answers give it away."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from .observations import Observations


class Server(msgspec.Struct, frozen=True):
    """A program, or a service, that stands in the way or at its end."""

    name: str
    kind: str  # "reverse" (before the server), "forward" (before the client), "cdn", "origin" (the server itself)
    seen: str  # what gave it away


class _Sign(NamedTuple):
    name: str
    kind: str
    header: str  # "" for the answer to nonsense
    pattern: str


_SIGNS: Final = (
    _Sign("nginx", "reverse", "server", r"(?i)^(nginx|openresty)\b"),
    _Sign("HAProxy", "reverse", "server", r"(?i)^haproxy"),
    _Sign("HAProxy", "reverse", "via", r"(?i)haproxy"),
    _Sign("HAProxy", "reverse", "", r"Your browser sent an invalid request\."),
    _Sign("Apache", "reverse", "server", r"^Apache(?!-Coyote)\b"),
    _Sign("Apache", "reverse", "via", r"\(Apache"),
    _Sign("Varnish", "reverse", "x-varnish", r"\d"),
    _Sign("Varnish", "reverse", "via", r"(?i)varnish"),
    _Sign("Caddy", "reverse", "server", r"(?i)^caddy"),
    _Sign("Caddy", "reverse", "via", r"(?i)\bcaddy"),
    _Sign("Squid", "forward", "via", r"(?i)\(squid"),
    _Sign("Squid", "forward", "server", r"(?i)^squid"),
    _Sign("Squid", "forward", "x-squid-error", r"."),
    _Sign("Cloudflare", "cdn", "cf-ray", r"."),
    _Sign("CloudFront", "cdn", "x-amz-cf-id", r"."),
    _Sign("AWS load balancer", "cdn", "server", r"(?i)^awselb"),
    _Sign("Google load balancer", "cdn", "via", r"\bgoogle$"),
    _Sign("Azure Front Door", "cdn", "x-azure-ref", r"."),
    _Sign("Fastly", "cdn", "x-served-by", r"^cache-"),
    _Sign("Akamai", "cdn", "server", r"(?i)^AkamaiGHost"),
    _Sign("Zscaler", "forward", "server", r"(?i)^zscaler"),
    _Sign("Zscaler", "forward", "via", r"(?i)zscaler"),
    _Sign("Blue Coat", "forward", "via", r"(?i)bluecoat|proxysg"),
    _Sign("Fortinet", "forward", "via", r"(?i)forti"),
    _Sign("Hypercorn", "origin", "server", r"(?i)^hypercorn"),
    _Sign("uvicorn", "origin", "server", r"(?i)^uvicorn"),
)

_GO: Final = re.compile(r"^HTTP/1\.1 400 Bad Request\nContent-Type: text/plain; charset=utf-8\nConnection: close\n\n400")
_OTHER: Final = ("server", "via", "proxy-agent")  # headers in which somebody names himself


def recognise(seen: Observations) -> list[Server]:
    """Who answered, each once, in the order of the table."""
    found: dict[str, Server] = {}
    for sign in _SIGNS:
        for source, text in _texts(seen, sign.header):
            if sign.name not in found and re.search(sign.pattern, text):
                found[sign.name] = Server(sign.name, sign.kind, f"{source}: {text[:60]}" if sign.header else source)
    if not found and _GO.match(seen.edge):
        found["Caddy"] = Server("Caddy", "reverse", "it refuses nonsense as Go programs do")
    return list(found.values())


def strangers(seen: Observations) -> list[str]:
    """What somebody said of himself who is not in the table."""
    known = [server.name.lower() for server in recognise(seen)]
    said = {f"{name}: {head.headers[name][:60]}" for head in seen.heads() for name in _OTHER if name in head.headers}
    return sorted(text for text in said if not any(name in text.lower() for name in known))


def _texts(seen: Observations, header: str) -> list[tuple[str, str]]:
    """Where to look for a sign: `(source, text)`s."""
    if not header:
        return [("its answer to nonsense", seen.edge)] if seen.edge else []
    texts = [(header, head.headers[header]) for head in seen.heads() if header in head.headers]
    match = re.search(rf"(?im)^{re.escape(header)}: *([^\r\n]{{1,200}})", seen.edge)
    return [*texts, *([(header, match[1])] if match else [])]
