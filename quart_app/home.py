"""Home: the page of `everywire serve`, on which its stream can be watched. The browser does the work; here it is only served."""

from __future__ import annotations

from typing import Final

from quart import Blueprint, render_template

from .guard import guard

LANES: Final = {"websocket": "WebSocket", "sse": "Server-Sent Events", "longpoll": "Long-polling"}


def pages(mount: str) -> Blueprint:
    """The page, for an app that serves the stream at `mount`."""
    home = Blueprint("home", __name__, static_folder="static", static_url_path="/lab", template_folder="templates")

    @home.get("/")
    async def index() -> str:
        return await render_template("index.html", mount=mount, lanes=LANES)

    home.after_request(guard)
    return home
