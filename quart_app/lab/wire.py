"""Wire: what passed through a lane's network, made to be looked at. Bytes in, JSON out; no clock, no input and output.

A passage becomes a record:

    {"connection": 3, "up": false, "kind": "frame", "at": 1763850000.1, "ms": 0.2, "bytes": 96, "writes": 1, "overhead": 4,
     "items": [{"type": "event", "id": "k3f9.1042", "channel": "lab", "n": 7, "bytes": 92, "before": 0, "from": 1, "to": 93}],
     "shown": {"head": "815e", "opcode": "text", "fin": true, "masked": false, "length": 94, "text": "[{…}]", "cut": false}}

* `kind`: of `transports.networks.Passage`: `open close head data end frame bytes lost`.
* `ms`: how long the network held it. `bytes`: of all of it, framing included. `writes`: in how many it went on.
* `items`: what of our protocol is in it, the first hundred. `from` and `to` are places in `shown.text`, in characters; `bytes` is
  the length of its JSON, of which `before` came in passages before this one. Beyond a text that is cut, `to` is its end, and
  `text` is how the item begins.
* `overhead`: bytes that are no event's JSON.
* `shown`: a head has `start` and `headers`, a list of names and values. A body's part has `size` (the line of its chunk; null if
  it is none), `ends` (so does its chunk), `text`, `cut`, and in a stream of SSE `blocks`, how many end here. One in gzip is shown
  as what it is unpacked, with the bytes that it has `packed` and `unpacked`. A frame has `head` (in hex), `opcode fin rsv masked
  length`, and `text`, or `hex` if it is no text; one that closes has `code` and `reason`. Long frames come in parts; all but the
  first have `continues`, and `text` if they come down.

Anybody may send anything through a lane. Whatever it is, a record can be said in JSON, and is no longer than some 60 KiB.
"""

from __future__ import annotations

import codecs
import re
import zlib
from json import JSONDecodeError, JSONDecoder
from typing import Any, Final, TypeAlias

from transports.networks import Head, Passage
from transports.networks.pieces import FramingError

Shown: TypeAlias = dict[str, Any]

_TEXT: Final = 1_000  # characters on show
_BEGINNING: Final = (200, 8_000)  # characters on show of an item that is beyond that, and of all of one passage
_HEX: Final = 64  # bytes on show of what is no text
_ITEMS: Final = 100  # on show, of one passage
_HEADERS: Final = (60, 500, 8_000)  # on show, characters of a name or a value, and of all
_WIRES: Final = 4_000  # connections known; a lane has 2,000 at the most, and the end of one may have been missed
_WHOLE: Final = 1 << 53  # from here on a page does not tell whole numbers apart
_CARRY: Final = 1 << 17  # bytes of an item that has begun and not ended
_UNPACKED: Final = 1 << 17  # bytes of a passage that is packed; who packs more is not looked into
_GZIP: Final = 31  # zlib's window bits for gzip (RFC 1952)
_ITEM: Final = re.compile(rb'\{"type":"(hello|event|beat|lost|skipped|reply|bye)"')
_NAME: Final = re.compile(r"[!#-\[\]-~]{1,200}")  # of ids and channels, and more: what JSON says in as many bytes
_BEGUN: Final = re.compile(rb'\{(?:"(?:t(?:y(?:p(?:e(?:"(?::(?:"[a-z]*)?)?)?)?)?)?)?)?$')
_BLOCK: Final = re.compile(rb"\n\n")
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_OPCODES: Final = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
_utf8: Final = codecs.getincrementaldecoder("utf-8")
_decode: Final = JSONDecoder().raw_decode


class Items:
    """Finds the items of our protocol in one direction of a connection, wherever it was cut."""

    def __init__(self) -> None:
        self._carry = b""

    def feed(self, payload: bytes) -> list[Shown]:
        """Those that end in `payload`. `from` and `to` are places in it, in bytes."""
        before, whole = len(self._carry), self._carry + payload
        text = whole.decode("latin-1")  # a character for each byte; what is told of an item is ASCII
        found: list[Shown] = []
        at = 0
        while (match := _ITEM.search(whole, at)) is not None:
            begin = match.start()
            try:
                item, at = _decode(text, begin)
            except JSONDecodeError:  # it goes on in what comes
                self._carry = whole[begin:] if len(whole) - begin <= _CARRY else b""
                return found
            except (ValueError, RecursionError):  # too long a number, too deep a nest: nobody reads that
                at = match.end()
                continue
            found.append(_item(item, match[1].decode(), begin - before, at - before))
        rest = _BEGUN.search(whole, max(at, len(whole) - 20))
        self._carry = b"" if rest is None else whole[rest.start() :]
        return found

    def forget(self) -> None:
        """What has begun will not go on."""
        self._carry = b""


