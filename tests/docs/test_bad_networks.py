"""The page on bad networks: each of its programs is played, in front of a real server."""

from __future__ import annotations

import asyncio
import inspect
import re
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.test_docs import DOCS, run
from tests.docs.test_how_tos import clock, played
from tests.documents import blocks
from tests.transports.conftest import live, request_head
from tests.transports.networks.test_edge import client as http2_client
from transports import LADDER
from transports.client import connect
from transports.networks import Life
from transports.testing import until

FIXTURE, SURVIVE, OVER_HTTP2, OWN = blocks(DOCS / "how-to" / "play-a-bad-network.md", "python")
LOCAL = "http://127.0.0.1:8000/live"  # where the page says that your server is


@pytest.mark.real
async def test_the_fixture_plays_networks_in_tests_of_an_application(tmp_path: Path) -> None:
    async with live() as (hub, url), clock(hub):
        (tmp_path / "test_events.py").write_text(FIXTURE.text.replace(LOCAL, url))
        assert (await asyncio.to_thread(played, tmp_path)).startswith("3 passed")


async def test_a_client_survives_that_its_connection_is_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    async with live(beat=1.0, poll_wait=1.0) as (hub, upstream):
        surviving = run(SURVIVE)["survive"](upstream)
        task = asyncio.create_task(surviving)
        inside = partial(inspect.getcoroutinelocals, surviving)
        await until(lambda: "stream" in inside() and inside()["stream"].state == "open")
        before = await hub.publish("clock", 1)
        await until(lambda: "before" in inside())  # it waits again, and has cut by then
        made = inside()["network"].record.connections
        after = await hub.publish("clock", 2)  # into the void
        await asyncio.wait_for(task, 60)
    told = re.fullmatch(rf"{before} {after} (.+) (\d+)\n", capsys.readouterr().out)
    assert told
    assert int(told[2]) > made  # what it had did not come back


async def test_who_trusts_the_edge_gets_in_over_http2_and_who_does_not_offer_it_over_http11(tmp_path: Path) -> None:
    async with (
        live() as (hub, upstream),
        run(OVER_HTTP2)["over_http2"](upstream, tmp_path) as (url, trust),
        http2_client(url, trust) as http2,
        connect(url, ["clock"], ca=str(tmp_path / "authority.pem")) as stream,
    ):
        answer = http2.answers[http2.ask("/sse?channels=clock")]
        await until(lambda: b'"hello"' in answer.body)
        event_id = await hub.publish("clock", 1)
        await until(lambda: event_id.encode() in answer.body)
        assert answer.status == "200"
        assert (await anext(stream)).id == event_id


async def test_a_network_of_ones_own_resets_what_is_silent() -> None:
    async with live() as (_, upstream):
        names = run(OWN._replace(text=OWN.text.replace(LOCAL, upstream)))
        life = Life(began=1.0, opened=2.0, moved=7.0, luck=0.5)
        assert names["Curfew"](0.5).cut(life) == (7.5, "reset")  # half a second behind what moved last, and not before
        async with names["network"] as url, asyncio.timeout(30):
            address = urlsplit(url)
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(request_head(LADDER[1], "channels=clock"))
            assert b'"hello"' in await reader.readuntil(b"\n\n")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.transport.abort()
