"""Long-polling: one batch per answer, a JSON array of items. A lost answer loses nothing: the next poll carries the
older position.
"""

from __future__ import annotations

from typing import Final

from .items import encode_batch
from .transport import Transport
from .websocket import MessageReader

TRANSPORT: Final = Transport(
    name="longpoll",
    path="poll",
    content_type="application/json",
    frame=encode_batch,
    reader=MessageReader,
    many=False,
)
