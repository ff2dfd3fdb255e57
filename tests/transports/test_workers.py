"""Worker processes: kept, replaced, restarted, ended. All of it real."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from transports import workers
from transports.errors import ConfigError
from transports.servers import SERVERS
from transports.testing import until

pytestmark = pytest.mark.real
PROGRAM = Path(__file__).with_name("worker_program.py")


class Said(NamedTuple):
    process: int
    number: int
    version: int


class Program:
    """One that was started, and where it serves."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, code: Path) -> None:
        self.process, self.port, self.code = process, port, code

    async def opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def asked(self) -> Said:
        """What is answered to a request on a connection of its own. Raises: OSError, it is refused or cut."""
        reader, writer = await self.opened()
        try:
            return await ask(reader, writer)
        finally:
            writer.close()

    def workers(self) -> set[int]:
        with suppress(psutil.NoSuchProcess):
            return {each.pid for each in psutil.Process(self.process.pid).children() if each.status() != psutil.STATUS_ZOMBIE}
        return set()

    async def told(self, words: str) -> str:
        """Wait for a line on standard error with these words."""
        async with asyncio.timeout(60):
            async for line in self.process.stderr:
                if words in line.decode():
                    return line.decode()
        raise AssertionError(f"it ended without a word of {words!r}")


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Said:
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        return Said(**json.loads(await reader.readexactly(length)))
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError from error


@asynccontextmanager
async def program(
    tmp_path: Path, server: str = "hypercorn", *arguments: str, code: str = "version = 1"
) -> AsyncIterator[Program]:
    """Three workers; those that are left at the end, and their parent, are killed."""
    deployed = tmp_path / "deployed.py"
    deployed.write_text(code)
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    process = await asyncio.create_subprocess_exec(sys.executable, str(PROGRAM), server, str(deployed), *arguments, **pipes)
    begun = Program(process, 0, deployed)
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        begun.port = int(line.rpartition(":")[2] or 0)
        yield begun
    finally:
        left = begun.workers()
        if process.returncode is None:
            process.kill()
        for each in left:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        await process.wait()


@pytest.mark.parametrize("server", SERVERS)
async def test_a_restart_brings_new_code_and_refuses_nobody(tmp_path: Path, server: str) -> None:
    pytest.importorskip(server)
    async with program(tmp_path, server) as running:
        before = running.workers()
        assert len(before) == 3
        versions = [(await running.asked()).version]
        running.code.write_text("version = 2")
        running.process.send_signal(signal.SIGHUP)
        restarted = asyncio.create_task(running.told("restarted: 3 workers"))
        while not restarted.done():
            try:
                versions.append((await running.asked()).version)
            except ConnectionResetError:
                assert server == "granian"  # which cannot stop taking connections before it ends: see the table
        assert sorted(set(versions)) == [1, 2]
        assert {(await running.asked()).version for _ in range(10)} == {2}
        assert len(running.workers()) == 3
        assert not before & running.workers()
        running.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.process.wait(), 30) == 0


async def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANGS", "5")
    async with program(tmp_path) as running:
        before = running.workers()
        hanging = (await running.asked()).process
        os.kill(hanging, signal.SIGSTOP)  # it is there, and does nothing
        assert f"(process {hanging}) hangs: no sign of life for 5 seconds" in await running.told("hangs")
        assert "SIGKILL" in await running.told("was ended")
        await until(lambda: len(running.workers()) == 3, 60)
        assert hanging not in running.workers()
        assert before - {hanging} <= running.workers()  # the others go on
        running.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.process.wait(), 30) == 0


async def test_code_that_does_not_start_replaces_nothing(tmp_path: Path) -> None:
    async with program(tmp_path) as running:
        before = running.workers()
        running.code.write_text("version = 1 / 0")
        running.process.send_signal(signal.SIGHUP)
        assert "ZeroDivisionError" in await running.told("ZeroDivisionError")
        assert "worker 1" in await running.told("the restart ends here")
        assert (await running.asked()).version == 1
        assert running.workers() == before
        running.code.write_text("version = 2")
        running.process.send_signal(signal.SIGHUP)
        await running.told("restarted")
        assert (await running.asked()).version == 2


