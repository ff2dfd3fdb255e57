"""The ladder: every transport there is, best first. A new one is a line here."""

from __future__ import annotations

from typing import Final

from . import longpoll, sse, websocket
from .transport import Transport

LADDER: Final[tuple[Transport, ...]] = (websocket.TRANSPORT, sse.TRANSPORT, longpoll.TRANSPORT)
