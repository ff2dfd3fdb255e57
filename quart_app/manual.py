"""Manual: the documentation, served below `/docs` as Sphinx built it: into the wheel, or in a checkout by `make docs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from quart import Blueprint, Response, redirect, render_template, send_from_directory
from werkzeug.exceptions import NotFound
from werkzeug.security import safe_join

from .guard import guard

_HERE: Final = Path(__file__).parent
PLACES: Final = (_HERE / "built_docs", _HERE.parent / "docs" / "_build" / "html")

# Sphinx's theme has scripts and styles within its pages. They are our own files, and nothing that somebody said is in them.
_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'unsafe-inline'",
        "style-src 'self' 'unsafe-inline'",
        "connect-src 'self'",
        "font-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'self'",  # the search
        "frame-ancestors 'none'",
    ]
)


def no_lab() -> Blueprint:
    """What answers where the documentation leads to the lab, and this is not the lab."""
    lab = Blueprint("no_lab", __name__, template_folder="templates")

    @lab.get("/lab/")
    async def page() -> tuple[str, int]:
        return await not_here("lab", "There is no lab at this server")

    lab.after_request(guard)
    return lab


async def not_here(what: str, title: str) -> tuple[str, int]:
    """A page that says what to do."""
    return await render_template("not_here.html", what=what, title=title), 404


def manual(*places: Path) -> Blueprint:
    """The pages, out of the first of `places` that has some."""
    found = next((place for place in places or PLACES if (place / "index.html").is_file()), None)
    docs = Blueprint("manual", __name__, template_folder="templates")

    @docs.get("/docs")
    async def home() -> Any:
        return redirect("/docs/")

    @docs.get("/docs/", defaults={"path": ""})
    @docs.get("/docs/<path:path>")
    async def page(path: str) -> Response | tuple[str, int]:
        if found is None:
            return await not_here("docs", "The documentation is not built")
        if safe_join(str(found), path) is None or any(
            part.startswith(".") for part in path.split("/")
        ):  # what Sphinx keeps for itself
            raise NotFound
        if path == "" or path.endswith("/"):
            path += "index.html"
        try:
            answer = await send_from_directory(found, path, cache_timeout=300)
        except OSError as error:  # a name longer than those of files
            raise NotFound from error
        answer.headers["Content-Security-Policy"] = _POLICY
        return answer

    docs.after_request(guard)
    return docs
