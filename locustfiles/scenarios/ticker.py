"""How much of a fast stream of small events does each transport carry in time, near by and far away?

    everywire compare --scenario ticker
    locust -f locustfiles/scenarios/ticker.py --host http://127.0.0.1:8000    its readers and its events; no network is played

A price ticker: 200 events a second to 25 readers, each about as small as an event gets. On a network with 200 ms of latency a
transport that asks again for each batch has to make up for the way that its request takes.

Answered by: p50 and p99 of the delay on both networks, and how far the second is from the 100 ms that the way itself takes;
requests and bytes per event. Void, if the load generator or the relay that plays the network was the bottleneck: both have more
to do per second than in any other scenario.
"""

from __future__ import annotations

from locustfiles.crowd import LongPollReader, SSEReader, WebSocketReader
from locustfiles.plan import Scenario

SCENARIO = Scenario(
    networks=("open", "latency-200ms"),
    readers=25,
    rate=200.0,
    size=60,
    seconds=8.0,
    repeats=5,
    quick={"readers": 10, "seconds": 1.5, "repeats": 2},
)
