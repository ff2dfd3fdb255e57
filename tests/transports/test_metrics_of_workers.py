"""Metrics of several processes behind one socket: whichever is asked answers for all, and what was counted is not forgotten."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.hosts import Host, hosts
from transports.testing import until

pytestmark = pytest.mark.real
READERS = 20


class Scraper:
    """Asks again and again, each time on a connection of its own, whoever takes it."""

    def __init__(self, host: Host, http: aiohttp.ClientSession) -> None:
        self._host, self._http = host, http
        self.highest: dict[str, float] = {}  # of each counter

    async def samples(self) -> dict[str, dict[str, float]]:
        """By name, and by transport or worker; no counter has gone back."""
        async with self._http.get(f"{self._host.url}/live/metrics", headers={"Connection": "close"}) as response:
            text = await response.text()
        found: dict[str, dict[str, float]] = {}
        for family in parse(text):
            for each in family.samples:
                labels = each.labels
                found.setdefault(each.name, {})[labels.get("worker") or labels.get("transport", "")] = each.value
                if family.type == "counter":
                    name = f"{each.name}{sorted(labels.items())}"
                    assert each.value >= self.highest.get(name, 0.0), f"{name} went back"
                    self.highest[name] = each.value
        return found

    async def until(self, wanted: Callable[[dict[str, dict[str, float]]], bool]) -> dict[str, dict[str, float]]:
        """Ask until it is so."""
        for _ in range(600):
            if wanted(found := await self.samples()):
                return found
        raise AssertionError(found)

    async def worker(self) -> int:
        """Which one answers."""
        async with self._http.get(f"{self._host.url}/live/status?limit=0", headers={"Connection": "close"}) as response:
            return int((await response.json())["worker"])


async def test_any_worker_answers_for_all_and_counters_never_go_back(tmp_path: Path) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        hosts(f"sqlite:///{tmp_path}/events.db", 1, tmp_path, workers=2) as (host,),
        aiohttp.ClientSession(connector=connector) as http,
    ):
        scraper = Scraper(host, http)
        streams = [await http.get(f"{host.url}/live/sse?channels=a") for _ in range(READERS)]
        found = await scraper.until(lambda found: sum(found["everywire_connections"].values()) == READERS)
        assert set(found["everywire_connections"]) == {"1", "2"}  # both have some
        assert found["everywire_connections_opened_total"]["sse"] == READERS
        answered = {await scraper.worker() for _ in range(30)}
        assert answered == {1, 2}

        os.kill(host.pids()[0], signal.SIGKILL)
        await until(lambda: "was ended by SIGKILL" in host.said(), 60)
        await scraper.until(lambda found: 0 < sum(found["everywire_connections"].values()) < READERS)
        await scraper.until(lambda found: set(found["everywire_log_offset"]) == {"1", "2"})  # another has taken its place
        assert scraper.highest["everywire_connections_opened_total[('transport', 'sse')]"] == READERS

        for each in streams:
            each.close()
        await scraper.until(lambda found: not sum(found["everywire_connections"].values()))
        await host.restart()
        found = await scraper.until(lambda found: set(found["everywire_log_offset"]) == {"1", "2"})
        assert found["everywire_connections_opened_total"]["sse"] == READERS
        await host.stop()
