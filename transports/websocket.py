"""WebSocket (RFC 6455): a text frame is a JSON array of items, both ways on one connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .errors import Code, Refusal
from .items import Item, decode_batch, encode_batch
from .transport import Transport

SUBPROTOCOL: Final = "everywire.v1.json"
WANTED: Final = ((b"upgrade", b"websocket"), (b"sec-websocket-version", b"13"))  # RFC 6455 4.4: what would be taken


class MessageReader:
    """Items out of whole messages."""

    def feed(self, data: bytes) -> list[Item]:
        """The items of one message. Raises: NotEverywireError."""
        return decode_batch(data)


def choose_subprotocol(offered: Sequence[str], spoken: str) -> str | None:
    """The subprotocol to accept; None for a client that offers none, which is taken to speak ours.

    Raises:
        Refusal: 4426, when only unknown ones are offered.
    """
    if offered and spoken not in offered:
        raise Refusal(Code.VERSION, f"there is {spoken}, not {', '.join(offered)[:80]}")
    return spoken if offered else None


TRANSPORT: Final = Transport(
    name="websocket",
    path="ws",
    content_type=SUBPROTOCOL,
    frame=encode_batch,
    reader=MessageReader,
    many=True,
    commands_up=True,
)
