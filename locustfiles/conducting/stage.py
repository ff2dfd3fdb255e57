"""Stage: the processes that a comparison plays with: the server, the network in front of it, and whatever else is started.

Each is a child in a session of its own, so that Ctrl-C in a terminal reaches only the process that started it; that one then
ends its children, each by its own pid. Nothing here is interrupted in the middle: whoever waits looks at a `Stop` meanwhile.
Beside each child a shell waits for the end of its input, which comes without a word if who started both was killed: then it
ends the child.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from transports.networks import Profile, network
from transports.networks.behaviours import AskWho

from ..subjects import Subject

START_WAIT: Final = 20.0  # seconds for a server or a network to answer
_STOP_WAIT: Final = 5.0  # seconds for a child to end before it is killed
_LOOK: Final = 0.02  # seconds between two looks at something that is waited for
_PORTS: Final = range(10_000, 32_000)  # below those that the kernel gives to outgoing connections
_ANSWER_WAIT: Final = 5.0  # seconds for the network to say that it has done what it was told
_COMMANDS: Final = ("cut", "close", "forget")
_ERROR: Final = re.compile(r"\[[^]]+\] \S+/(?:ERROR|CRITICAL)/\S+: (.*)")  # a line of Locust's log
_URL: Final = re.compile(r"https?://[^\s,]+")
_HEIR: Final = 'read -r said || { kill -TERM "-$0"; sleep 2; kill -KILL "-$0"; }'  # a shell's script; $0: a session


class StageError(Exception):
    """A child did not do what it is there for; the message has its last words."""


class UnreachableError(StageError):
    """The server does not answer."""


class StoppedError(Exception):
    """Somebody wants it to end."""


class Stop:
    """Whether somebody wants it to end: asked once, what has been measured is kept; asked again, nobody waits for children."""

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, *_: object) -> None:
        """Take note; it can be a handler of signals."""
        self.asked += 1

    def check(self) -> None:
        """Raises: StoppedError, it was asked for."""
        if self.asked:
            raise StoppedError

    def until(self, met: Callable[[], bool], patience: float) -> bool:
        """Wait until `met`, for at most `patience` seconds; whether it was. Raises: StoppedError."""
        end = time.monotonic() + patience
        while not met():
            self.check()
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK)
        return True


@contextlib.contextmanager
def stoppable(stop: Stop) -> Iterator[Stop]:
    """Ctrl-C, a polite request to end and a closed terminal are wishes within, not interruptions."""
    signals = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = [(each, signal.signal(each, stop.ask)) for each in signals]
    try:
        yield stop
    finally:
        for each, handler in before:
            signal.signal(each, handler)


class Child:
    """A process of ours. What it says goes into a file.

    Args:
        command: its words.
        said: the file; what is in it already stays.
        stop: who wants it to end.
        **options: of `subprocess.Popen`.
    """

    def __init__(self, command: Sequence[str], said: Path, stop: Stop, **options: Any) -> None:
        self.said, self._stop = said, stop
        with said.open("ab") as file:
            settings = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": subprocess.STDOUT, **options}
            self.process: subprocess.Popen[bytes] = subprocess.Popen(command, start_new_session=True, **settings)  # noqa: S603
        self._heir = _heir(self.process.pid)

    @property
    def pid(self) -> int:
        """Of the process, and of its session."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """It has not ended."""
        return self.process.poll() is None

    def last_words(self) -> str:
        """What it said that explains best why it ended: the last error of Python's, or else its last lines."""
        return last_words(self.said.read_text("utf-8", "replace") if self.said.exists() else "")

    def end(self) -> None:
        """Ask its session to end, and kill what does not, or at once if nobody wants to wait."""
        self._tell(signal.SIGTERM)
        end = time.monotonic() + _STOP_WAIT
        while (self.running or self._tell(0)) and time.monotonic() < end and self._stop.asked < 2:
            time.sleep(_LOOK)
        self.kill()

    def kill(self) -> None:
        """End it and its session without asking."""
        self._tell(signal.SIGKILL)
        self.process.wait()
        if self._heir.returncode is None:
            self._heir.communicate(b"it has ended\n")

    def _tell(self, number: int) -> bool:
        """Send a signal to its session, which may live on without it: what is started may be a script. False: nobody is left."""
        if self._heir.returncode is not None:  # it was ended: the number may be another's by now
            return False
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _heir(session: int) -> subprocess.Popen[bytes]:
    """A shell that ends a session if its input ends before a word comes."""
    settings = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(["/bin/sh", "-c", _HEIR, str(session)], start_new_session=True, **settings)  # type: ignore[call-overload, no-any-return]  # noqa: S603


