"""Users, in processes of their own: importing Locust patches the standard library."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from locustfiles.compare import _server, _wait_until_ready

REPOSITORY = Path(__file__).parents[2]

PLANTED = """
import json
from locust.env import Environment
from locustfiles.readers import Batch
from locustfiles.users import SSEUser
from transports.items import Event, Lost

class Reader(SSEUser):
    host, channels = "http://127.0.0.1:9", ("c",)

environment = Environment()
environment.create_local_runner()
user = Reader(environment)
user.on_start()

def came(*numbers):
    user.take(Batch(5_250, [Event(id=f"e.{n}", channel="c", at=0, data={"n": n, "t": 5_000}) for n in numbers]))

came(0, 1, 1, 3, 2)
user.take(Batch(5_250, [Lost(id="e.9", channel="c", after="e.3", through="e.9", reason="evicted")]))
came(9, 11)
user.take(Batch(5_250, [Event(id="e.12", channel="c", at=0, data="of somebody else")]))
user.read()
stats = environment.stats.entries.values()
print(json.dumps({each.name: [each.num_requests, each.num_failures, each.get_response_time_percentile(0.5)] for each in stats}))
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def test_deliveries_and_planted_faults_appear_in_locust():
    done = python("-c", PLANTED)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("deliver sse") == [7, 0, 0.25]  # milliseconds, not rounded to 0
    assert {name: failures for name, (_, failures, _) in found.items()} == {
        "doubled sse": 1,
        "lost sse": 2,
        "disordered sse": 1,
        "declared sse": 1,
        "cut sse": 1,
    }


@pytest.mark.real
def test_the_scenario_plays_in_plain_locust():
    with _server() as (url, _):
        _wait_until_ready(url)
        scenario = ["-m", "locust", "-f", "locustfiles/scenarios/fanout.py", "--host", url, "--headless", "--json"]
        done = python(*scenario, "-u", "3", "-r", "3", "--rate", "40", "--seconds", "0.5")
    assert done.returncode == 0, done.stderr
    stats = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert set(stats) == {"deliver websocket", "deliver sse", "deliver longpoll"}
    assert [entry["num_requests"] for entry in stats.values()] == [20, 20, 20]
    assert sum(entry["num_failures"] for entry in stats.values()) == 0
