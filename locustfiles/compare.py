"""`everywire compare`: server, readers, publisher; each wire in turns, several times; then a table, a page and a verdict.

Everything that is measured runs in a process of its own, and so does Locust, which would patch this one. The transports take
turns, so that whatever changes on the machine meanwhile meets all of them.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import importlib.util
import ipaddress
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec
import psutil

from . import report
from .samples import Plan, Round, Run, Sample, SampleError, Usage, decode, encode
from .verdict import judge

NOT_TRUSTWORTHY = 4
UNREACHABLE = 5

_READERS = {"websocket": "WebSocketReader", "sse": "SSEReader", "longpoll": "LongPollReader"}  # classes of the scenario
_SCENARIO = Path(__file__).parent / "scenarios" / "fanout.py"
_START_WAIT = 15.0  # seconds for the server to answer
_STOP_WAIT = 5.0  # seconds for a child to end before it is killed
_ROUND_WAIT = 60.0  # seconds that a round may take beyond its publishing
_WATCH_EVERY = 0.05  # seconds


class UnreachableError(click.ClickException):
    """The server does not answer."""

    exit_code = UNREACHABLE


@click.command()
@click.option("--quick", is_flag=True, help="Fewer readers, less time: about 45 seconds. What else is given stands.")
@click.option("--url", help="Measure a server that runs already, such as http://127.0.0.1:8000. Without it, one is started.")
@click.option("--readers", type=click.IntRange(1), help="Readers of each transport.  [default: 100, quick: 50]")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Events per second.  [default: 50, quick: 20]")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Of publishing in each round.  [default: 10, quick: 3]")
@click.option("--repeats", type=click.IntRange(1), help="Rounds of each transport.  [default: 5, quick: 3]")
@click.option("--size", type=click.IntRange(60, 30_000), default=100, show_default=True, help="Bytes of one event's data.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Directory.  [default: compare-<time>]")
@click.option("--remote", is_flag=True, help="Allow a --url beyond this machine. Only for servers that you may load.")
@click.option(
    "--again", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Report on this run.json; measure nothing."
)
@click.pass_context
def compare(
    context: click.Context,
    *,
    quick: bool,
    url: str | None,
    readers: int | None,
    rate: float | None,
    seconds: float | None,
    repeats: int | None,
    size: int,
    output: Path | None,
    remote: bool,
    again: Path | None,
) -> None:
    """Compare WebSocket, SSE and long-polling: delay, loss, bytes and server CPU.

    Writes run.json and index.html. Exit code 4: the measurement is not trustworthy; 5: the server does not answer.
    """
    if again is not None:
        _show(context, _recorded(again), output or again.parent)
    _check_installed()
    if url is not None:
        _check_target(url, remote)
    plan = Plan(
        readers=readers or (50 if quick else 100),
        rate=rate or (20.0 if quick else 50.0),
        seconds=seconds or (3.0 if quick else 10.0),
        repeats=repeats or (3 if quick else 5),
        size=size,
        url=url,
    )
    directory = output or Path(f"compare-{datetime.now():%Y%m%d-%H%M%S}")
    with _stoppable():
        run = measure(plan)
    _show(context, run, directory)


def _show(context: click.Context, run: Run, directory: Path) -> None:
    """Write and print what was found, and end with the exit code that says how good it is."""
    save(run, directory)
    verdict = judge(run)
    click.echo(f"\n{report.text(run)}\n\n{verdict.sentence}")
    for doubt in verdict.doubts[1:]:
        click.echo(f"Also {doubt}.")
    for note in verdict.notes:
        click.echo(f"Disturbed: {note}.")
    click.echo(f"\nReport: {directory / 'index.html'}   Samples: {directory / 'run.json'}")
    context.exit(0 if verdict.trustworthy else NOT_TRUSTWORTHY)


def measure(plan: Plan) -> Run:
    """Play all rounds of a plan.

    Raises:
        UnreachableError: the server does not answer.
        click.ClickException: a round failed.
    """
    run = Run(
        started=datetime.now(UTC).isoformat(timespec="seconds"), command=_command(plan), plan=plan, environment=environment()
    )
    with contextlib.ExitStack() as stack:
        url, pid = (plan.url.rstrip("/"), None) if plan.url else stack.enter_context(_server())
        _wait_until_ready(url)
        for repeat in range(1, plan.repeats + 1):
            for transport in _turn(plan.transports, repeat):
                run.rounds.append(_round(plan, url, pid, transport, repeat))
                click.echo(report.line(run.rounds[-1], plan.repeats))
    return run


def save(run: Run, directory: Path) -> None:
    """Write `run.json` and `index.html`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "run.json").write_bytes(encode(run))
    (directory / "index.html").write_text(report.html(run), encoding="utf-8")


def environment() -> dict[str, str]:
    """What else may have decided the figures."""
    packages = ("everywire", "quart", "hypercorn", "locust", "gevent", "msgspec")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(psutil.cpu_count() or 0),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "load before": " ".join(f"{load:.2f}" for load in psutil.getloadavg()),
        **versions,
    }