def last_words(said: str) -> str:
    """The last error in `said`: of Python's, or in a log like Locust's; or else its last five lines."""
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    for place in range(len(lines) - 1, -1, -1):
        if lines[place].startswith("Traceback ("):
            told = next((line for line in lines[place + 1 :] if not line.startswith(" ")), "")
            return told or lines[-1]
    errors = [found[1] for line in lines if (found := _ERROR.match(line))]
    if errors:
        return str(errors[-1])
    return "\n".join(lines[-5:])


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now. Readers who come back while the server is away will not take it for themselves."""
    for port in random.sample(_PORTS, 100):
        with contextlib.suppress(OSError), socket.create_server((host, port)):
            return port
    raise StageError(f"no free port on {host}")


class Server:
    """A subject's server: started, restarted on the same port, ended. One that runs already is left alone.

    Args:
        subject: what to start.
        scratch: a directory for what it says.
        stop: who wants it to end.
    """

    def __init__(self, subject: Subject, scratch: Path, stop: Stop) -> None:
        self.subject, self._stop = subject, stop
        self._said = scratch / "server.txt"
        self._child: Child | None = None
        self.url = subject.url or f"http://127.0.0.1:{free_port()}"

    @property
    def ours(self) -> bool:
        """It was started here."""
        return bool(self.subject.command)

    @property
    def pid(self) -> int | None:
        """Of its process; None: it is not ours to watch, or down at present."""
        return self._child.pid if self._child is not None and self._child.running else None

    def __enter__(self) -> Server:
        if self.ours:
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.__exit__()
            self._child = None

    def wait(self) -> None:
        """Until it answers. Raises: UnreachableError; StoppedError."""
        reason = ""

        def answers() -> bool:
            nonlocal reason
            if self._child is not None and not self._child.running:
                raise UnreachableError(f"{self.subject.name} ended before it served: {self._child.last_words()}")
            reason = _reason(self.url, self.subject.ready)
            return not reason

        if not self._stop.until(answers, START_WAIT if self.ours else 2.0):
            raise UnreachableError(f"{self.url} does not serve {self._what()}: {reason}")

    def check(self) -> None:
        """Raises: UnreachableError, it has ended by itself."""
        if self._child is not None and not self._child.running:
            code, said = self._child.process.returncode, self._child.last_words()
            raise UnreachableError(f"{self.subject.name} ended by itself, with {code}: {said or 'it said nothing'}")

    def restart(self, *, kill: bool = False) -> None:
        """End it, by asking or without, and start it again on the same port. Returns when it answers. Raises: StageError."""
        assert self._child is not None  # noqa: S101 - who asks has seen that it is ours
        self._child.kill() if kill else self._child.end()
        self._start()
        self.wait()

    def status(self) -> bytes | None:
        """What its counters say, as JSON; None if it has none to show."""
        if self.subject.status is None:
            return None
        try:
            status, body = _get(self.url, self.subject.status)
        except (OSError, http.client.HTTPException):
            return None
        return body if status == http.HTTPStatus.OK else None

    def _start(self) -> None:
        parts = urlsplit(self.url)
        self._child = Child(self.subject.argv(parts.hostname or "", parts.port or 80), self._said, self._stop)

    def _what(self) -> str:
        return self.subject.name if self.ours else "everywire"


def status_of(subject: Subject) -> Any:
    """What the counters of a server say that runs already. Raises: UnreachableError, it has none to show."""
    url, path = subject.url or "", subject.status or ""
    try:
        status, body = _get(url, path)
        if status == http.HTTPStatus.OK:
            return json.loads(body)
        reason = f"{path} answers {status}"
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
    raise UnreachableError(f"{url} does not show its counters: {reason}")


def _reason(url: str, path: str) -> str:
    """Why a server is not ready; empty if it is."""
    try:
        status, _ = _get(url, path)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    return "" if status == http.HTTPStatus.OK else f"{path} answers {status}"


def _get(url: str, path: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, _body(response)
    finally:
        connection.close()


def _body(response: http.client.HTTPResponse) -> bytes:
    """What is answered, a MiB at the most. Raises: TimeoutError; a byte now and then keeps off the one of each read."""
    body, end = b"", time.monotonic() + _ANSWER_WAIT
    while len(body) < 1 << 20 and (more := response.read1(65_536)):
        body += more
        if time.monotonic() > end:
            raise TimeoutError(f"the answer takes more than {_ANSWER_WAIT:g} s")
    return body


class Relay:
    """The process that plays a network in front of a server, told by its standard input to become another one.

    Args:
        name: of the network.
        upstream: URL of the server.
        scratch: a directory for the authority of a network that ends TLS.
        stop: who wants it to end.
    """

    def __init__(self, name: str, upstream: str, scratch: Path, stop: Stop) -> None:
        self.profile = network(name)
        self._stop, self._scratch = stop, scratch
        self._upstream = upstream
        self._heard = b""
        self.url = upstream  # where clients go, once it listens
        self.proxy: str | None = None  # what clients must be told as their proxy
        self.authority = scratch / "authority.pem" if self.profile.tls else None

    def __enter__(self) -> Relay:
        command = [sys.executable, "-m", "quart_app", "proxy", "--network", self.profile.name, "--upstream", self._upstream]
        command += ["--port", "0", *(["--ca", str(self.authority)] if self.authority else [])]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self._child = Child(command, self._scratch / "network.txt", self._stop, bufsize=0, **pipes)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.__exit__()

    @property
    def pid(self) -> int | None:
        """Of its process."""
        return self._child.pid if self._child.running else None

    def wait(self) -> None:
        """Until it listens. Raises: StageError, it does not; StoppedError."""
        line = self._line(START_WAIT)
        found = _URL.search(line)
        if found is None or not line.startswith("everywire plays"):
            raise StageError(f"the network {self.profile.name} cannot be played: {line}")
        if self.profile.forward:
            self.proxy = _with_credentials(found[0], self.profile)
        else:
            self.url = found[0]
        self._line(_ANSWER_WAIT)  # what it does
        if self.authority is not None:
            self._line(_ANSWER_WAIT)  # whom to trust

    def check(self) -> None:
        """Raises: StageError, it has ended by itself."""
        if not self._child.running:
            assert self._child.process.stdout is not None  # noqa: S101 - it is a pipe
            said = last_words((self._heard + self._child.process.stdout.read()).decode("utf-8", "replace"))
            code = self._child.process.returncode
            raise StageError(f"the network {self.profile.name} ended by itself, with {code}: {said or 'it said nothing'}")

    def tell(self, command: str) -> None:
        """Have it do `cut`, `close`, `forget`, or become the network of that name. Returns when it has. Raises: StageError."""
        assert self._child.process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            self._child.process.stdin.write(f"{command}\n".encode())
        except OSError as error:
            raise StageError(f"the network {self.profile.name} is gone: {error.strerror}") from error
        answer = self._line(_ANSWER_WAIT)
        expected = command if command in _COMMANDS else network(command).name
        if not answer.startswith(f"{expected}: "):
            raise StageError(f"the network did not do {command!r}: {answer}")

    def _line(self, patience: float) -> str:
        """The next line that it says; its last, if it ends."""
        assert self._child.process.stdout is not None  # noqa: S101 - it is a pipe
        pipe, end = self._child.process.stdout.fileno(), time.monotonic() + patience
        while b"\n" not in self._heard:
            self._stop.check()
            if time.monotonic() > end:
                raise StageError(f"the network {self.profile.name} says nothing")
            if select.select([pipe], [], [], 0.1)[0]:
                if not (more := os.read(pipe, 65_536)):
                    return last_words(self._heard.decode("utf-8", "replace")) or "it has ended"
                self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode("utf-8", "replace").strip()


def _with_credentials(proxy: str, profile: Profile) -> str:
    """The URL of a proxy for clients that may use it: where it asks who they are, they tell."""
    for each in profile.behaviours:
        if isinstance(each, AskWho):
            return proxy.replace("://", f"://{quote(each.user, safe='')}:{quote(each.password, safe='')}@", 1)
    return proxy


def trusting(authority: Path | None, proxy: str | None) -> Mapping[str, str]:
    """What the environment of a client must say, so that it gets through a network that ends TLS, or that is a proxy."""
    found: dict[str, str] = {}
    if authority is not None:
        found["SSL_CERT_FILE"] = str(authority)  # where OpenSSL looks
    if proxy is not None:
        found |= {"HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": "", "no_proxy": ""}
    return found
