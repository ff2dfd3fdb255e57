"""What does a crowd of readers cost that waits, while hardly anything happens?

    everywire compare --scenario idle
    locust -f locustfiles/scenarios/idle.py --host http://127.0.0.1:8000

An event every five seconds to 1,000 readers: a chat at night, a page that is left open. Beats and polls are all the rest.

Answered by: the server's memory per reader, which is its growth from before the first one came; the phases of opening a
connection; bytes and CPU seconds. Delays are of few events, and say little. Void, if not all readers were in place: each
is an open file, here and in the server.
"""

from __future__ import annotations

from locustfiles.crowd import LongPollReader, SSEReader, WebSocketReader
from locustfiles.plan import Scenario

SCENARIO = Scenario(
    readers=1_000,
    point="memory",
    rate=0.2,
    seconds=20.0,
    repeats=3,
    patience=60.0,  # 1,000 connections are not opened in a moment
    quick={"readers": 250, "rate": 0.5, "seconds": 6, "repeats": 2},
)
