"""Wire: a connected socket that counts its bytes, and tells when they came and how long it took to be connected.

The time is the kernel's where it tells it (Linux: the moment the bytes arrived, whether or not Python was free to take
them), so a busy generator does not make a transport look slow.
"""

from __future__ import annotations

import contextlib
import socket as constants
import struct
import sys
import time
from functools import cache
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult

import gevent
from gevent import socket, ssl

from ..samples import Traffic

_READ = 65_536  # bytes taken at once
_SEND_WAIT = 10.0  # seconds
_STAMP: Final = getattr(constants, "SO_TIMESTAMPNS", 35)  # asm-generic/socket.h; Python has no name for it
_STAMPED = struct.Struct("qq")  # struct timespec
_STAMP_SPACE = constants.CMSG_SPACE(_STAMPED.size) if sys.platform == "linux" else 0


class Leisure(NamedTuple):
    """How a slow reader reads: little at once, with pauses, and its socket holds little meanwhile."""

    buffer: int = 4096  # bytes of SO_RCVBUF; Linux doubles it
    read: int = 2048  # bytes at once
    pause: float = 0.25  # seconds after each read: 8 KiB/s


class Wire:
    """A connected socket.

    Args:
        url: of the server.
        traffic: where to count.
        timeout: seconds for the connection.
        leisure: of a slow reader.

    Raises:
        OSError: no connection within `timeout` seconds.
    """

    def __init__(self, url: SplitResult, traffic: Traffic, timeout: float, leisure: Leisure | None = None) -> None:
        self.traffic = traffic
        self.leisure = leisure  # None from now on: no more pauses
        self.connected = self.secured = 0  # µs that TCP (with the look-up of the name) and TLS took
        self._secure = url.scheme == "https"
        self._socket = self._connect(url, timeout)
        self.stamped = sys.platform == "linux" and not self._secure
        if self.stamped:
            self._socket.setsockopt(constants.SOL_SOCKET, _STAMP, 1)
        self._watch = Watch(self._socket.fileno())
        traffic.opened += 1

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._socket.settimeout(_SEND_WAIT)
        self._socket.sendall(data)
        self.traffic.up += len(data)

    def receive(self, timeout: float | None) -> tuple[bytes, int]:
        """What has come, at least a byte, and when, in microseconds of CLOCK_MONOTONIC.

        Raises:
            TimeoutError: nothing within `timeout` seconds; None: however long it takes.
            ConnectionResetError: the peer has closed.
        """
        try:
            data, received = self._receive(timeout)
        except TimeoutError:
            raise TimeoutError(f"nothing came for {timeout:g} s") from None
        self.traffic.down += len(data)
        if not data:
            raise ConnectionResetError("the server has closed the connection")
        if self.leisure is not None:
            gevent.sleep(self.leisure.pause)
        return data, received

    def close(self) -> None:
        """Let go of the socket."""
        self._watch.close()
        self._socket.close()

    def _connect(self, url: SplitResult, timeout: float) -> Any:
        began = time.monotonic_ns()
        raw = _connection(url, timeout, self.leisure)
        connected = time.monotonic_ns()
        self.connected = (connected - began) // 1000
        if not self._secure:
            return raw
        raw.settimeout(timeout)
        secure = _context().wrap_socket(raw, server_hostname=url.hostname)
        self.secured = (time.monotonic_ns() - connected) // 1000
        return secure

    def _receive(self, timeout: float | None) -> tuple[bytes, int]:
        most = _READ if self.leisure is None else self.leisure.read
        if self._secure:  # what TLS has unpacked already makes no socket readable
            gevent.sleep(0)
            self._socket.settimeout(timeout)
            return _unstamped(self._socket, most)
        # Waiting first, even when something is there, gives every other reader its turn, and costs less than asking in vain.
        self._socket.settimeout(0)
        while True:
            self._watch.wait(timeout)
            with contextlib.suppress(BlockingIOError):
                return _stamped(self._socket, most) if self.stamped else _unstamped(self._socket, most)


class Watch:
    """Waits for bytes. What gevent's `wait_read` makes anew for each read is made once here: that saves a fifth of what a read
    costs.
    """

    def __init__(self, descriptor: int) -> None:
        self._hub = gevent.get_hub()
        self._readable = self._hub.loop.io(descriptor, 1)  # 1: for reading
        self._timers: dict[float, Any] = {}  # by their seconds; few

    def wait(self, timeout: float | None) -> None:
        """Wait until something can be read. Raises: TimeoutError."""
        if timeout is None:
            self._hub.wait(self._readable)
            return
        timer = self._timers.get(timeout)
        if timer is None:
            timer = self._timers[timeout] = self._hub.loop.timer(timeout)
        timer.start(gevent.getcurrent().throw, TimeoutError)
        try:
            self._hub.wait(self._readable)
        finally:
            timer.stop()

    def close(self) -> None:
        """Wait no more. To be called before the descriptor is closed."""
        self._readable.close()
        for timer in self._timers.values():
            timer.close()


@cache
def _context() -> Any:
    """One for all: to load the authorities takes 10 ms. `SSL_CERT_FILE` names others."""
    return ssl.create_default_context()


def _connection(url: SplitResult, timeout: float, leisure: Leisure | None) -> Any:
    """A connection by TCP. The size of the buffer has to be set before, because the handshake tells of it."""
    error: OSError = OSError(f"{url.hostname} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(url.hostname, port_of(url), type=constants.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        try:
            if leisure is not None:
                made.setsockopt(constants.SOL_SOCKET, constants.SO_RCVBUF, leisure.buffer)
            made.setsockopt(constants.IPPROTO_TCP, constants.TCP_NODELAY, 1)
            made.settimeout(timeout)
            made.connect(address)
        except OSError as failed:
            made.close()
            error = failed
        else:
            return made
    raise error


def port_of(url: SplitResult) -> int:
    """The port that is meant."""
    return url.port or (443 if url.scheme == "https" else 80)


def _unstamped(sock: Any, most: int) -> tuple[bytes, int]:
    data = sock.recv(most)
    return data, time.monotonic_ns() // 1000


def _stamped(sock: Any, most: int) -> tuple[bytes, int]:
    data, notes, _, _ = sock.recvmsg(most, _STAMP_SPACE)
    now = time.monotonic_ns()
    for _, kind, stamp in notes:
        if kind == _STAMP and len(stamp) == _STAMPED.size:
            seconds, rest = _STAMPED.unpack(stamp)
            now = min(now, seconds * 1_000_000_000 + rest - _Offset.at(now))
    return data, now // 1000


class _Offset:
    """The kernel stamps with the clock that can be set; this is how far it is ahead of the monotonic one."""

    _value = 0
    _until = 0

    @classmethod
    def at(cls, now: int) -> int:
        """Nanoseconds, looked up again each second, since somebody may set the clock."""
        if now >= cls._until:
            cls._value, cls._until = min(cls._look() for _ in range(5))[1], now + 1_000_000_000
        return cls._value

    @staticmethod
    def _look() -> tuple[int, int]:
        """How long the look took, and the offset: this process may be set aside in the middle of it."""
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        return after - before, wall - (before + after) // 2
