"""Which transports get through where something is in the way, and what does it cost those that do?

    everywire compare --scenario restricted
    locust -f locustfiles/scenarios/restricted.py --host http://127.0.0.1:8000    its readers and its events; no network is played

A proxy that takes out upgrades, a firewall that swallows the frames of a WebSocket, a scanner that holds bodies back until
they are whole, and a load balancer that cuts what is idle for five seconds. The negotiated client has to find out by itself.
Events come in bursts six seconds apart, so that there is something idle to cut; not so with --quick, which tells only who
gets through.

Answered by: for each network, who gets through at all; the delay of those that do; what the negotiated client has chosen,
how long its first item took, and what it costs beyond the same transport without a choice. Void, if a transport got through
in one repeat and not in another.
"""

from __future__ import annotations

from locustfiles.crowd import LongPollReader, NegotiatedReader, SSEReader, WebSocketReader
from locustfiles.plan import NEGOTIATED, TRANSPORTS, Scenario

SCENARIO = Scenario(
    transports=(*TRANSPORTS, NEGOTIATED),
    networks=("no-upgrade", "upgrade-swallowed", "buffering", "idle-cut-5s"),
    readers=20,
    rate=2.0,
    burst=12,
    seconds=7.0,
    repeats=3,
    patience=6.0,
    quick={"readers": 10, "rate": 20, "burst": 1, "seconds": 1.2, "repeats": 1, "patience": 3.5},
)
