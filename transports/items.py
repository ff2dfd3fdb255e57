"""Items: everything that is ever sent down a wire, and the one place where it is turned into JSON; `msgpack.py` starts from that.

`hello` opens, `event` is what it is all for, `beat` fills a silence, `lost` says what is gone, `skipped` what was not wanted,
`reply` answers a command, `bye` ends. The `id` is the position *after* it, but of `bye`, `reply` and `skipped`: a client keeps
exactly one string. See `docs/reference/protocol.md`.

Two shapes of the same thing: a struct (`Event`, `Hello`, …) where an item is read or made, and `Encoded` where it
is kept and sent. An item is encoded once; the wires only add punctuation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, TypeAlias

import msgspec

from .errors import Code, NotEverywireError, Refusal

VERSION: Final = 1
DEPTH_MAX: Final = 100  # levels of lists and objects in an event's data


class Hello(msgspec.Struct, tag_field="type", tag="hello"):
    """The first item: where reading starts, so that a client that drops before its first event can still resume."""

    kind: ClassVar = "hello"
    v: int
    id: str
    connection: str
    channels: list[str]
    resumed: str  # "fresh", "exact" or "lost"
    beat: float  # seconds; the longest silence
    expires: float | None = None  # seconds since 1970 until which the credentials hold


class Event(msgspec.Struct, tag_field="type", tag="event", omit_defaults=True):
    """Something that was published to a channel."""

    kind: ClassVar = "event"
    id: str
    channel: str
    at: float  # seconds since 1970, when the server took it
    data: Any = msgspec.field(default_factory=lambda: None)  # made, not given: so null is written like any other value
    about: str | None = None  # which of the channel's things it tells of


class Beat(msgspec.Struct, tag_field="type", tag="beat"):
    """Nothing happened, and the wire works: an empty batch. Moves the position of a reader whose channels are quiet."""

    kind: ClassVar = "beat"
    id: str
    at: float  # seconds since 1970


class Lost(msgspec.Struct, tag_field="type", tag="lost"):
    """Of `channel`, nothing is kept any more in the range (`after`, `through`]. All that is kept is still delivered."""

    kind: ClassVar = "lost"
    id: str
    channel: str
    after: str
    through: str
    reason: str  # "evicted", "epoch" or "future"


class Skipped(msgspec.Struct, tag_field="type", tag="skipped"):
    """Of `channel`, `count` events in the range (`after`, `through`] were left out, as the reader wished. None: nobody can count
    them any more. `id` is where the reader stands already.
    """

    kind: ClassVar = "skipped"
    id: str
    channel: str
    after: str
    through: str
    count: int | None
    reason: str  # "latest" or "lag"


class Reply(msgspec.Struct, tag_field="type", tag="reply", omit_defaults=True):
    """The answer to one command. `id` names the event that was published; it never moves the reader's position."""

    kind: ClassVar = "reply"
    ref: int | None
    ok: bool
    id: str | None = None
    code: int = 0
    name: str = ""
    reason: str = ""
    retry: float | None = None
    lasts: float | None = msgspec.field(default=None, name="for")  # seconds for which a lease was taken
    expires: float | None = None  # seconds since 1970 until which what was shown holds


class Bye(msgspec.Struct, tag_field="type", tag="bye", omit_defaults=True):
    """The last item. `retry` is in seconds; None says: do not come back unchanged. With `stays` it is not the last: for so many
    seconds the connection goes on being served, and who comes back on another meanwhile has no gap.
    """

    kind: ClassVar = "bye"
    code: int
    name: str
    reason: str
    retry: float | None
    stays: float | None = None


def bye_of(refusal: Refusal, stays: float | None = None) -> Bye:
    """The item for a reader who is sent away: the last one, unless it `stays`."""
    return Bye(int(refusal.code), refusal.name, refusal.reason, refusal.retry, stays)


Item: TypeAlias = Hello | Event | Beat | Lost | Skipped | Reply | Bye


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """An item as it is kept and sent: what a framing has to know of it, and its JSON, made once."""

    kind: str
    id: str | None  # the position after it; None for `bye` and `reply`
    json: bytes
    offset: int = 0  # events only, like the next three
    channel: str = ""
    at: float = 0.0
    about: str | None = None
    packed: bytes = b""  # the same in MessagePack, made for the first who reads it so


class Batch:
    """The items that go out together. On a wire it is never empty: where nothing happened, it is one `beat`.

    Readers who stand at the same place share one batch, and with it the bytes that each framing made of it.
    """

    __slots__ = ("_framed", "items")

    def __init__(self, items: Sequence[Encoded]) -> None:
        self.items = items
        self._framed: dict[Callable[[Sequence[Encoded]], Any], Any] = {}

    def framed(self, frame: Callable[[Sequence[Encoded]], Any]) -> Any:
        """What `frame` makes of the items; computed for the first reader, shared with all others."""
        made = self._framed.get(frame)
        if made is None:
            made = self._framed[frame] = frame(self.items)
        return made


