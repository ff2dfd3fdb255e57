"""How many readers can one server serve before the slowest hundredth of deliveries takes longer than 50 ms?

    everywire compare --scenario capacity
    locust -f locustfiles/scenarios/capacity.py --host http://127.0.0.1:8000    its readers and events; nothing is searched for

The same stream to more and more readers, and then to fewer again, until it is known between which numbers the goal is
missed. Beside it the load generator, on the same machine, must still have room: it takes about as much as the server.

Answered by: the most readers with which each transport kept p99 below the goal and lost nothing, and the step above it. It
is a number of this machine. Void, if the load generator was what gave in: take more `--processes`, or another machine for
it.
"""

from __future__ import annotations

from locustfiles.crowd import LongPollReader, SSEReader, WebSocketReader
from locustfiles.plan import Scenario

SCENARIO = Scenario(
    readers=100,  # to begin with
    rate=20.0,
    seconds=5.0,
    repeats=1,
    goal=50.0,
    quick={"seconds": 0.7},
)
