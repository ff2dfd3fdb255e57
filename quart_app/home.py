"""Home: the page of `everywire serve`. It says where the stream is and how to read and publish it, and has one reader at work,
which the browser runs; here it is only served.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from quart import Blueprint, render_template

from .guard import guard

VITALS: Final = "vitals"  # which the application itself publishes


def home(mount: str, channels: Sequence[str]) -> Blueprint:
    """The page at `/`.

    Args:
        mount: where the stream is.
        channels: names, and beginnings that end in `*`, that are open.
    """
    page = Blueprint("home", __name__, static_folder="static/home", static_url_path="/home", template_folder="templates")

    @page.get("/")
    async def index() -> str:
        public = publishable(channels)
        return await render_template("home.html", mount=mount, channels=channels, reads=read_by_the_page(channels), public=public)

    page.after_request(guard)
    return page


def publishable(channels: Sequence[str]) -> str:
    """A channel that whoever looks may publish to; empty if there is none but the application's own."""
    others = [name for name in channels if name != VITALS]
    return others[0].replace("*", "chat") if others else ""


def read_by_the_page(channels: Sequence[str]) -> list[str]:
    """What its reader follows: the application's own channel, if it is open, and the one that may be published to."""
    served = any(VITALS.startswith(name[:-1]) if name.endswith("*") else name == VITALS for name in channels)
    return [name for name in (VITALS if served else "", publishable(channels)) if name]
