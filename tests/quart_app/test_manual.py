"""The documentation, as an application serves it."""

from __future__ import annotations

from pathlib import Path

import pytest
from quart import Quart

from quart_app import create_app
from quart_app.manual import manual


@pytest.fixture
def app(tmp_path: Path) -> Quart:
    (tmp_path / "secret.txt").write_text("secret")
    built = tmp_path / "html"
    (built / "how-to").mkdir(parents=True)
    (built / "index.html").write_text("<h1>first</h1>")
    (built / "how-to" / "index.html").write_text("<h1>how</h1>")
    (built / ".buildinfo").write_text("secret")
    (built / "how-to" / ".hidden").write_text("secret")
    (built / "style.css").write_text("p {}")
    app = Quart(__name__, static_folder=None)
    app.register_blueprint(manual(tmp_path / "none", built))
    return app


@pytest.mark.parametrize(
    ("path", "said"),
    [("/docs/", "first"), ("/docs/index.html", "first"), ("/docs/how-to/", "how"), ("/docs/style.css", "p {}")],
)
async def test_pages_and_what_belongs_to_them_are_served(app: Quart, path: str, said: str) -> None:
    answer = await app.test_client().get(path)
    assert said in await answer.get_data(as_text=True)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_folder_without_its_slash_leads_there(app: Quart) -> None:
    answer = await app.test_client().get("/docs")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/docs/")


OUTSIDE = ["/docs/none.html", "/docs/.buildinfo", "/docs/../secret.txt", "/docs/..%2fsecret.txt", "/docs/how-to/../../secret.txt"]
OUTSIDE += ["/docs/how-to/.hidden", "/docs/" + "a" * 5_000, "/docs/" + "a/" * 5_000]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path[:40])
async def test_nothing_else_is(app: Quart, path: str) -> None:
    answer = await app.test_client().get(path)
    assert answer.status_code == 404
    assert "secret" not in await answer.get_data(as_text=True)


async def test_where_none_is_built_it_is_said_how_to(tmp_path: Path) -> None:
    app = Quart(__name__, static_folder=None)
    app.register_blueprint(manual(tmp_path))
    answer = await app.test_client().get("/docs/")
    assert answer.status_code == 404
    assert "make docs" in await answer.get_data(as_text=True)


async def test_where_there_is_no_lab_it_is_said_what_starts_one() -> None:
    answer = await create_app().test_client().get("/lab/")
    text = await answer.get_data(as_text=True)
    assert answer.status_code == 404
    assert "everywire lab" in text
    assert "make docs" not in text
