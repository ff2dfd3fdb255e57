"""What passed, made to be looked at: frames, chunks, blocks, and events however they were cut."""

from __future__ import annotations

import gzip
import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.lab.wire import Tape, Wire, frame
from transports.networks import Passage

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
POLL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"


def passage(kind: str, raw: bytes = b"", *, up: bool = False, connection: int = 1) -> Passage:
    return Passage(connection, up, kind, raw, 1000.0, 1000.0015)


def event(n: int, pad: str = "") -> str:
    data = {"n": n, "pad": pad}
    item = {"type": "event", "id": f"e.{n}", "channel": "lab", "at": 1.5, "data": data}
    return json.dumps(item, ensure_ascii=False, separators=(",", ":"))


def down(payload: bytes, first: int = 0x81) -> bytes:
    size = len(payload)
    head = (
        bytes((size,))
        if size < 126
        else b"\x7e" + size.to_bytes(2, "big")
        if size < 65_536
        else b"\x7f" + size.to_bytes(8, "big")
    )
    return bytes((first,)) + head + payload


def masked(payload: bytes, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    assert len(payload) < 126
    return bytes((0x81, 0x80 | len(payload))) + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(payload), payload)


def block(text: str) -> bytes:
    return f"id: e.1\ndata: {text}\n\n".encode()


def highlighted(record: dict[str, Any]) -> list[str]:
    return [record["shown"]["text"][each["from"] : each["to"]] for each in record["items"]]


def test_a_head_is_its_start_and_its_headers() -> None:
    record = Wire().show(passage("head", b"GET /live/ws?channels=lab HTTP/1.1\r\nHost: a\r\nX-Two: b: c\r\n\r\n", up=True))
    assert record["shown"] == {"start": "GET /live/ws?channels=lab HTTP/1.1", "headers": [["Host", "a"], ["X-Two", "b: c"]]}
    assert (record["kind"], record["up"], record["bytes"], record["overhead"], record["ms"]) == ("head", True, 60, 60, 1.5)


def test_an_event_is_the_same_in_a_frame_a_block_and_an_answer() -> None:
    said = event(7, "ä€😀")
    socket, stream, poll = Wire(), Wire(), Wire()
    for wire, head in ((socket, UPGRADED), (stream, STREAM), (poll, POLL)):
        wire.show(passage("head", head))
    records = [
        socket.show(passage("frame", down(f"[{said}]".encode()))),
        stream.show(passage("data", chunk(block(said)))),
        poll.show(passage("data", f"[{said}]".encode())),
    ]
    assert [highlighted(record) for record in records] == [[said]] * 3
    assert [record["items"][0]["n"] for record in records] == [7, 7, 7]
    assert {record["items"][0]["bytes"] for record in records} == {len(said.encode())}
    assert [record["overhead"] for record in records] == [4, len(chunk(block(said))) - len(said.encode()), 2]


def test_a_frame_tells_what_its_head_says() -> None:
    wire = Wire()
    wire.show(passage("head", UPGRADED))
    up = wire.show(passage("frame", masked(b'{"do":"ping"}'), up=True))["shown"]
    said = {"opcode": "text", "fin": True, "rsv": 0, "masked": True, "length": 13, "text": '{"do":"ping"}', "cut": False}
    assert up == {"head": "818d01020304", **said}
    closing = wire.show(passage("frame", down(b"\x0f\xa1bye", 0x88)))["shown"]
    assert (closing["opcode"], closing["code"], closing["reason"]) == ("close", 4001, "bye")
    assert wire.show(passage("frame", down(b"", 0x88)))["shown"]["code"] is None
    assert wire.show(passage("frame", down(b"\x00\xff", 0x89)))["shown"]["hex"] == "00ff"
    assert wire.show(passage("frame", down(b"\x93\xff\xfe\xfd\xfc\xfb\xfa\xf9", 0x82)))["shown"]["opcode"] == "binary"


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_lengths_of_all_three_sizes_are_read(size: int) -> None:
    raw = down(b"x" * size)
    said, payload = frame(raw)
    assert (said["length"], len(payload), bytes.fromhex(said["head"]) + payload) == (size, size, raw)


def test_what_a_network_swallowed_is_a_frame_still() -> None:
    wire = Wire()
    wire.show(passage("head", UPGRADED))
    record = wire.show(passage("lost", down(f"[{event(1)}]".encode())))
    assert (record["kind"], record["shown"]["opcode"], record["items"][0]["n"]) == ("lost", "text", 1)


