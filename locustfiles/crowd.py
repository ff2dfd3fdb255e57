"""Crowd: the users of the scenarios. A scenario imports those that it has, and with them that a round is played at each
start of a test.

Locust finds users by what a file has at its top, so a scenario has nothing to do but to import them.
"""

from __future__ import annotations

import locustfiles.rounds  # noqa: F401 - plays the rounds

from .negotiated import NegotiatedUser
from .users import LongPollUser, SSEUser, WebSocketUser


class WebSocketReader(WebSocketUser):
    """Reads over WebSocket."""


class SSEReader(SSEUser):
    """Reads over Server-Sent Events."""


class LongPollReader(LongPollUser):
    """Reads by long-polling."""


class NegotiatedReader(NegotiatedUser):
    """Reads over what it chooses itself."""
