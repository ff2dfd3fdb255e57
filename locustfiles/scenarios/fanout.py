"""When one event goes to many readers at once, how late does it arrive over each transport, and what does a delivery cost?

    everywire compare                                                         all of them in turns, judged against the noise
    locust -f locustfiles/scenarios/fanout.py --host http://127.0.0.1:8000    all at once, with Locust's page
    locust -f … --host … --headless -u 50 -r 50 -t 30s SSEReader              one of them, in the terminal

Readers of one channel, a publisher on schedule, nothing else. It does not tell how a transport fares on a bad network.

Answered by: the percentiles of the delay, side by side, apart by more than repeats of the same transport are; requests and
bytes per event; CPU seconds of the server per 1,000 deliveries. Void, if the load generator was the bottleneck.
"""

from __future__ import annotations

from locustfiles.crowd import LongPollReader, SSEReader, WebSocketReader
from locustfiles.plan import Scenario

SCENARIO = Scenario(
    readers=100,
    rate=50.0,
    seconds=10.0,
    repeats=5,
    quick={"readers": 50, "rate": 20, "seconds": 2, "repeats": 3},
)