def test_a_chunk_is_not_an_event() -> None:
    wire = Wire()
    wire.show(passage("head", STREAM))
    both = block(event(1)) + block(event(2))
    first, second = chunk(both[:70]), chunk(both[70:])
    one, two = wire.show(passage("data", first)), wire.show(passage("data", second))
    assert (one["shown"]["size"], one["shown"]["ends"], one["shown"]["blocks"], one["items"]) == ("46", True, 0, [])
    assert two["shown"]["blocks"] == 2
    assert [each["n"] for each in two["items"]] == [1, 2]
    assert two["items"][0]["before"] == 70 - len("id: e.1\ndata: ")
    assert highlighted(two)[1] == event(2)
    rest = len(event(1)) - two["items"][0]["before"]
    assert (one["overhead"], two["overhead"]) == (len(first), len(second) - rest - len(event(2)))


def test_data_that_looks_like_the_line_of_a_chunk_is_data() -> None:
    wire = Wire()
    wire.show(passage("head", STREAM))
    raw = chunk(b"data: 1\n\nda\r\nab")
    parts = [wire.show(passage("data", part))["shown"] for part in (raw[:12], raw[12:])]  # a narrow network cuts anywhere
    assert [(part["size"], part["ends"]) for part in parts] == [("f", False), (None, True)]
    assert "".join(part["text"] for part in parts) == "data: 1\n\nda\r\nab"


def test_what_is_long_is_cut_and_says_so() -> None:
    wire = Wire()
    wire.show(passage("head", POLL))
    record = wire.show(passage("data", f"[{event(1, 'x' * 5000)}]".encode()))
    assert (len(record["shown"]["text"]), record["shown"]["cut"]) == (1000, True)
    assert (record["items"][0]["from"], record["items"][0]["to"], record["items"][0]["bytes"]) == (
        1,
        1000,
        len(event(1, "x" * 5000)),
    )


def test_in_how_many_writes_something_left_is_told() -> None:
    passed = Passage(1, True, "head", b"GET / HTTP/1.1\r\n\r\n", 1000.0, 1000.0, 18)
    assert Wire().show(passed)["writes"] == 18


def packed(payload: bytes) -> bytes:
    return gzip.compress(payload, mtime=0)


