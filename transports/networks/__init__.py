"""Networks: a proxy that plays bad ones, for tests, teaching and comparison, and the table of those it can play.

    from transports.networks import Network

    async with Network("no-upgrade", upstream="http://127.0.0.1:8000/live") as url:
        ...  # clients that go to `url` get no WebSocket

Reading path: `profiles.py` (the table), `behaviours.py` (what they do), `pieces.py` (HTTP and WebSocket bytes taken apart),
`proxy.py` (who is let in), `connection.py` and `lane.py` (what happens to it), `edge.py` (HTTP/2 in front of it),
`record.py` (what passed).
"""

from __future__ import annotations

from .behaviours import Behaviour, Cut, Life, Stage
from .pieces import Head, Piece
from .profiles import NETWORKS, Profile, network
from .proxy import Network
from .record import Passage, Record

__all__ = [
    "NETWORKS",
    "Behaviour",
    "Cut",
    "Head",
    "Life",
    "Network",
    "Passage",
    "Piece",
    "Profile",
    "Record",
    "Stage",
    "network",
]
