"""When all connections are cut at once, how long does it take until everybody is back, and what have they missed?

    everywire compare --scenario storm
    locust -f locustfiles/scenarios/storm.py --host http://127.0.0.1:8000    its readers and its events; nothing is cut

200 readers lose their connections in the same moment, twice: a load balancer that is reloaded, a Wi-Fi that blinks. They
come back on their own, each after a moment of chance, as clients should.

Answered by: the time from a cut to the first event that comes after it, for 95 of 100 readers, for half and for the last;
the delay in the seconds after it, in the timeline; what was lost, declared or in silence; the server's CPU. Void, if readers
were not back when the round ended and the load generator was the bottleneck.
"""

from __future__ import annotations

from locustfiles.crowd import LongPollReader, SSEReader, WebSocketReader
from locustfiles.plan import Fault, Scenario

SCENARIO = Scenario(
    readers=200,
    rate=20.0,
    seconds=10.0,
    repeats=5,
    faults=(Fault(at=1.5, do="cut"), Fault(at=6.0, do="cut")),
    quick={"readers": 60, "seconds": 5, "repeats": 2},
)