async def test_one_that_dies_is_replaced_and_the_others_serve_meanwhile(tmp_path: Path) -> None:
    async with program(tmp_path) as running:
        for _ in range(2):
            before = running.workers()
            victim = await running.asked()
            os.kill(victim.process, signal.SIGKILL)
            assert "SIGKILL" in await running.told(f"worker {victim.number} (process {victim.process})")
            assert (await running.asked()).process in before - {victim.process}
            await until(lambda: len(running.workers()) == 3)
            await until_asked(running, lambda said, before=before: said.process not in before)


async def until_asked(running: Program, wanted: object) -> None:
    async with asyncio.timeout(30):
        while not wanted(await running.asked()):
            pass


async def test_one_that_dies_at_once_is_tried_again_and_again(tmp_path: Path) -> None:
    async with program(tmp_path) as running:
        running.code.write_text("version = 1 / 0")
        victim = await running.asked()
        os.kill(victim.process, signal.SIGKILL)
        for _ in range(3):
            await running.told(f"worker {victim.number} ")  # was killed, did not get to serve, and once more
        running.code.write_text("version = 3")
        await until_asked(running, lambda said: said.version == 3)


async def test_the_first_that_does_not_start_is_told_and_there_is_no_second(tmp_path: Path) -> None:
    async with program(tmp_path, code="version = 1 / 0") as running:
        assert running.port == 0
        assert await asyncio.wait_for(running.process.wait(), 30) == 1
        errors = (await running.process.stderr.read()).decode()
        assert errors.count("ZeroDivisionError") == 1
        assert errors.endswith(" before it served\neverywire: the first worker did not get to serve, so no other is started\n")


async def test_workers_leave_when_their_parent_is_gone(tmp_path: Path) -> None:
    async with program(tmp_path) as running:
        left = [psutil.Process(each) for each in running.workers()]
        running.process.kill()
        await running.process.wait()
        assert psutil.wait_procs(left, timeout=30)[1] == []


async def test_who_reads_what_is_said_may_go(tmp_path: Path) -> None:
    async with program(tmp_path) as running:
        running.process._transport.get_pipe_transport(2).close()  # standard error
        before = running.workers()
        os.kill((await running.asked()).process, signal.SIGKILL)
        await until(lambda: len(running.workers() - before) == 1)
        await until_asked(running, lambda said: said.process not in before)
        before = running.workers()
        running.process.send_signal(signal.SIGHUP)
        await until(lambda: len(running.workers()) == 3 and not running.workers() & before)
        running.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.process.wait(), 30) == 0


async def test_a_program_may_go_to_another_directory(tmp_path: Path) -> None:
    (tmp_path / "program").mkdir()
    (tmp_path / "deployed.py").write_text("version = 1")
    (tmp_path / "program" / "program.py").write_text(
        "import os, runpy\nfrom transports import workers\nos.chdir('program')\n"
        f"runpy.run_path({str(PROGRAM)!r}, run_name='__main__')\n"
    )
    command = [sys.executable, "program/program.py", "hypercorn", str(tmp_path / "deployed.py")]
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE)
    assert await asyncio.wait_for(process.stdout.readline(), 60) != b""
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 60) == 0


async def test_a_worker_whose_parent_is_gone_before_it_looked_does_not_take_its_place(tmp_path: Path) -> None:
    (tmp_path / "deployed.py").write_text("")
    (tmp_path / "program.py").write_text(
        "import os, pathlib, runpy, time\n"
        "if 'EVERYWIRE_WORKER' in os.environ:\n"
        f"    pathlib.Path({str(tmp_path / 'begun')!r}).touch()\n"
        "    time.sleep(1)\n"
        f"runpy.run_path({str(PROGRAM)!r}, run_name='__main__')\n"
    )
    command = [sys.executable, str(tmp_path / "program.py"), "hypercorn", str(tmp_path / "deployed.py")]
    parent = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
    await until((tmp_path / "begun").exists)
    left = psutil.Process(parent.pid).children()
    parent.kill()
    try:
        assert psutil.wait_procs(left, timeout=30)[1] == []
        assert b"the parent of this worker is gone" in await asyncio.wait_for(parent.stderr.read(), 30)
    finally:
        for each in left:
            for process in [*(each.children() if each.is_running() else ()), each]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()


