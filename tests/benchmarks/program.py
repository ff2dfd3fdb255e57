"""Program: another process that is told what to do by lines, and answers with lines of JSON."""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


class ProgramError(Exception):
    """A program did not do what it was told: it says what it was told, and what it said last on standard error."""


class Program:
    """A running process, on one core if it is told which. A context manager that ends it.

    Args:
        argv: what to run, from the root of the project.
        core: the number of the core to run on; None for any.
    """

    def __init__(self, argv: Sequence[str], core: int | None = None) -> None:
        self.argv = list(argv)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`
        pin = [] if core is None else ["taskset", "-c", str(core)]
        self._process = subprocess.Popen(
            [*pin, *self.argv], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0
        )
        self.root = self._process.pid  # of the processes whose CPU and memory count; this one starts others, perhaps
        self._said = b""
        self._ears = selectors.DefaultSelector()
        assert self._process.stdout is not None
        self._ears.register(self._process.stdout, selectors.EVENT_READ)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(self, told: str | dict[str, Any], timeout: float = 30.0) -> dict[str, Any]:
        """Tell it a line, and give its answer. Raises: ProgramError, when it has none within `timeout` seconds."""
        self.tell(told)
        return self.hear(timeout)

    def tell(self, told: str | dict[str, Any]) -> None:
        """Tell it a line. Raises: ProgramError, when it has ended."""
        line = told.encode() if isinstance(told, str) else msgspec.json.encode(told)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + b"\n")
        except OSError:
            raise self._error("has ended") from None

    def hear(self, timeout: float = 30.0) -> dict[str, Any]:
        """The next line that it says. Raises: ProgramError, when none comes within `timeout` seconds."""
        until = time.monotonic() + timeout
        while b"\n" not in self._said:
            if not self._ears.select(max(0.0, until - time.monotonic())):
                raise self._error(f"said nothing for {timeout:g} s")
            assert self._process.stdout is not None
            more = os.read(self._process.stdout.fileno(), 65536)
            if not more:
                raise self._error("has ended")
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        try:
            answer: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise self._error(f"said {line[:200]!r}, which is not a JSON object") from None
        return answer

    def cpu(self) -> float:
        """Seconds of CPU that `root` and its children have used, to the nanosecond."""
        return sum(map(_cpu_of, self._pids()))

    def kept_waiting(self) -> float:
        """Seconds that their threads could have run, and had to wait for the core: what others take away shows here."""
        return sum(map(_waited, self._pids()))

    def rss(self) -> int:
        """Bytes of memory that `root` and its children hold: resident set size."""
        total = 0
        for pid in self._pids():
            try:
                total += psutil.Process(pid).memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total

    def stop(self, timeout: float = 3.0) -> None:
        """End it: by closing its input, by SIGTERM after `timeout` seconds, by SIGKILL after as many more."""
        if self._process.returncode is not None:
            return
        children = self._pids()[1:]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        for end in (lambda: None, self._process.terminate, self._process.kill):
            end()
            try:
                self._process.wait(timeout)
                break
            except subprocess.TimeoutExpired:
                continue
        for pid in children:  # a server's worker whose parent could not take it along
            if psutil.pid_exists(pid) and psutil.Process(pid).ppid() in (0, 1):
                psutil.Process(pid).kill()
        self._ears.close()
        self._process.stdout.close()
        self._errors.close()

    def _pids(self) -> list[int]:
        try:
            return [self.root, *(child.pid for child in psutil.Process(self.root).children(recursive=True))]
        except psutil.NoSuchProcess:
            return [self.root]

    def _error(self, what: str) -> ProgramError:
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-8:]
        return ProgramError("\n    ".join([f"{' '.join(self.argv)} {what}", *last]))


def _cpu_of(pid: int) -> float:
    # clock_getcpuclockid(3) without the C library: the clock of a whole process is made of the complement of its number.
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:  # it has ended
        return 0.0


def _waited(pid: int) -> float:
    total = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(thread.read_text().split()[1])
        except (OSError, IndexError):  # it has ended, or the kernel does not count
            continue
    return total / 1e9


def compile_c(directory: Path, *names: str) -> dict[str, str]:
    """Compile `name.c` for each of `names` into `directory`; gives the programs by name.

    Raises:
        ProgramError: there is no C compiler, or it does not like what it sees.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise ProgramError("there is no C compiler: the load client is written in C. Install one, such as Debian's package gcc")
    programs = {}
    for name in names:
        programs[name] = str(directory / name)
        done = subprocess.run(
            [compiler, "-O2", "-o", programs[name], str(HERE / f"{name}.c")], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ProgramError(f"{name}.c does not compile:\n{done.stderr}")
    return programs
