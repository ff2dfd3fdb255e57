"""Workers: several processes that serve what comes to one socket, and the parent that keeps them.

The parent listens and serves nobody. Each worker is a fresh interpreter that runs the command the parent was started with,
and finds the socket in a variable of its environment. So a worker that starts later runs the code that is there by then,
and SIGHUP to the parent, which has one after another replaced, is a restart that no connection is refused in.

    SIGHUP            start a replacement, wait until it serves, send the old one away; then the next
    SIGTERM, SIGINT   send all away, end when they have; a second one ends all at once
    SIGKILL           the workers notice that the parent is gone, and leave

A worker says every second that its event loop goes on. One of which nothing is heard for long serves nobody: it is killed and
replaced.

What a worker does when it is sent away is the server's matter, see `serve.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

from .accepting import Loads, new_table
from .board import Board, new_board
from .errors import ConfigError
from .systemd import notify

_VARIABLE: Final = "EVERYWIRE_WORKER"  # parent, number, the descriptors of socket, wire, table and board, and the row
_READY: Final = b"ready"
_ALIVE: Final = b"."
_BEAT: Final = 1.0  # seconds between two signs of life
HANGS: Final = 30.0  # seconds without one: clients give a silent server up after about as long
_START: Final = 60.0  # seconds for a worker to begin to serve: a large application on a busy machine
_LEAVING: Final = 30.0  # seconds that a worker has for the end of its application when its readers have gone; then it is killed
_LASTING: Final = 1.0  # seconds that it serves; one that ends sooner will end again
_BACK_OFF: Final = (0.1, 30.0)  # seconds before another try: at first, doubled each time, and at the most
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_PASSING: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET")  # are for the parent alone

_log = logging.getLogger(__name__)


def _here() -> str | None:
    with suppress(OSError):  # it is a directory that is no more
        return os.getcwd()
    return None


_BEGAN_IN: Final = _here()  # a program may go elsewhere later; its workers begin where it began


def _where() -> str | None:
    """If that is still there."""
    return _BEGAN_IN if _BEGAN_IN is not None and os.path.isdir(_BEGAN_IN) else None


class Place(NamedTuple):
    """What a worker has from its parent."""

    number: int  # from 1
    listening: socket.socket
    wire: socket.socket  # says that we serve; its end says that the parent is gone
    loads: Loads
    board: Board

    def stop(self) -> asyncio.Event:
        """Set when it is time to leave: SIGTERM, SIGINT, or the parent is gone.

        Nothing ends a worker at once but its parent: who signals a group of processes would do it by mistake.
        """
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in _ENDING:
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # is for the parent

        def gone() -> None:
            loop.remove_reader(self.wire)
            stop.set()

        loop.add_reader(self.wire, gone)
        return stop

    def ready(self) -> None:
        """Tell the parent that we serve, and from now on that we go on."""
        self._say(_READY)
        self._beat(asyncio.get_running_loop())

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(_BEAT, self._beat, loop)
        self._say(_ALIVE)

    def _say(self, word: bytes) -> None:
        with suppress(OSError):  # it is gone, which will be noticed, or has not listened for minutes
            self.wire.send(word)


def place() -> Place | None:
    """What this process has from its parent, None if it is no worker. To be asked once.

    Raises:
        ConfigError: what the environment says is not so.
        SystemExit: the parent is gone already. Who went on would be a parent itself.
    """
    said = os.environ.pop(_VARIABLE, "")
    parent, _, rest = said.partition(":")
    if parent != str(os.getppid()):
        if _orphan(rest):
            sys.exit("everywire: the parent of this worker is gone")
        return None  # a worker's own child has the variable too
    try:
        number, listening, wire, table, figures, row = map(int, rest.split(":"))
        loads, board = Loads(table, row), Board(figures, row, number)
        found = Place(number, socket.socket(fileno=listening), socket.socket(fileno=wire), loads, board)
        for each in (table, figures):
            os.close(each)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{_VARIABLE} is set by the parent of workers, and is not for anybody else") from error
    for taken in (found.listening, found.wire):
        taken.set_inheritable(False)
    found.wire.setblocking(False)
    return found


def _orphan(said: str) -> bool:
    """Whether we have the wire that is told of, and nobody is at its other end."""
    try:
        with socket.fromfd(int(said.split(":")[2]), socket.AF_UNIX, socket.SOCK_STREAM) as wire:
            return not wire.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except (ValueError, IndexError, OSError):  # a BlockingIOError is one: the parent is there
        return False


class _Hub(Protocol):
    """What serving needs of a hub."""

    board: Board | None

    async def open(self) -> None: ...

    async def drain(self) -> None: ...

    def show_figures(self) -> None: ...


async def serve_at(
    place: Place | None, serve: Callable[..., Awaitable[None]], app: Any, config: Any, hub: _Hub, serving: Callable[[], object]
) -> None:
    """Serve as the worker at `place` or, without one, as a process that nobody keeps.

    Args:
        place: what `place()` gave.
        serve: `transports.serve.serve`, or another as `transports.servers` has them.
        app: the ASGI application.
        config: see `transports.serve.configuration`, with `loads` of the place.
        hub: whose readers are served, and sent away in the end.
        serving: called when it serves, unless it is a worker: their parent says so.

    Raises:
        Refusal: 4504, the broker cannot be reached.
    """
    hub.board = None if place is None else place.board
    await hub.open()  # before anything of the application: what is wrong is told, not traced through a server
    if place is None:

        def ready() -> None:
            serving()
            notify("READY=1")

        await serve(app, config, hub.drain, ready=ready)
    else:
        await serve(app, config, hub.drain, stop=place.stop(), ready=place.ready)
        hub.show_figures()  # what was counted to the end


def keep(listening: socket.socket, count: int, drain: float, serving: Callable[[], object], *, hangs: float = HANGS) -> int:
    """Be the parent of `count` workers until SIGTERM or SIGINT; gives the exit code. What happens is told on standard error, or
    where the program has its logs, by the logger `transports.workers`.

    Args:
        listening: what they serve.
        count: how many.
        drain: seconds that their readers have to leave.
        serving: called when they serve.
        hangs: seconds after which one that gives no sign of life is killed.
    """

    def say(line: str) -> None:
        if _log.hasHandlers():  # in the same form as what else is told
            _log.warning(line)
            return
        with suppress(OSError):  # nobody reads it any more: that ends no server
            print(f"everywire: {line}", file=sys.stderr, flush=True)  # noqa: T201 - for whoever started it

    def tell() -> None:
        try:
            serving()
        except OSError:
            sys.stdout = None  # what is left in it would fail once more at the end

    return asyncio.run(Parent(listening, count, say=say, patience=drain + _LEAVING, hangs=hangs).run(tell))


class _Worker:
    """A process, as the parent sees it."""

    def __init__(self, number: int, row: int, process: asyncio.subprocess.Process, wire: socket.socket, *, trial: bool) -> None:
        self.number, self.row, self.process, self.wire = number, row, process, wire
        self.serves: asyncio.Task[bool]  # whether it gets to serve
        self.watched: asyncio.Task[None]
        self.heard: asyncio.Task[None] | None = None  # listens whether it goes on
        self.trial = trial  # who started it sees to what comes of it; until it serves, or while another takes its place
        self.served = 0.0  # since when, on the loop's clock
        self.leaving = False

    def __str__(self) -> str:
        return f"worker {self.number} (process {self.process.pid})"


class Parent:
    """Keeps so many workers serving what comes to a socket.

    Args:
        listening: the socket.
        count: how many.
        say: tells the operator a line.
        patience: seconds that a worker has for leaving before it is killed.
        command: what a worker runs; what this process was started with, unless said.
        hangs: seconds after which one that gives no sign of life is killed.
    """

    def __init__(
        self,
        listening: socket.socket,
        count: int,
        *,
        say: Callable[[str], object],
        patience: float,
        command: Sequence[str] | None = None,
        hangs: float = HANGS,
    ) -> None:
        self._listening, self._count, self._say, self._patience, self._hangs = listening, count, say, patience, hangs
        self._command = [sys.executable, *sys.orig_argv[1:]] if command is None else list(command)
        self._rows = 2 * count + 1  # each may have a replacement, and one may have died a moment ago
        self._table, self._figures = new_table(self._rows), new_board(self._rows)
        self._board = Board(self._figures, 0)
        self._loads = [Loads(self._table, row) for row in range(self._rows)]
        self._free = list(range(self._rows))
        self._workers: set[_Worker] = set()
        self._soon: dict[int, int] = {}  # number -> how often it has ended at once
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, serving: Callable[[], object]) -> int:
        """Until SIGTERM or SIGINT; gives the exit code.

        Args:
            serving: called when the workers serve.
        """
        loop = asyncio.get_running_loop()
        stop, again = asyncio.Event(), asyncio.Event()
        terminal = _terminal() and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL

        def hang_up() -> None:
            (stop if terminal and not _terminal() else again).set()  # its window was closed

        loop.add_signal_handler(signal.SIGHUP, hang_up)
        for number in _ENDING:
            loop.add_signal_handler(number, self._end, number, stop)
        working = loop.create_task(self._work(serving, again))
        stopping = loop.create_task(stop.wait())
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        self._stopping, failed = True, working.done()
        stopping.cancel()
        working.cancel()
        for each in self._tasks:
            each.cancel()
        await asyncio.wait([working, *self._tasks])  # none of them starts a process any more
        notify("STOPPING=1")
        self._listening.close()  # the workers have their own
        await asyncio.gather(*[self._leave(each) for each in self._workers])
        return 1 if failed else 0

    async def _work(self, serving: Callable[[], object], again: asyncio.Event) -> None:
        """Returns when not even the first worker gets to serve."""
        if not await self._try(1):
            self._say("the first worker did not get to serve, so no other is started")
            return
        await asyncio.gather(*[self._replace(number) for number in range(2, self._count + 1)])
        serving()
        notify("READY=1")
        while True:
            await again.wait()
            again.clear()
            notify("RELOADING=1")
            await self._replace_all()
            notify("READY=1")

    async def _replace_all(self) -> None:
        for number in range(1, self._count + 1):
            old = self._of(number)
            for each in old:
                each.trial = True  # what happens to it now is for us to see
            if not await self._try(number):
                self._say(f"the restart ends here: what would replace worker {number} does not serve, so the old ones go on")
                for each in old:
                    each.trial = False
                if not self._of(number):
                    self._own(self._replace(number))
                return
            for each in old:
                await self._leave(each)
        self._say(f"restarted: {self._count} workers")

    def _of(self, number: int) -> list[_Worker]:
        """Who is there with a number, and will stay: one, or none for the moment."""
        return [each for each in self._workers if each.number == number and not each.leaving and each.process.returncode is None]

    async def _try(self, number: int) -> bool:
        """Start one that is given up if it does not get to serve; whether it did."""
        try:
            worker = await self._spawn(number, trial=True)
        except OSError as error:
            self._say(f"no process can be started: {error}")
            return False
        await asyncio.wait([worker.serves])
        if not worker.serves.result():
            await asyncio.wait([worker.watched])  # it is told of first
        return worker.serves.result()

    async def _replace(self, number: int) -> None:
        """Start one that is replaced in turn if it does not get to serve."""
        while not self._stopping and not self._of(number):
            if soon := self._soon.get(number, 0):
                first, most = _BACK_OFF
                await asyncio.sleep(min(most, first * 2 ** (soon - 1)))
            if await self._try(number):
                return
            self._soon[number] = soon + 1

    async def _spawn(self, number: int, *, trial: bool) -> _Worker:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        row = self._free.pop(0)
        descriptors = (self._listening.fileno(), theirs.fileno(), self._table, self._figures)
        environment = {name: value for name, value in os.environ.items() if name not in _PASSING}
        environment[_VARIABLE] = ":".join(str(each) for each in (os.getpid(), number, *descriptors, row))
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env=environment,
                cwd=_where(),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=descriptors,
                process_group=0,  # what a terminal says to its programs is for the parent
            )
        except BaseException:
            ours.close()
            self._free.append(row)
            raise
        finally:
            theirs.close()
        worker = _Worker(number, row, process, ours, trial=trial)
        worker.serves = asyncio.create_task(self._served(worker))
        self._workers.add(worker)
        worker.watched = self._own(self._watch(worker))
        return worker

    async def _served(self, worker: _Worker) -> bool:
        """Whether it gets to serve. If it does not in time, it is killed."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_START):
                if await loop.sock_recv(worker.wire, len(_READY)) == _READY:
                    worker.served, worker.trial = loop.time(), False
                    worker.heard = self._own(self._listen(worker))
                    return True
        except TimeoutError:
            self._say(f"{worker} does not serve after {_START:.0f} seconds")
            _signal(worker, signal.SIGKILL)
        except OSError:
            pass  # it has ended without having looked at the wire
        await worker.process.wait()
        return False

    async def _listen(self, worker: _Worker) -> None:
        """Kill it if it hangs: it serves nobody, and whoever it took waits."""
        loop = asyncio.get_running_loop()
        try:
            while not worker.leaving:
                async with asyncio.timeout(self._hangs):
                    if not await loop.sock_recv(worker.wire, len(_READY)):
                        return
        except TimeoutError:
            if not worker.leaving:  # who leaves has a time of its own
                self._say(f"{worker} hangs: no sign of life for {self._hangs:.0f} seconds; it is killed")
                _signal(worker, signal.SIGKILL)
        except OSError:
            pass  # it has ended, which is seen elsewhere

    async def _watch(self, worker: _Worker) -> None:
        """See a worker's end, and have it replaced if nobody wanted it."""
        status = await worker.process.wait()
        await asyncio.wait([worker.serves])
        if worker.heard is not None:
            worker.heard.cancel()
            await asyncio.wait([worker.heard])
        worker.wire.close()
        self._workers.discard(worker)
        self._loads[worker.row].leave()
        self._board.retire(worker.row)
        self._free.append(worker.row)
        if self._stopping or worker.leaving:
            return
        served = worker.serves.result()
        self._say(f"{worker} {_ended(status)}{'' if served else ' before it served'}")
        if worker.trial:
            return
        lasted = asyncio.get_running_loop().time() - worker.served
        self._soon[worker.number] = 0 if served and lasted >= _LASTING else self._soon.get(worker.number, 0) + 1
        await self._replace(worker.number)

    async def _leave(self, worker: _Worker) -> None:
        """Send a worker away and wait until it has left."""
        worker.leaving = True
        _signal(worker, signal.SIGTERM)
        try:
            async with asyncio.timeout(self._patience):
                await worker.process.wait()
        except TimeoutError:
            self._say(f"{worker} has not left within {self._patience:.0f} seconds: it is killed")
            _signal(worker, signal.SIGKILL)
            await worker.process.wait()

    def _end(self, number: signal.Signals, stop: asyncio.Event) -> None:
        """The first time gently."""
        if not stop.is_set():
            stop.set()
            return
        self._kill()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _kill(self) -> None:
        for each in self._workers:
            _signal(each, signal.SIGKILL)

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _signal(worker: _Worker, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        worker.process.send_signal(number)


def _ended(status: int) -> str:
    if status < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    return f"ended with exit code {status}"


def _terminal() -> bool:
    """Whether somebody sits in front of it."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
