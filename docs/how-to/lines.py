"""A broker that keeps its events as lines of JSON in a file; an example: it serves one process, and keeps all for ever."""

import os
import secrets
import time

import msgspec

from transports.brokers import Record
from transports.position import Position


class Line(msgspec.Struct):
    offset: int
    channel: str
    at: float  # seconds since 1970
    data: bytes  # in base64: it is not for us to read
    about: str | None
    key: str | None


class LinesBroker:
    shared = False  # nobody else writes to the file

    def __init__(self, path, *, key_window=120.0, clock=time.time):
        self._path, self._window, self._clock = path, key_window, clock

    async def tail(self, follower):
        self._follower = follower
        first, *lines = self._read()
        self._epoch = first.decode() or self._begin()
        self._offset, self._keys = 0, {}
        follower.begin(self._epoch)
        for line in (msgspec.json.decode(each, type=Line) for each in lines):
            self._keep(line)

    async def publish(self, channel, data, key, about=None):
        known, now = self._keys.get((channel, key)), self._clock()
        if key is not None and known is not None and known[0] >= now - self._window:
            return known[1]
        line = Line(self._offset + 1, channel, now, data, about, key)
        self._write(msgspec.json.encode(line))
        self._keep(line)
        return line.offset

    async def head(self):
        return Position(self._epoch, self._offset)

    async def close(self):
        self._file.close()

    def _read(self):
        self._file = open(self._path, "ab+")  # noqa: SIM115 - until `close`
        self._file.seek(0)
        whole, _, torn = self._file.read().rpartition(b"\n")
        if torn:  # it was killed while it wrote: nobody was told that this is kept
            self._file.truncate(self._file.tell() - len(torn))
        return whole.split(b"\n")

    def _begin(self):
        epoch = secrets.token_hex(3)
        self._write(epoch.encode())
        return epoch

    def _write(self, line):
        self._file.write(line + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())  # what is acknowledged is on the disk

    def _keep(self, line):
        self._offset = line.offset
        if line.key is not None:
            self._keys[line.channel, line.key] = line.at, line.offset
        self._follower.take([Record(line.offset, line.channel, line.at, line.data, line.about)])
