"""What systemd passes and is told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from transports.errors import ConfigError
from transports.serve import listen
from transports.systemd import inherited, notify

_ASKS = """
import os
from transports.systemd import inherited
try:
    print(inherited().getsockname()[1], os.environ.get("LISTEN_FDS"))
except Exception as error:
    print(error)
"""


def passed(listening: socket.socket, count: str = "1") -> str:
    """What a process says that has a socket as its third descriptor, as systemd would start it."""
    script = f'exec 3<&{listening.fileno()}; export LISTEN_PID=$$ LISTEN_FDS={count}; exec "$0" -c "$1"'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, _ASKS], pass_fds=[listening.fileno()], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_socket_that_systemd_listens_on_is_taken() -> None:
    with listen("127.0.0.1", 0) as listening:
        assert passed(listening) == f"{listening.getsockname()[1]} None"


def test_two_sockets_are_refused() -> None:
    with listen("127.0.0.1", 0) as listening:
        assert passed(listening, "2").startswith("systemd passes 2 sockets")


def test_a_socket_that_is_not_of_tcp_is_refused() -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        assert "not of TCP" in passed(listening)


def test_variables_of_another_process_are_taken_out_and_ignored() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "PATH": ""}
    assert inherited(environment) is None
    assert environment == {"PATH": ""}


def test_none_where_nothing_was_said_and_an_error_where_nothing_was_passed() -> None:
    assert inherited({}) is None
    with pytest.raises(ConfigError, match="no sockets"):
        inherited({"LISTEN_PID": str(os.getpid())})


def test_systemd_is_told_if_it_wants_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notify("READY=1")  # nobody wants to know
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1")
        assert systemd.recv(100) == b"READY=1"
    notify("STOPPING=1")  # which it does not hear
