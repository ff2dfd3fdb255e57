"""Who takes a connection, of those who share a socket."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

import pytest

from transports.accepting import Accepting, Loads, new_table
from transports.serve import listen
from transports.testing import until


@pytest.fixture
def loads() -> list[Loads]:
    table = new_table(3)
    return [Loads(table, row) for row in range(3)]


def test_much_is_more_than_another_has_and_a_little(loads: list[Loads]) -> None:
    assert not loads[0].much(4)  # nobody is there
    loads[0].tell(4)
    loads[1].tell(0)
    assert not loads[0].much(4)
    assert loads[0].much(5)
    loads[1].tell(1_600)
    loads[0].tell(1_704)
    assert not loads[0].much(1_704)
    assert loads[0].much(1_705)


def test_who_has_left_is_not_waited_for(loads: list[Loads]) -> None:
    loads[0].tell(100)
    loads[1].tell(0)
    assert loads[0].much(100)
    loads[1].leave()
    assert not loads[0].much(100)


def test_a_row_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="row 3 of 3"):
        Loads(new_table(3), 3)


@pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux's")
def test_a_table_needs_no_directory_to_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")  # as in a container whose root can only be read
    descriptor = new_table(2)
    Loads(descriptor, 0).tell(6)
    assert Loads(descriptor, 1).much(11)
    os.close(descriptor)


class Taker:
    """Takes from a socket, as a process of its own would, and holds what it took."""

    def __init__(self, listening: socket.socket, loads: Loads) -> None:
        self.held: list[socket.socket] = []
        self.accepting = Accepting(listening.dup(), loads, lambda: len(self.held), self.take)

    async def take(self, connection: socket.socket) -> None:
        self.held.append(connection)

    def end(self) -> None:
        self.accepting.stop()
        for each in self.held:
            each.close()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with listen("127.0.0.1", 0) as found:
        yield found


def connections(listening: socket.socket, count: int) -> list[socket.socket]:
    return [socket.create_connection(listening.getsockname()) for _ in range(count)]


async def test_they_share_and_when_one_stops_the_others_take_all(listening: socket.socket, loads: list[Loads]) -> None:
    takers = [Taker(listening, each) for each in loads]
    clients = connections(listening, 90)
    await until(lambda: sum(len(each.held) for each in takers) == 90)
    assert min(len(each.held) for each in takers) >= 26
    takers[0].accepting.stop()
    before = len(takers[0].held)
    clients += connections(listening, 90)
    await until(lambda: sum(len(each.held) for each in takers) == 180)
    assert len(takers[0].held) == before
    for each in (*takers, *clients):
        each.end() if isinstance(each, Taker) else each.close()


async def test_who_should_take_and_does_not_is_not_waited_for_long(listening: socket.socket, loads: list[Loads]) -> None:
    loads[1].tell(0)  # and is busy with something else
    taker = Taker(listening, loads[0])
    clients = connections(listening, 100)
    await until(lambda: len(taker.held) == 100)
    for each in (taker, *clients):
        each.end() if isinstance(each, Taker) else each.close()


class Exhausted(socket.socket):
    """A socket in a process that has no descriptor left, for once."""

    tried: ClassVar[Counter[str]] = Counter()

    def accept(self) -> tuple[socket.socket, object]:
        self.tried["accept"] += 1
        if self.tried["accept"] == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_without_descriptors_it_waits_and_tries_again(
    monkeypatch: pytest.MonkeyPatch, listening: socket.socket, loads: list[Loads], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("transports.accepting._PAUSE", 0.01)
    held: list[socket.socket] = []

    async def take(connection: socket.socket) -> None:
        held.append(connection)

    accepting = Accepting(Exhausted(fileno=listening.detach()), loads[0], lambda: len(held), take)
    client = socket.create_connection(accepting._listening.getsockname())
    await until(lambda: held)
    assert "Too many open files" in caplog.text
    accepting.stop()
    accepting.stop()  # again does no harm
    for each in (client, *held):
        each.close()
    await asyncio.sleep(0)
