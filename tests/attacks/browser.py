"""What a browser and a cache do with an answer, as far as an attack depends on it. Nothing else keeps the attacker out there."""

from __future__ import annotations

from collections.abc import Mapping

_WITH_USER = "include"  # cookies and all; what an attacker wants


def readable(headers: Mapping[str, str], origin: str, credentials: str = _WITH_USER) -> bool:
    """Whether a page of `origin` gets to see the answer to its `fetch` (WHATWG Fetch 4.10, the CORS check)."""
    allowed = headers.get("access-control-allow-origin")
    if credentials != _WITH_USER and allowed == "*":
        return True
    return allowed == origin and (credentials != _WITH_USER or headers.get("access-control-allow-credentials") == "true")


def may_ask(status: int, headers: Mapping[str, str], origin: str) -> bool:
    """Whether a browser sends a page's POST of JSON after it has asked with OPTIONS (WHATWG Fetch 4.9)."""
    names = headers.get("access-control-allow-headers", "").replace(" ", "").split(",")
    return 200 <= status < 300 and readable(headers, origin) and "content-type" in names


def runs_as_script(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer is run that a page elsewhere asked for by <script>: not with `nosniff`, if it does not say that it
    is a script (WHATWG Fetch 2.3.4), nor with a policy that keeps it to its own site (3.7.1).
    """
    kind = headers.get("content-type", "").partition(";")[0]
    sniffed = headers.get("x-content-type-options") == "nosniff" and "javascript" not in kind
    kept = headers.get("cross-origin-resource-policy") in ("same-origin", "same-site")
    return status == 200 and not sniffed and not kept


def framable(headers: Mapping[str, str]) -> bool:
    """Whether a page elsewhere may show the answer in a frame of its own (CSP 3 6.4.2)."""
    return "frame-ancestors 'none'" not in headers.get("content-security-policy", "")


def kept_by_a_cache(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a proxy that keeps whatever it may hands the answer to the next who asks for the same URL (RFC 9111 3)."""
    words = {word.strip().partition("=")[0].lower() for word in headers.get("cache-control", "").split(",")}
    return status == 200 and not words & {"no-store", "private"}
