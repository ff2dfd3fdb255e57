"""Driver: does what the negotiator says and tells it what happened. It owns the wires, one timer and the place in the stream."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from . import facts, wires
from .errors import Code, NotEverywireError, Refusal, refusal_from
from .items import Event, Item, Lost, Skipped
from .memory import Memory, network_name
from .negotiator import step
from .reading import Reading
from .transport import Transport
from .wires import Tap, Target, Wire

News: TypeAlias = tuple[Event | Lost | Skipped, str]  # what came, and the position after it
Log: TypeAlias = Callable[[dict[str, Any]], None]

_ROOM: Final = 1000  # items that wait to be taken; then the wires wait
_SLEPT: Final = 2.0  # seconds by which the clock on the wall went on while the process did not
_SOON: Final = 0.005  # seconds until what a wire saw is told to the negotiator
_TRIED_MOST: Final = 5  # verdicts told to the server with one request
_BASE: Final = time.time() - time.monotonic()


class Hooks(NamedTuple):
    """Whom a driver calls."""

    state: Callable[[Any], None]
    log: Log
    proven: Callable[[], None]


class Driver:
    """Reads on from a position, over whichever wires the negotiator wants, until it is stopped.

    Args:
        target: where.
        transports: what there is to use, best first.
        since: the position to read on from; None for the present.
        memory: what is known of networks; None to know nothing and to learn nothing.
        pace: the negotiator's times.
        hooks: whom to call.
    """

    def __init__(
        self,
        target: Target,
        transports: Sequence[Transport],
        *,
        since: str | None,
        memory: Memory | None,
        pace: facts.Pace,
        hooks: Hooks,
    ) -> None:
        rungs = [transport.name for transport in transports]
        held = [each.name for each in transports if each.many and not each.commands_up]
        self.state = facts.State(rungs, pace, held)
        self.reading = Reading(since)
        self.transport: str | None = None  # in charge, or the last that was; before that, the one that brought the first item
        self.arrived: deque[News] = deque()
        self.changed = asyncio.Event()  # there may be something to take, or another state
        self.failure: Exception | None = None
        self._target = target._replace(tap=self._tap(target.tap))
        self._memory, self._hooks = memory, hooks
        self._transports = {transport.name: transport for transport in transports}
        self._mount = self._network = ""
        self._wires: dict[int, Wire] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._questions: dict[asyncio.Task[None], int] = {}  # those under way -> the wire that they are about
        self._facts: deque[tuple[float, facts.Fact]] = deque()  # those that were not told yet, and when they came up
        self._telling = False
        self._timer: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._lag = 0.0  # by which the wall's clock was ahead of ours
        self._renewed = False
        self._reported: facts.Attempt | None = None  # the last of which the server was told

    @property
    def over(self) -> bool:
        """Whether nothing will come any more."""
        return self.state.state in ("closed", "failed")

    @property
    def in_charge(self) -> Wire | None:
        """The wire that works."""
        return self._wires.get(self.state.using) if self.state.state == "open" else None

    async def start(self) -> None:
        """Begin, with what the memory knows of this network."""
        self._mount = await self._target.base()
        if self._memory:  # an empty one knows no network
            self._look_around()
            if (known := self._memory.get(self._network)) is not None:
                self.state.bad = {rung: msgspec.structs.replace(bad) for rung, bad in known.bad.items()}
                self.state.quiet, self.state.quiet_until = known.quiet, known.quiet_until
        self.tell(facts.Start())
        if not self._network:
            await asyncio.sleep(0)  # it costs a while to look where we are: the first wire goes before
            self._look_around()

    async def stop(self) -> None:
        """Close everything, and wait until it is closed."""
        self.tell(facts.Stop())
        self._set_timer(None)
        rest = [*self._tasks.values(), *self._questions]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        self.changed.set()

    def take(self) -> News | None:
        """The next item that arrived, if there is one."""
        if not self.arrived:
            return None
        news = self.arrived.popleft()
        if len(self.arrived) < _ROOM:
            self._room.set()
        return news

    def tell(self, fact: facts.Fact) -> None:
        """Tell the negotiator, and do what it says. A fact that comes up meanwhile waits for its turn."""
        self._note(fact)
        self._drain()

    def _tell_soon(self, fact: facts.Fact) -> None:
        """As `tell`, but the negotiator has time, and the reader has none: the event that he waits for comes next, and a question
        now would compete with it.
        """
        self._note(fact)
        asyncio.get_running_loop().call_later(_SOON, self._drain)

    def _note(self, fact: facts.Fact) -> None:
        now = _now()
        ahead = time.time() - now
        if ahead - self._lag > _SLEPT and not isinstance(fact, facts.Start):
            self._facts.append((now, facts.Shown()))  # back from a sleep
        self._lag = ahead
        self._facts.append((now, fact))

    def _drain(self) -> None:
        if self._telling:
            return
        self._telling = True
        try:
            while self._facts:
                self._step(*self._facts.popleft())
            if self.state.due is not None and self.state.due <= (now := _now()):  # the timer may wait long behind so many facts
                self._step(now, facts.Tick())
        finally:
            self._telling = False
            self._set_timer(self.state.due)

    def _step(self, now: float, fact: facts.Fact) -> None:
        luck = random.random()
        self._call(self._hooks.log, {"now": now, "luck": luck, "fact": fact})
        self.state, instructions = step(self.state, fact, now, luck)
        if self.state.state == "failed" and self.failure is None:
            self.failure = refusal_from(self.state.code, self.state.cause, None)
        for instruction in instructions:
            self._do(instruction)

    def _do(self, instruction: facts.Instruction) -> None:
        match instruction:
            case facts.Open():
                self._open(instruction)
            case facts.Close(number):
                self._let_go(number)
            case facts.Ask(number):
                if (wire := self._wires.get(number)) is not None:
                    self._ask(wire)
            case facts.Deliver(_, rung):
                self.transport, self._renewed, self._reported = rung, False, self.state.attempts[-1]
                self._hooks.proven()
            case facts.Announce(state, _):
                self._call(self._hooks.state, state)
                self.changed.set()
            case facts.Remember() if (memory := self._memory) is not None:
                self._call(lambda learnt: memory.__setitem__(self._network, learnt), instruction)

    # ----------------------------------------------------------------------------------------------------------- the wires

    def _open(self, order: facts.Open) -> None:
        if order.wire > 1:  # `start` looks for the first
            self._look_around()
        why = next((wire.why for wire in self.state.wires if wire.number == order.wire), "race")
        wire = self._wire(order, {"why": why, **self._tried()})
        task = self._tasks[order.wire] = asyncio.create_task(self._run(wire, order))
        task.add_done_callback(lambda _: self._tasks.pop(order.wire, None))

    def _look_around(self) -> None:
        """See which network this is: in another café, what was learnt in the last one does not hold."""
        network = network_name(self._mount)
        if self._network not in ("", network):
            self._note(facts.Online())
        self._network = network

    def _wire(self, order: facts.Open, query: dict[str, str]) -> Wire:
        wire = self._wires[order.wire] = Wire(
            self._transports[order.rung],
            self._target,
            order.wire,
            since=self.reading.position,
            quiet=order.quiet,
            beat=self.state.beat,
            query=query,
            tell=self._tell_soon,
            take=self._take,
            room=self._wait_for_room,
        )
        return wire

    async def _run(self, wire: Wire, order: facts.Open) -> None:
        """Run a wire, and tell how it ended."""
        try:
            try:
                await wire.run()
            except _LaterError:
                # Opened before we stood anywhere, and the server began behind where another wire has begun meanwhile.
                await self._wire(order, {}).run()
        except asyncio.CancelledError:
            raise
        except (*wires.BROKEN, Refusal) as error:
            self._ended(wire.number, error)
        except Exception as error:  # of the token's function, or of the URL's: no fault of the network's
            self._fail(error)
            self._ended(wire.number, Refusal(Code.INTERNAL, f"{type(error).__name__}: {error}"))

    def _ended(self, number: int, error: BaseException) -> None:
        if self._wires.pop(number, None) is None:
            return
        fact = wires.ending(number, error)
        if fact.code == Code.UNAUTHORIZED and not self._renewed and self._target.renew():
            self._renewed = True  # the token may just have been too old: once, with another
            fact = msgspec.structs.replace(fact, retry=0.0, final=False)
        self.tell(fact)

    def _take(self, wire: Wire | None, items: Sequence[Item]) -> None:
        """Take what a wire brought, or a question beside one. Raises: NotEverywireError, it does not continue where we stand."""
        if wire is not None and self._wires.get(wire.number) is not wire:
            return
        epoch = self.reading.epoch
        for item in items:
            try:
                news = self.reading.take(item)
            except NotEverywireError as error:
                raise (_LaterError(str(error)) if wire is not None and wire.since is None else error) from None
            if isinstance(news, Event | Lost | Skipped):
                self.arrived.append((news, str(self.reading.position)))
        if wire is not None:
            self.transport = self.transport or wire.transport.name
        self.changed.set()
        if epoch is not None and self.reading.epoch != epoch:
            self._leave_the_past(wire)

    async def _wait_for_room(self, wire: Wire) -> None:
        """Let a wire wait while nobody reads: that is all the flow control there is. It is not silent then, nor held back: it
        brings more than we take.
        """
        while len(self.arrived) >= _ROOM:
            self._room.clear()
            self.tell(facts.Item(wire.number))
            self.tell(facts.Answered(wire.number))
            try:
                async with asyncio.timeout(1.0):
                    await self._room.wait()
            except TimeoutError:
                pass

    def _leave_the_past(self, ours: Wire | None) -> None:
        """The log began anew. Wires that were opened in its former life may still bring items of it: they must not."""
        for wire in list(self._wires.values()):
            if wire is not ours:
                self._let_go(wire.number)
                word = "the log began anew"
                if self.state.state == "open" and wire.number != self.state.using:  # no fault of its rung's
                    self.tell(facts.Closed(wire.number, code=int(Code.GOING_AWAY), reason=word, retry=0.0))
                else:
                    self.tell(facts.Closed(wire.number, "ended", reason=word))

    def _let_go(self, number: int) -> None:
        self._wires.pop(number, None)
        if (task := self._tasks.get(number)) is not None:
            task.cancel()
        for question in [question for question, about in self._questions.items() if about == number]:
            question.cancel()

    def _ask(self, wire: Wire) -> None:
        """Put a question to a wire, beside its reading. One that waits for us has answered it."""
        if wire.waits:
            self._note(facts.Item(wire.number))
            self._note(facts.Answered(wire.number))
            return

        async def asking() -> None:
            try:
                await wire.ask()
            except Exception as error:
                self._fail(error)

        task = asyncio.create_task(asking())
        self._questions[task] = wire.number
        task.add_done_callback(lambda _: self._questions.pop(task, None))

    def _call(self, hook: Callable[[Any], None], value: Any) -> None:
        """Call a function of the caller's; its defects are his to see, and change nothing here."""
        try:
            hook(value)
        except Exception as error:
            self._fail(error)

    def _tap(self, tap: Tap) -> Tap:
        return lambda name, body: self._call(lambda _: tap(name, body), None)

    def _fail(self, error: Exception) -> None:
        """Keep a defect, ours or the caller's, for whoever reads."""
        if self.failure is None:
            self.failure = error
        self.changed.set()

    def _tried(self) -> dict[str, str]:
        """What was found out since a wire last worked: only then it is sure that the server was told."""
        news = itertools.takewhile(lambda each: each is not self._reported, reversed(self.state.attempts))
        tried = [f"{each.rung}.{each.verdict}" for each in news if each.verdict != "ok"][:_TRIED_MOST]
        return {"tried": ",".join(reversed(tried))} if tried else {}

    def _set_timer(self, due: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            wait = max(0.0, due - _now())
            self._timer = asyncio.get_running_loop().call_later(wait, self.tell, facts.Tick())


def _now() -> float:
    """Seconds since 1970 that never go back."""
    return _BASE + time.monotonic()


class _LaterError(NotEverywireError):
    """A wire that was opened at the present begins behind where we stand by now."""
