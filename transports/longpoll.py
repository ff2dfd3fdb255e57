"""Long-polling: one batch per answer, a JSON array of items. A lost answer loses nothing: the next poll carries the
older position.
"""

from __future__ import annotations

import re
from typing import Final

from .errors import Code, Refusal
from .items import encode_batch
from .transport import Transport
from .websocket import MessageReader

_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,20})?", re.ASCII)


def parse_seconds(name: str, text: str | None, default: float, most: float) -> float:
    """The seconds that a parameter asks for, such as `wait`, but no more than `most`.

    Raises:
        Refusal: 4400, when it is not a number, or below 0.
    """
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise Refusal(Code.BAD_COMMAND, f"{name}={text[:20]} is not a number of seconds")
    return min(float(text), most)


TRANSPORT: Final = Transport(
    name="longpoll",
    path="poll",
    content_type="application/json",
    frame=encode_batch,
    reader=MessageReader,
    many=False,
)
