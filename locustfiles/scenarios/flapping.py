"""On a phone that changes networks as it moves, who is back how soon, and what is missed on the way?

    everywire compare --scenario flapping
    locust -f locustfiles/scenarios/flapping.py --host http://127.0.0.1:8000    its readers and its events; no network is played

Into the lift (all connections are reset), onto a slow mobile network, through a hotspot that wants to be logged into first,
and from Wi-Fi to mobile without a word: connections stay open, and nothing passes on them any more. The last is the hard one:
only silence tells of it. Readers ask for a beat of two seconds here, and miss two of them before they give up; a server
that does not know this wish keeps its own time, and its readers may not be back before the end.

Answered by: the time from the end of a change until 95 of 100 readers had an event, over all changes, and for each of them
in the report; who was not back at the end; what was lost, declared or in silence. Void, if the relay that plays the network
was the bottleneck.
"""

from __future__ import annotations

from locustfiles.crowd import LongPollReader, NegotiatedReader, SSEReader, WebSocketReader
from locustfiles.plan import NEGOTIATED, TRANSPORTS, Fault, Scenario

SCENARIO = Scenario(
    transports=(*TRANSPORTS, NEGOTIATED),
    readers=20,
    rate=10.0,
    seconds=16.0,
    repeats=4,
    faults=(
        Fault(at=1.0, do="cut"),
        Fault(at=2.5, do="network latency-200ms", lasts=2.0),
        Fault(at=5.5, do="network captive-portal", lasts=1.5),
        Fault(at=8.5, do="forget"),
    ),
    quick={"readers": 10, "seconds": 14, "repeats": 1},
)
