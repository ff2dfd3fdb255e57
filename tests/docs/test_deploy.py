"""What `docs/how-to/deploy/` has for containers and systemd: all of it is run, but for the container engine and systemd."""

from __future__ import annotations

import asyncio
import configparser
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import venv
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.hosts import hosts
from tests.middleboxes import DEPLOY, Middlebox
from tests.networks.test_middleboxes import DEPLOYED
from tests.ports import free_port
from tests.redis_server import RedisServer
from transports.client import connect
from transports.testing import until

pytestmark = pytest.mark.real
EVERYWIRE = [sys.executable, "-m", "quart_app"]


def instructions() -> list[tuple[str, str]]:
    """Those of the Dockerfile."""
    lines = (line.partition(" ") for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line and line[0] != "#")
    return [(name, rest) for name, _, rest in lines]


def entrypoint() -> list[str]:
    """What a container runs before its command."""
    program, *arguments = json.loads(dict(instructions())["ENTRYPOINT"])
    assert program == "everywire"
    return arguments


def test_every_file_is_run_here() -> None:
    assert {path.name for path in DEPLOY.iterdir()} >= DEPLOYED


def image(directory: Path, said: dict[str, str]) -> Path:
    """Do what the Dockerfile says, in a directory and an environment of its own; gives where its programs are."""
    assert said["COPY"] == ". ."
    left_out = [line.removeprefix("**/") for line in (DEPLOY / "Dockerfile.dockerignore").read_text().split()]
    work = directory / said["WORKDIR"].lstrip("/")
    shutil.copytree(DEPLOY.parents[2], work, ignore=shutil.ignore_patterns(*left_out))
    venv.create(directory / "image", with_pip=True)
    programs = directory / "image" / "bin"
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(shlex.split(said["RUN"]), cwd=work, env=environment, capture_output=True, text=True, check=False)
    if "Failed to establish a new connection" in done.stderr:
        pytest.skip("what the image is made of cannot be had: there is no way to PyPI")
    assert done.returncode == 0, done.stderr
    return programs


@pytest.mark.alone
@pytest.mark.timeout(300)
async def test_what_the_image_is_made_of_serves(tmp_path: Path) -> None:
    said = dict(instructions())
    assert list(said) == ["FROM", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "STOPSIGNAL", "ENV", "ENTRYPOINT", "CMD"]
    programs = await asyncio.to_thread(image, tmp_path, said)
    port = free_port()
    command = [*json.loads(said["ENTRYPOINT"]), *json.loads(said["CMD"]), "--broker", f"sqlite:///{tmp_path}/log.db"]
    command = [str(programs / command[0]), *command[1:], "--host", "127.0.0.1", "--port", str(port)]
    name, _, value = said["ENV"].partition("=")
    async with started(command, {name: value}, tmp_path / "log") as process:
        await until(lambda: b"everywire serves" in (tmp_path / "log").read_bytes(), 60)
        async with connect(f"http://127.0.0.1:{port}/live", ["a"]) as stream:
            await stream.publish("a", 1)
            assert (await anext(stream)).data == 1
        process.send_signal(getattr(signal, said["STOPSIGNAL"]))
        assert await asyncio.wait_for(process.wait(), 60) == 0


@asynccontextmanager
async def started(command: list[str], environment: dict[str, str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process and all its children; they are gone at the end."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **environment}, stdout=output, stderr=output, cwd=DEPLOY.parents[2]
        )
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            for each in psutil.Process(process.pid).children():
                each.kill()
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_what_compose_starts_works_together(tmp_path: Path) -> None:
    """The commands, the environment and the configuration of the file, with names mapped to ports of this machine."""
    compose: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"redis", "one", "two", "nginx"}
    program, *options = services["redis"]["command"]
    assert program == "redis-server"
    redis = RedisServer(tmp_path / "redis", shlex.join(options))
    ports = {"one": free_port(), "two": free_port()}
    async with AsyncExitStack() as stack:
        stack.push_async_callback(redis.kill)
        await redis.start()
        for name, port in ports.items():
            environment = {
                key: value.replace("redis:6379", f"127.0.0.1:{redis.port}")
                for key, value in services[name]["environment"].items()
            }
            arguments = [*entrypoint(), *services[name]["command"], "--host", "127.0.0.1", "--port", str(port)]
            await stack.enter_async_context(started([*EVERYWIRE, *arguments], environment, tmp_path / f"{name}.log"))
        await until(lambda: all("workers: 2" in (tmp_path / f"{name}.log").read_text() for name in ports), 60)
        config = compose["configs"]["nginx"]["content"].replace("$$", "$")
        for number, name in enumerate(ports):
            config = config.replace(f"{name}:8000", f"127.0.0.1:800{number}")
        box = Middlebox(name="nginx-compose", program="nginx", config=config, story="compose", wins="websocket")
        way = await stack.enter_async_context(box.running(*[f"http://127.0.0.1:{port}" for port in ports.values()]))
        async with connect(f"{way.url}/live", ["chat"], memory={}) as stream, connect(f"{way.url}/live", ["chat"]) as other:
            await other.publish("chat", "over nginx, two servers and Redis")
            assert (await asyncio.wait_for(anext(stream), 30)).data == "over nginx, two servers and Redis"


