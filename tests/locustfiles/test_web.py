"""Locust's web page: a scenario is started and stopped there, and shows delays that are shorter than a millisecond."""

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from contextlib import suppress

import pytest
from played import FANOUT, REPOSITORY, USERS, serving, until

from tests.ports import free_port

pytestmark = pytest.mark.real


def get(url: str, **form: object) -> dict:
    data = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(url, data, timeout=30) as answer:
        return json.loads(answer.read() or b"{}")


def test_a_scenario_runs_from_the_web_page():
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    with serving("null", "--plant", "sse=150") as server:
        command = ["-m", "locust", "-f", FANOUT, "--host", server.url, "--web-port", str(port), "--loglevel", "WARNING"]
        process = subprocess.Popen([sys.executable, *command, *USERS.values()], cwd=REPOSITORY)
        try:
            until(lambda: answers(page), "the page")
            assert get(f"{page}/swarm", user_count=3, spawn_rate=3, rate=50)["success"]
            until(lambda: delivered(page).get("deliver sse", {}).get("num_requests", 0) > 100, "100 deliveries")
            stats = delivered(page)
            until(lambda: get(f"{page}/stop", really=1)["success"], "the end")
            until(lambda: get(f"{page}/stats/requests")["state"] == "stopped", "the end")
            # Once more, and from the beginning.
            assert get(f"{page}/swarm", user_count=3, spawn_rate=3, rate=50)["success"]
            until(lambda: delivered(page).get("deliver sse", {}).get("num_requests", 0) > 10, "ten deliveries")
        finally:
            process.terminate()
            process.wait(20)
    for name in ("deliver websocket", "deliver sse", "deliver longpoll"):
        found = stats[name]
        assert found["num_failures"] == 0
        figures = [found[key] for key in ("median_response_time", "avg_response_time", "response_time_percentile_0.95")]
        assert any(figure % 1 for figure in figures), found  # parts of milliseconds
    assert stats["deliver sse"]["median_response_time"] >= 0.15  # ms; what was planted


def answers(page: str) -> bool:
    with suppress(OSError):
        return bool(get(f"{page}/stats/requests"))
    return False


def delivered(page: str) -> dict[str, dict]:
    return {each["name"]: each for each in get(f"{page}/stats/requests")["stats"]}
