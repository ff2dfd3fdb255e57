from __future__ import annotations

from transports import Code
from transports.counts import Counts


def test_what_clients_say_becomes_numbers() -> None:
    counts = Counts()
    counts.opened("sse", "race", "websocket.refused_http")
    counts.opened("sse", "race", "websocket.refused_http,longpoll.cut_idle")
    counts.opened("websocket", "retest", "")
    assert counts.as_dict() == {
        "opened": {"sse": 2, "websocket": 1},
        "why": {"race": 2, "retest": 1},
        "verdicts": {"longpoll": {"cut_idle": 1}, "websocket": {"refused_http": 2}},
        "moved": {},
    }


def test_no_client_can_make_up_a_counter() -> None:
    counts = Counts()
    counts.opened("sse", "because\nof", "websocket.nonsense,nobody.ok,,.,websocket,websocket.refused_http.x," + "x." * 10_000)
    assert counts.as_dict() == {"opened": {"sse": 1}, "why": {"other": 1}, "verdicts": {}, "moved": {}}


def test_a_request_counts_no_more_than_a_few_verdicts() -> None:
    counts = Counts()
    counts.opened("sse", "race", "websocket.ok," * 1000)
    assert counts.as_dict()["verdicts"]["websocket"]["ok"] <= 10


def test_who_was_told_to_move_is_counted_by_the_reason() -> None:
    counts = Counts()
    for code in (Code.DRAINING, Code.REBALANCE, Code.DRAINING):
        counts.moved(code)
    assert counts.as_dict()["moved"] == {"draining": 2, "rebalance": 1}
