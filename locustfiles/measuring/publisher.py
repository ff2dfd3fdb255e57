"""The publisher: a process of its own that publishes on schedule, whatever the server makes of it.

The load is *open*: event number n is due at start + n / rate. If an answer is late, the next request carries all that came
due meanwhile, and every event is stamped with the time at which it was *meant* to be published. Else a server that stalls
would also stop the clock that measures it ("coordinated omission", Gil Tene, "How NOT to Measure Latency").

The stamp is CLOCK_MONOTONIC in microseconds. All processes of one host share that clock, so the publisher is run where the
clock is that all others are compared with; the server may be anywhere.

An event's data is `{"n": sequence number in its channel, "t": stamp, "pad": "…"}`. A request that fails is sent again, with the
same idempotency keys, until the server is back. The publisher ends when all are published or when its standard input is closed,
so it cannot outlive the process that started it. It prints `Progress` as lines of JSON: when the first event is going to be
due, twice a second, and at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import msgspec

from transports.errors import EverywireError, NotEverywireError
from transports.items import Reply

from ..samples import Published, Traffic
from .responses import Response
from .schedule import Due, Schedule

BODY_MAX = 32_768  # bytes of a request: half of what a server takes by default
_TIMEOUT = 10.0  # seconds for an answer; then it is asked again
_PATIENCE = 30.0  # seconds that a server may be away
_BACKOFF = 0.02, 0.5  # seconds before the second try, doubled for each further one, and at the most
_TELL_EVERY = 500_000  # µs
_LEAD = 50_000  # µs until the first event is due: who is told of it should know before
_LATER: Final = range(4500, 4600)  # codes of refusals that say: come back
_replies = msgspec.json.Decoder(list[Reply])

Post: TypeAlias = Callable[[bytes], list[Reply]]
Wait: TypeAlias = Callable[[float], bool]
"""Waits so many seconds; True: it is time to stop."""


class Progress(msgspec.Struct):
    """How far the publisher is: a line of its output."""

    started: int  # µs: when the first event is due
    sent: int  # events
    published: Published | None = None  # in the last line


def now() -> int:
    """Microseconds of CLOCK_MONOTONIC."""
    return time.monotonic_ns() // 1000


def data(n: int, due: int, size: int, source: str = "") -> bytes:
    """One event's data as JSON of `size` bytes, or more if the numbers alone need them."""
    said = b'"s":%b,' % msgspec.json.encode(source) if source else b""
    bare = b'{%b"n":%d,"t":%d,"pad":""}' % (said, n, due)
    return b'%b%b"}' % (bare[:-2], b"." * (size - len(bare)))


def command(ref: int, channel: str, key: str, body: bytes) -> bytes:
    """The command that publishes `body`."""
    return b'{"do":"publish","ref":%d,"channel":"%b","key":"%b","data":%b}' % (ref, channel.encode(), key.encode(), body)


class Connection:
    """One kept HTTP connection to `/commands`, opened when it is needed.

    Args:
        url: the mount.

    Attributes:
        traffic: what went over it, without the data of events.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self.traffic = Traffic()
        self._socket: socket.socket | None = None
        self._head = f"POST {self._url.path.rstrip('/')}/commands HTTP/1.1\r\nHost: {self._url.netloc}\r\n".encode()

    def post(self, body: bytes) -> list[Reply]:
        """Send commands and wait for the replies. Raises: OSError, NotEverywireError, msgspec.DecodeError."""
        head = b"%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (self._head, len(body))
        try:
            self._connected().sendall(head + body)
            self._count(up=len(head) + len(body), headers=len(head), requests=1)
            response, answer = self._answer()
        except BaseException:
            self.close()
            raise
        if not response.keeps_alive:
            self.close()
        if response.status != 200:
            raise ConnectionError(f"the server answered {response.status}: {answer[:200].decode('utf-8', 'replace')}")
        return _replies.decode(answer)

    def close(self) -> None:
        """Let go of the connection; the next `post` opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _answer(self) -> tuple[Response, bytes]:
        response, answer = Response(), b""
        while not response.done:
            received = self._connected().recv(65_536)
            if not received:
                raise ConnectionResetError("the server closed the connection of the publisher")
            self._count(down=len(received))
            answer += response.feed(received)
        self._count(headers=response.head)
        return response, answer

    def _count(self, **more: int) -> None:
        self.traffic = self.traffic.plus(Traffic(**more))

    def _connected(self) -> socket.socket:
        if self._socket is None:
            secure = self._url.scheme == "https"
            made = socket.create_connection((self._url.hostname, self._url.port or (443 if secure else 80)), _TIMEOUT)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._count(opened=1)
            self._socket = ssl.create_default_context().wrap_socket(made, server_hostname=self._url.hostname) if secure else made
        return self._socket


