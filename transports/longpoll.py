"""Long-polling: one batch per answer, a JSON array of items. A lost answer loses nothing: the next poll carries the
older position.
"""

from __future__ import annotations

import math
from typing import Final

from .errors import Code, Refusal
from .items import encode_batch
from .transport import Transport
from .websocket import MessageReader


def parse_wait(text: str | None, default: float, most: float) -> float:
    """The seconds that a poll waits: what it asks for, but no more than `most`.

    Raises:
        Refusal: 4400, when it is not a number, or below 0.
    """
    if text is None:
        return default
    try:
        wait = float(text)
    except ValueError:
        wait = -1.0
    if not (0 <= wait < math.inf):  # refuses nan too
        raise Refusal(Code.BAD_COMMAND, f"wait={text[:20]} is not a number of seconds")
    return min(wait, most)


TRANSPORT: Final = Transport(
    name="longpoll",
    path="poll",
    content_type="application/json",
    frame=encode_batch,
    reader=MessageReader,
    many=False,
)