def _processor() -> str:
    """Its name, as Linux tells it."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _turn(transports: tuple[str, ...], repeat: int) -> tuple[str, ...]:
    """Each repeat begins with another transport, so that none is always first."""
    start = (repeat - 1) % len(transports)
    return transports[start:] + transports[:start]


def _round(plan: Plan, url: str, pid: int | None, transport: str, repeat: int) -> Round:
    """Play the scenario with one transport, and watch the server."""
    with tempfile.TemporaryDirectory(prefix="everywire-") as scratch, _Watch(pid) as watch:
        file = Path(scratch, "sample.json")
        arguments = {
            "--host": url,
            "--users": plan.readers,
            "--spawn-rate": plan.readers,
            "--rate": plan.rate,
            "--seconds": plan.seconds,
            "--size": plan.size,
            "--samples": file,
        }
        options = [str(part) for pair in arguments.items() for part in pair]
        said = _run(
            [
                sys.executable,
                "-m",
                "locust",
                "--headless",
                "--loglevel",
                "WARNING",
                "-f",
                str(_SCENARIO),
                *options,
                _READERS[transport],
            ],
            plan.seconds + _ROUND_WAIT,
        )
        if not file.exists():
            raise click.ClickException(f"a round of {transport} left no sample. Locust said:\n{said[-2000:]}")
        sample = msgspec.json.decode(file.read_bytes(), type=Sample)
    return Round(transport, repeat, sample, watch.usage(sample.started, sample.ended))


def _run(command: list[str], timeout: float) -> str:
    """Run a child to its end and return what it said."""
    with _child(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said: str = process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            raise click.ClickException(f"Locust did not end within {timeout:g} s") from None
    return said


@contextlib.contextmanager
def _child(command: list[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A child in a session of its own: Ctrl-C reaches only this process, which then ends its children by their pids."""
    process = subprocess.Popen(command, start_new_session=True, **options)  # noqa: S603 - our own programs
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _server() -> Iterator[tuple[str, int]]:
    """The reference application on a free port: its URL and process."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "quart_app", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with _child(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield f"http://127.0.0.1:{port}", process.pid


def _wait_until_ready(url: str) -> None:
    """Ask until the server answers. Raises: UnreachableError."""
    end, reason = time.monotonic() + _START_WAIT, ""
    while time.monotonic() < end:
        try:
            reason = f"/live/negotiate answers {(status := _status(url, '/live/negotiate'))}"
            if status == http.HTTPStatus.OK:
                return
        except (OSError, http.client.HTTPException) as error:
            reason = str(error)
        time.sleep(0.05)
    raise UnreachableError(f"{url} does not serve everywire: {reason}")


def _status(url: str, path: str) -> int:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request("GET", parts.path.rstrip("/") + path)
        return connection.getresponse().status
    finally:
        connection.close()


class _Watch:
    """Looks at a process and its children, with times on the clock of the samples.

    Args:
        pid: of the server; None: there is nothing to see.
    """

    def __init__(self, pid: int | None) -> None:
        self._root = psutil.Process(pid) if pid else None
        self._over = threading.Event()
        self._seen: list[tuple[int, float, int, float]] = []  # µs, CPU seconds, bytes, busy seconds of all cores
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def usage(self, started: int, ended: int) -> Usage | None:
        """What was used between two times, as near as was looked."""
        if len(self._seen) < 2:
            return None
        first = min(self._seen, key=lambda seen: abs(seen[0] - started))
        last = min(self._seen, key=lambda seen: abs(seen[0] - ended))
        during = [seen for seen in self._seen if first[0] <= seen[0] <= last[0]]
        seconds = max(1e-6, (last[0] - first[0]) / 1e6)
        return Usage(
            cpu=last[1] - first[1],
            rss=max(seen[2] for seen in during),
            rss_before=first[2],
            machine=(last[3] - first[3]) / seconds / (psutil.cpu_count() or 1),
        )

    def _look(self) -> None:
        while self._root and not self._over.wait(_WATCH_EVERY):
            with contextlib.suppress(psutil.NoSuchProcess):
                self._seen.append(_seen(self._root))


def _seen(root: psutil.Process) -> tuple[int, float, int, float]:
    cpu, rss = 0.0, 0
    for process in (root, *root.children(recursive=True)):
        times = process.cpu_times()
        cpu += times.user + times.system
        rss += process.memory_info().rss
    machine = psutil.cpu_times()
    return time.monotonic_ns() // 1000, cpu, rss, sum(machine) - machine.idle - getattr(machine, "iowait", 0.0)


def _recorded(file: Path) -> Run:
    try:
        return decode(file.read_bytes())
    except SampleError as error:
        raise click.ClickException(f"{file}: {error}") from error


def _check_installed() -> None:
    """Without importing it, which would patch this process."""
    if importlib.util.find_spec("locust") is None:
        raise click.ClickException("Locust is not installed. Install it with:  pip install 'everywire[load]'")


def _check_target(url: str, remote: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:  # the publisher does not speak TLS yet
        raise click.UsageError(f"{url!r} is not a URL like http://127.0.0.1:8000")
    if not remote and not _is_loopback(parts.hostname):
        raise click.UsageError(f"{parts.hostname} is not this machine. Load only servers that you may load, and say --remote.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _command(plan: Plan) -> str:
    """The command that plays this plan again."""
    parts = [f"--readers {plan.readers}", f"--rate {plan.rate:g}", f"--seconds {plan.seconds:g}", f"--repeats {plan.repeats}"]
    parts.append(f"--size {plan.size}")
    if plan.url:
        parts.append(f"--url {plan.url}{'' if _is_loopback(urlsplit(plan.url).hostname or '') else ' --remote'}")
    return " ".join(["everywire compare", *parts])


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """A polite request to end is taken like Ctrl-C, so that children end too."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
