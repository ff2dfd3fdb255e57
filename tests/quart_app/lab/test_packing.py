"""What the page is made of travels packed, where that is taken, and is packed once."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import pytest

from quart_app.lab import packing
from quart_app.lab.app import Lab

TEXTS = ["", "static/page.js", "static/lab.css", "static/words/en.json", "look/look.css", "look/icon.svg"]


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    lab = Lab()  # on a stage whose server does not run
    yield lab
    await lab.stage.server.close()


@pytest.mark.parametrize("path", TEXTS)
async def test_a_text_is_packed_for_whoever_takes_it_and_is_the_same_for_others(lab: Lab, path: str) -> None:
    client = lab.app.test_client()
    plain = await client.get(f"/lab/{path}")
    answer = await client.get(f"/lab/{path}", headers={"Accept-Encoding": "gzip, br"})
    body, whole = await answer.get_data(as_text=False), await plain.get_data(as_text=False)
    assert (answer.headers["Content-Encoding"], answer.headers["Content-Length"]) == ("gzip", str(len(body)))
    assert gzip.decompress(body) == whole
    assert len(body) < len(whole)
    assert answer.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in plain.headers
    assert (await client.get(f"/lab/{path}", headers={"Accept-Encoding": "gzip;q=0"})).content_encoding is None


async def test_it_is_packed_once_and_not_sent_again_to_who_has_it(lab: Lab) -> None:
    client = lab.app.test_client()
    headers = {"Accept-Encoding": "gzip"}
    first = await client.get("/lab/static/page.js", headers=headers)
    before = packing._gzip.cache_info().misses
    assert (await client.get("/lab/static/page.js", headers=headers)).status_code == 200
    assert packing._gzip.cache_info().misses == before
    again = await client.get("/lab/static/page.js", headers={**headers, "If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.headers["Vary"]) == (304, "Accept-Encoding")


async def test_what_nobody_may_keep_is_not_packed(lab: Lab) -> None:
    answer = await lab.app.test_client().get("/lab/state", headers={"Accept-Encoding": "gzip"})
    assert answer.content_encoding is None
