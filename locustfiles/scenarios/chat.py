"""When everybody speaks and listens, how soon is an event acknowledged, and how soon do the others have it?

    everywire compare --scenario chat
    locust -f locustfiles/scenarios/chat.py --host http://127.0.0.1:8000

60 readers in twelve rooms, each in two of them, each saying something every four seconds. What they say goes up by a request
of its own on every transport, as with everywire's clients: so its answer does not stand in line behind what comes down.

Answered by: the time until a reader's own event is acknowledged, beside the delay of those that it reads; bytes and requests
per event, in both directions. Void, if events were refused.
"""

from __future__ import annotations

from locustfiles.crowd import LongPollReader, SSEReader, WebSocketReader
from locustfiles.plan import Scenario

SCENARIO = Scenario(
    readers=60,
    rate=6.0,
    says=0.25,
    channels=12,
    follows=2,
    size=200,
    seconds=10.0,
    repeats=5,
    quick={"readers": 24, "seconds": 4, "repeats": 2},
)