def _item(item: Shown, kind: str, begin: int, end: int) -> Shown:
    data = item.get("data")
    return {
        "type": kind,
        "id": _name(item.get("id")),
        "channel": _name(item.get("channel")),
        "n": _number(data.get("n")) if isinstance(data, dict) else None,
        "bytes": end - begin,
        "before": max(0, -begin),
        "from": max(0, begin),
        "to": end,
    }


def _name(said: object) -> str | None:
    return said if isinstance(said, str) and _NAME.fullmatch(said) else None


def _number(said: object) -> int | None:
    return said if isinstance(said, int) and abs(said) < _WHOLE else None


class Wire:
    """One connection, as far as one must know it to say what passes."""

    def __init__(self) -> None:
        self.upgraded = False
        self._chunked = self._sse = False
        self._left = 0  # bytes to come of a chunk, its line end included
        self._rest = {True: 0, False: 0}  # bytes to come of a frame, up and down
        self._items = {True: Items(), False: Items()}
        self._gzip: zlib._Decompress | None = None  # of the body that comes down

    def show(self, passage: Passage) -> Shown:
        """What is to be seen of it."""
        items: list[Shown] = []
        match passage.kind:
            case "head":
                shown, items = self._head(passage), []
            case "frame":
                shown, items = self._frame(passage)
            case "data" | "bytes":
                shown, items = self._body(passage)
            case "lost":
                shown, items = self._frame(passage) if self.upgraded else (_text(passage.raw), [])
            case "end":
                shown, items = {"size": _line(passage.raw)} if passage.raw else {}, []
                self._items[passage.up].forget()
            case _:
                shown, items = {}, []
        events = sum(each["bytes"] - each["before"] for each in items if each["type"] == "event")
        return {
            "connection": passage.connection,
            "up": passage.up,
            "kind": passage.kind,
            "at": round(passage.passed, 6),
            "ms": round(1000 * (passage.passed - passage.came), 3),
            "bytes": len(passage.raw),
            "writes": passage.writes,
            "overhead": max(0, len(passage.raw) - events),
            "items": items[:_ITEMS],
            "shown": shown,
        }

    def _head(self, passage: Passage) -> Shown:
        try:
            head = Head.parse(passage.raw)
        except FramingError:
            return _text(passage.raw)
        if not passage.up:
            self._chunked, self._left = head.get(b"transfer-encoding") == b"chunked", 0
            self._gzip = zlib.decompressobj(_GZIP) if head.get(b"content-encoding") == b"gzip" else None
            self._sse = head.get(b"content-type").startswith(b"text/event-stream")
            self.upgraded |= head.start[1] == b"101"
        count, size, room = _HEADERS
        headers = []
        for name, value in head.headers[:count]:
            shown = [name.decode("latin-1")[:size], value.decode("latin-1")[:size]]
            if (room := room - sum(map(len, shown))) < 0:
                break
            headers.append(shown)
        return {"start": b" ".join(head.start).decode("latin-1")[: 4 * size], "headers": headers}

    def _body(self, passage: Passage) -> tuple[Shown, list[Shown]]:
        chunked = self._chunked and not passage.up
        size, payload = self._chunk(passage.raw) if chunked else (None, passage.raw)
        shown: Shown = {"size": size, "ends": chunked and self._left <= 0}
        if not passage.up and (unpacked := self._unpack(payload)) is not None:
            shown |= {"packed": len(payload), "unpacked": len(unpacked)}
            payload = unpacked
        items = self._items[passage.up].feed(payload)
        shown |= _text(payload)
        if self._sse and not passage.up:
            shown["blocks"] = len(_BLOCK.findall(payload))
        return shown, _placed(items, payload, shown)

    def _unpack(self, payload: bytes) -> bytes | None:
        """What is packed, as far as it can be read by now; None if it is not, or cannot be."""
        if (gzip := self._gzip) is None:
            return None
        try:
            unpacked = gzip.decompress(payload, _UNPACKED)
        except zlib.error:
            self._gzip = None
            return None
        if gzip.unconsumed_tail or gzip.eof:  # what would be behind the end of a member, browsers do not read
            self._gzip = None
        return unpacked

    def _chunk(self, raw: bytes) -> tuple[str | None, bytes]:
        """The line that begins a chunk, if one does, and what is there of its payload."""
        size = None
        if self._left <= 0:
            if (line := _SIZE.match(raw)) is None:
                return None, raw
            size, raw = line[0].rstrip().decode("latin-1"), raw[line.end() :]
            self._left = int(line[1], 16) + 2
        payload = raw[: max(0, self._left - 2)]
        self._left -= len(raw)
        return size, payload

    def _frame(self, passage: Passage) -> tuple[Shown, list[Shown]]:
        raw, up = passage.raw, passage.up
        if self._rest[up] > 0:
            return self._goes_on(raw, up=up)
        try:
            shown, payload = frame(raw)
        except IndexError:
            return _text(raw), []
        self._rest[up] = shown["length"] - len(payload)
        if shown["opcode"] not in ("text", "binary", "continuation"):
            return {**shown, **_closing(shown["opcode"], payload)}, []
        items = self._items[up].feed(payload)
        shown |= _text(payload)
        return shown, _placed(items, payload, shown)

    def _goes_on(self, raw: bytes, *, up: bool) -> tuple[Shown, list[Shown]]:
        """A part of a long frame. Those that come up are masked, and are not on show."""
        self._rest[up] -= len(raw)
        if up:
            return {"continues": True}, []
        shown = {"continues": True, **_text(raw)}
        return shown, _placed(self._items[up].feed(raw), raw, shown)


