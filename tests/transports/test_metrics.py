"""Metrics: what Prometheus reads, each of them driven by what it counts, over real sockets."""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.transports.conftest import live
from transports import LADDER, Code, Hub, Options, Refusal
from transports.board import Board, new_board
from transports.client import connect
from transports.figures import ALONE, FIGURES
from transports.metrics import Collector
from transports.testing import until

SUMMED = {"histogram": "_count", "counter": "", "gauge": ""}


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def scraped(http: aiohttp.ClientSession, url: str) -> dict[str, dict[tuple[str, ...], float]]:
    """What there is by name, and by the values of the labels in the order of their names."""
    async with http.get(f"{url}/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        text = await response.text()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in parse(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


async def _streams(http: aiohttp.ClientSession, hub: Hub, url: str) -> None:
    """Both streams, in step and behind, a loss, a wish for the latest only, commands, and a refusal of each kind."""
    for n in range(4):
        await hub.publish("a", n)
    gone = f"{hub.log.epoch}.0"
    for transport in ("websocket", "sse"):
        rungs = [each for each in LADDER if each.name == transport]
        async with connect(url, ["a"], transports=rungs, since=gone, on_lost=lambda lost: None) as stream:
            events = aiter(stream)
            for _ in range(2):  # are still there
                await anext(events)
            await hub.publish("a", "in step")
            assert (await anext(events)).data == "in step"
            await stream.publish("a", "up")
            assert (await anext(events)).data == "up"
            with pytest.raises(Refusal):
                await stream.publish("nowhere", 1)
    async with http.get(f"{url}/sse?channels=a&latest=a&since={hub.log.epoch}.6&why=race&tried=websocket.refused_http") as sse:
        await sse.content.readuntil(b"skipped")
    async with http.get(f"{url}/sse?channels=nowhere") as refused:
        assert refused.status == 404
    async with http.post(f"{url}/commands", json=[{"do": "ping"}] * 1000) as refused:
        assert refused.status == 413


async def _polls(http: aiohttp.ClientSession, hub: Hub, url: str) -> None:
    """One that is answered at once, and one that waits."""
    async with http.get(f"{url}/poll?channels=a") as first:
        since = (await first.json())[0]["id"]
    waiting = asyncio.ensure_future(http.get(f"{url}/poll?channels=a&since={since}"))
    await until(lambda: any(each.transport == "longpoll" for each in hub.accounts))
    await hub.publish("a", 9)
    async with await waiting as answer:
        assert (await answer.json())[0]["data"] == 9
    for _ in range(4):  # the same again: what was found is remembered from the second on, on the connection from the third
        async with http.get(f"{url}/poll?channels=a&since={since}") as again:
            assert (await again.json())[0]["data"] == 9


async def test_every_metric_counts_what_it_says(http) -> None:
    """A metric that is always 0 is a defect."""
    async with live(channels=("a",), history_count=2, message_bytes=1000) as (hub, url):
        hub.pulse.every = 0.01
        hub.pulse.stop()
        hub.pulse.start()
        await _streams(http, hub, url)
        probes = hub.figures.outlet("longpoll", ALONE).at_once  # of a client that tried whether commands come through
        await _polls(http, hub, url)
        with pytest.raises(Refusal):
            await hub.publish("nowhere", 1)
        await until(lambda: sum(hub.figures.lag.counts))
        with hub.feed(["a"]) as moved:
            hub._parting.send(1, 0.0)
            await moved.take(1)
            hub.figures.left_out["forbidden"] += 1  # see test_journal
            async with http.get(f"{url}/sse?channels=a"):
                found = await scraped(http, url)
    silent = [figure.name for figure in FIGURES if not any(found.get(figure.name + SUMMED[figure.kind], {}).values())]
    assert silent == []
    # A client that is slow to be answered asks again: what it does is counted at least once.
    assert found["everywire_connections_opened_total"][("websocket",)] >= 1
    assert found["everywire_connections_closed_total"][("answered", "longpoll")] == 1
    assert found["everywire_polls_total"] == {("at_once",): 5 + probes, ("waited",): 1}
    assert found["everywire_lost_total"][("evicted",)] >= 2
    assert found["everywire_skipped_total"] == {("latest",): 1}
    assert found["everywire_commands_total"][("publish", "ok")] >= 2
    assert found["everywire_commands_total"][("publish", "unknown_channel")] >= 2
    assert found["everywire_published_total"][("ok",)] >= 9
    assert found["everywire_published_total"][("unknown_channel",)] == 1
    assert found["everywire_refused_total"] == {("too_large",): 1, ("unknown_channel",): 1}
    assert found["everywire_limited_total"] == {("message_bytes",): 1}
    assert found["everywire_verdicts_total"][("websocket", "refused_http")] >= 1
    assert found["everywire_delivery_delay_seconds_count"][("in_step", "websocket")] >= 2
    assert found["everywire_delivery_delay_seconds_count"][("in_step", "sse")] >= 1
    assert found["everywire_delivery_delay_seconds_count"][("in_step", "longpoll")] == 1
    assert found["everywire_batch_items_sum"][("alone", "websocket")] >= 3  # a loss and two events
    assert found["everywire_log_events"] == {("1",): 2}


async def test_a_broker_that_is_away_is_seen(http, monkeypatch: pytest.MonkeyPatch) -> None:
    async with live() as (hub, url):
        assert (await scraped(http, url))["everywire_broker_up"] == {("1",): 1}

        async def away() -> None:
            raise Refusal(Code.BROKER_DOWN)

        monkeypatch.setattr(hub._broker, "head", away)
        assert (await scraped(http, url))["everywire_broker_up"] == {("1",): 0}


async def test_delay_is_weighed_by_readers(http) -> None:
    async with live() as (hub, url):
        streams = [await http.get(f"{url}/sse?channels=a") for _ in range(3)]
        for each in streams:
            await each.content.readuntil(b"\n\n")
        await until(lambda: sum(feed.readers for feed in hub._feeds) == 3 and len(hub._feeds) == 1)  # in step
        await hub.publish("a", 1)
        for each in streams:
            await each.content.readuntil(b"\n\n")
        found = await scraped(http, url)
        assert found["everywire_delivery_delay_seconds_count"] == {("in_step", "sse"): 3}
        assert found["everywire_items_total"] == {("in_step", "sse"): 3}
        for each in streams:
            each.close()


async def test_labels_do_not_depend_on_what_clients_say(http) -> None:
    async with live() as (_, url):
        for number in range(5):
            for query in (f"channels=c{number}&why=w{number}&tried=r{number}.v{number}", f"channels=!{number}", f"v={number}9"):
                async with http.get(f"{url}/poll?{query}", headers={"X-Forwarded-For": f"10.0.0.{number}"}):
                    pass
            async with http.post(f"{url}/commands", json=[{"do": f"d{number}"}, {"do": "ping"}]):
                pass
        text = str(await scraped(http, url))
        assert not any(f"{letter}{number}" in text for number in range(5) for letter in "cwrd!v")
        assert "10.0.0." not in text


async def test_they_stand_beside_those_of_a_program_in_its_own_registry() -> None:
    hub = Hub(Options(channels=("a",)))
    await hub.open()
    registry = CollectorRegistry()
    registry.register(Collector(hub))
    await hub.publish("a", 1)
    assert registry.get_sample_value("everywire_published_total", {"outcome": "ok"}) == 1
    assert registry.get_sample_value("everywire_log_events", {"worker": "1"}) == 1
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(Collector(hub))
    await hub.close()


async def test_whichever_worker_is_asked_answers_for_all(http) -> None:
    descriptor = new_board(2)
    async with live() as (hub, url), live() as (other, _):
        hub.board, other.board = Board(descriptor, 0, 1), Board(descriptor, 1, 2)
        await hub.publish("a", 1)
        await other.publish("a", 1)
        await other.publish("b", 1)
        other.show_figures()
        found = await scraped(http, url)
        assert found["everywire_published_total"] == {("ok",): 3}
        assert found["everywire_log_events"] == {("1",): 1, ("2",): 2}


async def test_what_has_to_be_installed_is_told(http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with live() as (_, url), http.get(f"{url}/metrics") as response:
        assert response.status == 501
        assert "everywire[metrics]" in (await response.json())["reason"]


async def test_openmetrics_is_for_who_asks_for_it(http) -> None:
    wanted = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with live() as (_, url), http.get(f"{url}/metrics", headers=wanted) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        assert (await response.text()).endswith("# EOF\n")


def test_what_is_told_follows_from_the_figures_alone() -> None:
    assert [each.name for each in Collector(Hub(Options())).describe()] == [each.name.removesuffix("_total") for each in FIGURES]
