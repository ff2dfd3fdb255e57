"""What a client of Socket.IO understands and says."""

from __future__ import annotations

import pytest

from locustfiles.measuring.readers import Reader
from locustfiles.measuring.stamps import Stamp
from locustfiles.subjects.socketio_readers import LongPollReader, WebSocketReader

OPEN = b'0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
EVENT = b'42["event",{"channel":"prices","data":{"n":7,"t":1234,"pad":".."}}]'


@pytest.fixture(params=[WebSocketReader, LongPollReader])
def reader(request: pytest.FixtureRequest) -> Reader:
    return request.param("http://127.0.0.1:9", ("prices", "news"))


@pytest.mark.parametrize(
    ("packet", "said"),
    [
        (OPEN, b"40"),
        (b'40{"sid":"wZX3oN0bSVIhsaknAAAI"}', b'420["join",["prices","news"]]'),
        (b'430["joined"]', None),
        (EVENT, None),
        (b"2", b"3"),
        (b"6", None),
    ],
)
def test_each_packet_has_its_answer(reader: Reader, packet: bytes, said: bytes | None) -> None:
    assert reader.answer(packet) == said


@pytest.mark.parametrize("packet", [b"1", b"41", b'44{"message":"Unable to connect"}'])
def test_the_last_packet_ends_the_connection(reader: Reader, packet: bytes) -> None:
    with pytest.raises(ConnectionResetError, match="the server has ended the session"):
        reader.answer(packet)


def test_an_event_has_its_stamp_with_the_size_of_its_data(reader: Reader) -> None:
    (stamp,) = reader.parse(EVENT)
    assert stamp == Stamp(7, 1234, "prices", len(b'{"n":7,"t":1234,"pad":".."}'))


@pytest.mark.parametrize("packet", [OPEN, b"2", b'430["joined"]', b'42["event",{"channel":"prices","data":"of somebody else"}]'])
def test_what_is_no_event_of_the_publisher_has_none(reader: Reader, packet: bytes) -> None:
    assert list(reader.parse(packet)) == []


def test_polls_name_their_session_and_websockets_need_none() -> None:
    polls, websocket = LongPollReader("http://127.0.0.1:9", ("a",)), WebSocketReader("http://127.0.0.1:9", ("a",))
    assert polls.target() == "/socket.io/?EIO=4&transport=polling"
    for each in (polls, websocket):
        each.answer(OPEN)
    assert polls.target() == "/socket.io/?EIO=4&transport=polling&sid=lv_VI97HAXpY6yYWAAAC"
    assert websocket.target() == "/socket.io/?EIO=4&transport=websocket"


def test_a_beat_that_is_wished_for_does_not_shorten_a_poll_of_a_server_that_knows_no_such_wish() -> None:
    wished, usual = LongPollReader("http://127.0.0.1:9", ("a",), beat=2.0), LongPollReader("http://127.0.0.1:9", ("a",))
    assert wished._longest == usual._longest > 2.0
