"""What workers show each other."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from transports.board import Board, new_board
from transports.figures import total


@pytest.fixture
def descriptor() -> Iterator[int]:
    descriptor = new_board(3)
    yield descriptor
    os.close(descriptor)


def opened(number: float) -> dict:
    return {"everywire_connections_opened_total": {("sse",): number}, "everywire_connections": {("sse",): number}}


def test_each_sees_what_the_others_have_told_last(descriptor: int) -> None:
    first, second = Board(descriptor, 0, 1), Board(descriptor, 2, 2)
    assert first.others() == []
    second.tell(opened(3.0))
    second.tell(opened(4.0))
    first.tell(opened(9.0))
    assert first.others() == [
        {"everywire_connections_opened_total": {("sse",): 4.0}, "everywire_connections": {("sse", "2"): 4.0}}
    ]


def test_counters_never_go_back_when_a_worker_is_replaced(descriptor: int) -> None:
    parent, worker, other = Board(descriptor, 0), Board(descriptor, 1, 1), Board(descriptor, 2, 2)
    worker.tell(opened(3.0))
    parent.retire(1)
    Board(descriptor, 1, 1).tell(opened(1.0))
    parent.retire(1)
    assert total(other.others()) == {"everywire_connections_opened_total": {("sse",): 4.0}}
    parent.retire(1)  # who had nothing to tell takes nothing away
    assert total(other.others()) == {"everywire_connections_opened_total": {("sse",): 4.0}}


def test_what_is_half_written_is_not_read(descriptor: int) -> None:
    board, other = Board(descriptor, 0, 1), Board(descriptor, 1, 2)
    other.tell(opened(3.0))
    body = board._memory.find(b"everywire")
    board._memory[body : body + 1] = b"E"
    assert board.others() == []


def test_a_place_that_is_not_there_is_refused(descriptor: int) -> None:
    with pytest.raises(ValueError, match="row 3 of 3"):
        Board(descriptor, 3, 1)


class Scraped(Board):
    """Another looks after each write."""

    seen: list[dict]
    other: Board

    def _write(self, *args: object) -> None:
        super()._write(*args)
        self.seen.append(total(self.other.others()))


def test_who_is_just_being_retired_is_counted_once(descriptor: int) -> None:
    parent, other = Scraped(descriptor, 0), Board(descriptor, 2, 2)
    parent.seen, parent.other = [], other
    for number in (3.0, 1.0):
        Board(descriptor, 1, 1).tell(opened(number))
        parent.retire(1)
    totals = [each["everywire_connections_opened_total"]["sse",] for each in parent.seen]
    assert totals == [3.0, 3.0, 4.0, 4.0]


def test_who_is_retired_while_another_looks_is_counted_once(descriptor: int) -> None:
    parent, worker = Board(descriptor, 0), Board(descriptor, 1, 1)
    worker.tell(opened(3.0))

    class Slow(Board):
        def _gone(self) -> tuple[tuple[int, ...], dict]:
            parent.retire(1)
            Board(descriptor, 1, 1).tell(opened(1.0))
            return super()._gone()

    assert total(Slow(descriptor, 2, 2).others()) == {"everywire_connections_opened_total": {("sse",): 3.0}}
    assert total(Board(descriptor, 2, 2).others())["everywire_connections_opened_total"] == {("sse",): 4.0}
