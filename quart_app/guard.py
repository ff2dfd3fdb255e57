"""What browsers are told about our pages: what these may do, and who may look into them."""

from __future__ import annotations

import re

from quart import Response, request

_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")


async def guard(response: Response) -> Response:
    """Give an answer the headers; for `after_request`. One that has a policy already keeps it."""
    response.headers.setdefault("Content-Security-Policy", content_security_policy(request.host))
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"  # a page that opened ours cannot reach into it
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


def content_security_policy(host: str) -> str:
    """What a page may do: our own scripts and styles, and connections to where it came from.

    Args:
        host: as the browser sent it. Older browsers do not count `ws:` to the same host as `'self'` (CSP 3, section 6.7.2.8).
    """
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"connect-src 'self'{sockets}",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",  # what is no text may not be made of text: no `innerHTML`
            "trusted-types 'none'",
        ]
    )
