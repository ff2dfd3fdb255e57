"""Look: the style and the sign that our pages share, served beside each of them: one must not need the other's server."""

from __future__ import annotations

from quart import Blueprint

from .guard import guard


def look() -> Blueprint:
    """Files below `/look`."""
    shared = Blueprint("look", __name__, static_folder="static/look", static_url_path="/look")
    shared.after_request(guard)
    return shared
