"""What does a crowd of readers cost that waits, while hardly anything happens?

    everywire compare --scenario idle
    locust -f locustfiles/scenarios/idle.py --host http://127.0.0.1:8000

An event every five seconds to 750 readers: a chat at night, a page that is left open. Beats and polls are all the rest.

Answered by: the server's memory per reader (its growth from before the first reader came), the set-up phases of a connection,
bytes and CPU seconds per reader and minute. Delays are of few events, and say little. Void, if not all readers were in place: a
host that allows a process 1,024 open files has room for no more than about 900 of them.
"""

from __future__ import annotations

from locustfiles.crowd import LongPollReader, SSEReader, WebSocketReader
from locustfiles.plan import Scenario

SCENARIO = Scenario(
    readers=750,
    point="memory",
    rate=0.2,
    seconds=20.0,
    repeats=3,
    patience=60.0,  # 750 connections are not opened in a moment
    quick={"readers": 250, "rate": 0.5, "seconds": 6, "repeats": 2},
)
