"""Users, in processes of their own: importing Locust patches the standard library."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from played import USERS, serving

REPOSITORY = Path(__file__).parents[2]

PLANTED = """
import json
import gevent
from locust.env import Environment
from locustfiles.measuring.readers import Batch
from locustfiles.users import SSEUser, Stamp
from transports.items import Lost

class Reader(SSEUser):
    host, channels = "http://127.0.0.1:9", ("c",)

environment = Environment()
environment.create_local_runner()
user = Reader(environment)
user.on_start()

def came(*numbers):
    user.take(Batch(5_250, [Stamp(n, 5_000, "c") for n in numbers], []))

came(0, 1, 1, 3, 2)
user.take(Batch(5_250, [], [Lost(id="e.9", channel="c", after="e.3", through="e.9", reason="evicted")]))
came(9, 11)
with gevent.Timeout(0.5, False):  # it comes back for ever
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
    _, cuts, _ = found.pop("cut sse")
    assert 2 <= cuts < 20  # the second try soon, later ones with more and more patience
    assert found.pop("deliver sse") == [7, 0, 0.25]  # milliseconds, not rounded to 0
    assert {name: failures for name, (_, failures, _) in found.items()} == {
        "doubled sse": 1,
        "lost sse": 2,
        "disordered sse": 1,
        "declared sse": 1,
    }


BROKEN = """
import json
import gevent
from locust.env import Environment
from locustfiles.measuring.readers import Batch
from locustfiles.users import WebSocketUser

class Reader(WebSocketUser):
    host, path = "http://127.0.0.1:9", "/"

environment = Environment()
environment.create_local_runner()
user = Reader(environment)
user.on_start()
tries = 0

def batches():
    global tries
    tries += 1
    yield Batch(5_250, [], [])
    if tries < 4:
        raise KeyError("n")
    gevent.sleep(60)

user.reader.batches = batches
with gevent.Timeout(2, False):
    user.read()
print(json.dumps([tries, user.complaints(), {each.name: each.num_failures for each in environment.stats.entries.values()}]))
"""


def test_a_reader_whose_own_code_fails_says_so_and_goes_on():
    done = python("-c", BROKEN)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [4, {"broke: KeyError: 'n'": 3}, {"broke websocket": 3}]


ASSIGNED = """
import json
from locustfiles.users import StreamUser
assigned = StreamUser.assigned
assigned.channels, assigned.follows, assigned.slow = tuple("abcde"), 2, 0.4
print(json.dumps([[assigned.follow(n) for n in range(5)], [assigned.is_slow(n) for n in range(10)]]))
"""


def test_channels_and_slowness_are_spread_over_the_readers():
    follows, slow = json.loads(python("-c", ASSIGNED).stdout)
    assert follows == [["a", "b"], ["b", "c"], ["c", "d"], ["d", "e"], ["e", "a"]]
    assert sum(slow) == 4
    assert sum(slow[:5]) == 2


WAITS = """
import json
from locustfiles.users import wait
from transports.errors import Code, Refusal
print(json.dumps([[wait(tries, OSError()) for tries in range(8)], wait(3, Refusal(Code.DRAINING, retry=0.5))]))
"""


def test_the_first_try_is_at_once_and_later_ones_are_at_most_a_second_apart():
    waits, refused = json.loads(python("-c", WAITS).stdout)
    assert waits[0] <= 0.05
    assert all(0.05 <= each <= 1 for each in waits[1:])
    assert min(waits[5:]) >= 0.5
    assert 0.5 <= refused <= 0.55


@pytest.mark.real
def test_the_scenario_plays_in_plain_locust():
    with serving("everywire") as server:
        scenario = ["-m", "locust", "-f", "locustfiles/scenarios/fanout.py", "--host", server.url, "--headless", "--json"]
        done = python(*scenario, *USERS.values(), "-u", "3", "-r", "3", "--rate", "40", "--seconds", "0.5")
    assert done.returncode == 0, done.stderr
    stats = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert set(stats) == {"deliver websocket", "deliver sse", "deliver longpoll"}
    assert [entry["num_requests"] for entry in stats.values()] == [20, 20, 20]
    assert sum(entry["num_failures"] for entry in stats.values()) == 0
