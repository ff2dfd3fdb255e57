"""What is written down, and how."""

from __future__ import annotations

import time

import pytest

from transports.doctor.observations import Arrival, Head, Trial, kept, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nginx/1.22", "nginx/1.22"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\r\nb\x9b2J", "a\\r\\nb\\x9b2J"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\udcff", "\\udcff"),
        ("größer", "größer"),
        ("x" * 500, "x" * 200),
    ],
)
def test_nothing_that_is_shown_moves_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_of_headers_so_many_are_kept_and_no_cookies() -> None:
    headers = kept({"Set-Cookie": "secret=1", "X-\x1b": "\x1b[2J", **{f"x-{n}": "y" for n in range(100)}})
    assert "secret" not in str(headers)
    assert headers["x-\\x1b"] == "\\x1b[2J"
    assert len(headers) < 100


def test_beats_are_late_by_what_they_are_behind_the_fastest() -> None:
    trial = Trial("sse", "beats", arrivals=[Arrival("hello", 0.1), Arrival("beat", 4.0, 101.0), Arrival("beat", 4.0, 104.0)])
    assert trial.lateness == [3.0, 0.0]
    assert Trial("sse", "beats").lateness == []


def test_silence_begins_with_what_came_or_was_asked_for_last() -> None:
    trial = Trial("longpoll", "silence", 0.1, heads=[Head("/", 200, "1.1", {}, 0.2, 0.1)], arrivals=[Arrival("beat", 0.15, 1.0)])
    assert trial.silent_since == 0.2


def test_of_a_flood_only_the_beats_are_looked_at_and_in_no_time() -> None:
    flood = [Arrival("event", 0.1, 1.0)] * 60_000
    assert Trial("sse", "beats", arrivals=[*flood, Arrival("beat", 4.0, 101.0)]).lateness == [0.0]
    began = time.monotonic()
    assert len(Trial("sse", "beats", arrivals=[Arrival("beat", 0.1, 1.0)] * 60_000).lateness) == 60_000
    assert time.monotonic() - began < 2.0