async def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    async with program(tmp_path, "hypercorn", "stays") as running:
        left = [psutil.Process(each) for each in running.workers()]
        running.process.send_signal(signal.SIGTERM)
        await until(lambda: refused(running))  # the parent listens no more, nor do they
        running.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(running.process.wait(), 30) == -signal.SIGINT
        assert psutil.wait_procs(left, timeout=30)[1] == []


def refused(running: Program) -> bool:
    return not [each for each in psutil.net_connections("tcp4") if each.laddr.port == running.port and each.status == "LISTEN"]


async def test_a_worker_is_not_ended_by_a_second_signal(tmp_path: Path) -> None:
    """`kill` of a whole group reaches a worker twice: from whoever said it, and from the parent."""
    async with program(tmp_path, "hypercorn", "stays") as running:
        connection = await running.opened()
        said = await ask(*connection)
        for _ in range(3):
            os.kill(said.process, signal.SIGTERM)
        await until_asked(running, lambda each: each.process != said.process)
        assert said.process not in {(await running.asked()).process for _ in range(20)}  # it takes nobody any more
        assert (await ask(*connection)).process == said.process  # and has not left
        connection[1].close()


async def test_a_terminal_that_is_closed_ends_the_program(tmp_path: Path) -> None:
    (tmp_path / "deployed.py").write_text("version = 1")
    command = [sys.executable, str(PROGRAM), "hypercorn", str(tmp_path / "deployed.py")]
    child, terminal = pty.fork()
    if not child:
        os.execv(command[0], command)
    try:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(terminal), "rb", buffering=0)
        )
        await asyncio.wait_for(reader.readuntil(b"http://127.0.0.1:"), 60)
        left = [psutil.Process(child), *psutil.Process(child).children()]
        reader._transport.close()
        os.close(terminal)
        await asyncio.sleep(0)  # the copy is closed in the next turn, and with it the terminal
        _, status = await asyncio.wait_for(asyncio.to_thread(os.waitpid, child, 0), 60)
        assert os.waitstatus_to_exitcode(status) == 0
        assert psutil.wait_procs(left[1:], timeout=30)[1] == []
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


@pytest.mark.alone
@pytest.mark.parametrize("server", [each for each in SERVERS if each != "granian"])  # which takes as many as there are
async def test_who_stays_is_spread_over_the_workers(tmp_path: Path, server: str) -> None:
    pytest.importorskip(server)
    async with program(tmp_path, server) as running:
        held = [await running.opened() for _ in range(150)]
        held += await asyncio.gather(*[running.opened() for _ in range(150)])
        said = await asyncio.gather(*[ask(*connection) for connection in held])
        shares = Counter(each.number for each in said)
        assert len(shares) == 3
        assert min(shares.values()) >= 75, shares  # asyncio by itself: 22, 71, 207
        for _, writer in held:
            writer.close()


@pytest.mark.parametrize("said", ["garbage", "1:2", "1:-1:-1:-1:-1:-1", "1:900:901:902:903:0"])
def test_a_variable_that_is_not_from_a_parent_is_refused(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("EVERYWIRE_WORKER", f"{os.getppid()}:{said}")
    with pytest.raises(ConfigError, match="EVERYWIRE_WORKER"):
        workers.place()
    assert workers.place() is None


def test_the_variable_of_another_process_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERYWIRE_WORKER", "1:1:3:4:5:6:0")
    assert workers.place() is None
    assert "EVERYWIRE_WORKER" not in os.environ
