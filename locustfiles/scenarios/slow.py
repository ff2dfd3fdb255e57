"""What do readers that take their time do to the others, to the server's memory, and to themselves?

    everywire compare --scenario slow
    locust -f locustfiles/scenarios/slow.py --host http://127.0.0.1:8000

One reader in five takes its time, while 100 events of 1,000 bytes a second go to all 40 of them: a tab in the background, a
phone behind a thick wall.

Answered by: p99 of the delay of the others, beside that of `fanout` (the slow ones' own is left out); the server's memory
while the slow ones lag; what becomes of their events: late, declared as lost, or lost in silence. Void, if the load
generator was the bottleneck.
"""

from __future__ import annotations

from locustfiles.crowd import LongPollReader, SSEReader, WebSocketReader
from locustfiles.plan import Scenario

SCENARIO = Scenario(
    readers=40,
    rate=100.0,
    size=1_000,
    slow=0.2,
    seconds=12.0,
    repeats=4,
    quick={"readers": 20, "seconds": 4, "repeats": 2},
)
