"""When one event goes to many readers at once, how late does it arrive over each wire, and what does a delivery cost?

    locust -f locustfiles/scenarios/fanout.py --host http://127.0.0.1:8000    all three, with Locust's web interface
    locust -f … --host … --headless -u 50 -r 50 -t 30s SSEReader              one of them, in the terminal
    everywire compare                                                         all three in turns, judged against the noise

Readers of one channel, a publisher on schedule, nothing else. It does not tell how a wire fares on a bad network.

Answered by: the percentiles of the delay, side by side, apart by more than repeats of the same wire are; requests and bytes
per event; CPU seconds of the server per 1,000 deliveries. Void, if anything was lost in silence or the load generator was the
bottleneck.
"""

from __future__ import annotations

from typing import Any

from locust import events

import locustfiles.rounds  # noqa: F401 - plays a round at each test start
from locustfiles.users import LongPollUser, SSEUser, StreamUser, WebSocketUser


class WebSocketReader(WebSocketUser):
    """Reads the channel over WebSocket."""


class SSEReader(SSEUser):
    """Reads the channel over Server-Sent Events."""


class LongPollReader(LongPollUser):
    """Reads the channel by long-polling."""


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _choose_channel(environment: Any, **_: Any) -> None:
    StreamUser.channels = (environment.parsed_options.channel,)
