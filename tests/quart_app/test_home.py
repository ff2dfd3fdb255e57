"""The page of `everywire serve` as it is served. What it does in a browser: tests/browser."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from quart import Quart

from quart_app.guard import content_security_policy
from quart_app.home import home, publishable, read_by_the_page
from quart_app.look import look


def served(mount: str = "/live", channels: Sequence[str] = ("*",)) -> Quart:
    app = Quart(__name__)
    app.register_blueprint(home(mount, channels))
    app.register_blueprint(look())
    return app


@pytest.mark.parametrize("host", ["example.org", "example.org:8443", "127.0.0.1:8000", "[::1]", "[fe80::1]:8000", "localhost"])
def test_sockets_may_go_to_the_host_the_page_came_from(host: str) -> None:
    assert f"connect-src 'self' ws://{host} wss://{host}; " in content_security_policy(host)


@pytest.mark.parametrize("host", ["", "*", "a b", "a; script-src *", "a/b", "a,b", "user@a", "a:b", "a\n", "[::1", "ä"])
def test_a_host_that_is_none_is_not_let_into_the_policy(host: str) -> None:
    assert "connect-src 'self'; " in content_security_policy(host)


async def test_the_page_says_where_the_stream_is_and_has_nothing_inline() -> None:
    client = served("/elsewhere").test_client()
    response = await client.get("/", headers={"Host": "lab.example"})
    page = await response.get_data(as_text=True)
    assert 'data-mount="/elsewhere"' in page
    for path in ("negotiate", "client.js", "health", "status"):
        assert f'href="/elsewhere/{path}"' in page
    assert "curl -N '<span class=\"url\">http://lab.example/elsewhere</span>/sse?channels=vitals'" in page
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == page.count('<script type="module" src="/home/home.js">') == 1
    assert "wss://lab.example" in response.headers["Content-Security-Policy"]


async def test_a_host_is_text_on_the_page() -> None:
    response = await served().test_client().get("/", headers={"Host": "<b>lab"})
    assert "<b>" not in await response.get_data(as_text=True)


@pytest.mark.parametrize(
    ("channels", "reads", "public"),
    [
        (["*"], ["vitals", "chat"], "chat"),
        (["news", "vitals"], ["vitals", "news"], "news"),
        (["vitals", "rooms.*"], ["vitals", "rooms.chat"], "rooms.chat"),
        (["vit*"], ["vitals", "vitchat"], "vitchat"),
        (["vitals"], ["vitals"], ""),
        (["clock"], ["clock"], "clock"),
        ([], [], ""),
    ],
)
async def test_the_reader_follows_what_is_open(channels: list[str], reads: list[str], public: str) -> None:
    assert (read_by_the_page(channels), publishable(channels)) == (reads, public)
    page = await (await served(channels=channels).test_client().get("/")).get_data(as_text=True)
    assert (f'data-reads="{",".join(reads)}"' in page) == bool(reads)
    assert ('id="say"' in page) == bool(public)
    assert ("everywire publish" in page) == bool(public)


@pytest.mark.parametrize("name", ["home/home.js", "home/home.css", "look/look.css", "look/icon.svg"])
async def test_its_files_are_served_beside_it_with_their_own_types(name: str) -> None:
    response = await served().test_client().get(f"/{name}")
    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    assert response.status_code == 200
    assert response.content_type.startswith(kinds[name.rpartition(".")[2]])
    assert response.headers["X-Content-Type-Options"] == "nosniff"
