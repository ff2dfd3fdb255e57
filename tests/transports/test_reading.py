from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports import NotEverywireError
from transports.items import Beat, Event, Hello, Lost
from transports.reading import Reading


def event(offset: int, epoch: str = "e", channel: str = "a") -> Event:
    return Event(f"{epoch}.{offset}", channel, 0.0, offset)


def lost(position: str, after: str, through: str, reason: str = "evicted", channel: str = "a") -> Lost:
    return Lost(position, channel, after, through, reason)


def test_a_repeat_is_dropped_and_a_hole_is_none_of_our_business() -> None:
    reading = Reading("e.4")
    assert [reading.take(event(n)) is not None for n in (3, 4, 5, 9, 5, 9, 10)] == [False, False, True, True, False, False, True]
    assert reading.position == "e.10"


def test_the_first_hello_gives_the_start_and_later_ones_do_not_move_it() -> None:
    reading = Reading()
    reading.take(Hello(1, "e.7", "c", ["a"], "fresh", 15.0))
    assert reading.position == "e.7"
    reading.take(Hello(1, "f.0", "c", ["a"], "lost", 15.0))
    assert reading.position == "e.7", "cut here, the loss must be told again"


def test_a_stream_that_begins_elsewhere_than_where_we_stand_is_refused() -> None:
    reading = Reading("e.7")
    with pytest.raises(NotEverywireError):
        reading.take(Hello(1, "e.9", "c", ["a"], "fresh", 15.0))
    reading.take(Hello(1, "e.7", "c", ["a"], "exact", 15.0))
    assert reading.position == "e.7"


def test_a_beat_moves_on_but_never_back() -> None:
    reading = Reading("e.4")
    reading.take(Beat("e.9", 0.0))
    reading.take(Beat("e.5", 0.0))
    assert reading.position == "e.9"


def test_a_loss_that_was_told_is_not_told_again_and_the_rest_of_it_is() -> None:
    reading = Reading("e.1")
    assert reading.take(lost("e.1", "e.1", "e.5")) is not None
    assert reading.take(lost("e.1", "e.1", "e.5")) is None
    again = reading.take(lost("e.1", "e.1", "e.8"))
    assert isinstance(again, Lost)
    assert (again.after, again.through) == ("e.5", "e.8")


def test_a_loss_that_is_known_moves_on_all_the_same() -> None:
    reading = Reading("e.1")
    reading.take(lost("e.1", "e.1", "e.5"))
    assert reading.take(lost("e.6", "e.1", "e.5")) is None
    assert reading.position == "e.6"


def test_every_life_of_the_log_tells_of_its_own() -> None:
    reading = Reading("old.100")
    assert reading.take(lost("new.0", "old.100", "new.0", "epoch")) is not None
    assert reading.take(lost("newer.0", "new.0", "newer.0", "epoch")) is not None
    assert reading.take(lost("newer.0", "newer.0", "newer.4")) is not None
    assert reading.take(event(9, "newer")) is not None
    assert reading.take(lost("newer.2", "newer.9", "newer.2", "future")) is not None
    assert reading.take(lost("newer.2", "newer.2", "newer.4")) is not None, "a log that was set back may lose the same again"


def test_after_a_new_epoch_its_events_are_news() -> None:
    reading = Reading("old.100")
    assert reading.take(lost("new.0", "old.100", "new.0", "epoch")) is not None
    assert reading.take(event(1, "new")) is not None


def test_between_two_losses_of_an_epoch_the_old_position_holds() -> None:
    reading = Reading("old.100")
    reading.take(lost("old.100", "old.100", "new.0", "epoch", "a"))
    assert reading.position == "old.100"
    reading.take(lost("new.0", "old.100", "new.0", "epoch", "b"))
    assert reading.position == "new.0"
    assert reading.take(lost("old.100", "old.100", "new.0", "epoch", "a")) is None, "a late repeat"
    assert reading.position == "new.0"


def test_a_log_that_knows_less_than_we_do_is_followed_back() -> None:
    reading = Reading("e.100")
    assert reading.take(lost("e.10", "e.100", "e.10", "future")) is not None
    assert reading.take(event(11)) is not None


def test_who_has_gone_back_is_not_sent_back_again_by_another_wire() -> None:
    reading, back = Reading("e.100"), lost("e.10", "e.100", "e.10", "future")
    assert reading.take(back) is not None
    assert reading.take(event(11)) is not None
    assert reading.take(back) is None
    assert reading.take(event(11)) is None


def test_what_another_wire_had_brought_is_not_lost() -> None:
    reading = Reading("e.1")
    assert reading.take(event(5)) is not None
    assert reading.take(lost("e.5", "e.1", "e.5")) is None


def test_an_event_of_another_life_that_nobody_announced_is_not_ours() -> None:
    reading = Reading("e.4")
    for item in (event(1, "f"), Beat("f.1", 0.0)):
        with pytest.raises(NotEverywireError, match="another life"):
            reading.take(item)
    assert reading.position == "e.4"


@pytest.mark.parametrize("text", ["", "e", "e.-1", "e.01", "e.1 ", "é.1"])
def test_what_is_no_position_is_not_ours(text: str) -> None:
    with pytest.raises(NotEverywireError):
        Reading("e.1").take(Event(text, "a", 0.0, 0))


@given(st.lists(st.integers(1, 30)))
def test_whatever_comes_again_each_event_is_news_once_and_in_order(offsets: list[int]) -> None:
    reading = Reading()
    news = [n for n in offsets if reading.take(event(n)) is not None]
    assert news == sorted(set(news))
    assert news == [n for place, n in enumerate(offsets) if n > max(offsets[:place], default=0)]