class Insistence:
    """Posts until there is an answer: again with the same keys after a failure, and what the server wants to have later.

    Args:
        post: sends a request body and returns the replies.
        wait: between two tries.
        patience: seconds for which all tries may fail.

    Attributes:
        retried: requests that were sent again.
    """

    def __init__(self, post: Post, wait: Wait, patience: float = _PATIENCE) -> None:
        self._post, self._wait, self._patience = post, wait, patience
        self.retried = 0

    def __call__(self, commands: Sequence[bytes]) -> list[Reply] | None:
        """The replies, in order; None: it was told to stop. Raises: OSError, EverywireError, the server did not come back."""
        replies: dict[int, Reply] = {}
        open_, end, tries = list(range(len(commands))), now() + round(self._patience * 1e6), 0
        while True:
            try:
                replies |= dict(zip(open_, self._asked([commands[place] for place in open_]), strict=True))
                open_ = [place for place in open_ if replies[place].code in _LATER]
            except (OSError, EverywireError, msgspec.DecodeError):
                if now() > end:
                    raise
            if not open_ or now() > end:
                return [replies[place] for place in range(len(commands))]
            self.retried += 1
            if self._wait(_backoff(tries)):
                return None
            tries += 1

    def _asked(self, commands: Sequence[bytes]) -> list[Reply]:
        replies = self._post(b"[%b]" % b",".join(commands))
        if len(replies) != len(commands):
            raise NotEverywireError(f"{len(replies)} replies to {len(commands)} commands")
        return replies


def _backoff(tries: int) -> float:
    first, most = _BACKOFF
    return float(min(most, first * 2.0 ** min(tries, 10)) * random.uniform(0.5, 1))


def publish(
    insist: Insistence, schedule: Schedule, size: int, wait: Wait, tell: Callable[[Progress], None] = lambda progress: None
) -> Published:
    """Publish on `schedule` until it is over.

    Args:
        insist: posts commands.
        schedule: what is due when.
        size: bytes of each event's data.
        wait: waits so many seconds; True: it is time to stop.
        tell: is told how far it is.

    Raises:
        OSError, EverywireError: the server went away and did not come back.
    """
    result = Published(rate=schedule.rate, size=size, started=schedule.start)
    most = max(1, BODY_MAX // (size + max(map(len, schedule.channels)) + 120))
    free = told = 0  # when the last answer came, and when progress was told
    tell(Progress(schedule.start, 0))
    for events in _batches(schedule, most, wait):
        began = now()
        result.lag.record(began - max(free, events[0].due))
        replies = insist([_command(event, schedule.start, size) for event in events])
        if replies is None:
            break
        for reply in replies:
            if not reply.ok:
                result.refused[reply.reason] = result.refused.get(reply.reason, 0) + 1
        free = now()
        result.answers.record(free - began)
        result.last = events[-1].k
        if free - told > _TELL_EVERY:
            told = free
            tell(Progress(schedule.start, result.last + 1))
    result.retried = insist.retried
    result.seconds = (now() - schedule.start) / 1e6
    return result


def _command(event: Due, start: int, size: int) -> bytes:
    return command(event.k, event.channel, f"{start}-{event.k}", data(event.n, event.due, size))


def _batches(schedule: Schedule, most: int, wait: Wait) -> Iterator[list[Due]]:
    """What is due, whenever something is."""
    while not schedule.over:
        if events := schedule.take(now(), most):
            yield events
        early = schedule.due(schedule.next) - now()
        if not schedule.over and wait(max(0, early) / 1e6):
            return


def _input_closed(seconds: float) -> bool:
    """Wait so long for the end of the standard input, which means that the process that started this one is gone or done."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def _say(progress: Progress) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(progress) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Publish as the arguments say."""
    parser = argparse.ArgumentParser(description="Publish numbered events on schedule until done or standard input is closed.")
    parser.add_argument("--url", required=True, help="the mount, such as http://127.0.0.1:8000/live")
    parser.add_argument("--channel", action="append", help="may be given several times: events go to them in turn")
    parser.add_argument("--rate", type=float, default=50.0, help="events per second")
    parser.add_argument("--burst", type=int, default=1, help="events that are due at the same moment")
    parser.add_argument("--count", type=int, help="how many; without it, until standard input is closed")
    parser.add_argument("--size", type=int, default=100, help="bytes of one event's data")
    parser.add_argument("--patience", type=float, default=_PATIENCE, help="seconds for which the server may be away")
    given = parser.parse_args()
    schedule = Schedule(now() + _LEAD, given.rate, given.count, channels=given.channel or ["compare"], burst=given.burst)
    connection = Connection(given.url)
    with contextlib.closing(connection):
        try:
            insist = Insistence(connection.post, _input_closed, given.patience)
            done = publish(insist, schedule, given.size, _input_closed, _say)
            _say(Progress(schedule.start, done.last + 1, done))
        except (OSError, EverywireError, msgspec.DecodeError) as error:
            sys.exit(f"the publisher gave up on {given.url}: {error}")


if __name__ == "__main__":
    main()
