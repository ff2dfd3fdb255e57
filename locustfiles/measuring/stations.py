"""Stations: the one of this process or, with Locust's workers, one in each of theirs, asked over Locust's own messages."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import gevent
import msgspec
from gevent.event import AsyncResult
from locust.runners import MasterRunner, WorkerRunner

from .clocks import TRIPS, Offset, Trip, offset
from .questions import Answer, Begin, Clock, Glance, Glimpse, Hush, Part, Question, Said, Start, Stock
from .station import Station, now

_ASK, _ANSWER = "everywire.ask", "everywire.answer"  # types of messages
_PATIENCE = 20.0  # seconds for an answer
_ANSWERS: dict[type, Any] = {Clock: int, Glance: Glimpse, Begin: None, Start: None, Hush: list[Said], Stock: Part}
_numbers = itertools.count()
_waiting: dict[int, AsyncResult[tuple[bytes, int]]] = {}
_here: list[Station] = []


class Asked(Protocol):
    """A station, wherever it is."""

    def ask(self, question: Question) -> Answer:
        """The answer. Raises: RuntimeError, there is none."""


class Away:
    """The station of a worker.

    Args:
        runner: the master.
        worker: its name with Locust.
    """

    def __init__(self, runner: MasterRunner, worker: str) -> None:
        self.runner, self.worker = runner, worker

    def ask(self, question: Question) -> Answer:
        """The answer. Raises: RuntimeError, there is none."""
        answer: Answer = msgspec.msgpack.decode(self._asked(question)[0], type=_ANSWERS[type(question)])
        return answer

    def trip(self) -> Trip:
        """The look at its clock that comes back first."""
        sent = now()
        body, back = self._asked(Clock())
        return Trip(sent, msgspec.msgpack.decode(body, type=int), back)

    def _asked(self, question: Question) -> tuple[bytes, int]:
        number = next(_numbers)
        _waiting[number] = AsyncResult()
        try:
            self.runner.send_message(_ASK, {"number": number, "body": msgspec.msgpack.encode(question)}, self.worker)
            answer: tuple[bytes, int] = _waiting[number].get(timeout=_PATIENCE)
        except gevent.Timeout:
            raise RuntimeError(f"the worker {self.worker} did not answer within {_PATIENCE:g} s") from None
        finally:
            del _waiting[number]
        return answer


def listen(runner: Any) -> None:
    """Be ready for questions, or for their answers. To be called once, when the runner is made."""
    if isinstance(runner, WorkerRunner):
        runner.register_message(_ASK, _asked)
    elif isinstance(runner, MasterRunner):
        runner.register_message(_ANSWER, _answered)


def renew() -> Station:
    """The station of this process, for a new round."""
    while _here:
        _here.pop().close()
    _here.append(Station())
    return _here[0]


def stations(runner: Any) -> Sequence[Asked]:
    """Those that a round has."""
    if isinstance(runner, MasterRunner):
        return [Away(runner, each.id) for each in [*runner.clients.running, *runner.clients.spawning, *runner.clients.ready]]
    return _here


def all_of(asked: Sequence[Asked], questions: Question | Sequence[Question]) -> list[Any]:
    """The answers of all, asked at the same time; one question for all, or one for each. Raises: RuntimeError, one is missing."""
    each = questions if isinstance(questions, Sequence) else [questions] * len(asked)
    if len(asked) == 1:
        return [asked[0].ask(each[0])]
    greenlets = [gevent.spawn(station.ask, question) for station, question in zip(asked, each, strict=True)]
    gevent.joinall(greenlets, raise_error=True)
    return [greenlet.value for greenlet in greenlets]


def offsets(asked: Sequence[Asked]) -> list[Offset]:
    """How far the clock of each is ahead of ours. Never assumed to be none: only a station of this very process has our clock."""
    return [offset(each.trip() for _ in range(TRIPS)) if isinstance(each, Away) else Offset(0, 0) for each in asked]


def _asked(environment: Any, msg: Any, **_: Any) -> None:
    """On a worker: answer at once."""
    question = msgspec.msgpack.decode(msg.data["body"], type=Question)
    answer = (_here[0] if _here else renew()).ask(question)
    environment.runner.send_message(_ANSWER, {"number": msg.data["number"], "body": msgspec.msgpack.encode(answer)})


def _answered(msg: Any, **_: Any) -> None:
    """On the master: hand it to who asked."""
    back = now()
    if (waiting := _waiting.get(msg.data["number"])) is not None:
        waiting.set((msg.data["body"], back))
