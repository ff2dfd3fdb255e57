"""everywire: the reference application, as `everywire serve` starts it."""

from __future__ import annotations

from ..plan import NEGOTIATED, TRANSPORTS
from . import Subject

SUBJECT = Subject(
    name="everywire",
    what="everywire's reference application: Quart on Hypercorn, one log for all transports",
    command=("{python}", "-m", "quart_app", "serve", "--host", "{host}", "--port", "{port}", "--limits", "off"),
    transports=(*TRANSPORTS, NEGOTIATED),
    status="/live/status?limit=0",
)
