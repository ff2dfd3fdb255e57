"""When many events are due at the same moment, how long does it take until the last of them has arrived?

    everywire compare --scenario burst
    locust -f locustfiles/scenarios/burst.py --host http://127.0.0.1:8000

50 events at once, every two seconds, to 50 readers: an import, the end of an auction, a busy second of a quiet day.

Answered by: p99 of the delay, within which a burst has all but gone through, and how far p50 is from it; requests and bytes
per event, since who sends a burst as one batch sends fewer of both than in `fanout`. Void, if the publisher was late.
"""

from __future__ import annotations

from locustfiles.crowd import LongPollReader, SSEReader, WebSocketReader
from locustfiles.plan import Scenario

SCENARIO = Scenario(
    readers=50,
    rate=25.0,
    burst=50,
    point="tail",
    seconds=10.0,
    repeats=5,
    quick={"readers": 25, "seconds": 4, "repeats": 2},
)
