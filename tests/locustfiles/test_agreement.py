"""Delays agree with an independent clock: an aiohttp client in a process of its own, reading the same channel, that stamps with
the wall clock and knows nothing of ours.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from played import USERS, Round, serving

from locustfiles.plan import Plan

pytestmark = [pytest.mark.real, pytest.mark.alone]

AGREEMENT = 200.0  # µs, of the medians
TRIES = 5  # the machine may be busy with something else

CLIENT = """
import asyncio, json, sys, time
import aiohttp
from aiohttp.client_proto import ResponseHandler

arrived, received = 0, ResponseHandler.data_received  # nanoseconds of the wall clock, when bytes came into this process

def data_received(self, data):
    global arrived
    arrived = time.time_ns()
    received(self, data)

ResponseHandler.data_received = data_received

async def awake():
    # Its stamps are its own, not the kernel's: a process that has to wake up first would be late by as much as we want to find.
    while True:
        await asyncio.sleep(0)

async def main(url, transport, count):
    came, waking = {}, asyncio.create_task(awake())
    async with aiohttp.ClientSession() as session:
        if transport == "websocket":
            async with session.ws_connect(url + "/ws?channels=compare") as socket:
                print("ready", flush=True)
                async for message in socket:
                    note(json.loads(message.data), arrived, came)
                    if len(came) == count:
                        break
        else:
            async with session.get(url + "/sse?channels=compare") as response:
                print("ready", flush=True)
                async for line in response.content:
                    if line.startswith(b"data:"):
                        note([json.loads(line[5:])], arrived, came)
                    if len(came) == count:
                        break
    waking.cancel()
    print(json.dumps(came))

def note(items, now, came):
    for item in items:
        if item["type"] == "event":
            came[item["data"]["n"]] = now

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def differences(server, transport: str, directory: Path) -> list[float]:
    """Our delay without that of the independent client, in microseconds, of the events that both had soonest. Of the others one
    was late because the machine did something else, and that client has no stamps of the kernel's.
    """
    command = [sys.executable, "-c", CLIENT, f"{server.url}/live", transport, "300"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout
        assert client.stdout.readline() == "ready\n"
        plan = Plan(readers=1, rate=100, seconds=3)
        round_ = Round(directory, plan, server.url, USERS[transport])
        sample = round_.sample()
        wall = {int(n): ns for n, ns in json.loads(client.stdout.read()).items()}
    offset = time.time_ns() - time.monotonic_ns()
    rows = [line.split(",") for line in round_.events.read_text().splitlines()]
    ours = {int(row[0]): int(row[6]) for row in rows}
    due = {int(row[0]): sample.started + round(float(row[2]) * 1e6) for row in rows}
    theirs = {n: (wall[n] - offset) / 1000 - due[n] for n in ours}
    soonest = sorted(ours, key=lambda n: max(ours[n], theirs[n]))[: len(ours) // 10]
    return [ours[n] - theirs[n] for n in soonest]


@pytest.mark.parametrize("transport", ["websocket", "sse"])
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core cannot run two clients at the same time")
def test_delays_agree_with_an_independent_clock(transport: str, tmp_path: Path):
    found = []
    with serving("null") as server:
        while len(found) < TRIES:
            found.append(statistics.median(differences(server, transport, tmp_path)))
            if abs(found[-1]) <= AGREEMENT:
                return
    pytest.fail(f"the medians differ by {found} µs")