def unit(name: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=True, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read(DEPLOY / name)
    return parsed


def test_units_say_what_systemd_knows_and_start_what_there_is() -> None:
    service, listening = unit("everywire.service"), unit("everywire.socket")
    known = {
        "Unit": {"Description", "After", "Requires"},
        "Service": {
            *("Type", "NotifyAccess", "EnvironmentFile", "ExecStart", "ExecReload", "KillMode", "TimeoutStopSec"),
            *("Restart", "RestartSec", "DynamicUser", "LimitNOFILE"),
        },
        "Install": {"WantedBy"},
        "Socket": {"ListenStream", "Backlog"},
    }
    for each in (service, listening):
        for section in each.sections():
            assert set(each[section]) <= known[section]
    assert service["Service"]["Type"] == "notify"
    assert int(service["Service"]["TimeoutStopSec"]) > 30
    program, *arguments = shlex.split(service["Service"]["ExecStart"])
    assert program.endswith("/bin/everywire")
    helped = subprocess.run([*EVERYWIRE, arguments[0], "--help"], capture_output=True, text=True, check=True).stdout
    assert all(argument in helped for argument in arguments if argument.startswith("--"))


async def test_a_unit_is_told_when_it_serves_on_the_socket_it_is_given(tmp_path: Path) -> None:
    """As systemd would start it: the socket is its third descriptor, and it says when it is ready."""
    _, *arguments = shlex.split(unit("everywire.service")["Service"]["ExecStart"])
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.setblocking(False)
    with told, socket.create_server(("127.0.0.1", 0)) as listening:
        script = f'exec 3<&{listening.fileno()}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "EVERYWIRE_BROKER": f"sqlite:///{tmp_path}/log.db"}
        process = await asyncio.create_subprocess_exec(
            *["bash", "-c", script, "bash", *EVERYWIRE, *arguments],
            env={**os.environ, **environment},
            pass_fds=[listening.fileno()],
            cwd=DEPLOY.parents[2],
        )
        loop = asyncio.get_running_loop()
        try:
            assert await asyncio.wait_for(loop.sock_recv(told, 100), 60) == b"READY=1"
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/live"
            async with connect(url, ["vitals"]) as stream:
                await asyncio.wait_for(anext(stream), 30)
            process.terminate()
            assert await asyncio.wait_for(loop.sock_recv(told, 100), 30) == b"STOPPING=1"
            assert await asyncio.wait_for(process.wait(), 60) == 0
        finally:
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                for each in psutil.Process(process.pid).children():
                    each.kill()
                process.kill()


async def test_hosts_are_restarted_one_after_the_other(tmp_path: Path) -> None:
    """`rolling-restart.sh` with real servers; what restarts one says its name here, and it is done."""
    async with hosts(f"sqlite:///{tmp_path}/log.db", 2, tmp_path) as both:
        asked, done = tmp_path / "asked", tmp_path / "done"
        os.mkfifo(asked)
        os.mkfifo(done)
        restart = tmp_path / "restart"
        restart.write_text(f'#!/bin/sh\necho "$1" > {asked}\ncat {done} > /dev/null\n')
        restart.chmod(0o755)
        command = ["sh", str(DEPLOY / "rolling-restart.sh"), *[f"{number}={each.url}" for number, each in enumerate(both)]]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, env={**os.environ, "RESTART": str(restart)}, stdout=pipe)
        try:
            for number, host in enumerate(both):
                assert (await asyncio.wait_for(asyncio.to_thread(asked.read_text), 60)).strip() == str(number)
                before = host.process.pid
                await host.stop()
                await host.start()
                assert host.process.pid != before
                await asyncio.to_thread(done.write_text, "done")
            output, _ = await asyncio.wait_for(process.communicate(), 60)
            assert (process.returncode, output.decode().splitlines()[-1]) == (0, "restarted 2")
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def test_a_host_that_is_away_stops_it_before_it_begins(tmp_path: Path) -> None:
    environment = {**os.environ, "WAIT": "1", "RESTART": "false"}
    command = ["sh", str(DEPLOY / "rolling-restart.sh"), f"a=http://127.0.0.1:{free_port()}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "a is not ready" in done.stderr
