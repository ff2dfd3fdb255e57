"""Round: readers in place, publisher on, last event in, sample written. A scenario imports it, and Locust plays it at each start
of a test.

It gives Locust the options `--channel --rate --seconds --size --samples`. With `--seconds` a round has an end and Locust quits
with it (what `everywire compare` does); without, events are published for as long as the test runs (what one wants in the web
interface).
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gevent
import msgspec
from locust import events
from locust.runners import WorkerRunner

from .histogram import Histogram, merged
from .samples import Published, Sample, Traffic, total
from .users import StreamUser

_READY_WAIT = 30.0  # seconds for all readers to have their `hello`
_DRAIN_WAIT = 2.0  # seconds without any arrival after which what has not come is lost
_PROBE = 0.01  # seconds between two looks at the lag of the loop
_log = logging.getLogger("everywire")
_playing: list[gevent.Greenlet] = []


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("everywire")
    group.add_argument("--channel", default="compare", help="Channel to publish to and to read")
    group.add_argument("--rate", type=float, default=20.0, help="Events per second to publish")
    group.add_argument("--seconds", type=float, default=0.0, help="Publish for so long, then quit. 0: as long as the test runs")
    group.add_argument("--size", type=int, default=100, help="Bytes of one event's data")
    group.add_argument("--samples", default="", help="Write the sample of the round to this file, and spare Locust's statistics")


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _start(environment: Any, **_: Any) -> None:
    if not isinstance(environment.runner, WorkerRunner):  # one publisher, wherever the readers are
        _playing.append(gevent.spawn(play, environment))


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def _stop(**_: Any) -> None:
    while _playing:
        _playing.pop().kill()


def play(environment: Any) -> None:
    """One round; runs beside the users."""
    options, runner = environment.parsed_options, environment.runner
    StreamUser.quiet = bool(options.samples)
    _until(lambda: _ready() >= (runner.target_user_count or 1), _READY_WAIT)
    try:
        sample = measure(environment.host, options)
        if options.samples:
            Path(options.samples).write_bytes(msgspec.json.encode(sample))
    except (OSError, RuntimeError, msgspec.DecodeError):
        _log.exception("the round failed")
        environment.process_exit_code = 1
    _playing.clear()  # what follows stops the test, and that would end this very greenlet in the middle of it
    (runner.quit if options.seconds else runner.stop)()


def measure(host: str, options: Any) -> Sample:
    """Publish, wait until all has arrived, and take stock."""
    users = list(StreamUser.playing)
    ready, before = _ready(), _traffic(users)
    with Generator() as generator:
        published = _published(host, options)
        _until(lambda: _all_there(users, published.last), _DRAIN_WAIT, lambda: max((u.received for u in users), default=0))
    return Sample(
        transport=users[0].transport if users else "",
        readers=len(users),
        ready=ready,
        started=published.started,
        ended=max([published.started, *(user.received for user in users)]),
        tally=total(record.tally(published.first, published.last) for user in users for record in user.records.values()),
        delays=merged(user.delays for user in users),
        traffic=_traffic(users).minus(before),
        published=published,
        lag=generator.lag,
        cpu=generator.cpu,
        clock="kernel" if users and all(user.reader.stamped for user in users) else "process",
        failures=dict(sum((user.failures for user in users), Counter())),
    )


class Generator:
    """Watches this process while it generates load: how much of a core it takes, and how late its loop wakes up."""

    def __init__(self) -> None:
        self.lag = Histogram()
        self.cpu = 0.0

    def __enter__(self) -> Generator:
        self._began = time.monotonic(), time.process_time()
        self._probe = gevent.spawn(self._watch)
        return self

    def __exit__(self, *_: object) -> None:
        self._probe.kill()
        wall, cpu = self._began
        self.cpu = (time.process_time() - cpu) / max(1e-6, time.monotonic() - wall)

    def _watch(self) -> None:
        while True:
            before = time.monotonic_ns()
            gevent.sleep(_PROBE)
            self.lag.record((time.monotonic_ns() - before) // 1000 - round(_PROBE * 1e6))


def _published(host: str, options: Any) -> Published:
    """Run the publisher in a process of its own until it has done or this greenlet is killed."""
    command = [sys.executable, "-m", "locustfiles.publisher", "--url", f"{host}{StreamUser.mount}"]
    command += ["--channel", options.channel, "--rate", str(options.rate), "--size", str(options.size)]
    if options.seconds:
        command += ["--count", str(max(1, round(options.rate * options.seconds)))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own module
        try:
            output = process.stdout.read() if process.stdout else b""
        finally:
            process.terminate()
    if not output:
        raise RuntimeError("the publisher failed; what it said stands above")
    return msgspec.json.decode(output, type=Published)


def _ready() -> int:
    return sum(user.reader.hello is not None for user in StreamUser.playing)


def _traffic(users: Iterable[StreamUser]) -> Traffic:
    whole = Traffic()
    for user in users:
        whole = whole.plus(user.reader.traffic)
    return whole


def _all_there(users: Iterable[StreamUser], last: int) -> bool:
    return all((record.next or 0) > last for user in users for record in user.records.values())


def _until(met: Callable[[], bool], patience: float, progress: Callable[[], object] = lambda: None) -> bool:
    """Wait until `met`; give up when `progress` has not changed for `patience` seconds."""
    seen, end = progress(), time.monotonic() + patience
    while not met():
        if (now := progress()) != seen:
            seen, end = now, time.monotonic() + patience
        if time.monotonic() > end:
            return False
        gevent.sleep(_PROBE)
    return True