def frame(raw: bytes) -> tuple[Shown, bytes]:
    """What the head of a frame says (RFC 6455 5.2), and what is there of its payload, unmasked. Raises: IndexError, too short."""
    first, second, at = raw[0], raw[1], 2
    length = second & 0x7F
    if extra := {126: 2, 127: 8}.get(length, 0):
        length, at = int.from_bytes(raw[2 : 2 + extra], "big"), 2 + extra
    payload = raw[at:]
    if second & 0x80:
        mask, payload = raw[at : at + 4], raw[at + 4 :]
        many = mask * (len(payload) // 4 + 1)
        size = len(payload)
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(many[:size], "big")).to_bytes(size, "big")
    opcode = _OPCODES.get(first & 0x0F, str(first & 0x0F))
    said = {"opcode": opcode, "fin": bool(first & 0x80), "rsv": first >> 4 & 7, "masked": bool(second & 0x80), "length": length}
    return {"head": raw[: len(raw) - len(payload)].hex(), **said}, payload


def _closing(opcode: str, payload: bytes) -> Shown:
    if opcode == "close":
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
        return {"code": code, "reason": payload[2:_TEXT].decode(errors="replace")}
    return {"hex": payload[:_HEX].hex()}


def _line(raw: bytes) -> str:
    return raw.partition(b"\r\n")[0].decode("latin-1")


def _text(payload: bytes) -> Shown:
    """As text, if it is some: its first and its last character may have been cut in two."""
    begin = next((place for place, byte in enumerate(payload[:4]) if byte & 0xC0 != 0x80), 0)
    try:
        _utf8().decode(payload[begin:])
    except UnicodeDecodeError:
        return {"hex": payload[:_HEX].hex(), "cut": len(payload) > _HEX}
    text = payload.decode(errors="replace")
    return {"text": text[:_TEXT], "cut": len(text) > _TEXT}


def _placed(items: list[Shown], payload: bytes, shown: Shown) -> list[Shown]:
    """The items with their places in characters of what is on show, and how they begin if they are not."""
    most, (size, room) = len(shown.get("text", "")), _BEGINNING
    for each in items:
        begins = payload[each["from"] : min(each["to"], each["from"] + size)].decode(errors="replace")
        for end in ("from", "to"):  # no more bytes than so many characters can have: an item may be far behind them
            each[end] = min(most, len(payload[: min(each[end], 4 * most)].decode(errors="replace")))
        if each["from"] == each["to"] and (room := room - len(begins)) >= 0:
            each["text"] = begins
    return items


class Tape:
    """All that passes in one lane, at the most so many records a tick; the sums are of everything.

    Args:
        most: records in one tick.
    """

    def __init__(self, most: int = 20) -> None:
        self._wires: dict[int, Wire] = {}
        self._most = most

    def __len__(self) -> int:
        """Connections that it knows."""
        return len(self._wires)

    def show(self, passages: list[Passage]) -> tuple[list[Shown], int]:
        """The records of a tick, and how many passages were left out. Opens, heads, closes and what is lost come first."""
        shown = []
        for passage in passages:
            wire = self._wires.setdefault(passage.connection, Wire())
            shown.append(wire.show(passage))
            if passage.kind == "close":
                del self._wires[passage.connection]
        while len(self._wires) > _WIRES:
            del self._wires[next(iter(self._wires))]
        left = len(shown) - self._most
        if left <= 0:
            return shown, 0
        keep = sorted(range(len(shown)), key=lambda place: (shown[place]["kind"] not in ("open", "head", "close", "lost"), place))
        return [shown[place] for place in sorted(keep[: self._most])], left
