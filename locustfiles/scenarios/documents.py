"""What does it cost to send whole documents instead of small events, near by and far away?

    everywire compare --scenario documents
    locust -f locustfiles/scenarios/documents.py --host http://127.0.0.1:8000    its readers and its events; no network is played

Documents of 30,000 bytes, five a second, to 30 readers: a shared board, a map that is sent anew. It is about as much as one
publish may carry.

Answered by: the delay on the open network, which is mostly copying; on the slow one, what it costs to ask again; bytes per
event beside 30,000. It does not tell what TCP makes of a document on a long way until its window has opened: the played
network delays, and is otherwise as wide as this machine. Void, if the load generator or the relay was the bottleneck.
"""

from __future__ import annotations

from locustfiles.crowd import LongPollReader, SSEReader, WebSocketReader
from locustfiles.plan import Scenario

SCENARIO = Scenario(
    networks=("open", "latency-200ms"),
    readers=30,
    rate=5.0,
    size=30_000,
    seconds=8.0,
    repeats=5,
    quick={"readers": 10, "seconds": 1.5, "repeats": 2},
)
