"""WebSocket (RFC 6455): a text frame is a JSON array of items, both ways on one connection. Who asks for it gets MessagePack in
binary frames instead: `msgpack.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from . import msgpack
from .errors import Code, Refusal
from .items import Item, decode_batch, encode_batch
from .transport import Transport

SUBPROTOCOL: Final = "everywire.v1.json"
WANTED: Final = ((b"upgrade", b"websocket"), (b"sec-websocket-version", b"13"))  # RFC 6455 4.4: what would be taken

# What we and our own part of Hypercorn tell one another over ASGI.
LIMIT: Final = "everywire.message_bytes"  # among the extensions of the scope: `most` is how long a message may be
TOO_LONG: Final = "everywire.too_long"  # in the `websocket.receive` that stands for a longer one


class MessageReader:
    """Items out of whole messages."""

    def feed(self, data: bytes) -> list[Item]:
        """The items of one message. Raises: NotEverywireError."""
        return decode_batch(data)


def check_subprotocol(offered: Sequence[str], spoken: Transport) -> None:
    """A client that offers none is taken to speak JSON.

    Raises:
        Refusal: 4426, when only unknown ones are offered.
    """
    if offered and spoken.content_type not in offered:
        known = " and ".join([each.content_type for each in (spoken, *spoken.also)])
        raise Refusal(Code.VERSION, f"there is {known}, not {', '.join(offered)[:80]}")


def strange(spoken: Transport) -> Refusal:
    """What is said of a message of the other kind."""
    came, wanted = ("a text frame", "binary ones are") if spoken.binary else ("a binary frame", "text is")
    return Refusal(Code.BAD_COMMAND, f"{came}, where {wanted} spoken: {spoken.content_type}")


TRANSPORT: Final = Transport(
    name="websocket",
    path="ws",
    content_type=SUBPROTOCOL,
    frame=encode_batch,
    reader=MessageReader,
    many=True,
    commands_up=True,
    also=(msgpack.TRANSPORT,),
)
