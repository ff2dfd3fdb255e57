"""What the page may ask the lab for, and how it is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from quart_app.lab.app import Lab
from quart_app.lab.stage import LANES


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    lab = Lab()  # on a stage whose server does not run
    yield lab
    await lab.stage.server.close()


async def post(lab: Lab, path: str, said: Any, **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await lab.app.test_client().post(f"/lab/{path}", json=said, headers=named)
    return answer.status_code, await answer.get_json()


async def test_the_state_tells_of_all_there_is(lab: Lab) -> None:
    answer = await lab.app.test_client().get("/lab/state")
    state = await answer.get_json()
    assert set(state) == {"lanes", "networks", "server", "publisher"}
    assert list(state["lanes"]) == list(LANES)
    none = {"delay_ms": 0, "jitter_ms": 0, "bytes_per_second": 0}
    sse = {
        "network": "open",
        "does": "Everything passes as it comes.",
        "settings": none,
        "since": 0,
        "url": "/lab/lanes/sse/live",
    }
    assert state["lanes"]["sse"] == sse
    assert set(state["networks"][0]) == {"name", "story", "does", "wins", "way"}
    assert state["server"] == {"state": "stopped", "pid": None, "starts": 0}
    assert state["publisher"] == {"rate": 5.0, "size": 64, "burst": 1, "running": True, "waiting": False}
    assert answer.headers["Cache-Control"] == "no-store"


async def test_networks_become_what_is_asked_for_and_no_more(lab: Lab) -> None:
    status, state = await post(lab, "network", {"lanes": ["sse"], "network": "buffering", "delay_ms": 50})
    assert status == 200
    assert (state["lanes"]["sse"]["network"], state["lanes"]["sse"]["settings"]["delay_ms"]) == ("buffering", 50)
    assert state["lanes"]["auto"]["network"] == "open"
    status, state = await post(lab, "network", {"lanes": "all", "network": "no-upgrade"})
    assert {lane["network"] for lane in state["lanes"].values()} == {"no-upgrade"}
    assert state["lanes"]["sse"]["settings"]["delay_ms"] == 0
    assert lab.changes == 2


async def test_connections_are_cut_where_there_are_some(lab: Lab) -> None:
    assert await post(lab, "cut", {"lanes": ["sse", "auto"], "how": "forget"}) == (200, {"cut": {"sse": 0, "auto": 0}})


async def test_the_publisher_goes_on_as_it_is_told(lab: Lab) -> None:
    await post(lab, "publisher", {"rate": 20, "size": 500})
    status, state = await post(lab, "publisher", {"running": False})
    assert status == 200
    assert state["publisher"] == {"rate": 20, "size": 500, "burst": 1, "running": False, "waiting": False}


BAD: list[tuple[str, Any, str]] = [
    ("network", {}, "lanes"),
    ("network", {"lanes": ["sse"], "network": "opne"}, "nearest is open"),
    ("network", {"lanes": ["sse"], "network": "h2-edge"}, "another way"),
    ("network", {"lanes": ["other"]}, "lanes"),
    ("network", {"lanes": "every"}, "lanes"),
    ("network", {"lanes": "all", "delay_ms": -1}, "delay_ms"),
    ("network", {"lanes": "all", "delay_ms": "1"}, "delay_ms"),
    ("network", {"lanes": "all", "bytes_per_second": 1e10}, "bytes_per_second"),
    ("network", {"lanes": "all", "speed": 1}, "speed"),
    ("network", [1], "object"),
    ("network", {"lanes": ["sse"] * 5}, "length"),
    ("network", {"lanes": "all", "network": "+".join(["open"] * 50)}, "length"),
    ("cut", {"lanes": ["sse"] * 100}, "length"),
    ("cut", {"lanes": "all", "how": "softly"}, "how"),
    ("server", {"do": "explode"}, "do"),
    ("server", {}, "do"),
    ("publisher", {"rate": 0}, "rate"),
    ("publisher", {"rate": 501}, "rate"),
    ("publisher", {"size": -1}, "size"),
    ("publisher", {"burst": 200, "size": 1000}, "fewer or smaller"),
    ("publisher", {"running": 1}, "running"),
    ("publisher", {"rat": 1}, "rat"),
    ("publisher", 7, "object"),
]


@pytest.mark.parametrize(("path", "said", "why"), BAD, ids=lambda each: str(each)[:40])
async def test_what_makes_no_sense_is_refused_and_changes_nothing(lab: Lab, path: str, said: Any, why: str) -> None:
    before = lab.state()
    status, body = await post(lab, path, said)
    assert (status, body["code"], body["name"], body["retry"]) == (400, 4400, "bad_command", None)
    assert why in body["reason"]
    assert lab.state() == before


async def test_only_json_of_a_page_of_ours_is_heard(lab: Lab) -> None:
    client = lab.app.test_client()
    form = await client.post("/lab/server", data="do=kill", headers={"Content-Type": "text/plain"})
    assert (form.status_code, (await form.get_json())["code"]) == (415, 4400)
    broken = await client.post("/lab/server", data="{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, (await broken.get_json())["code"]) == (400, 4400)
    nest = await client.post("/lab/server", data="[" * 50_000, headers={"Content-Type": "application/json"})
    assert (nest.status_code, (await nest.get_json())["code"]) == (400, 4400)
    long = await client.post("/lab/server", data=" " * 100_000, headers={"Content-Type": "application/json"})
    assert (long.status_code, (await long.get_json())["code"]) == (413, 4400)
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        status, body = await post(lab, "server", {"do": "kill"}, **headers)
        assert (status, body["code"]) == (403, 4403)
    assert (await post(lab, "cut", {"lanes": "all"}, Origin="http://localhost"))[0] == 200


async def test_other_paths_and_methods_have_numbered_bodies_too(lab: Lab) -> None:
    client = lab.app.test_client()
    for answer, status in ((await client.get("/lab/nothing"), 404), (await client.get("/lab/network"), 405)):
        assert (answer.status_code, (await answer.get_json())["code"]) == (status, 4400)


async def test_a_fault_of_ours_is_told_as_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.stage, "cut", lambda lanes, how: 1 / 0)
    status, body = await post(lab, "cut", {"lanes": "all"})
    assert (status, body["code"], body["name"]) == (500, 4500, "internal")


async def test_every_way_in_leads_to_the_page(lab: Lab) -> None:
    client = lab.app.test_client()
    for path in ("/", "/lab"):
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/lab/")
    page = await client.get("/lab/", headers={"Host": "lab.example"})
    assert page.status_code == 200
    assert "wss://lab.example" in page.headers["Content-Security-Policy"]
    text = await page.get_data(as_text=True)
    assert 'data-mount="/lab/live"' in text
    assert "<style" not in text
    assert " style=" not in text


async def test_nobody_publishes_what_the_page_is_told(lab: Lab) -> None:
    said = {"do": "publish", "channel": "wire", "data": 1}
    async with lab.app.test_app() as app:
        answer = await app.test_client().post("/lab/live/commands", json=said)
        assert [reply["code"] for reply in await answer.get_json()] == [4403]
