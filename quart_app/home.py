"""Home: the page of `everywire serve`, on which its stream can be watched. The browser does the work; here it is only served."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from quart import Blueprint, Response, render_template, send_from_directory

from .guard import guard

LANES: Final = {"websocket": "WebSocket", "sse": "Server-Sent Events", "longpoll": "Long-polling"}
_SHARED: Final = Path(__file__).parent / "lab" / "static"  # the lab has the same checks


def pages(mount: str) -> Blueprint:
    """The page, for an app that serves the stream at `mount`."""
    home = Blueprint("home", __name__, static_folder="static", static_url_path="/lab", template_folder="templates")

    @home.get("/")
    async def index() -> str:
        return await render_template("index.html", mount=mount, lanes=LANES)

    @home.get("/lab/checks.js")
    async def checks() -> Response:
        return await send_from_directory(_SHARED, "checks.js")

    home.after_request(guard)
    return home
