"""The page of `everywire serve` as it is served. What they do in a browser: tests/browser."""

from __future__ import annotations

import pytest
from quart import Quart

from quart_app.guard import content_security_policy
from quart_app.home import LANES, pages


@pytest.mark.parametrize("host", ["example.org", "example.org:8443", "127.0.0.1:8000", "[::1]", "[fe80::1]:8000", "localhost"])
def test_sockets_may_go_to_the_host_the_page_came_from(host: str) -> None:
    assert f"connect-src 'self' ws://{host} wss://{host}; " in content_security_policy(host)


@pytest.mark.parametrize("host", ["", "*", "a b", "a; script-src *", "a/b", "a,b", "user@a", "a:b", "a\n", "[::1", "ä"])
def test_a_host_that_is_none_is_not_let_into_the_policy(host: str) -> None:
    assert "connect-src 'self'; " in content_security_policy(host)


async def test_the_page_has_a_lane_for_each_wire_and_nothing_inline() -> None:
    app = Quart(__name__)
    app.register_blueprint(pages("/elsewhere"))
    response = await app.test_client().get("/", headers={"Host": "lab.example"})
    page = await response.get_data(as_text=True)
    assert 'data-mount="/elsewhere"' in page
    assert all(f'data-transport="{lane}"' in page for lane in LANES)
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == page.count('<script type="module" src="/lab/lab.js">') == 1
    assert "wss://lab.example" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["lab.js", "checks.js", "lab.css", "icon.svg"])
async def test_its_files_are_served_beside_it_with_their_own_types(name: str) -> None:
    app = Quart(__name__)
    app.register_blueprint(pages("/live"))
    response = await app.test_client().get(f"/lab/{name}")
    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    assert response.status_code == 200
    assert response.content_type.startswith(kinds[name.rpartition(".")[2]])
    assert response.headers["X-Content-Type-Options"] == "nosniff"
