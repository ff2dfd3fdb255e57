"""The publisher: a process of its own that publishes on schedule, whatever the server makes of it.

The load is *open*: event number n is due at start + n / rate. If an answer is late, the next request carries all that came
due meanwhile, and every event is stamped with the time at which it was *meant* to be published. Else a server that stalls
would also stop the clock that measures it ("coordinated omission", Gil Tene, "How NOT to Measure Latency").

The stamp is CLOCK_MONOTONIC in microseconds. All processes of one host share that clock, so publisher and readers must run on one
host; the server may be anywhere.

An event's data is `{"n": sequence number, "t": stamp, "pad": "…"}`. The publisher ends when all are published or when its
standard input is closed, so it cannot outlive the process that started it, and then prints `samples.Published` as JSON.
"""

from __future__ import annotations

import argparse
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import msgspec

from transports.items import Reply

from .responses import Response
from .samples import Published

BODY_MAX = 32_768  # bytes of a request: half of what a server takes by default
_TIMEOUT = 30.0  # seconds for an answer; it is a fault then, and told as one
_replies = msgspec.json.Decoder(list[Reply])


def now() -> int:
    """Microseconds of CLOCK_MONOTONIC."""
    return time.monotonic_ns() // 1000


def data(n: int, due: int, size: int) -> bytes:
    """One event's data as JSON of `size` bytes, or more if the numbers alone need them."""
    bare = b'{"n":%d,"t":%d,"pad":""}' % (n, due)
    return b'%b%b"}' % (bare[:-2], b"." * (size - len(bare)))


def command(n: int, due: int, size: int, channel: str) -> bytes:
    """The command that publishes it."""
    return b'{"do":"publish","ref":%d,"channel":"%b","data":%b}' % (n, channel.encode(), data(n, due, size))


class Schedule:
    """When each event is due.

    Args:
        start: microseconds.
        rate: events per second.
        first: number of the first event.
        count: how many; None: for ever.
    """

    def __init__(self, start: int, rate: float, first: int = 0, count: int | None = None) -> None:
        self.start, self.rate, self.first = start, rate, first
        self.next = first
        self.end = None if count is None else first + count

    def due(self, n: int) -> int:
        """When event `n` is due. From the start each time: adding up intervals would drift."""
        return self.start + round((n - self.first) * 1_000_000 / self.rate)

    @property
    def over(self) -> bool:
        """All have been taken."""
        return self.end is not None and self.next >= self.end

    def take(self, at: int, most: int) -> list[tuple[int, int]]:
        """Number and time of the events that are due at `at`, at most `most` of them; they count as taken."""
        taken: list[tuple[int, int]] = []
        while not self.over and len(taken) < most and (due := self.due(self.next)) <= at:
            taken.append((self.next, due))
            self.next += 1
        return taken


class Connection:
    """One kept HTTP connection to `/commands`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port or 80), _TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = f"POST {parts.path.rstrip('/')}/commands HTTP/1.1\r\nHost: {parts.netloc}\r\n".encode()

    def post(self, body: bytes) -> list[Reply]:
        """Send commands and wait for the replies. Raises: OSError, NotEverywireError, msgspec.DecodeError."""
        head = b"%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (self._head, len(body))
        self._socket.sendall(head + body)
        response, answer = Response(), b""
        while not response.done:
            received = self._socket.recv(65_536)
            if not received:
                raise ConnectionResetError("the server closed the connection of the publisher")
            answer += response.feed(received)
        if response.status != 200:
            raise ConnectionError(f"the server answered {response.status}: {answer[:200].decode('utf-8', 'replace')}")
        if not response.keeps_alive:
            self._reconnect()
        return _replies.decode(answer)

    def _reconnect(self) -> None:
        peer = self._socket.getpeername()
        self._socket.close()
        self._socket = socket.create_connection(peer[:2], _TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def publish(
    post: Callable[[bytes], list[Reply]], schedule: Schedule, channel: str, size: int, wait: Callable[[float], bool]
) -> Published:
    """Publish on `schedule` until it is over.

    Args:
        post: sends a request body and returns the replies.
        schedule: what is due when.
        channel: where to.
        size: bytes of each event's data.
        wait: waits so many seconds; True: it is time to stop.
    """
    result = Published(rate=schedule.rate, size=size, first=schedule.first, last=schedule.first - 1, started=schedule.start)
    most = max(1, BODY_MAX // (size + len(channel) + 80))
    free = 0  # when the last answer came
    for events in _batches(schedule, most, wait):
        began = now()
        result.lag.record(began - max(free, events[0][1]))
        body = b"[%b]" % b",".join([command(n, due, size, channel) for n, due in events])
        for reply in post(body):
            if not reply.ok:
                result.refused[reply.reason] = result.refused.get(reply.reason, 0) + 1
        free = now()
        result.answers.record(free - began)
        result.last = events[-1][0]
    result.seconds = (now() - schedule.start) / 1e6
    return result


def _batches(schedule: Schedule, most: int, wait: Callable[[float], bool]) -> Iterator[list[tuple[int, int]]]:
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


def main() -> None:
    """Publish as the arguments say."""
    parser = argparse.ArgumentParser(description="Publish numbered events on schedule until done or standard input is closed.")
    parser.add_argument("--url", required=True, help="the mount, such as http://127.0.0.1:8000/live")
    parser.add_argument("--channel", default="compare")
    parser.add_argument("--rate", type=float, default=50.0, help="events per second")
    parser.add_argument("--count", type=int, help="how many; without it, until standard input is closed")
    parser.add_argument("--size", type=int, default=100, help="bytes of one event's data")
    given = parser.parse_args()
    connection = Connection(given.url)
    schedule = Schedule(now() + 1000, given.rate, count=given.count)
    result = publish(connection.post, schedule, given.channel, given.size, _input_closed)
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