class _Plain(msgspec.Struct, tag_field="type", tag="event", gc=False):
    """An event that is about nothing, as it is written: without a look at what could be left out."""

    id: str
    channel: str
    at: float
    data: msgspec.Raw


class _Kind(msgspec.Struct):
    type: str


_DIGITS_MAX = 4300  # of an integer; the decoder counts a sign as one of them
_LONGEST = re.compile(rb"-[0-9]{4300}")
_encoder = msgspec.json.Encoder()
_KINDS = frozenset({"hello", "event", "beat", "lost", "skipped", "reply", "bye"})


def encode(item: Hello | Beat | Lost | Skipped | Reply | Bye) -> Encoded:
    """An item that is no event, ready to be sent."""
    return Encoded(item.kind, None if isinstance(item, Reply | Bye) else item.id, _encoder.encode(item))


def encode_event(epoch: str, offset: int, channel: str, at: float, data: bytes, about: str | None = None) -> Encoded:
    """An event, ready to be kept and sent; `data` is its JSON."""
    position, raw = f"{epoch}.{offset}", msgspec.Raw(data)
    event = _Plain(position, channel, at, raw) if about is None else Event(position, channel, at, raw, about)
    return Encoded("event", position, _encoder.encode(event), offset, channel, at, about)


def encode_batch(items: Sequence[Encoded]) -> bytes:
    """A JSON array of the items."""
    return b"[" + b",".join([item.json for item in items]) + b"]"


def encode_data(data: Any) -> bytes:
    """The JSON of an event's data.

    Raises:
        Refusal: 4400, when JSON cannot say `data`, or it is nested deeper than `DEPTH_MAX`: what one reader cannot
            decode stops it for good.
    """
    try:
        body = _encoder.encode(data)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise Refusal(Code.BAD_COMMAND, f"this cannot be said in JSON: {error}") from error
    if len(body) > _DIGITS_MAX and _LONGEST.search(body) and not _decodable(body):
        raise Refusal(Code.BAD_COMMAND, f"an integer of {_DIGITS_MAX} digits below 0: that cannot be read again")
    if len(body) > 2 * DEPTH_MAX and body.count(b"[") + body.count(b"{") > DEPTH_MAX and _too_deep(body):
        raise Refusal(Code.BAD_COMMAND, f"nested more than {DEPTH_MAX} levels deep")
    return body


def _decodable(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return False
    return True


def _too_deep(body: bytes) -> bool:
    try:
        level = [msgspec.json.decode(body)]  # the lists and objects of one level, and what else is there
    except RecursionError:  # it was just within what can be read further up the stack
        return True
    for _ in range(DEPTH_MAX + 1):
        level = [value for value in level if isinstance(value, list | dict)]
        if not level:
            return False
        level = [inner for value in level for inner in (value.values() if isinstance(value, dict) else value)]
    return True


class Decoding:
    """The way back.

    Args:
        decoder: makes a decoder of a type: msgspec's for JSON, or another that says the same.
    """

    def __init__(self, decoder: Callable[[Any], Any]) -> None:
        self._batch, self._item = decoder(list[Item]), decoder(Item)
        self._raws, self._kind = decoder(list[msgspec.Raw]), decoder(_Kind)

    def batch(self, body: bytes | str) -> list[Item]:
        """See `decode_batch`."""
        try:
            found: list[Item] = self._batch.decode(body)
            return found
        except msgspec.ValidationError:
            pass  # perhaps only an item of a later version: look at each
        except _BROKEN as error:
            raise _not_ours(body) from error
        try:
            raws = self._raws.decode(body)
        except _BROKEN as error:
            raise _not_ours(body) from error
        return [item for raw in raws if (item := self.item(raw)) is not None]

    def item(self, body: bytes | str | msgspec.Raw) -> Item | None:
        """See `decode_item`."""
        try:
            found: Item = self._item.decode(body)
            return found
        except _BROKEN as error:
            try:
                kind = self._kind.decode(body).type
            except _BROKEN:
                kind = None
            if kind is None or kind in _KINDS:
                raise _not_ours(bytes(body) if isinstance(body, msgspec.Raw) else body) from error
            return None


_BROKEN: Final = (ValueError, RecursionError)  # a DecodeError and a UnicodeDecodeError are ValueErrors
_from_json = Decoding(msgspec.json.Decoder)


def decode_batch(body: bytes | str) -> list[Item]:
    """The items of a JSON array; items of a type that this version does not know are left out.

    Raises:
        NotEverywireError: it is not a JSON array of items.
    """
    return _from_json.batch(body)


def decode_item(body: bytes | str | msgspec.Raw) -> Item | None:
    """One item; None when it is of a type that this version does not know.

    Raises:
        NotEverywireError: it is not an item.
    """
    return _from_json.item(body)


def _not_ours(body: bytes | str) -> NotEverywireError:
    start = body[:60] if isinstance(body, str) else bytes(body[:60]).decode("utf-8", "replace")
    return NotEverywireError(f"not an everywire batch: {start!r}")
