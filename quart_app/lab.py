"""The lab: pages on which a stream can be watched, and broken, by hand. The browser does the work; here they are only served."""

from __future__ import annotations

import re
from typing import Final

from quart import Blueprint, Response, render_template, request

LANES: Final = {"websocket": "WebSocket", "sse": "Server-Sent Events", "longpoll": "Long-polling"}

_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")


def pages(mount: str) -> Blueprint:
    """The pages, for an app that serves the stream at `mount`."""
    lab = Blueprint("lab", __name__, static_folder="static", static_url_path="/lab", template_folder="templates")

    @lab.get("/")
    async def index() -> str:
        return await render_template("index.html", mount=mount, lanes=LANES)

    @lab.after_request
    async def guard(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = content_security_policy(request.host)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"  # a page that opened ours cannot reach into it
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response

    return lab


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
