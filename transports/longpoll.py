"""Long-polling: one batch per answer, a JSON array of items. A lost answer loses nothing: the next poll carries the
older position.
"""

from __future__ import annotations

from typing import Final

from .errors import Code, Refusal
from .items import encode_batch
from .transport import Transport
from .websocket import MessageReader


def parse_wait(text: str | None, default: float, most: float) -> float:
    """The seconds that a poll asks to wait.

    Raises:
        Refusal: 4400, when it is not a number from 0 to `most`.
    """
    if text is None:
        return default
    try:
        wait = float(text)
    except ValueError:
        wait = -1.0
    if not 0 <= wait <= most:  # also refuses nan
        raise Refusal(Code.BAD_COMMAND, f"wait={text[:20]} is not a number of seconds from 0 to {most:g}")
    return wait


TRANSPORT: Final = Transport(
    name="longpoll",
    path="poll",
    content_type="application/json",
    frame=encode_batch,
    reader=MessageReader,
    many=False,
)
