"""When the server is replaced, or dies, how long are readers without it, and what do they miss?

    everywire compare --scenario restart
    locust -f locustfiles/scenarios/restart.py --host http://127.0.0.1:8000    its readers and its events; nothing is restarted

The server is asked to end and started again, as for a new version; five seconds later it is killed, and started again. What
it kept in memory is gone then: a reader can be told of it, or not.

Answered by: the time from the moment that the server answers again to the first event that comes after it; what was lost,
and whether it was declared; what the publisher had to send again. Void, if the server did not come back within the round.
"""

from __future__ import annotations

from locustfiles.crowd import LongPollReader, SSEReader, WebSocketReader
from locustfiles.plan import Fault, Scenario

SCENARIO = Scenario(
    readers=50,
    rate=20.0,
    seconds=14.0,
    repeats=4,
    faults=(Fault(at=2.0, do="restart"), Fault(at=8.0, do="kill")),
    quick={"readers": 25, "seconds": 9, "repeats": 1},
)
