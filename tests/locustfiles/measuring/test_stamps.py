"""Stamps: what is read of an everywire server's messages."""

import msgspec
import pytest

from locustfiles.measuring.publisher import data
from locustfiles.measuring.stamps import Arrived, Stamp, items, stamp
from transports.errors import NotEverywireError
from transports.items import Beat, Event, Hello, Lost, Reply, encode, encode_batch

HELLO = Hello(v=1, id="e.0", connection="x", channels=["c"], resumed="fresh", beat=15.0)


def arrived(body: bytes) -> Arrived:
    return Arrived("e.1", "c", msgspec.Raw(body))


def test_what_the_publisher_writes_is_read_with_its_size():
    assert stamp(arrived(data(7, 123_456, 100))) == Stamp(7, 123_456, "c", 100)
    assert stamp(arrived(data(7, 123_456, 100, "reader-1"))) == Stamp(7, 123_456, "reader-1", 100)


@pytest.mark.parametrize("body", [b"1", b'"x"', b"{}", b'{"n":1}', b'{"n":"1","t":2}', b'{"n":1.5,"t":2}', b"[1,2]", b"null"])
def test_events_of_others_bear_no_stamp(body: bytes):
    assert stamp(arrived(body)) is None


def test_the_data_cannot_say_its_own_size():
    body = b'{"n":1,"t":2,"size":9}'
    assert stamp(arrived(body)) == Stamp(1, 2, "c", len(body))


def test_a_batch_and_a_single_item():
    said = [
        HELLO,
        Event("e.1", "c", 0.0, {"n": 1}),
        Lost("e.9", "c", "e.1", "e.9", "evicted"),
        Beat("e.9", 1.0),
        Reply(1, ok=True),
    ]
    found = items(encode_batch([encode(each) for each in said]))  # type: ignore[arg-type]
    assert [type(each).__name__ for each in found] == ["Hello", "Arrived", "Lost", "Beat", "Reply"]
    assert items(encode(HELLO).json) == [HELLO]


def test_items_of_a_later_version_are_left_out():
    body = b'[{"type":"event","id":"e.1","channel":"c","at":1,"data":{"n":1,"t":2}},{"type":"later","id":"e.2"}]'
    (found,) = items(body)
    assert isinstance(found, Arrived)
    assert stamp(found) == Stamp(1, 2, "c", len(b'{"n":1,"t":2}'))
    assert items(b'{"type":"later","id":"e.2"}') == []


@pytest.mark.parametrize("body", [b"", b"<h1>Login</h1>", b'{"type":"event"}', b"[1]", b"\xff"])
def test_what_is_none_of_ours_is_refused(body: bytes):
    with pytest.raises(NotEverywireError):
        items(body)