def test_what_a_network_has_compressed_is_unpacked_and_its_events_are_found() -> None:
    wire = Wire()
    wire.show(passage("head", STREAM.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")))
    stream = b"".join(block(event(n)) for n in range(40))
    whole = packed(stream)
    one, two = (wire.show(passage("data", chunk(part))) for part in (whole[:90], whole[90:]))
    assert [item["n"] for record in (one, two) for item in record["items"]] == list(range(40))
    assert (one["shown"]["packed"], one["shown"]["size"]) == (90, "5a")
    assert one["shown"]["unpacked"] + two["shown"]["unpacked"] == len(stream)
    last = two["items"][-1]
    assert (last["from"], last["text"]) == (last["to"], event(39))  # beyond what is on show


def test_what_cannot_be_unpacked_or_is_far_more_than_it_seems_is_shown_as_it_is() -> None:
    head = POLL.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    for raw, unpacked in ((b"no gzip", None), (packed(b"x" * (1 << 20)), 1 << 17)):
        wire = Wire()
        wire.show(passage("head", head))
        assert wire.show(passage("data", raw))["shown"].get("unpacked") == unpacked
        assert "unpacked" not in wire.show(passage("data", raw))["shown"]


def test_what_follows_a_whole_member_is_not_unpacked_and_not_kept() -> None:
    wire = Wire()
    wire.show(passage("head", POLL.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")))
    assert wire.show(passage("data", packed(b"one")))["shown"]["unpacked"] == 3
    again = wire.show(passage("data", packed(b"two")))["shown"]
    assert "unpacked" not in again
    assert again["hex"].startswith("1f8b08")


def test_what_is_no_text_is_shown_as_bytes() -> None:
    wire = Wire()
    wire.show(passage("head", POLL))
    assert wire.show(passage("data", b"\x1f\x8b\x08\x00\xff\xfe\xfd\xfc"))["shown"]["hex"].startswith("1f8b08")


EVENTS = st.lists(st.text(max_size=30).map(lambda pad: pad.replace("\x00", "")), min_size=1, max_size=6)
CUTS = st.lists(st.integers(0, 2000), max_size=12)


@given(EVENTS, CUTS)
def test_each_event_is_found_once_however_a_stream_is_cut(pads: list[str], cuts: list[int]) -> None:
    said = [event(n, pad) for n, pad in enumerate(pads)]
    whole = b"".join(block(text) for text in said)
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    wire = Wire()
    wire.show(passage("head", STREAM))
    records = [wire.show(passage("data", chunk(whole[begin:end]))) for begin, end in itertools.pairwise(places) if end > begin]
    found = [each for record in records for each in record["items"]]
    assert [each["n"] for each in found] == list(range(len(pads)))
    assert [each["bytes"] for each in found] == [len(text.encode()) for text in said]
    for record in records:
        for each in record["items"]:
            if not each["before"] and not record["shown"]["cut"]:
                assert record["shown"]["text"][each["from"] : each["to"]] == said[each["n"]]


@given(st.binary(max_size=300), st.sampled_from(["head", "data", "end", "frame", "bytes", "lost"]), st.booleans())
def test_no_bytes_are_too_strange(raw: bytes, kind: str, up: bool) -> None:
    for first in (UPGRADED, STREAM, STREAM.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")):
        wire = Wire()
        wire.show(passage("head", first))
        assert wire.show(passage(kind, raw, up=up))["bytes"] == len(raw)


def test_of_too_much_the_opens_and_closes_are_kept_and_the_rest_is_counted() -> None:
    tape = Tape(most=3)
    many = [
        passage("open"),
        *[passage("data", chunk(block(event(n)))) for n in range(5)],
        passage("head", STREAM),
        passage("close"),
    ]
    records, left_out = tape.show(many)
    assert [record["kind"] for record in records] == ["open", "head", "close"]
    assert left_out == 5
    assert tape.show([passage("open"), passage("data", b"x")])[1] == 0


STRANGE = {
    "a nest too deep": b'{"type":"event","data":' + b"[" * 60_000,
    "a number too long": b'{"type":"event","data":{"n":' + b"1" * 5_000 + b"}}",
    "a number no page has": b'{"type":"event","data":{"n":' + b"1" * 30 + b"}}",
    "half a character": rb'{"type":"event","id":"\ud800","channel":"\udfff"}',
    "no UTF-8": b'{"type":"event","id":"\xff","channel":"\xc3"}',
    "an endless id": b'{"type":"event","id":"' + b"a" * 60_000 + b'"}',
    "an id that is none": b'{"type":"event","id":{"a":1e999},"channel":[NaN],"data":{"n":Infinity}}',
    "another type": b'{"type":"event","type":"' + b"\x7f" * 60_000 + b'"}',
    "many long names": (b'{"type":"event","id":"' + b"i" * 200 + b'","channel":"' + b"c" * 200 + b'"}') * 150,
    "control characters": b"\x01" * 65_536,
}


@pytest.mark.parametrize("raw", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("kind", ["data", "frame", "bytes", "lost"])
def test_whatever_passes_its_record_is_json_and_not_long(raw: bytes, kind: str) -> None:
    for first in (UPGRADED, STREAM):
        wire = Wire()
        wire.show(passage("head", first))
        shown = [wire.show(passage(kind, down(raw) if kind == "frame" else raw, up=up)) for up in (True, False)]
        shown.append(wire.show(passage(kind, down(raw[:65_000], 0x88), up=False)))
        for record in shown:
            assert len(msgspec.json.encode(record)) < 80_000


def test_a_head_is_shown_as_far_as_a_page_has_room_for_it() -> None:
    lines = b"".join(b"X-%d: " % n + b"\x01" * 1_000 + b"\r\n" for n in range(60))
    record = Wire().show(passage("head", b"GET / HTTP/1.1\r\n" + lines + b"\r\n", up=True))
    assert record["shown"]["headers"][0] == ["X-0", "\x01" * 500]
    assert len(msgspec.json.encode(record)) < 80_000


def test_what_comes_behind_an_item_that_nobody_reads_is_found() -> None:
    wire = Wire()
    wire.show(passage("head", POLL))
    number = b'{"type":"event","id":"e.0","channel":"lab","data":' + b"1" * 5_000 + b"}"
    record = wire.show(passage("data", b"[" + number + b"," + event(1).encode() + b"]"))
    assert [each["n"] for each in record["items"]] == [1]


def test_a_tape_forgets_connections_whose_end_it_did_not_see() -> None:
    tape = Tape()
    for number in range(10_000):
        tape.show([passage("open", connection=number)])
    assert len(tape) < 5_000
